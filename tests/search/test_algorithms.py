"""Golden values of single algorithms: where the contract says that something comes out, these say what."""

import math

import numpy as np
import pytest
from cmaes import CatCMAwM
from scipy.stats import qmc

from search.rehearsal import rehearse
from seatrial.search.algorithms import ALGORITHMS, TRAITS
from seatrial.search.algorithms.cmaes_search import build_cmaes
from seatrial.search.algorithms.evolution import build_evolution, select_parent
from seatrial.search.algorithms.grid import build_grid, grid_size, grid_space
from seatrial.search.algorithms.nsga2 import crowding_distance, survivors
from seatrial.search.algorithms.sobol import sobol_point
from seatrial.search.algorithms.tpe import build_tpe
from seatrial.search.base import Evaluated, History, Settings
from seatrial.search.chance import generator
from seatrial.search.parameters import Categorical, Condition, Float, Int, Ordinal
from seatrial.search.space import SearchSpace

INF = float("inf")


def trial(index, *values, assignment=None, **more):
    return Evaluated(index=index, assignment=assignment or {}, values=tuple(map(float, values)), **more)


# ---- grid ------------------------------------------------------------------------------------------------------------

BRANCHES = [
    Categorical(name="optimizer", choices=("sgd", "adamw")),
    Float(name="momentum", low=0.0, high=0.9, when=Condition(parent="optimizer", values=("sgd",))),
    Int(name="depth", low=1, high=3),
]


@pytest.mark.parametrize(
    ("parameters", "settings", "size"),
    [
        pytest.param([Int(name="n", low=1, high=7, step=3)], Settings(), 3, id="a stepped int"),
        pytest.param([Float(name="x", low=0, high=1, step=0.1)], Settings(), 11, id="a stepped float"),
        pytest.param([Float(name="x", low=2, high=2)], Settings(), 1, id="a float without width"),
        pytest.param(BRANCHES, Settings(numbers={"points": 5}), (5 + 1) * 3, id="a branch is counted once"),
        pytest.param(BRANCHES, Settings(resolutions={"momentum": 2}), (2 + 1) * 3, id="a resolution for one"),
        pytest.param(BRANCHES, Settings(numbers={"points": 2}), (2 + 1) * 2, id="points thin out a longer int"),
        pytest.param(
            BRANCHES, Settings(numbers={"points": 2}, resolutions={"depth": 3}), (2 + 1) * 3, id="a resolution wins"
        ),
        pytest.param(
            [Int(name="n", low=1, high=3, log=True)], Settings(resolutions={"n": 10}), 3, id="more than there are"
        ),
        pytest.param([Int(name="n", low=1, high=10**9)] * 1, Settings(), 10**9, id="a billion"),
    ],
)
def test_a_grid_has_this_many_points(parameters, settings, size):
    assert grid_size(SearchSpace(parameters), settings) == size


@pytest.mark.parametrize(
    ("parameter", "points", "values"),
    [
        pytest.param(Float(name="x", low=0, high=1), 5, [0.0, 0.25, 0.5, 0.75, 1.0], id="linear float"),
        pytest.param(Float(name="x", low=0.1, high=0.3), 3, [0.1, 0.2, 0.3], id="reads as a person would write it"),
        pytest.param(Float(name="x", low=1e-4, high=1.0, log=True), 5, [1e-4, 1e-3, 1e-2, 1e-1, 1.0], id="log float"),
        pytest.param(Float(name="x", low=1e-4, high=1.0, log=True), 1, [1e-2], id="one point is the middle"),
        pytest.param(Int(name="x", low=1, high=9), 3, [1, 5, 9], id="int"),
        pytest.param(Int(name="x", low=0, high=20, step=5), 3, [0, 10, 20], id="stepped int"),
        pytest.param(Int(name="x", low=1, high=1000, log=True), 4, [1, 10, 100, 1000], id="log int"),
        pytest.param(Int(name="x", low=1, high=6, log=True), 5, [1, 2, 4, 6], id="log ints that round together"),
        pytest.param(Float(name="x", low=0, high=1, step=0.1), 3, [0.0, 0.5, 1.0], id="stepped float"),
    ],
)
def test_a_resolution_gives_these_values(parameter, points, values):
    [axis] = grid_space(SearchSpace([parameter]), Settings(resolutions={"x": points}))

    found = [axis.at(level) for level in range(axis.levels or 0)]

    assert found == values
    assert all(type(a) is type(b) for a, b in zip(found, values, strict=True))


def test_an_unbounded_grid_is_refused_with_the_number_it_would_be():
    space = SearchSpace([*BRANCHES, Float(name="lr", low=1e-5, high=1e-1, log=True)])

    with pytest.raises(ValueError, match=r"momentum, lr .* 5 points each the grid would have 90 trials"):
        build_grid(space, Settings())


def test_a_grid_of_a_billion_points_starts_at_once_and_spreads():
    space = SearchSpace([Int(name=name, low=0, high=999) for name in "abc"])

    answer = build_grid(space, Settings(seed=5)).ask(History(), 60)

    for name in "abc":
        thirds = np.bincount([int(s.assignment[name]) * 3 // 1000 for s in answer.suggestions], minlength=3)
        assert thirds.min() >= 10


def test_the_order_of_a_grid_depends_on_the_seed_alone():
    space = SearchSpace([Int(name="a", low=0, high=2), Ordinal(name="b", choices=("x", "y"))])

    orders = [
        [tuple(s.assignment.values()) for s in build_grid(space, Settings(seed=seed)).ask(History(), 6).suggestions]
        for seed in (0, 0, 1)
    ]

    assert orders[0] == [(0, "y"), (1, "x"), (1, "y"), (2, "x"), (2, "y"), (0, "x")]
    assert orders[0] == orders[1] != orders[2]


def test_trials_that_came_from_elsewhere_leave_no_gap_in_the_grid():
    space = SearchSpace([Int(name="a", low=0, high=4)])
    grid = build_grid(space, Settings())
    history = History()
    for value in (2, 0):
        history = history.with_pending({"a": value})

    answer = grid.ask(history, 5)

    assert sorted(s.assignment["a"] for s in answer.suggestions) == [1, 3, 4]
    assert answer.exhausted is not None


# ---- Sobol -----------------------------------------------------------------------------------------------------------


def test_points_by_index_are_the_sequence():
    sequence = qmc.Sobol(3, scramble=True, rng=np.random.default_rng(11)).random(16)

    assert np.array([sobol_point(3, 11, i) for i in (5, 0, 15, 5)]) == pytest.approx(sequence[[5, 0, 15, 5]])


def test_the_first_sixteen_points_fall_into_sixteen_different_cells_of_each_axis():
    points = np.array([sobol_point(4, 2, i) for i in range(16)])

    for axis in points.T:
        assert sorted((axis * 16).astype(int)) == list(range(16))


# ---- evolution -------------------------------------------------------------------------------------------------------


def test_a_tournament_of_all_draws_takes_the_best_and_ties_go_to_the_older():
    population = [trial(3, 2.0), trial(4, 1.0), trial(5, 1.0), trial(6, INF, failed=True)]

    assert select_parent(population, 100, np.random.default_rng(0)).index == 4


def test_tournaments_choose_as_often_as_the_formula_says():
    population = [trial(i, float(i)) for i in range(4)]
    rng = np.random.default_rng(1)

    wins = np.bincount([select_parent(population, 2, rng).index for _ in range(4000)], minlength=4) / 4000

    # P(rank i wins) of a tournament of two with replacement among four: ((4-i)^2 - (3-i)^2) / 16.
    assert wins == pytest.approx([7 / 16, 5 / 16, 3 / 16, 1 / 16], abs=0.03)


def test_old_members_leave_however_good_they_are_and_a_child_differs_in_one_parameter():
    space = SearchSpace([Int(name=name, low=0, high=1000) for name in "ab"])
    evaluated = tuple(trial(i, 0.0 if i == 0 else 1.0 + i, assignment={"a": 500 + i, "b": 500 - i}) for i in range(6))
    evolution = build_evolution(space, Settings(numbers={"population_size": 5, "tournament_size": 50}))

    [child] = evolution.ask(History(evaluated=evaluated, next_index=6), 1).suggestions

    assert child.detail == "child of trial 1"
    assert (child.assignment["a"] == 501) + (child.assignment["b"] == 499) == 1


# ---- NSGA-II ---------------------------------------------------------------------------------------------------------


def test_crowding_distance_of_a_front():
    front = np.array([(0.0, 10.0), (1.0, 6.0), (5.0, 5.0), (10.0, 0.0)])

    assert crowding_distance(front) == pytest.approx([INF, 5 / 10 + 5 / 10, 9 / 10 + 6 / 10, INF])


def test_survivors_are_whole_fronts_then_the_lonely_then_constraints_then_failures():
    trials = [
        trial(0, 0, 10),
        trial(1, 1, 6),
        trial(2, 5, 5),
        trial(3, 10, 0),
        trial(4, 11, 11),
        trial(5, 0, 0, violations=(0.2,)),
        trial(6, 0, 0, violations=(0.1,)),
        trial(7, INF, INF, failed=True),
    ]

    assert [t.index for t in survivors(trials, 3)] == [0, 2, 3]
    assert [t.index for t in survivors(trials, 5)] == [0, 1, 2, 3, 4]
    assert [t.index for t in survivors(trials, 6)] == [0, 1, 2, 3, 4, 6]


def test_nsga2_finds_both_ends_and_the_middle_of_a_known_front():
    space = SearchSpace([Float(name=name, low=0.0, high=1.0) for name in "xyz"])
    nsga2 = ALGORITHMS["nsga2"](space, Settings(objectives=2, numbers={"population_size": 12}))

    def zdt(a):
        g = 1 + 4.5 * (a["y"] + a["z"])
        return a["x"], g * (1 - math.sqrt(a["x"] / g))

    history, _ = rehearse(nsga2, zdt, trials=240)

    late = [t.values for t in history.evaluated[-60:]]
    assert np.mean([y - (1 - math.sqrt(x)) for x, y in late]) < 0.5


# ---- CMA-ES ----------------------------------------------------------------------------------------------------------


def test_a_replay_is_the_run_that_the_library_would_have_made():
    space = SearchSpace(
        [
            Float(name="x", low=0.0, high=1.0),
            Int(name="n", low=0, high=9),
            Categorical(name="c", choices=("a", "b", "c")),
        ]
    )
    algorithm = build_cmaes(space, Settings(seed=9, numbers={"population_size": 6, "sigma": 0.3}))
    live = CatCMAwM(
        x_space=[[0.0, 1.0]],
        z_space=[list(range(10))],
        c_space=[3],
        population_size=6,
        mean=np.array([0.5, 5.0]),
        sigma=0.3,
        cov=np.diag([1.0, 81.0]),
    )

    history, suggestions = rehearse(algorithm, lambda a: float(a["x"] + abs(a["n"] - 3) + (a["c"] != "b")), trials=18)

    for start in (0, 6, 12):
        generation = []
        for index in range(start, start + 6):
            live.reseed_rng(int(generator(9, index, 1).integers(2**32)))
            drawn = live.ask()
            expected = {"x": float(drawn.x[0]), "n": int(drawn.z[0]), "c": "abc"[int(np.argmax(drawn.c[0]))]}
            assert suggestions[index].assignment == expected
            generation.append((drawn, index))
        order = sorted(generation, key=lambda pair: history.evaluated[pair[1]].values)
        live.tell([(drawn, float(place)) for place, (drawn, _) in enumerate(order)])


def test_a_converged_run_is_followed_by_another_of_twice_the_size():
    space = SearchSpace([Float(name="x", low=0.0, high=1.0)])
    algorithm = build_cmaes(space, Settings())

    history, generations = History(), []
    for _ in range(40):
        for suggestion in algorithm.ask(history, 4).suggestions:
            x = suggestion.assignment["x"]
            done = trial(history.next_index, (x - 0.7) ** 2, assignment={"x": x})
            history = History(evaluated=(*history.evaluated, done), next_index=done.index + 1)
            generations.append(int(suggestion.detail.split()[-1]))

    assert min(t.values[0] for t in history.evaluated) < 1e-10
    drops = [i for i in range(1, len(generations)) if generations[i] < generations[i - 1]]
    assert drops, "the count of generations starts again"
    assert generations[drops[0] :].index(1) in {8, 9, 10, 11}, (
        "eight trials make the first generation of the second run"
    )


# ---- TPE -------------------------------------------------------------------------------------------------------------


def test_tpe_keeps_away_from_failures_and_from_what_is_pending():
    space = SearchSpace([Float(name="x", low=0.0, high=1.0)])
    evaluated = [trial(i, INF, failed=True, assignment={"x": 0.5 + 0.5 * i / 20}) for i in range(20)]
    evaluated += [trial(20 + i, 1.0 + i, assignment={"x": 0.5 * i / 20}) for i in range(20)]
    tpe = build_tpe(space, Settings())

    found = [s.assignment["x"] for s in tpe.ask(History(evaluated=tuple(evaluated), next_index=40), 10).suggestions]

    assert max(found) < 0.5
    assert max(found) - min(found) > 0.05


def test_tpe_honours_outcome_constraints():
    space = SearchSpace([Float(name="x", low=0.0, high=1.0)])
    xs = [i / 40 for i in range(40)]
    evaluated = tuple(trial(i, x, assignment={"x": x}, violations=(0.5 - x,)) for i, x in enumerate(xs))

    answer = build_tpe(space, Settings()).ask(History(evaluated=evaluated, next_index=40), 10)

    assert np.median([s.assignment["x"] for s in answer.suggestions]) > 0.45


def test_tpe_copes_with_several_objectives_of_any_size():
    space = SearchSpace([Float(name="x", low=0.0, high=1.0)])
    extremes = [(0.0, 1e300, -1e300), (1e300, 0.0, 1.0), (-1e300, 1e300, 1e300), (0.0, 0.0, 0.0)]
    evaluated = tuple(trial(i, *extremes[i % 4], assignment={"x": i / 30}) for i in range(30))

    with np.errstate(all="raise"):
        answer = build_tpe(space, Settings(objectives=3)).ask(History(evaluated=evaluated, next_index=30), 3)

    assert len({s.assignment["x"] for s in answer.suggestions}) == 3


# ---- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, traits in TRAITS.items() if traits.finite])
def test_what_needs_finitely_many_points_refuses_a_continuum(name):
    with pytest.raises(ValueError, match="points"):
        ALGORITHMS[name](SearchSpace([Float(name="x", low=0, high=1)]), Settings())
