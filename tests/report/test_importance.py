"""Parameter importances against functions whose shares are known by hand."""

import math

import numpy as np
import pytest

from seatrial.report.importance import FEWEST_TRIALS, build_importances
from seatrial.search.parameters import Categorical, Condition, Float, Int
from seatrial.search.space import SearchSpace

CUBE = SearchSpace([Float(name=name, low=0, high=1) for name in "abcd"])
BRANCH = SearchSpace(
    [
        Categorical(name="optimizer", choices=("sgd", "adamw")),
        Float(name="momentum", low=0, high=1, when=Condition(parent="optimizer", values=("sgd",))),
        Float(name="noise", low=0, high=1),
    ]
)


def measure(space, function, count=300, seed=0):
    rng = np.random.default_rng(seed)
    assignments = [space.sample(rng) for _ in range(count)]
    return build_importances(space, assignments, [function(a) for a in assignments], np.random.default_rng(1))


def shares(found):
    return {entry.name: entry.share for entry in found.entries}


# Var(k x) of a uniform x is k² / 12, so the share of each term of a sum is its k² by the sum of all.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("weights", "expected", "tolerance"),
    [
        pytest.param((1, 0, 0, 0), (1, 0, 0, 0), 0.02, id="one matters"),
        pytest.param((1, 1, 0, 0), (0.5, 0.5, 0, 0), 0.08, id="two matter alike"),
        pytest.param((3, 1, 0, 0), (0.9, 0.1, 0, 0), 0.06, id="nine to one"),
        pytest.param((2, 1, 1, 0), (4 / 6, 1 / 6, 1 / 6, 0), 0.09, id="four to one to one"),
    ],
)
def test_a_sum_is_shared_by_the_variances_of_its_terms(weights, expected, tolerance):
    found = measure(CUBE, lambda a: sum(w * a[name] for w, name in zip(weights, "abcd", strict=True)))

    assert [shares(found)[name] for name in "abcd"] == pytest.approx(expected, abs=tolerance)


def test_an_irrelevant_parameter_has_no_share():
    found = measure(CUBE, lambda a: (a["a"] - 0.3) ** 2)

    assert max(share for name, share in shares(found).items() if name != "a") < 0.01


def test_an_effect_of_two_together_is_booked_on_neither():
    # The XOR of two halves: each parameter alone changes nothing on average.
    found = measure(CUBE, lambda a: float((a["a"] > 0.5) != (a["b"] > 0.5)), count=600)

    assert found.together > 0.7


def test_a_conditional_parameter_counts_by_how_much_of_the_space_has_it():
    # momentum: half of the space times 1/12; optimizer: means 0.8 and 0.5, so 0.15² = 0.0225. Shares 0.65 and 0.35.
    found = measure(BRANCH, lambda a: a["momentum"] + 0.3 if a["optimizer"] == "sgd" else 0.5)

    assert [shares(found)[name] for name in ("momentum", "optimizer", "noise")] == pytest.approx(
        (0.65, 0.35, 0), abs=0.09
    )


def test_a_choice_is_not_booked_on_the_parameters_that_it_brings_along():
    found = measure(BRANCH, lambda a: float(a["optimizer"] == "sgd"))

    assert shares(found)["optimizer"] > 0.98


def test_a_log_scale_is_measured_on_its_logarithm():
    space = SearchSpace([Float(name="lr", low=1e-6, high=1, log=True), Int(name="n", low=1, high=1000, log=True)])

    found = measure(space, lambda a: math.log(a["lr"]) / math.log(1e6) + math.log(a["n"]) / math.log(1e3))

    assert shares(found) == pytest.approx({"lr": 0.5, "n": 0.5}, abs=0.08)


def test_one_huge_loss_does_not_drown_the_rest():
    found = measure(CUBE, lambda a: 1e6 if a["d"] > 0.99 else a["a"])

    assert shares(found)["a"] > 0.8


def test_diverged_trials_count_as_the_worst():
    found = measure(CUBE, lambda a: math.inf if a["b"] > 0.7 else a["a"] ** 8)

    assert found.entries[0].name == "b"


def test_pure_noise_makes_nothing_matter():
    rng = np.random.default_rng(9)

    found = measure(CUBE, lambda _: rng.normal())

    assert found.entries == ()
    assert "No parameter can be shown to matter" in found.warning


@pytest.mark.parametrize("count", [0, 1, FEWEST_TRIALS - 1])
def test_too_few_results_say_so(count):
    found = measure(CUBE, lambda a: a["a"], count=count)

    assert found.entries == ()
    assert f"there are {count}" in found.warning


def test_few_results_come_with_a_warning():
    assert "take the order as a hint" in measure(CUBE, lambda a: a["a"], count=20).warning


def test_equal_results_say_so():
    assert "All results are equal" in measure(CUBE, lambda _: 1.0).warning


def test_constants_alone_say_so():
    assert "No parameter varies" in measure(SearchSpace([Float(name="x", low=1, high=1)]), lambda _: 1.0).warning


def test_the_same_trials_give_the_same_shares():
    assert measure(CUBE, lambda a: a["a"] + a["b"]) == measure(CUBE, lambda a: a["a"] + a["b"])


def test_shares_and_joint_effects_add_up_to_the_whole():
    found = measure(CUBE, lambda a: a["a"] * a["b"] + a["c"])

    assert sum(shares(found).values()) + found.together == pytest.approx(1)
