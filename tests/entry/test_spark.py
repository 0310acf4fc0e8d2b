"""Curves and shares in signs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.entry.cli.cells import ASCII, UNICODE
from seatrial.entry.cli.spark import bar, sparkline


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        pytest.param([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█", id="every level once"),
        pytest.param([1, 0], 8, "█▁", id="fewer values than cells"),
        pytest.param([5, 5, 5], 8, "▅▅▅", id="equal values lie in the middle"),
        pytest.param([0, 9, 1, 9, 2, 7], 3, "███"[:2] + "▁", id="the last value of each stretch"),
        pytest.param([0, math.nan, 7], 8, "▁×█", id="a value that is not finite is a hole"),
        pytest.param([math.inf, math.nan], 8, "××", id="nothing finite"),
        pytest.param([-1.7e308, 1.7e308], 8, "▁█", id="the largest floats"),
        pytest.param([], 8, "", id="nothing"),
        pytest.param([1, 2], 0, "", id="no room"),
    ],
)
def test_a_curve_is_drawn_from_its_lowest_to_its_highest_value(values: list[float], width: int, expected: str) -> None:
    assert sparkline(values, width) == expected


@given(values=st.lists(st.floats(), max_size=200), width=st.integers(0, 40), signs=st.sampled_from([UNICODE, ASCII]))
def test_any_curve_can_be_drawn(values: list[float], width: int, signs) -> None:
    drawn = sparkline(values, width, signs)

    assert len(drawn) == min(len(values), width)
    assert set(drawn) <= set(signs.levels + signs.hole)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(0.0, "░░░░", id="nothing used"),
        pytest.param(0.5, "██░░", id="half"),
        pytest.param(0.99, "███░", id="full only when all is used"),
        pytest.param(1.0, "████", id="all"),
        pytest.param(1.7, "████", id="more than all"),
        pytest.param(math.nan, "░░░░", id="unknown"),
    ],
)
def test_a_bar_is_full_only_when_everything_is_used(share: float, expected: str) -> None:
    assert "".join(bar(share, 4)) == expected
