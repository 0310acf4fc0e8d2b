"""Curves in bounded memory against all reports, by brute force."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.decide.curves import LIMIT, Curve, CurveBuilder

VALUES = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf]))
REPORTS = st.lists(st.tuples(st.integers(1, 5), VALUES), min_size=1, max_size=200)


def told(gaps: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return reports with increasing steps from gaps between them."""
    found, step = [], 0
    for gap, value in gaps:
        step += gap
        found.append((step, value))
    return found


def build(reports, **more) -> Curve:
    builder = CurveBuilder(**more)
    builder.extend(reports)
    return builder.build()


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def assert_exact(curve: Curve, reports: list[tuple[int, float]]) -> None:
    """Every point that stays says what all reports up to it say."""
    for point in curve.points:
        until = [value for step, value in reports if step <= point.step]
        finite = [value for value in until if math.isfinite(value)]
        assert same(point.value, until[-1])
        assert point.low == min(finite, default=math.inf)
        assert point.high == max(finite, default=-math.inf)
        assert point.mean == pytest.approx(sum(finite) / len(finite) if finite else math.nan, nan_ok=True)
        assert (point.finite, point.number) == (len(finite), len(until))


@given(REPORTS)
def test_a_short_curve_is_kept_as_it_was_told(gaps):
    reports = told(gaps)

    curve = build(reports)

    assert [point.step for point in curve.points] == [step for step, _ in reports]
    assert_exact(curve, reports)
    assert curve.count == len(reports)
    assert all(map(same, curve.tail, [value for _, value in reports][-5:]))


@given(st.integers(1, 9000), st.sets(st.integers(1, 30_000), max_size=12), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_a_long_curve_is_bounded_and_keeps_first_last_and_what_held_at_each_rung(number, rungs, gap):
    reports = [(gap * i, math.sin(i) * 1000 / i) for i in range(1, number + 1)]

    curve = build(reports, rungs=rungs)

    assert len(curve.points) <= LIMIT + len(rungs)
    assert (curve.points[0].step, curve.points[-1].step) == (reports[0][0], reports[-1][0])
    assert_exact_at_random = curve.points[:: max(1, len(curve.points) // 20)]
    assert_exact(Curve(points=tuple(assert_exact_at_random)), reports)
    for rung in rungs:
        before = [report for report in reports if report[0] <= rung]
        point = curve.at(rung)
        assert (point and (point.step, point.value)) == (before[-1] if before else None)
    assert curve.count == number


def test_a_million_reports_stay_small_and_the_last_values_are_whole():
    builder = CurveBuilder(rungs=(1, 3, 9, 27), window=7)
    builder.extend((step, float(step)) for step in range(1, 200_001))

    curve = builder.build()

    assert len(curve.points) <= LIMIT + 4
    assert curve.tail == tuple(float(step) for step in range(199_994, 200_001))
    assert curve.last.mean == pytest.approx(100_000.5)


@given(REPORTS, st.integers(1, 400), REPORTS)
def test_a_restart_is_as_if_the_later_reports_had_never_been(gaps, back_to, more):
    first = told(gaps)
    second = [(back_to + step - 1, value) for step, value in told(more)]

    curve = build([*first, *second])
    kept = [report for report in first if report[0] < second[0][0]]

    assert curve == build([*kept, *second]) or any(math.isnan(p.value) for p in curve.points)
    assert_exact(curve, [*kept, *second])


@given(st.integers(1100, 6000), st.integers(1, 6000), st.integers(1, 3000))
@settings(max_examples=30, deadline=None)
def test_a_restart_of_a_thinned_curve_is_exact_from_the_last_point_that_stayed(number, back_to, more):
    first = [(i, math.cos(i)) for i in range(1, number + 1)]
    second = [(back_to + i, math.sin(i)) for i in range(more)]
    builder = CurveBuilder()
    builder.extend(first)
    stayed = [point.step for point in builder.build().points if point.step < back_to]

    builder.extend(second)

    remembered = [report for report in first if stayed and report[0] <= stayed[-1]] if back_to <= number else first
    assert_exact(Curve(points=builder.build().points[::97]), [*remembered, *second])
    assert len(builder.build().points) <= LIMIT


def test_a_trial_that_restarts_before_its_first_step_begins_anew():
    assert build([(5, 1.0), (6, 2.0), (1, 9.0)]) == build([(1, 9.0)])


@given(REPORTS)
def test_negating_twice_changes_nothing_and_what_is_known_changes_no_result(gaps):
    reports = told(gaps)
    half, whole = build(reports[: len(reports) // 2]), build(reports)
    builder = CurveBuilder()
    builder.extend(reports[: len(reports) // 2])
    early = builder.build()
    builder.extend(reports[len(reports) // 2 :])
    late = builder.build()

    assert [p.step for p in half.points] == [p.step for p in early.points]
    again = late.negated((early, early.negated()))
    for point, expected in zip(again.points, whole.negated().points, strict=True):
        assert same(point.value, expected.value)
        assert (point.low, point.high, point.total) == (expected.low, expected.high, expected.total)
    assert all(same(a.value, b.value) for a, b in zip(late.negated().negated().points, late.points, strict=True))


def test_an_empty_curve_has_no_last_point_and_none_at_any_step():
    assert Curve().last is None
    assert Curve().step is None
    assert Curve().at(10) is None
    assert build([(3, 1.0)]).at(2) is None
