"""Opening a study from its directory."""

import pytest

from seatrial.entry.session import open_study
from seatrial.errors import UsageError


@pytest.mark.parametrize("content", [b"", b'{"kind": "Stu', b"\x00\xff"])
def test_a_torn_study_is_named_in_words(tmp_path, content):
    (tmp_path / "study.json").write_bytes(content)

    with pytest.raises(UsageError, match=r"study\.json"):
        open_study(tmp_path)


def test_a_folder_without_a_study_says_what_is_missing(tmp_path):
    with pytest.raises(UsageError, match="holds no study"):
        open_study(tmp_path)
