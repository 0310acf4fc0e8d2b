"""Explore by a bandit that knows that time passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.population.populations import Rehearsal, a_pbt
from search.strategies import spaces
from seatrial.search.base import Evaluated, Membership, Move, Saved, Source
from seatrial.search.parameters import Categorical, Float
from seatrial.search.population.explore import Explorer
from seatrial.search.population.pb2 import Improvement, Trained, bandit_parameters, explore_by_bandit, improvements
from seatrial.search.space import SearchSpace

LINE = SearchSpace([Float(name="x", low=0.0, high=1.0)])
ALL = Explorer(mutable={"x"})


def trial(
    index: int, value: float, source: int | None = None, *, generation: int = 0, failed: bool = False
) -> Evaluated:
    step = 3 * (generation + 1)
    return Evaluated(
        index=index,
        assignment={"x": index / 10},
        values=(value,),
        failed=failed,
        until_step=step,
        saved=Saved(step=step, digest="d"),
        source=None if source is None else Source(trial=source, step=step - 3, digest="d"),
        membership=Membership(member=0, generation=generation, move=Move.START),
    )


def test_a_gain_is_what_an_interval_improved_per_step():
    first = [trial(0, 9.0), trial(1, 6.0)]
    second = [
        trial(2, 3.0, 1, generation=1),
        trial(3, 7.5, 0, generation=1),
        trial(4, 1.0, 0, generation=1, failed=True),
    ]

    found = improvements([*first, *second])

    assert [(row.generation, row.gain) for row in found] == [(1, 1.0), (1, 0.5)]


def rows(peak, generation: int, count: int = 15) -> list[Improvement]:
    return [
        Improvement(assignment={"x": x}, generation=generation, gain=-((x - peak) ** 2))
        for x in np.linspace(0, 1, count)
    ]


def chosen(known, *, running=(), generation=3, seeds=9) -> list[float]:
    return [
        explore_by_bandit(
            LINE,
            {"x": 0.5},
            ALL,
            known=known,
            running=running,
            generation=generation,
            rng=np.random.default_rng(seed),
        )["x"]
        for seed in range(seeds)
    ]


@pytest.mark.parametrize("peak", [0.0, 0.3, 0.75, 1.0])
def test_it_goes_where_the_gain_was_highest(peak):
    assert np.median(np.abs(np.array(chosen(rows(peak, 2))) - peak)) < 0.06


def test_what_was_good_long_ago_counts_less_than_what_is_good_now():
    moved = [*rows(0.1, 0), *rows(0.3, 3), *rows(0.6, 6), *rows(0.8, 9)]

    assert np.median(chosen(moved, generation=10)) > 0.65


def test_members_that_are_told_at_the_same_time_spread():
    """At the place that is being tried already there is less to learn."""
    rng = np.random.default_rng(0)
    noisy = [Improvement(assignment={"x": x}, generation=2, gain=float(rng.normal())) for x in rng.random(8)]
    alone = chosen(noisy)
    beside = chosen(noisy, running=[Trained(assignment={"x": alone[0]}, generation=3)] * 3)

    assert abs(beside[0] - alone[0]) > 0.02


@pytest.mark.parametrize(("count", "expected"), [(0, False), (2, False), (3, True)])
def test_it_keeps_out_while_too_little_is_known(count, expected):
    known = [Improvement(assignment={"x": i / 10}, generation=1, gain=float(i)) for i in range(count)]

    found = explore_by_bandit(
        LINE, {"x": 0.5}, ALL, known=known, running=[], generation=2, rng=np.random.default_rng(0)
    )

    assert (found is not None) is expected


def test_choices_without_order_are_no_coordinates():
    space = SearchSpace([Float(name="x", low=0, high=1), Categorical(name="kind", choices=("a", "b"))])

    assert [p.name for p in bandit_parameters(space, Explorer(mutable={"x", "kind"}))] == ["x"]
    assert bandit_parameters(space, Explorer(mutable={"kind"})) == ()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_it_knows_it_gives_an_assignment_of_the_space(data):
    space = data.draw(spaces())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    mutable = data.draw(st.sets(st.sampled_from([p.name for p in space])))
    winner = space.sample(rng)
    gain = data.draw(st.sampled_from([lambda: 0.0, rng.normal, lambda: 1e300 * rng.normal(), lambda: 1e-300]))
    known = [
        Improvement(assignment=space.sample(rng), generation=int(rng.integers(5)), gain=float(gain()))
        for _ in range(12)
    ]

    found = explore_by_bandit(space, winner, Explorer(mutable=mutable), known=known, running=[], generation=5, rng=rng)

    if found is not None:
        assert space.problems(found) == []
        assert space.complete(found) == found
        for name, value in winner.items():
            if name not in mutable and space.by_name[name].when is None:
                assert found[name] == value


def test_a_population_uses_it_as_soon_as_a_generation_has_a_gain():
    plain = Rehearsal(a_pbt(max_step=15, population_size=8)).run()
    bandit = Rehearsal(a_pbt(max_step=15, population_size=8, explore="pb2")).run()

    first = [t.assignment for t in plain.trials if t.membership.generation < 2]
    assert first == [t.assignment for t in bandit.trials if t.membership.generation < 2]
    assert [t.assignment for t in plain.trials] != [t.assignment for t in bandit.trials]
