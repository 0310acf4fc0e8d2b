"""What every algorithm of the table promises. A line in the table is all that it takes to be tested here."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.rehearsal import rehearse
from search.strategies import histories, spaces
from seatrial.api.algorithm import AlgorithmName
from seatrial.search.algorithms import ALGORITHMS, TRAITS
from seatrial.search.base import Algorithm, Evaluated, History, Settings
from seatrial.search.enumeration import Enumeration
from seatrial.search.parameters import Categorical, Condition, Constant, Float, Int, Ordinal
from seatrial.search.space import Assignment, SearchSpace

# Those that go on from checkpoints keep other promises: tests/search/population.
NAMES = [name for name in ALGORITHMS if not TRAITS[name].continues]
every_algorithm = pytest.mark.parametrize("name", NAMES)
# Small populations and short designs, so that thirty trials go through every phase.
NUMBERS = {"population_size": 6.0, "tournament_size": 3.0, "startup_trials": 6.0, "points": 4.0}

MIXED = SearchSpace(
    [
        Float(name="lr", low=1e-4, high=1.0, log=True),
        Int(name="hidden", low=16, high=512, log=True),
        Ordinal(name="batch", choices=(32, 64, 128, 256)),
        Categorical(name="optimizer", choices=("sgd", "adamw", "lion")),
        Float(name="momentum", low=0.0, high=0.99, when=Condition(parent="optimizer", values=("sgd", "lion"))),
        Categorical(name="nesterov", choices=(True, False), when=Condition(parent="optimizer", values=("sgd",))),
        Int(name="warmup", low=0, high=20, step=5, when=Condition(parent="nesterov", values=(True,))),
        Constant(name="epochs", value=9),
    ]
)
FINITE = SearchSpace(
    [
        Int(name="depth", low=1, high=4),
        Categorical(name="kind", choices=("a", "b", True)),
        Float(name="drop", low=0.0, high=0.2, step=0.1, when=Condition(parent="kind", values=("a",))),
        Constant(name="fixed", value="x", when=Condition(parent="kind", values=("b",))),
    ]
)
# Trials on the bowl: sixty, fewer for methods whose model costs more and needs less.
BOWL_TRIALS = {"gp": 20, "auto": 20}
SMOOTH = SearchSpace([Float(name=name, low=0.0, high=1.0) for name in "xyz"])


def build(name: str, space: SearchSpace, *, seed: int = 3, objectives: int = 1) -> Algorithm:
    """Make an algorithm by the table."""
    return ALGORITHMS[name](space, Settings(seed=seed, objectives=objectives, max_trials=100, numbers=NUMBERS))


def badness(assignment: Assignment) -> float:
    """A tiny objective on any space: distance to a corner that is no corner, plus a cost for each choice but one."""
    numbers = [float(v) for v in assignment.values() if isinstance(v, int | float) and not isinstance(v, bool)]
    return float(sum(abs(np.log1p(abs(x)) - 0.4) for x in numbers)) + ("sgd" not in assignment.values())


def sphere(assignment: Assignment) -> float:
    """Lowest at x = 0.3, y = 0.7, z = 0.45."""
    return sum((float(assignment[n]) - c) ** 2 for n, c in zip("xyz", (0.3, 0.7, 0.45), strict=True))


def a_history(space: SearchSpace, trials: int, *, seed: int = 0, objectives: int = 1) -> History:
    """Distinct random assignments with values, every seventh failed, every fifth stopped, and two pending."""
    rng = np.random.default_rng(seed)
    history = History()
    while history.next_index < trials + 2:
        assignment = space.sample(rng)
        if space.key(assignment) not in history.keys(space):
            history = history.with_pending(assignment)
    evaluated = []
    for trial in history.pending[:trials]:
        failed = trial.index % 7 == 3
        values = (float("inf"),) * objectives if failed else (badness(trial.assignment), *rng.random(objectives - 1))
        stopped = trial.index % 5 == 2 and not failed
        evaluated.append(
            Evaluated(
                index=trial.index, assignment=trial.assignment, values=values, stopped=stopped, failed=failed, step=5
            )
        )
    return History(evaluated=tuple(evaluated), pending=history.pending[trials:], next_index=trials + 2)


def assert_sound(space: SearchSpace, history: History, assignments: Iterator[Assignment] | list[Assignment]) -> None:
    """Check that assignments are in the space, typed as declared, new and distinct."""
    used = set(history.keys(space))
    for assignment in assignments:
        assert space.problems(assignment) == []
        assert space.complete(assignment) == assignment
        for parameter, value in ((space.by_name[name], value) for name, value in assignment.items()):
            assert type(value) is type(parameter.normalise(value)), parameter
            assert type(value) in {bool, int, float, str}, parameter
        assert space.key(assignment) not in used
        used.add(space.key(assignment))


def test_the_table_and_the_wire_name_the_same_algorithms():
    assert {name.value for name in AlgorithmName} == set(ALGORITHMS) == set(TRAITS)


def test_reading_the_table_imports_no_heavy_library():
    code = "import sys, seatrial.search.algorithms, seatrial.search.build; print([m for m in ('optuna', 'scipy', 'cmaes', 'torch') if m in sys.modules])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@every_algorithm
@pytest.mark.parametrize("trials", [0, 4, 30])
def test_the_same_history_gives_the_same_suggestions_to_another_instance(name, trials):
    history = a_history(MIXED, trials)

    assert build(name, MIXED).ask(history, 3) == build(name, MIXED).ask(history, 3)


def suggestions_as_text(name: str) -> str:
    """Return what an algorithm suggests after a fixed history; runs here and in another process."""
    history = a_history(MIXED, 25)
    return json.dumps([s.assignment for s in build(name, MIXED).ask(history, 2).suggestions])


def test_the_same_history_gives_the_same_suggestions_in_another_process():
    code = (
        "import json, sys; sys.path[:0] = json.loads(sys.argv[1]); "
        "from search.test_contract import NAMES, suggestions_as_text as text; "
        "print(json.dumps({name: text(name) for name in NAMES}))"
    )
    command = [sys.executable, "-c", code, json.dumps([p for p in sys.path if p])]

    # Another order of hashes, but the same number of BLAS threads: sums in another order differ in their last bits.
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    there = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)

    assert json.loads(there.stdout) == {name: suggestions_as_text(name) for name in NAMES}


@every_algorithm
def test_another_seed_gives_other_suggestions(name):
    history = a_history(MIXED, 0)

    assert build(name, MIXED, seed=1).ask(history, 6) != build(name, MIXED, seed=2).ask(history, 6)


@every_algorithm
def test_the_order_in_which_trials_finished_does_not_matter(name):
    history = a_history(MIXED, 30)
    shuffled = History(
        evaluated=tuple(np.random.default_rng(1).permutation(np.array(history.evaluated, dtype=object))),
        pending=history.pending[::-1],
        next_index=history.next_index,
    )

    assert build(name, MIXED).ask(history, 2) == build(name, MIXED).ask(shuffled, 2)


@every_algorithm
@pytest.mark.parametrize("trials", [0, 5, 21])
def test_asking_for_two_is_asking_twice_with_the_first_pending(name, trials):
    history = a_history(MIXED, trials)
    algorithm = build(name, MIXED)

    [first] = algorithm.ask(history, 1).suggestions
    [second] = algorithm.ask(history.with_pending(first.assignment), 1).suggestions

    assert build(name, MIXED).ask(history, 2).suggestions == (first, second)


@every_algorithm
def test_what_an_instance_remembers_changes_no_suggestion(name):
    full = a_history(MIXED, 24)
    veteran = build(name, MIXED)
    # Forwards, back again and to another history altogether: a memory that is only extended would not notice.
    for history in (
        History(evaluated=full.evaluated[:15], pending=full.pending, next_index=full.next_index),
        full,
        History(evaluated=full.evaluated[3:20], next_index=full.next_index),
        a_history(MIXED, 18, seed=5),
    ):
        assert veteran.ask(history, 2) == build(name, MIXED).ask(history, 2)


@every_algorithm
def test_asking_for_nothing_gives_nothing(name):
    answer = build(name, MIXED).ask(a_history(MIXED, 3), 0)

    assert answer.suggestions == ()
    assert answer.exhausted is None


@every_algorithm
def test_thirty_trials_on_three_workers_are_distinct_and_in_the_space(name):
    history, suggestions = rehearse(build(name, MIXED), badness, trials=30, parallel=3, order=4)

    assert len(history.evaluated) == 30
    assert_sound(MIXED, History(), [suggestion.assignment for suggestion in suggestions])
    assert all(suggestion.algorithm for suggestion in suggestions)


@every_algorithm
@pytest.mark.parametrize("parallel", [1, 3])
def test_a_finite_space_is_used_up_exactly_once_each_and_then_exhausted(name, parallel):
    everything = Enumeration(FINITE)

    history, _ = rehearse(build(name, FINITE), badness, trials=100, parallel=parallel)

    tried = [FINITE.key(trial.assignment) for trial in history.evaluated]
    assert sorted(map(repr, tried)) == sorted(repr(FINITE.key(everything.at(i))) for i in range(everything.size))
    answer = build(name, FINITE).ask(history, 1)
    assert answer.suggestions == ()
    assert str(everything.size) in answer.exhausted.message


@every_algorithm
def test_an_ask_beyond_the_end_gives_what_is_left_and_says_so(name):
    everything = Enumeration(FINITE)

    answer = build(name, FINITE).ask(History(), everything.size + 5)

    assert len(answer.suggestions) == everything.size
    assert answer.exhausted is not None


@every_algorithm
def test_a_space_of_constants_is_one_trial(name):
    space = SearchSpace([Constant(name="a", value=1), Categorical(name="b", choices=("only",))])

    answer = build(name, space).ask(History(), 2)

    assert [suggestion.assignment for suggestion in answer.suggestions] == [{"a": 1, "b": "only"}]
    assert answer.exhausted is not None


@every_algorithm
def test_a_study_in_which_everything_fails_goes_on(name):
    history, suggestions = rehearse(build(name, MIXED), lambda _: None, trials=14, parallel=2)

    assert len(suggestions) == 14
    assert_sound(MIXED, History(), [suggestion.assignment for suggestion in suggestions])
    assert build(name, MIXED).recommend(history) is None


@every_algorithm
def test_a_study_in_which_all_values_are_equal_goes_on(name):
    _, suggestions = rehearse(build(name, MIXED), lambda _: 1.0, trials=14)

    assert_sound(MIXED, History(), [suggestion.assignment for suggestion in suggestions])


@every_algorithm
@settings(max_examples=12, deadline=None)
@given(st.data())
def test_any_space_and_history_give_sound_suggestions_and_a_sound_winner(name, data):
    space = data.draw(spaces())
    history = data.draw(histories(space, constraints=1))
    algorithm = build(name, space)

    answer = algorithm.ask(history, 2)

    assert_sound(space, history, [suggestion.assignment for suggestion in answer.suggestions])
    assert (len(answer.suggestions) == 2) == (answer.exhausted is None)
    winner = algorithm.recommend(history)
    good = {trial.index: trial for trial in history.evaluated if trial.feasible}
    in_full = {index for index, trial in good.items() if not trial.stopped}
    assert winner in (in_full or set(good) or {None})


@every_algorithm
def test_several_objectives_are_searched_or_refused_in_words(name):
    if TRAITS[name].max_objectives == 1:
        with pytest.raises(ValueError, match=rf"{name} takes one objective"):
            build(name, MIXED, objectives=2)
        return
    algorithm = build(name, MIXED, objectives=2)

    history, suggestions = rehearse(algorithm, lambda a: (badness(a), float(a["lr"])), trials=20, parallel=2)

    assert_sound(MIXED, History(), [suggestion.assignment for suggestion in suggestions])
    assert algorithm.recommend(history) in range(20)


@every_algorithm
def test_the_winner_is_the_best_feasible_trial_that_was_trained_in_full(name):
    trial = partial(Evaluated, assignment=MIXED.default(), step=9)
    history = History(
        evaluated=(
            trial(index=0, values=(5.0,), violations=(0.0,)),
            trial(index=1, values=(1.0,), violations=(0.5,)),
            trial(index=2, values=(0.0,), violations=(0.0,), stopped=True),
            trial(index=3, values=(float("inf"),), failed=True),
        ),
        next_index=4,
    )

    assert build(name, MIXED).recommend(history) == 0


@pytest.mark.parametrize("name", [name for name in NAMES if TRAITS[name].learns])
def test_an_algorithm_that_learns_beats_random_search_on_a_smooth_bowl(name):
    def median_best(which: str) -> float:
        best = []
        for seed in range(3):
            history, _ = rehearse(build(which, SMOOTH, seed=seed), sphere, trials=BOWL_TRIALS.get(which, 60))
            best.append(min(trial.values[0] for trial in history.evaluated))
        return float(np.median(best))

    # Random search, which always has sixty trials, reaches 0.012 +- 0.006 here, the weakest method that learns 0.004: the gap is no luck of the seeds.
    assert median_best(name) < 0.6 * median_best("random")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_documentation_has_a_section_and_the_same_traits(name):
    page = (Path(__file__).parents[2] / "docs" / "algorithms.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| [`{name}`]"))

    assert f"\n## {name}\n" in page
    assert row.split("|")[2:4] == [
        " one " if TRAITS[name].max_objectives == 1 else " any number ",
        " yes " if TRAITS[name].constraints else " no ",
    ]
