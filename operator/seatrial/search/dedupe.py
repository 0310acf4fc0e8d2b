"""No assignment is spent twice: a suggestion that was evaluated or is pending is moved to one that was not."""

from collections.abc import Iterable, Set
from functools import lru_cache

import numpy as np

from seatrial.search.base import Exhausted
from seatrial.search.enumeration import Enumeration, permuted
from seatrial.search.space import Assignment, Key, SearchSpace
from seatrial.search.variation import reflect

__all__ = ["all_used", "unseen"]

_NUDGES = 24
_DRAWS = 256
# A nudge starts within a hundredth of the range and ends across it, so that the neighbourhood is left only when it is full.
_FIRST_REACH, _LAST_REACH = 0.01, 0.5


def unseen(
    space: SearchSpace, used: Set[Key], candidates: Iterable[Assignment], rng: np.random.Generator
) -> Assignment | Exhausted:
    """Return an assignment that is not in *used*, as close to the algorithm's wish as can be.

    Tried in this order: the candidates, growing perturbations of the last candidate, uniform draws, and for a finite space every
    assignment by number, starting at a random one.

    Args:
        space: The search space.
        used: Keys (:meth:`SearchSpace.key`) of evaluated and pending assignments.
        candidates: The algorithm's proposals, best first; read only as far as needed.
        rng: Source of chance. It is used only when all candidates are in *used*.

    Returns:
        The assignment, or that the space is exhausted.
    """
    wish: Assignment | None = None
    for wish in candidates:
        if space.key(wish) not in used:
            return wish
    finite = space.size
    if finite is not None and len(used) >= finite:
        return _from_all(space, used, finite)
    for attempt in range(_NUDGES if wish is not None else 0):
        reach = _FIRST_REACH * (_LAST_REACH / _FIRST_REACH) ** (attempt / (_NUDGES - 1))
        near = _nudge(space, space.to_unit(wish or {}), reach, rng)
        if space.key(near) not in used:
            return near
    for _ in range(_DRAWS):
        drawn = space.sample(rng)
        if space.key(drawn) not in used:
            return drawn
    if finite is None:
        return Exhausted(message=f"no unused assignment was found in {_DRAWS} draws from the search space")
    return _from_all(space, used, int(rng.integers(2**31)))


def all_used(size: int) -> Exhausted:
    """Return the answer of an algorithm that has used every assignment of a finite space."""
    return Exhausted(message=f"all {size:,} assignments of the search space have been used")


def _nudge(space: SearchSpace, centre: np.ndarray, reach: float, rng: np.random.Generator) -> Assignment:
    """Return a point near *centre*: each coordinate moves with probability 1/2, at least one does."""
    u = np.asarray(centre, dtype=float).copy()
    moved = rng.random(len(u)) < 0.5
    moved[rng.integers(len(u))] = True
    u[moved] += rng.normal(0.0, reach, size=len(u))[moved]
    return space.from_unit([reflect(x) for x in u])


@lru_cache(maxsize=8)
def _enumeration(space: SearchSpace) -> Enumeration:
    return Enumeration(space)


def _from_all(space: SearchSpace, used: Set[Key], seed: int) -> Assignment | Exhausted:
    """Return the first unused assignment in a random order over all of a finite space."""
    everything = _enumeration(space)
    for position in range(everything.size):
        assignment = everything.at(permuted(position, everything.size, seed))
        if space.key(assignment) not in used:
            return assignment
    return all_used(everything.size)
