"""PNG files of the main plots."""

import struct
import sys
from datetime import timedelta

import pytest

from report.studies import START, a_study, digits_study, two_objectives
from seatrial.errors import UsageError
from seatrial.report import build_view, write_png

pytestmark = pytest.mark.slow


def size_of(path):
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


@pytest.mark.parametrize(
    ("study", "names"),
    [
        pytest.param(
            lambda: digits_study(40), ["best", "curves", "importances", "parallel", "timeline"], id="one objective"
        ),
        pytest.param(
            lambda: two_objectives(40), ["best", "importances", "parallel", "timeline", "pareto"], id="two objectives"
        ),
        pytest.param(lambda: (a_study(), [], {}, START + timedelta(minutes=1)), [], id="no trial"),
    ],
)
def test_each_plot_that_has_something_to_show_is_written(study, names, tmp_path):
    written = write_png(build_view(*study()), tmp_path / "plots")

    assert [path.stem for path in written] == names
    assert all(min(size_of(path)) >= 600 for path in written)


def test_without_matplotlib_the_command_that_installs_it_is_named(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(UsageError, match=r"pip install 'seatrial\[png\]'"):
        write_png(build_view(*digits_study(12)), tmp_path)
