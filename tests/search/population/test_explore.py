"""How what was taken over changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.strategies import spaces
from seatrial.search.parameters import Categorical, Condition, Constant, Float, Int, Ordinal
from seatrial.search.population.explore import Explorer, explore, perturb
from seatrial.search.space import SearchSpace

LR = Float(name="lr", low=1e-5, high=1e-1, log=True)
DROPOUT = Float(name="dropout", low=0.0, high=0.5)
STEPPED = Float(name="drop", low=0.0, high=0.5, step=0.1)
LAYERS = Int(name="layers", low=1, high=4)
WIDTH = Int(name="width", low=16, high=512, log=True)
EVEN = Int(name="even", low=0, high=20, step=5)
SHIFT = Int(name="shift", low=-10, high=10)
BATCH = Ordinal(name="batch", choices=(32, 64, 128, 256))
OPTIMIZER = Categorical(name="optimizer", choices=("sgd", "adamw"))


@pytest.mark.parametrize(
    ("parameter", "value", "up", "expected"),
    [
        pytest.param(LR, 0.01, True, 0.012, id="the paper's factor up"),
        pytest.param(LR, 0.01, False, 0.008, id="the paper's factor down"),
        pytest.param(LR, 0.09, True, 0.1, id="cut at the end of the range"),
        pytest.param(LR, 0.1, True, 0.08, id="at the end of the range it moves inwards"),
        pytest.param(LR, 1e-5, False, 1.2e-5, id="at the other end as well"),
        pytest.param(DROPOUT, 0.25, True, 0.3, id="linear"),
        pytest.param(DROPOUT, 0.0, True, 0.005, id="zero is left by a hundredth of the range"),
        pytest.param(DROPOUT, 0.0, False, 0.005, id="zero at the lower end is left upwards in any case"),
        pytest.param(STEPPED, 0.1, True, 0.2, id="at least one step, although 0.12 is nearer to 0.1"),
        pytest.param(STEPPED, 0.5, False, 0.4, id="a step down"),
        pytest.param(LAYERS, 1, True, 2, id="one layer becomes two, although 1.2 is nearer to 1"),
        pytest.param(LAYERS, 4, True, 3, id="the largest int moves inwards"),
        pytest.param(WIDTH, 100, True, 120, id="a large int by the factor"),
        pytest.param(WIDTH, 100, False, 80, id="a large int down"),
        pytest.param(EVEN, 10, True, 15, id="an int keeps its step"),
        pytest.param(SHIFT, -5, True, -6, id="a negative number grows away from zero"),
        pytest.param(SHIFT, 0, False, -1, id="zero within the range goes down when it should"),
        pytest.param(BATCH, 64, True, 128, id="the next choice up"),
        pytest.param(BATCH, 256, True, 128, id="no choice above: down"),
        pytest.param(OPTIMIZER, "sgd", True, "sgd", id="no order: it stays"),
        pytest.param(Constant(name="c", value=3), 3, True, 3, id="a constant stays"),
        pytest.param(Int(name="one", low=2, high=2), 2, False, 2, id="no alternative: it stays"),
    ],
)
def test_a_value_is_perturbed(parameter, value, up, expected):
    assert perturb(parameter, value, up=up) == pytest.approx(expected)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_an_ordered_parameter_always_moves_and_stays_in_its_range(data):
    space = data.draw(spaces(max_parameters=3))
    assignment = space.sample(np.random.default_rng(data.draw(st.integers(0, 99))))
    up = data.draw(st.booleans())

    for parameter in space:
        if parameter.name not in assignment:
            continue
        old = assignment[parameter.name]
        new = perturb(parameter, old, up=up)
        assert parameter.contains(new)
        if not isinstance(parameter, Ordinal):
            assert type(new) is type(parameter.normalise(old))
        fixed = isinstance(parameter, Categorical | Constant) or parameter.levels == 1
        assert (parameter.encode(new) == parameter.encode(old)) is fixed


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_explored_is_a_whole_assignment_of_the_space(data):
    space = data.draw(spaces())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    mutable = data.draw(st.sets(st.sampled_from([p.name for p in space])))
    winner = space.sample(rng)

    found = explore(space, winner, Explorer(mutable=mutable), rng)

    assert space.problems(found) == []
    assert space.complete(found) == found
    for name, value in winner.items():
        parents_kept = space.by_name[name].when is None
        if name not in mutable and parents_kept:
            assert found[name] == value


def test_what_may_not_change_keeps_the_winner_s_value():
    space = SearchSpace([LR, LAYERS])
    winner = {"lr": 0.01, "layers": 2}

    found = [explore(space, winner, Explorer(mutable={"lr"}), np.random.default_rng(i)) for i in range(20)]

    assert {a["layers"] for a in found} == {2}
    assert all(a["lr"] != 0.01 for a in found)


@pytest.mark.parametrize(("probability", "expected"), [(0.0, {0.008, 0.012}), (1.0, None)], ids=["never", "always"])
def test_a_parameter_is_drawn_anew_with_the_probability_that_was_asked_for(probability, expected):
    space = SearchSpace([LR])
    explorer = Explorer(mutable={"lr"}, resample_probability=probability)

    found = {round(explore(space, {"lr": 0.01}, explorer, np.random.default_rng(i))["lr"], 9) for i in range(30)}

    assert found == expected if expected else len(found) == 30


def test_a_branch_that_was_switched_on_is_drawn_and_one_that_was_switched_off_is_gone():
    momentum = Float(name="momentum", low=0, high=0.99, when=Condition(parent="optimizer", values=("sgd",)))
    decay = Float(name="decay", low=0, high=1, when=Condition(parent="optimizer", values=("adamw",)))
    space = SearchSpace([OPTIMIZER, momentum, decay])
    explorer = Explorer(mutable={"optimizer", "momentum"}, resample_probability=1.0)

    found = [
        explore(space, {"optimizer": "sgd", "momentum": 0.9}, explorer, np.random.default_rng(i)) for i in range(20)
    ]

    assert {frozenset(a) for a in found} == {frozenset({"optimizer", "momentum"}), frozenset({"optimizer", "decay"})}


def test_a_parameter_of_two_branches_is_drawn_anew_when_the_branch_changes():
    both = Float(name="momentum", low=0, high=0.99, when=Condition(parent="optimizer", values=("sgd", "adamw")))
    space = SearchSpace([OPTIMIZER, both])
    explorer = Explorer(mutable={"optimizer", "momentum"}, resample_probability=0.4)
    winner = {"optimizer": "sgd", "momentum": 0.5}

    moved = [
        a
        for i in range(200)
        if (a := explore(space, winner, explorer, np.random.default_rng(i)))["optimizer"] == "adamw"
    ]

    assert len(moved) > 10
    assert not any(a["momentum"] in (pytest.approx(0.4), pytest.approx(0.6)) for a in moved)
