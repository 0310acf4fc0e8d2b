"""Neglected branches get their turn."""

import numpy as np
import pytest

from search.gp.spaces import BRANCHES, MIXED
from search.rehearsal import rehearse
from seatrial.search.algorithms.gp import build_gp
from seatrial.search.base import Settings
from seatrial.search.gp.branches import EVERY, due_branch
from seatrial.search.gp.candidates import Branch, all_over, around
from seatrial.search.gp.encoding import Encoding
from seatrial.search.gp.optimise import NEAR, single_changes
from seatrial.search.parameters import Condition, Float, Int
from seatrial.search.space import SearchSpace


def rows(*models):
    return Encoding(BRANCHES).encode({"svm": {"model": "svm", "c": 0.1}}.get(m, {"model": m}) for m in models)


@pytest.mark.parametrize(
    ("models", "index", "expected"),
    [
        pytest.param(["svm", "knn", "svm"], EVERY, Branch(column=0, place=1.0), id="the one never seen"),
        pytest.param(["svm", "knn", "svm", "forest"], EVERY, Branch(column=0, place=1.0), id="ties to the earlier"),
        pytest.param(["forest", "forest", "svm"], 3 * EVERY, Branch(column=0, place=2.0), id="knn at a later turn"),
        pytest.param(["svm", "knn", "svm"], EVERY + 1, None, id="not its turn"),
    ],
)
def test_the_branch_with_the_fewest_points_is_due(models, index, expected):
    assert due_branch(Encoding(BRANCHES), rows(*models), index) == expected


def test_a_space_without_conditions_has_no_branches():
    space = SearchSpace([p for p in MIXED if p.when is None])

    assert due_branch(Encoding(space), np.zeros((0, 4)), EVERY) is None


def test_a_wide_range_is_not_a_choice_between_branches():
    space = SearchSpace(
        [Int(name="n", low=1, high=100), Float(name="x", low=0, high=1, when=Condition(parent="n", values=(7,)))]
    )

    assert due_branch(Encoding(space), np.zeros((0, 2)), EVERY) is None


@pytest.mark.parametrize("place", [0.0, 1.0, 2.0])
def test_all_candidates_stay_in_the_branch(place):
    encoding, rng = Encoding(BRANCHES), np.random.default_rng(0)
    branch = Branch(column=0, place=place)

    inside = all_over(encoding, 50, rng, branch)

    near = around(encoding, inside[:3], 50, rng, branch)
    changed = single_changes(encoding, inside[0], branch)
    for row in [*inside, *near, *changed]:
        assert row[0] == place
        assert BRANCHES.problems(encoding.decode(row)) == []
        np.testing.assert_allclose(encoding.canonical(row[None])[0], row)


def test_a_branch_that_looks_bad_at_first_is_not_given_up():
    # The branch svm is worst at its default and nearly everywhere, but has the lowest point of all at c = 0.9.
    def value(a):
        if a["model"] == "svm":
            return 1.0 - 1.2 * np.exp(-0.5 * ((a["c"] - 0.9) / 0.1) ** 2)
        return 0.5 if a["model"] == "knn" else 0.4 + 0.01 * a.get("depth", 5)

    history, _ = rehearse(build_gp(BRANCHES, Settings(seed=1)), value, trials=40)

    assert min(trial.values[0] for trial in history.evaluated) < -0.15


def test_bad_points_are_rarely_tried_again_a_hairs_breadth_away():
    # Flat nearly everywhere: the models' doubt is largest at the ends of the range, again and again.
    def value(a):
        return 0.5 if a["model"] == "knn" else 1.0 if a["model"] == "svm" else 0.8

    history, _ = rehearse(build_gp(BRANCHES, Settings(seed=1)), value, trials=50)

    tried = np.sort([trial.assignment["c"] for trial in history.evaluated if trial.assignment["model"] == "svm"])
    assert len(tried) > 20
    # Without the rule it is nearly half of them; a model in doubt may still take a bad point for a good one.
    assert (np.diff(tried) < NEAR).sum() <= 2
