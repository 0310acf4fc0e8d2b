"""Fronts, hypervolumes, rankings and the default winner."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seatrial.search.base import Evaluated, History
from seatrial.search.pareto import dominates, hypervolume_2d, pareto_front, pareto_ranks
from seatrial.search.ranking import standings
from seatrial.search.recommend import recommend_best

INF = float("inf")
points = st.integers(1, 4).flatmap(
    lambda m: arrays(float, st.tuples(st.integers(0, 30), st.just(m)), elements=st.integers(0, 5).map(float))
)


@pytest.mark.parametrize(
    ("values", "front"),
    [
        pytest.param([], [], id="no points"),
        pytest.param([(1, 1)], [0], id="one point"),
        pytest.param([(1, 4), (2, 2), (3, 3), (4, 1)], [0, 1, 3], id="one dominated"),
        pytest.param([(1, 1), (1, 1), (2, 0)], [0, 1, 2], id="equal points are all on the front"),
        pytest.param([(1, 2), (1, 1)], [1], id="equal in one objective"),
        pytest.param([(0, INF), (1, 5), (2, INF)], [0, 1], id="infinity"),
        pytest.param([(3,), (1,), (2,), (1,)], [1, 3], id="one objective"),
        pytest.param([(1, 2, 3), (3, 2, 1), (2, 2, 2), (3, 3, 3)], [0, 1, 2], id="three objectives"),
    ],
)
def test_the_front_is(values, front):
    assert pareto_front(values) == front


@given(points)
def test_the_front_is_what_pairwise_comparison_finds(values):
    rows = [tuple(row) for row in values.tolist()]

    expected = [i for i, row in enumerate(rows) if not any(dominates(other, row) for other in rows)]

    assert pareto_front(values) == expected


@given(points)
def test_ranks_are_the_fronts_peeled_one_after_another(values):
    ranks = pareto_ranks(values)

    left, rank = np.arange(len(values)), 0
    while len(left):
        front = left[pareto_front(values[left])]
        assert (ranks[front] == rank).all()
        left, rank = np.setdiff1d(left, front), rank + 1


def test_ranks_of_many_points_agree_with_the_ranks_of_few():
    values = np.random.default_rng(0).random((2500, 2)).round(2)

    ranks = pareto_ranks(values)

    best = np.flatnonzero(ranks <= 3)
    assert (pareto_ranks(values[best]) == ranks[best]).all()
    assert set(np.flatnonzero(ranks == 0)) == set(pareto_front(values))


@pytest.mark.parametrize(
    ("values", "reference", "area"),
    [
        pytest.param([], (1, 1), 0.0, id="no points"),
        pytest.param([(0, 0)], (2, 3), 6.0, id="one point"),
        pytest.param([(1, 3), (2, 2), (3, 1)], (4, 4), 6.0, id="a staircase"),
        pytest.param([(1, 3), (2, 2), (3, 1), (3, 3)], (4, 4), 6.0, id="a dominated point adds nothing"),
        pytest.param([(5, 0), (0, 4)], (4, 4), 0.0, id="outside the reference"),
        pytest.param([(1, 1), (1, 1)], (2, 2), 1.0, id="a point twice counts once"),
    ],
)
def test_the_hypervolume_is(values, reference, area):
    assert hypervolume_2d(values, reference) == pytest.approx(area)


@given(arrays(float, st.tuples(st.integers(0, 12), st.just(2)), elements=st.integers(0, 6).map(float)))
def test_the_hypervolume_counts_the_unit_cells_that_are_dominated(values):
    cells = sum(any(x <= i and y <= j for x, y in values.tolist()) for i in range(6) for j in range(6))

    assert hypervolume_2d(values, (6, 6)) == pytest.approx(cells)


def trial(index, *values, **more):
    return partial(Evaluated, assignment={}, **more)(index=index, values=tuple(map(float, values)))


def test_standings_put_full_before_stopped_before_infeasible_before_failed():
    trials = [
        trial(0, INF, failed=True),
        trial(1, 0.0, violations=(0.2, -1.0)),
        trial(2, 0.0, stopped=True, step=3),
        trial(3, 9.0, stopped=True, step=9),
        trial(4, 5.0),
        trial(5, 5.0, violations=(0.0,)),
        trial(6, 0.0, violations=(0.1,)),
        trial(7, 4.0),
    ]

    order = np.argsort(standings(trials))

    assert [trials[i].index for i in order] == [7, 4, 5, 3, 2, 6, 1, 0]


@pytest.mark.parametrize(
    ("trials", "winner"),
    [
        pytest.param([], None, id="no trials"),
        pytest.param([trial(0, INF, failed=True)], None, id="only failures"),
        pytest.param([trial(0, 1.0, violations=(0.1,))], None, id="only infeasible ones"),
        pytest.param([trial(0, 2.0), trial(1, 1.0)], 1, id="the lowest"),
        pytest.param([trial(4, 1.0), trial(2, 1.0)], 2, id="a tie goes to the lower index"),
        pytest.param([trial(0, 2.0), trial(1, 1.0, stopped=True)], 0, id="a stopped one does not win"),
        pytest.param([trial(0, 2.0, stopped=True), trial(1, 1.0, stopped=True)], 1, id="unless all are stopped"),
        pytest.param(
            [trial(0, 0, 9), trial(1, 4, 4), trial(2, 9, 0), trial(3, 3, 5)], 0, id="several: equal rank sums"
        ),
        pytest.param([trial(0, 0, 9), trial(1, 0, 4), trial(2, 9, 3)], 1, id="several: one is nearly best in both"),
    ],
)
def test_the_default_winner_is(trials, winner):
    assert recommend_best(History(evaluated=tuple(trials), next_index=9)) == winner
