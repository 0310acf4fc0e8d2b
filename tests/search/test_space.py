"""The search space and its encoding in the unit cube."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search.strategies import brute_force, spaces, units
from seatrial.search.space import Categorical, Condition, Constant, Float, Int, Ordinal, SearchSpace

NESTED = SearchSpace(
    [
        Float(name="momentum", low=0.0, high=0.9, when=Condition(parent="optimizer", values=("sgd",))),
        Categorical(name="optimizer", choices=("sgd", "adamw")),
        Categorical(name="nesterov", choices=(True, False), when=Condition(parent="optimizer", values=("sgd",))),
        Int(name="warmup", low=1, high=3, when=Condition(parent="nesterov", values=(True,))),
        Constant(name="epochs", value=10),
    ]
)


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


@given(st.data())
def test_decoding_an_encoded_assignment_gives_it_back(data):
    space = data.draw(spaces())
    assignment = space.from_unit(data.draw(units(space)))

    again = space.from_unit(space.to_unit(assignment))

    assert again.keys() == assignment.keys()
    for name, value in assignment.items():
        parameter = space.by_name[name]
        if parameter.levels is None:
            assert again[name] == pytest.approx(value, rel=1e-9, abs=1e-9 * (parameter.high - parameter.low))
        else:
            assert again[name] == value
            assert type(again[name]) is type(value)


@given(st.data())
def test_every_decoded_point_lies_in_the_space(data):
    space = data.draw(spaces())

    assignment = space.from_unit(data.draw(units(space)))

    assert space.problems(assignment) == []
    assert space.complete(assignment) == assignment
    assert list(assignment) == [p.name for p in space if p.name in assignment]


@given(spaces(finite=True))
def test_the_size_of_a_finite_space_is_what_enumeration_counts(space):
    assume((space.size or 0) <= 20_000)

    assert space.size == len({space.key(assignment) for assignment in brute_force(space)})


def test_a_float_without_a_step_makes_a_space_infinite():
    assert NESTED.size is None


def test_parents_come_before_children_whatever_the_user_wrote():
    assert next(p.name for p in NESTED.declared) == "momentum"
    assert [p.name for p in NESTED] == ["optimizer", "momentum", "nesterov", "warmup", "epochs"]


@pytest.mark.parametrize(
    ("given_values", "active"),
    [
        pytest.param({"optimizer": "adamw"}, ["optimizer", "epochs"], id="no branch"),
        pytest.param(
            {"optimizer": "sgd", "nesterov": False}, ["optimizer", "momentum", "nesterov", "epochs"], id="one branch"
        ),
        pytest.param(
            {"optimizer": "sgd", "nesterov": True},
            ["optimizer", "momentum", "nesterov", "warmup", "epochs"],
            id="a branch within a branch",
        ),
        pytest.param({"optimizer": "adamw", "nesterov": True}, ["optimizer", "epochs"], id="a parent that is inactive"),
    ],
)
def test_only_parameters_whose_conditions_hold_are_active(given_values, active):
    assert list(NESTED.complete(given_values)) == active


def test_true_one_and_one_point_nought_as_choices_stay_apart_where_json_tells_them_apart():
    space = SearchSpace([Categorical(name="x", choices=(True, 1, "1"))])

    keys = {space.key({"x": value}) for value in (True, 1, "1")}

    assert len(keys) == 3
    assert space.key({"x": 1.0}) == space.key({"x": 1})
    assert [type(space.complete({"x": value})["x"]) for value in (True, 1, "1")] == [bool, int, str]


def test_an_int_written_as_a_float_is_the_same_trial():
    space = SearchSpace([Int(name="n", low=1, high=5), Float(name="x", low=0, high=5)])

    assert space.key({"n": 3.0, "x": 2}) == space.key({"n": 3, "x": 2.0})
    assert space.complete({"n": 3.0, "x": 2}) == {"n": 3, "x": 2.0}
    assert isinstance(space.complete({"n": 3.0, "x": 2})["n"], int)


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


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        pytest.param([Constant(name="a", value=1), Constant(name="a", value=2)], "repeated", id="a repeated name"),
        pytest.param([Constant(name="a", value=1, when=Condition(parent="b", values=(1,)))], "cycle", id="no parent"),
        pytest.param(
            [
                Constant(name="a", value=1, when=Condition(parent="b", values=(1,))),
                Constant(name="b", value=1, when=Condition(parent="a", values=(1,))),
            ],
            "cycle",
            id="a cycle",
        ),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace(parameters)


@pytest.mark.parametrize(
    ("assignment", "at", "words"),
    [
        pytest.param({"optimizer": "adam"}, "optimizer", "one of: sgd, adamw", id="no such choice"),
        pytest.param({"optimizer": "adamw", "momentum": 0.5}, "momentum", "only when optimizer", id="an inactive one"),
        pytest.param({"lr": 1}, "lr", "no parameter", id="an unknown name"),
        pytest.param({"optimizer": "sgd", "momentum": 2}, "momentum", "from 0 to 0.9", id="out of range"),
        pytest.param({"epochs": 11}, "epochs", "constant 10", id="a constant changed"),
    ],
)
def test_a_wrong_assignment_is_told_what_is_wrong(assignment, at, words):
    [(name, complaint)] = NESTED.problems(assignment)

    assert name == at
    assert words in complaint


def test_missing_parameters_become_defaults_or_the_middle():
    space = SearchSpace([Float(name="x", low=0, high=1, default=0.125), Float(name="y", low=0, high=4)])

    assert space.default() == {"x": 0.125, "y": 2.0}
