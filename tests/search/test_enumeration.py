"""Numbering the assignments of a finite space, and finding one that is still unused."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search.strategies import brute_force, spaces
from seatrial.search.base import Exhausted
from seatrial.search.dedupe import unseen
from seatrial.search.enumeration import Enumeration, permuted
from seatrial.search.parameters import Categorical, Condition, Float, Int
from seatrial.search.space import SearchSpace

TREE = SearchSpace(
    [
        Categorical(name="kind", choices=("a", "b")),
        Int(name="n", low=1, high=3, when=Condition(parent="kind", values=("a",))),
        Categorical(name="deep", choices=(True, False), when=Condition(parent="n", values=(2,))),
        Int(name="last", low=0, high=1),
    ]
)


def test_a_conditional_space_is_numbered_first_parameter_first():
    everything = Enumeration(TREE)

    assert [everything.at(i) for i in range(everything.size)] == [
        {"kind": "a", "n": 1, "last": 0},
        {"kind": "a", "n": 1, "last": 1},
        {"kind": "a", "n": 2, "deep": True, "last": 0},
        {"kind": "a", "n": 2, "deep": True, "last": 1},
        {"kind": "a", "n": 2, "deep": False, "last": 0},
        {"kind": "a", "n": 2, "deep": False, "last": 1},
        {"kind": "a", "n": 3, "last": 0},
        {"kind": "a", "n": 3, "last": 1},
        {"kind": "b", "last": 0},
        {"kind": "b", "last": 1},
    ]


@given(spaces(finite=True))
def test_numbering_meets_every_assignment_once(space):
    assume((space.size or 0) <= 3000)
    everything = Enumeration(space)

    numbered = [space.key(everything.at(i)) for i in range(everything.size)]

    assert len(set(numbered)) == len(numbered) == space.size
    assert set(numbered) == {space.key(assignment) for assignment in brute_force(space)}


def test_a_number_beyond_the_end_is_refused():
    with pytest.raises(IndexError, match="there are 10"):
        Enumeration(TREE).at(10)


def test_an_infinite_space_cannot_be_numbered():
    with pytest.raises(ValueError, match="x can take any number"):
        Enumeration(SearchSpace([Float(name="x", low=0, high=1)]))


def test_a_space_beyond_any_list_is_numbered_at_once():
    space = SearchSpace([Int(name=f"x{i}", low=0, high=10**9) for i in range(10)])
    everything = Enumeration(space)

    assert everything.size == (10**9 + 1) ** 10
    assert everything.at(everything.size - 1) == {f"x{i}": 10**9 for i in range(10)}
    assert 0 <= permuted(0, everything.size, 1) < everything.size


@given(st.integers(1, 700), st.integers(0, 2**31 - 1))
def test_a_permutation_meets_every_number_once(size, seed):
    assert sorted(permuted(i, size, seed) for i in range(size)) == list(range(size))


def test_the_start_of_a_permutation_covers_the_whole_range():
    starts = [permuted(i, 10_000, 7) for i in range(200)]

    counts = np.bincount(np.array(starts) // 1000, minlength=10)
    assert counts.min() >= 8
    assert counts.max() <= 35


def test_permutations_of_two_seeds_differ():
    assert [permuted(i, 50, 1) for i in range(50)] != [permuted(i, 50, 2) for i in range(50)]


@given(spaces(finite=True), st.randoms(use_true_random=False), st.integers(0, 2**31))
def test_the_last_unused_assignment_of_a_space_is_found(space, random, seed):
    assume(1 <= (space.size or 0) <= 400)
    everything = list(brute_force(space))
    left = random.choice(everything)
    used = {space.key(a) for a in everything} - {space.key(left)}

    found = unseen(space, used, [everything[0]], np.random.default_rng(seed))

    assert found == left
    assert isinstance(unseen(space, used | {space.key(left)}, [left], np.random.default_rng(seed)), Exhausted)


def test_a_used_wish_becomes_a_close_neighbour():
    space = SearchSpace([Float(name="x", low=0, high=1), Float(name="y", low=0, high=1)])
    wish = {"x": 0.25, "y": 1.0}

    found = unseen(space, {space.key(wish)}, [wish], np.random.default_rng(0))

    assert found != wish
    assert np.abs(space.to_unit(found) - space.to_unit(wish)).max() < 0.05


def test_candidates_are_read_only_as_far_as_needed():
    space = SearchSpace([Int(name="x", low=0, high=9)])

    def candidates():
        yield {"x": 1}
        yield {"x": 2}
        raise AssertionError

    assert unseen(space, {space.key({"x": 1})}, candidates(), np.random.default_rng(0)) == {"x": 2}


def test_a_range_without_room_between_its_ends_is_exhausted_rather_than_searched_for_ever():
    space = SearchSpace([Float(name="x", low=1.0, high=float(np.nextafter(1.0, 2.0)))])
    used = {space.key({"x": 1.0}), space.key({"x": float(np.nextafter(1.0, 2.0))})}

    found = unseen(space, used, [{"x": 1.0}], np.random.default_rng(0))

    assert isinstance(found, Exhausted)
    assert "no unused assignment" in found.message
