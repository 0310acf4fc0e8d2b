"""One number from a curve and a final message."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decide.builders import a_study
from seatrial.api.study import Constraint, Objective
from seatrial.decide.attempts import FinalMetric, Report
from seatrial.decide.curves import CurveBuilder
from seatrial.decide.values import (
    describe_value,
    parse_number,
    read_finals,
    read_objective,
    read_violations,
    write_number,
)

NAN, INF = math.nan, math.inf


def objective(summary: str, goal: str = "minimize", window: int = 3) -> Objective:
    return Objective(metric="loss", goal=goal, summary=summary, window=window)


def curves(*values: float):
    builder = CurveBuilder(window=3)
    builder.extend(enumerate(values, 1))
    return {"loss": builder.build()} if values else {}


def message(last: float, step: int | None = None, low: float | None = None, high: float | None = None) -> Report:
    return Report(metrics=(FinalMetric(name="loss", last=last, last_step=step, low=low, high=high),))


@pytest.mark.parametrize(
    ("summary", "goal", "told", "report", "expected"),
    [
        pytest.param("last", "minimize", (3.0, 1.0, 2.0), None, 2.0, id="last of a curve"),
        pytest.param("best", "minimize", (3.0, 1.0, 2.0), None, 1.0, id="lowest of a curve"),
        pytest.param("best", "maximize", (3.0, 1.0, 2.0), None, 3.0, id="highest of a curve"),
        pytest.param("mean", "minimize", (9.0, 3.0, 1.0, 2.0), None, 2.0, id="mean of the window"),
        pytest.param("mean", "minimize", (4.0,), None, 4.0, id="mean of fewer than the window"),
        pytest.param("last", "minimize", (), None, None, id="never reported"),
        pytest.param("last", "minimize", (), message(5.0, 9), 5.0, id="only in the message"),
        pytest.param("mean", "minimize", (), message(5.0, 9), 5.0, id="mean of a message alone"),
        pytest.param("best", "minimize", (), message(5.0, 9, low=2.0), 2.0, id="best of a message"),
        pytest.param("last", "minimize", (3.0, 1.0), message(5.0, 9), 5.0, id="the message knows a later step"),
        pytest.param("last", "minimize", (3.0, 1.0), message(5.0, 2), 1.0, id="same step: the curve"),
        pytest.param("last", "minimize", (3.0, 1.0), message(5.0, 1), 1.0, id="an older message"),
        pytest.param("last", "minimize", (3.0, 1.0), message(5.0), 5.0, id="a message without steps is the last word"),
        pytest.param("best", "minimize", (3.0, 1.0), message(5.0), 1.0, id="best of both"),
        pytest.param("best", "minimize", (3.0, 1.0), message(5.0, 9, low=0.5), 0.5, id="missed lowest in the message"),
        pytest.param(
            "mean", "minimize", (9.0, 3.0, 1.0), message(5.0, 4), 3.0, id="the missed report joins the window"
        ),
        pytest.param("mean", "minimize", (1.0, 2.0, 3.0), message(9.0), 2.0, id="a final value is no report"),
        pytest.param("best", "minimize", (3.0, 1.0, NAN), None, NAN, id="best of a curve that ends in NaN"),
        pytest.param("best", "maximize", (3.0, INF), None, INF, id="infinity is no best value"),
        pytest.param("mean", "minimize", (3.0, NAN, 1.0), None, NAN, id="NaN within the window"),
        pytest.param("mean", "minimize", (NAN, 3.0, 2.0, 1.0), None, 2.0, id="NaN before the window"),
        pytest.param("best", "minimize", (NAN, 3.0), None, 3.0, id="NaN that was overcome"),
        pytest.param("last", "minimize", (3.0,), message(NAN, 9), NAN, id="the message says NaN"),
    ],
)
def test_an_objective_is_read_from_curve_and_message(summary, goal, told, report, expected):
    found = read_objective(objective(summary, goal), curves(*told), report)

    assert found == pytest.approx(expected, nan_ok=True) if expected is not None else found is None


def test_mean_of_a_window_is_right_after_a_restart():
    builder = CurveBuilder(window=3)
    builder.extend([(1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0), (3, 3.0)])

    assert read_objective(objective("mean"), {"loss": builder.build()}, None) == 2.0


def test_final_values_follow_the_same_choice_as_objectives():
    both = {**curves(3.0, 1.0), "other": curves(7.0)["loss"]}

    assert read_finals(both, message(5.0, 2)) == {"loss": 1.0, "other": 7.0}
    assert read_finals(both, message(5.0, 3)) == {"loss": 5.0, "other": 7.0}
    assert read_finals({}, None) == {}


@pytest.mark.parametrize(
    ("limits", "value", "expected"),
    [
        ({"max": 5.0}, 4.0, -1.0),
        ({"max": 5.0}, 5.0, 0.0),
        ({"max": 5.0}, 7.0, 2.0),
        ({"min": 1.0}, 0.5, 0.5),
        ({"min": 1.0, "max": 2.0}, 1.5, -0.5),
        ({"max": 5.0}, None, 1.0),
        ({"max": 5.0}, NAN, 1.0),
        ({"max": 5.0}, -INF, 1.0),
    ],
)
def test_a_constraint_says_by_how_much_it_is_violated(limits, value, expected):
    finals = {} if value is None else {"ms": value}

    assert read_violations([Constraint(metric="ms", **limits)], finals) == (expected,)


@pytest.mark.parametrize("value", [0.1, -0.0, 1e300, NAN, INF, -INF])
def test_numbers_survive_the_wire(value):
    assert parse_number(write_number(value)) == pytest.approx(value, nan_ok=True)


def test_a_study_without_constraints_violates_nothing():
    assert read_violations(a_study().spec.constraints, {}) == ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.9644444444, "0.9644"),
        (0.25, "0.25"),
        (1 / 3, "0.3333"),
        (0.99999, "1"),
        (-0.0, "0"),
        (97.0, "97"),
        (123456.0, "123456"),
        (12345.678, "12346"),
        (-12345.678, "-12346"),
        (1.23456789e-7, "1.235e-07"),
        (1.23456789e12, "1.235e+12"),
        (NAN, "NaN"),
        (-INF, "-Infinity"),
    ],
)
def test_a_value_for_a_column_has_four_digits(value, words):
    assert describe_value(value) == words


@given(st.floats(-1e300, 1e300))
def test_a_value_for_a_column_fits_and_tells_no_more_than_half_a_thousandth_wrong(value):
    words = describe_value(value)

    assert len(words) <= 32
    assert float(words) == pytest.approx(value, rel=5.01e-4, nan_ok=True)
