"""The search space: conditions, sizes, assignments and points of the unit cube."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search.strategies import brute_force, spaces, units
from seatrial.search.parameters import Categorical, Condition, Constant, Float, Int
from seatrial.search.space import SearchSpace

NESTED = SearchSpace(
    [
        Float(name="momentum", low=0.0, high=0.9, when=Condition(parent="optimizer", values=("sgd",))),
        Categorical(name="optimizer", choices=("sgd", "adamw")),
        Categorical(name="nesterov", choices=(True, False), when=Condition(parent="optimizer", values=("sgd",))),
        Int(name="warmup", low=1, high=3, when=Condition(parent="nesterov", values=(True,))),
        Constant(name="epochs", value=10),
    ]
)


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


def test_the_size_of_a_chain_of_conditions_is_counted_without_walking_its_ways():
    """A parameter per link, 64 of its values leading on: 64^63 ways to the end, which nobody can walk."""
    choices = tuple(range(256))
    links = [
        Categorical(
            name=f"p{link}",
            choices=choices,
            when=Condition(parent=f"p{link - 1}", values=choices[:64]) if link else None,
        )
        for link in range(64)
    ]

    size = 256
    for _ in range(63):
        size = 256 - 64 + 64 * size
    assert SearchSpace(links).size == size


def test_a_float_that_no_value_leads_to_makes_no_space_infinite():
    root = Categorical(name="root", choices=("a", "b"))
    lost = Float(name="lost", low=0.0, high=1.0, when=Condition(parent="root", values=("c",)))

    assert SearchSpace([root, lost]).size == 2


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


def test_the_identity_of_a_trial_is_that_of_its_assignment_when_others_have_come_and_gone():
    space = SearchSpace([Float(name="x", low=0.0, high=1.0)])

    # Each is let go of at once, so that the next one may lie where it lay; and there are more than are remembered.
    for place in range(60_000):
        assert list(space.keys_of_trials([{"x": place / 60_000}])) == [(("x", "n", place / 60_000),)]


def test_an_int_written_as_a_float_is_the_same_trial():
    space = SearchSpace([Int(name="n", low=1, high=5), Float(name="x", low=0, high=5)])

    assert space.key({"n": 3.0, "x": 2}) == space.key({"n": 3, "x": 2.0})
    assert space.complete({"n": 3.0, "x": 2}) == {"n": 3, "x": 2.0}
    assert isinstance(space.complete({"n": 3.0, "x": 2})["n"], int)


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
