"""Pieces of time that cannot be read are left out, and nothing else is."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from seatrial.adapters.metrics.reach import Gaps, Window

STEP = 5.0

times = st.integers(min_value=0, max_value=400).map(lambda quarter: quarter / 4)
pieces = st.tuples(times, times).map(lambda pair: (min(pair), max(pair)))


def a_window(start: float, end: float) -> Window:
    return Window(trials=None, start=start, end=end, present=True)


def a_gap_for_each(added: list[tuple[float, float]]) -> Gaps:
    gaps = Gaps(STEP)
    for start, end in added:
        gaps.add(start, end)
    return gaps


def grid(start: float, end: float) -> set[float]:
    """The points at which Prometheus is asked for a value between two times."""
    first, last = start // STEP, end // STEP
    return {point * STEP for point in range(int(first), int(last) + 1)}


def test_a_window_without_a_gap_stays_as_it_is():
    window = a_window(10, 70)

    assert list(Gaps(STEP).split(window)) == [(window, True)]


def test_a_window_is_read_up_to_a_gap_and_from_its_end():
    gaps = Gaps(STEP)
    gaps.add(30, 41)

    found = [(piece.start, piece.end, piece.present, readable) for piece, readable in gaps.split(a_window(12, 70))]

    assert found == [(12, 25, False, True), (25, 45, False, False), (45, 70, True, True)]


def test_gaps_that_touch_are_one():
    gaps = Gaps(STEP)
    gaps.add(30, 40)
    gaps.add(45, 50)

    assert [readable for _, readable in gaps.split(a_window(0, 100))] == [True, False, True]


@given(st.lists(pieces, max_size=6), pieces)
def test_every_point_outside_of_gaps_is_read_and_none_within_them(
    added: list[tuple[float, float]], asked: tuple[float, float]
):
    gaps = a_gap_for_each(added)
    left_out = set().union(*(grid(start, end) for start, end in added))

    found = list(gaps.split(a_window(*asked)))

    read = set().union(*(grid(piece.start, piece.end) for piece, readable in found if readable))
    assert read & left_out == set()
    assert grid(*asked) - left_out <= read


@given(st.lists(pieces, max_size=6), pieces)
def test_pieces_follow_each_other_and_only_the_last_is_the_present(
    added: list[tuple[float, float]], asked: tuple[float, float]
):
    gaps = a_gap_for_each(added)

    found = [piece for piece, _ in gaps.split(a_window(*asked))]

    assert found[0].start == asked[0]
    assert all(one.end == following.start for one, following in pairwise(found))
    assert all(not piece.present for piece in found[:-1])
