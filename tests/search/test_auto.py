"""The default asks whom it says it asks."""

import numpy as np
import pytest

from seatrial.search.algorithms.auto import build_auto
from seatrial.search.base import Evaluated, History, Pending, Settings
from seatrial.search.parameters import Float
from seatrial.search.space import SearchSpace

SPACE = SearchSpace([Float(name="x", low=0.0, high=1.0), Float(name="y", low=0.0, high=1.0)])


def history(index, running=0, objectives=1):
    """A history with a few outcomes, some running trials, and any index."""
    rng = np.random.default_rng(0)
    points = [SPACE.sample(rng) for _ in range(20 + running)]
    return History(
        evaluated=tuple(
            Evaluated(index=i, assignment=a, values=tuple(float(v) for v in rng.random(objectives)))
            for i, a in enumerate(points[:20])
        ),
        pending=tuple(Pending(index=20 + i, assignment=a) for i, a in enumerate(points[20:])),
        next_index=index,
    )


@pytest.mark.parametrize(
    ("given", "objectives", "expected"),
    [
        pytest.param(history(20), 1, "gp", id="one objective"),
        pytest.param(history(299), 1, "gp", id="the last of the young study"),
        pytest.param(history(300), 1, "tpe", id="every third turn of an old study"),
        pytest.param(history(301), 1, "gp", id="the other turns"),
        pytest.param(history(36, running=16), 1, "gp", id="sixteen running"),
        pytest.param(history(37, running=17), 1, "tpe", id="seventeen running"),
        pytest.param(history(20, objectives=2), 2, "tpe", id="two objectives"),
        pytest.param(history(200, objectives=2), 2, "nsga2", id="two objectives, two hundred trials"),
    ],
)
def test_the_algorithm_follows_from_the_history(given, objectives, expected):
    auto = build_auto(SPACE, Settings(objectives=objectives))

    [suggestion] = auto.ask(given, 1).suggestions

    assert auto.chosen(given) == expected
    assert suggestion.algorithm == expected


def test_a_large_batch_is_shared():
    suggestions = build_auto(SPACE, Settings()).ask(history(20), 20).suggestions

    assert [s.algorithm for s in suggestions] == ["gp"] * 17 + ["tpe"] * 3


def test_the_pull_of_the_settings_reaches_the_models():
    def first(pull):
        return build_auto(SPACE, Settings(numbers={"default_pull": pull})).ask(history(20), 1).suggestions

    assert first(0.0) != first(50.0)
