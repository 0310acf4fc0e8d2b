"""The text of a trial's /metrics, good and bad."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.adapters.metrics.exposition import LIMIT_BYTES, LIMIT_SERIES, parse_exposition

GOOD = b"""\
# HELP seatrial_trial_step Last reported training step.
# TYPE seatrial_trial_step gauge
seatrial_trial_step 9.0
seatrial_trial_heartbeat_seconds 1.7640000005e+09
# TYPE seatrial_trial_metric gauge
seatrial_trial_metric{metric="loss"} NaN
seatrial_trial_metric{metric="val"} 0.5
seatrial_trial_metric{metric="a\\"b"} +Inf
seatrial_trial_rung_metric{metric="val",step="3"} 0.25
python_gc_objects_collected_total{generation="0"} 123.0
"""


def test_step_metrics_rungs_and_heartbeat_are_read():
    found = parse_exposition(GOOD)

    assert found.note == ""
    assert (found.scrape.step, found.scrape.heartbeat) == (9, 1_764_000_000.5)
    assert math.isnan(found.scrape.metrics.pop("loss"))
    assert found.scrape.metrics == {"val": 0.5, 'a"b': math.inf}
    assert found.scrape.rungs == {("val", 3): 0.25}


def test_a_trial_that_poses_as_another_only_speaks_of_itself():
    text = b'seatrial_trial_step{trial="digits-9",study_uid="u-2"} 4\nseatrial_trial_metric{trial="digits-9",metric="val",attempt="7"} 1\n'

    found = parse_exposition(text)

    assert (found.scrape.step, found.scrape.metrics) == (4, {"val": 1.0})


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("seatrial_trial_step -1", id="a step below nothing"),
        pytest.param("seatrial_trial_step 1.5", id="half a step"),
        pytest.param("seatrial_trial_step NaN", id="a step that is no number"),
        pytest.param("seatrial_trial_step 1e300", id="a step beyond all steps"),
        pytest.param("seatrial_trial_step", id="no value"),
        pytest.param('seatrial_trial_metric{metric="val} 1', id="an open quote"),
        pytest.param("seatrial_trial_metric 1", id="a metric without a name"),
        pytest.param('seatrial_trial_metric{metric=""} 1', id="a metric with an empty name"),
        pytest.param(f'seatrial_trial_metric{{metric="{"x" * 121}"}} 1', id="a long name"),
        pytest.param('seatrial_trial_rung_metric{metric="val",step="x"} 1', id="a rung that is no step"),
        pytest.param('seatrial_trial_rung_metric{metric="val"} 1', id="a rung without a step"),
        pytest.param('seatrial_trial_rung_metric{metric="val",step="99999999999999999"} 1', id="a rung beyond all"),
        pytest.param("seatrial_trial_metric{{{{ }}} 1", id="garbage"),
    ],
)
def test_a_bad_line_is_skipped_and_told(line: str):
    found = parse_exposition(f'{line}\nseatrial_trial_metric{{metric="ok"}} 2\n'.encode())

    assert (found.scrape.step, found.scrape.metrics, found.scrape.rungs) == (None, {"ok": 2.0}, {})
    assert found.note == "1 lines of /metrics are no metrics and were skipped"


def test_a_hundred_thousand_series_are_read_in_part_and_told():
    text = "".join(f'seatrial_trial_metric{{metric="m{i}"}} 1\n' for i in range(100_000)).encode()

    found = parse_exposition(text)
    short = parse_exposition(text[: LIMIT_BYTES // 2])

    more = f"/metrics has more than {LIMIT_SERIES} series of Seatrial; later ones are not read"
    assert [len(each.scrape.metrics) for each in (found, short)] == [LIMIT_SERIES] * 2
    assert found.note == f"/metrics is longer than 1 MiB and was cut; {more}"
    assert short.note == more


def test_what_is_longer_than_the_limit_is_cut_at_a_line():
    text = b"seatrial_trial_step 7\n" + b"other 1\n" * 200_000 + b'seatrial_trial_metric{metric="late"} 1\n'

    found = parse_exposition(text)

    assert (found.scrape.step, found.scrape.metrics) == (7, {})
    assert found.note == "/metrics is longer than 1 MiB and was cut"


def test_an_endless_line_is_not_read():
    assert parse_exposition(b"seatrial_trial_metric" + b"x" * 900_000).scrape.empty


def test_a_trial_that_has_not_reported_yet_says_so():
    found = parse_exposition(b"# TYPE seatrial_trial_metric gauge\n")

    assert found.scrape.empty
    assert found.note == "/metrics has no seatrial_trial_metric yet"


@given(st.binary(max_size=300), st.text(alphabet='{}="\\ \n#eE+-.0123456789stepmrcNaIf_,', max_size=200))
def test_nothing_that_a_trial_writes_raises(raw: bytes, text: str):
    for body in (raw, b"seatrial_trial_metric" + raw, f"seatrial_trial_rung_metric{text}".encode()):
        scrape = parse_exposition(body).scrape
        assert scrape.step is None or scrape.step >= 0
