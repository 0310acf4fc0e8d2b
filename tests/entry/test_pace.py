"""Rate and time left, worked by hand."""

import pytest

from seatrial.entry.cli.pace import Load, estimate_seconds, rate_per_minute


def load(
    to_start: int | None, *running: tuple[float, float | None], parallel: int = 2, limit: float | None = None
) -> Load:
    return Load(to_start=to_start, running=running, parallel=parallel, limit_seconds=limit)


@pytest.mark.parametrize(
    ("durations", "left", "expected"),
    [
        pytest.param([10.0], load(4), None, id="one trial says nothing"),
        pytest.param([10.0, 20.0], load(4), 30.0, id="four of 15 s, two at a time"),
        pytest.param([10.0, 20.0], load(0, (5.0, None)), 10.0, id="the last one has 10 s left"),
        pytest.param([10.0, 20.0], load(3, (5.0, None), (15.0, None)), 27.5, id="(3 * 15 + 10 + 0) / 2"),
        pytest.param([10.0, 20.0], load(0, (40.0, 60.0), (1.0, None)), 60.0, id="no shorter than its longest trial"),
        pytest.param([10.0, 20.0], load(0, (40.0, None)), 0.0, id="over the mean, its steps unknown"),
        pytest.param([10.0, 20.0], load(4, limit=12.0), 12.0, id="the study's limit comes first"),
        pytest.param([10.0, 20.0], load(None), None, id="no number of trials, no limit"),
        pytest.param([], load(None, limit=50.0), 50.0, id="only a limit"),
        pytest.param([10.0, 20.0], load(4, limit=-3.0), 0.0, id="the limit is over"),
    ],
)
def test_the_time_left_is_the_work_left_side_by_side(
    durations: list[float], left: Load, expected: float | None
) -> None:
    assert estimate_seconds(durations, left) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("ended", "now", "expected"),
    [
        pytest.param([], 60.0, None, id="none"),
        pytest.param([5.0], 60.0, None, id="one"),
        pytest.param([5.0, 30.0], 60.0, 2.0, id="two in the first minute"),
        pytest.param([5.0, 30.0], 0.0, None, id="no time has passed"),
        pytest.param([1.0] * 50 + [650.0] * 10, 700.0, 2.0, id="only the last five minutes count"),
    ],
)
def test_the_rate_is_of_the_last_five_minutes(ended: list[float], now: float, expected: float | None) -> None:
    assert rate_per_minute(ended, now, 0.0) == expected
