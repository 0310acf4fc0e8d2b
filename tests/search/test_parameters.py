"""The kinds of parameters: their values and their places between 0 and 1."""

import math

import numpy as np
import pytest

from seatrial.search.parameters import Categorical, Constant, Float, Int, Ordinal


@pytest.mark.parametrize(
    ("parameter", "u", "value"),
    [
        pytest.param(Float(name="x", low=-1, high=3), 0.25, 0.0, id="a quarter of a linear float"),
        pytest.param(Float(name="x", low=-1, high=3), 1.0, 3.0, id="the end of a linear float"),
        pytest.param(Float(name="x", low=1e-4, high=1e-2, log=True), 0.5, 1e-3, id="the middle of a log float"),
        pytest.param(Float(name="x", low=1e-4, high=1e-2, log=True), 1.0, 1e-2, id="the end of a log float"),
        pytest.param(Float(name="x", low=0.1, high=0.5, step=0.1), 0.5, 0.3, id="a step of a tenth reads as written"),
        pytest.param(Float(name="x", low=0, high=0.35, step=0.1), 1.0, 0.3, id="a range that its step does not meet"),
        pytest.param(Float(name="x", low=2, high=2), 0.9, 2.0, id="a float without width"),
        pytest.param(Int(name="x", low=1, high=4), 0.26, 2, id="the second of four cells"),
        pytest.param(Int(name="x", low=1, high=4), 1.0, 4, id="the end of an int"),
        pytest.param(Int(name="x", low=0, high=10, step=5), 0.5, 5, id="a stepped int"),
        pytest.param(Int(name="x", low=1, high=100, log=True), 0.0, 1, id="the start of a log int"),
        pytest.param(Int(name="x", low=1, high=100, log=True), 0.5, 7, id="the middle of a log int"),
        pytest.param(Ordinal(name="x", choices=(32, 64, 128)), 0.4, 64, id="an ordinal"),
        pytest.param(Categorical(name="x", choices=("a", "b")), 0.5, "b", id="a border belongs to the upper cell"),
        pytest.param(Constant(name="x", value="c"), 0.1, "c", id="a constant"),
    ],
)
def test_a_place_in_the_unit_interval_has_this_value(parameter, u, value):
    decoded = parameter.decode(u)

    assert decoded == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    ("parameter", "value", "u"),
    [
        pytest.param(Float(name="x", low=0, high=4), 1.0, 0.25, id="linear float"),
        pytest.param(Float(name="x", low=0, high=4), 1, 0.25, id="an int given for a float"),
        pytest.param(Float(name="x", low=1e-4, high=1, log=True), 1e-3, 0.25, id="log float"),
        pytest.param(Float(name="x", low=0.1, high=0.4, step=0.1), 0.3, 0.625, id="stepped float, centre of its cell"),
        pytest.param(Int(name="x", low=1, high=4), 2, 0.375, id="int, centre of its cell"),
        pytest.param(Int(name="x", low=1, high=2, log=True), 1, math.log(2) / math.log(5), id="log int"),
        pytest.param(Ordinal(name="x", choices=(8, 16)), 16, 0.75, id="ordinal"),
        pytest.param(Categorical(name="x", choices=(1, True, "1")), True, 0.5, id="True beside 1"),
        pytest.param(Constant(name="x", value=3), 3, 0.5, id="constant"),
    ],
)
def test_a_value_has_this_place_in_the_unit_interval(parameter, value, u):
    assert parameter.encode(value) == pytest.approx(u)


def test_a_boolean_is_no_number():
    assert not Int(name="n", low=0, high=1).contains(True)
    assert not Float(name="n", low=0, high=1).contains(True)
    assert Categorical(name="n", choices=(True,)).contains(True)
    assert not Categorical(name="n", choices=(True,)).contains(1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, "1", 11, -1])
def test_a_range_refuses_what_lies_outside(bad):
    assert not Float(name="x", low=0, high=10).contains(bad)
    assert not Int(name="x", low=0, high=10).contains(bad)


@pytest.mark.parametrize(
    ("low", "high", "step", "expected"),
    [
        pytest.param(0.0, 1.0, 0.1, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], id="tenths"),
        pytest.param(0.1, 0.3, 0.1, [0.1, 0.2, 0.3], id="0.1 + 2 * 0.1 still reaches 0.3"),
        pytest.param(0.0, 1.0, 0.3, [0.0, 0.3, 0.6, 0.9], id="the last step stays inside"),
        pytest.param(1.0, 1.0, 0.5, [1.0], id="one value"),
        pytest.param(1e-5, 3e-5, 1e-5, [1e-5, 2e-5, 3e-5], id="tiny steps"),
        pytest.param(0.0, 0.5, 1.0, [0.0], id="a step wider than the range"),
    ],
)
def test_a_stepped_float_takes_exactly_these_values(low, high, step, expected):
    parameter = Float(name="x", low=low, high=high, step=step)

    assert [parameter.at(level) for level in range(parameter.levels or 0)] == expected
    assert all(parameter.contains(value) for value in expected)
    assert not parameter.contains(low + step / 2)


def test_every_value_of_a_log_int_is_reached_and_the_ends_are_not_rare():
    parameter = Int(name="n", low=1, high=20, log=True)

    counts = np.bincount([parameter.decode(u) for u in np.linspace(0, 1, 100_001)], minlength=21)[1:]

    assert counts.min() > 0
    assert list(counts) == sorted(counts, reverse=True)
