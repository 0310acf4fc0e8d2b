"""The algorithm as a whole, beyond what its contract says."""

import numpy as np
import pytest

from search.gp.spaces import BRANCHES, LINE, MIXED
from search.rehearsal import rehearse
from seatrial.search.algorithms.gp import build_gp
from seatrial.search.base import Evaluated, History, Settings
from seatrial.search.gp.design import branch_defaults, design_length
from seatrial.search.gp.encoding import Encoding
from seatrial.search.parameters import Categorical, Condition, Float
from seatrial.search.space import SearchSpace

PLANE = SearchSpace([Float(name="x", low=0.0, high=1.0), Float(name="y", low=0.0, high=1.0)])


def gp(space, *, seed=0, **numbers):
    return build_gp(space, Settings(seed=seed, numbers={k: float(v) for k, v in numbers.items()}))


def evaluated(assignments, values, **common):
    return tuple(
        Evaluated(index=i, assignment=a, values=(float(v),), **common)
        for i, (a, v) in enumerate(zip(assignments, values, strict=True))
    )


def grid_history(f, n=12, **common):
    """Values of f(x) on an even grid over LINE."""
    xs = np.linspace(0, 1, n)
    return History(evaluated=evaluated([{"x": float(x)} for x in xs], [f(x) for x in xs], **common), next_index=n)


def test_the_first_point_is_the_default():
    space = SearchSpace([Float(name="lr", low=1e-4, high=1.0, log=True, default=0.02), Float(name="x", low=0, high=4)])

    [first] = gp(space).ask(History(), 1).suggestions

    assert first.assignment == {"lr": 0.02, "x": 2.0}


def test_the_first_points_of_a_conditional_space_are_one_default_for_each_branch():
    answer = gp(BRANCHES).ask(History(), 3)

    # The middle of three choices is the second.
    assert [s.assignment for s in answer.suggestions] == [
        {"model": "forest", "rule": "entropy", "depth": 5},
        {"model": "svm", "c": 0.5},
        {"model": "knn"},
    ]


def test_a_hundred_branches_do_not_use_up_the_budget():
    choices = tuple(f"m{i}" for i in range(100))
    space = SearchSpace(
        [
            Categorical(name="m", choices=choices),
            Float(name="x", low=0, high=1, when=Condition(parent="m", values=("m3",))),
        ]
    )

    assert len(branch_defaults(space)) == 12
    assert design_length(Encoding(space), None) == 14


@pytest.mark.parametrize(
    ("space", "wanted", "expected"),
    [
        pytest.param(LINE, None, 6, id="at least six"),
        pytest.param(SearchSpace([Float(name=f"x{i}", low=0, high=1) for i in range(7)]), None, 9, id="k + 2"),
        pytest.param(SearchSpace([Float(name=f"x{i}", low=0, high=1) for i in range(64)]), None, 12, id="at most 12"),
        pytest.param(LINE, 4, 4, id="as wanted"),
        pytest.param(BRANCHES, 2, 5, id="branch defaults and two more"),
    ],
)
def test_length_of_the_design(space, wanted, expected):
    assert design_length(Encoding(space), wanted) == expected


def test_the_model_goes_to_the_bottom_of_a_bowl():
    [first, second] = gp(LINE).ask(grid_history(lambda x: (x - 0.37) ** 2), 2).suggestions

    assert first.assignment["x"] == pytest.approx(0.37, abs=0.02)
    assert first.assignment != second.assignment
    assert "model" in first.detail


def test_a_branch_that_is_better_is_searched_more():
    def value(a):
        return 0.0 + (a["c"] - 0.8) ** 2 if a["model"] == "svm" else 1.0 + a.get("depth", 5) / 10

    history, _ = rehearse(gp(BRANCHES), value, trials=25)

    branches = [trial.assignment["model"] for trial in history.evaluated]
    best = min(history.evaluated, key=lambda trial: trial.values)
    assert branches[10:].count("svm") > 10
    assert best.assignment["c"] == pytest.approx(0.8, abs=0.02)


def test_failures_keep_the_search_away():
    # The bowl's bottom is in the half that fails.
    xs = np.linspace(0, 1, 12)
    trials = tuple(
        Evaluated(
            index=i, assignment={"x": float(x)}, values=(float("inf") if x > 0.5 else float((x - 0.7) ** 2),), failed=bool(x > 0.5)
        )
        for i, x in enumerate(xs)
    )  # fmt: skip

    suggestions = gp(LINE).ask(History(evaluated=trials, next_index=12), 4).suggestions

    assert all(s.assignment["x"] < 0.6 for s in suggestions)
    assert any(s.assignment["x"] > 0.4 for s in suggestions)


def test_constraints_keep_the_search_inside():
    # Lowest at 0.9, allowed up to 0.5.
    history = grid_history(lambda x: (x - 0.9) ** 2)
    limited = tuple(
        Evaluated(index=t.index, assignment=t.assignment, values=t.values, violations=(t.assignment["x"] - 0.5,))
        for t in history.evaluated
    )

    free = gp(LINE).ask(history, 1).suggestions[0].assignment["x"]
    kept = gp(LINE).ask(History(evaluated=limited, next_index=12), 2).suggestions

    assert free == pytest.approx(0.9, abs=0.03)
    assert all(0.45 < s.assignment["x"] < 0.53 for s in kept)


def test_without_any_feasible_trial_feasibility_is_sought():
    # Everything seen violates; the violation goes down towards x = 1, the objective up.
    xs = np.linspace(0, 0.7, 8)
    trials = tuple(
        Evaluated(index=i, assignment={"x": float(x)}, values=(float(x),), violations=(float(0.8 - x),))
        for i, x in enumerate(xs)
    )

    [suggestion] = gp(LINE).ask(History(evaluated=trials, next_index=8), 1).suggestions

    assert suggestion.assignment["x"] > 0.78


def test_a_constrained_study_ends_at_the_best_feasible_point():
    def outcome(a):
        return float(a["x"] + a["y"]), float(0.5 - a["x"] * a["y"] * 2)

    algorithm, history = gp(PLANE), History()
    for _ in range(30):
        [s] = algorithm.ask(history, 1).suggestions
        value, violation = outcome(s.assignment)
        trial = Evaluated(index=history.next_index, assignment=s.assignment, values=(value,), violations=(violation,))
        history = History(evaluated=(*history.evaluated, trial), next_index=history.next_index + 1)

    winner = history.evaluated[algorithm.recommend(history)]
    # x y >= 1/4 with the least x + y: x = y = 1/2.
    assert winner.feasible
    assert winner.values[0] == pytest.approx(1.0, abs=0.03)


def test_eight_at_once_spread_out():
    def bowl(a):
        return (a["x"] - 0.3) ** 2 + (a["y"] - 0.6) ** 2

    history, _ = rehearse(gp(PLANE), bowl, trials=12)

    batch = [s.assignment for s in gp(PLANE).ask(history, 8).suggestions]

    points = np.array([[a["x"], a["y"]] for a in batch])
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)[np.triu_indices(8, 1)]
    assert gaps.min() > 1e-3


def test_a_stronger_pull_stays_closer_to_the_default():
    rng = np.random.default_rng(0)
    points = rng.random((4, 2))
    history = History(
        evaluated=evaluated([{"x": float(x), "y": float(y)} for x, y in points], rng.random(4)), next_index=12
    )

    def distance(pull):
        [s] = gp(PLANE, default_pull=pull).ask(history, 1).suggestions
        return np.hypot(s.assignment["x"] - 0.5, s.assignment["y"] - 0.5)

    assert distance(100) < 0.05 < distance(0)


def test_the_winner_is_not_the_luckiest_trial():
    # A bowl measured at 40 places, with noise as large as the bowl is deep up to 0.35 from its bottom.
    model, lowest = [], []
    for seed in range(8):
        noise = 0.5 * np.random.default_rng(seed).normal(size=40)
        xs = np.linspace(0, 1, 40)
        values = 4 * (xs - 0.3) ** 2 + noise
        history = History(evaluated=evaluated([{"x": float(x)} for x in xs], values), next_index=40)
        model.append(abs(xs[gp(LINE).recommend(history)] - 0.3))
        lowest.append(abs(xs[np.argmin(values)] - 0.3))

    assert np.mean(model) < 0.7 * np.mean(lowest)


def test_stopped_trials_win_only_when_nothing_was_trained_in_full():
    full = grid_history(lambda x: x + 1).evaluated
    stopped = evaluated([{"x": 0.501}], [0.0], stopped=True)
    both = History(evaluated=(*full, Evaluated(**{**_fields(stopped[0]), "index": 12})), next_index=13)
    only = History(evaluated=tuple(Evaluated(**{**_fields(t), "stopped": True}) for t in full), next_index=12)

    assert gp(LINE).recommend(both) == 0
    assert gp(LINE).recommend(only) == 0


def _fields(trial):
    return {name: getattr(trial, name) for name in Evaluated.__slots__}


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_few_observations_after_a_short_design_give_sound_suggestions(trials):
    history = History(evaluated=grid_history(lambda x: x).evaluated[:trials], next_index=9)

    suggestions = gp(LINE, startup_trials=2).ask(history, 3).suggestions

    assert len({s.assignment["x"] for s in suggestions}) == 3


def test_sixty_four_parameters_are_searched():
    space = SearchSpace([Float(name=f"x{i}", low=0.0, high=1.0) for i in range(64)])
    rng = np.random.default_rng(0)
    points = [space.sample(rng) for _ in range(30)]
    history = History(evaluated=evaluated(points, [sum(a.values()) for a in points]), next_index=30)

    [suggestion] = gp(space).ask(history, 1).suggestions

    assert sum(suggestion.assignment.values()) < min(sum(a.values()) for a in points)


def test_ten_thousand_trials_are_no_obstacle():
    rng = np.random.default_rng(0)
    points = [{"x": float(x), "y": float(y)} for x, y in rng.random((10_000, 2))]
    values = [(a["x"] - 0.3) ** 2 + (a["y"] - 0.6) ** 2 for a in points]
    history = History(evaluated=evaluated(points, values), next_index=10_000)
    algorithm = gp(PLANE)

    [suggestion] = algorithm.ask(history, 1).suggestions

    assert suggestion.assignment["x"] == pytest.approx(0.3, abs=0.05)
    assert values[algorithm.recommend(history)] < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_huge_and_tiny_values_are_survived(seed):
    rng = np.random.default_rng(seed)
    points = [MIXED.sample(rng) for _ in range(20)]
    values = rng.choice([1e300, -1e300, 1e-300, 0.0, 5.0], 20)
    history = History(evaluated=evaluated(points, values), next_index=20)

    [suggestion] = gp(MIXED).ask(history, 1).suggestions

    assert MIXED.problems(suggestion.assignment) == []
