"""Where to look for the most promising point: all over the space, and around the best points known."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seatrial.search.gp.encoding import Array, Encoding

__all__ = ["Branch", "activated", "all_over", "around"]

_SMALLEST_STEP, _LARGEST_STEP = 0.005, 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The part of a conditional space in which an unconditional parameter has one value.

    Attributes:
        column: Of the parameter.
        place: Its encoded value.
    """

    column: int
    place: float


def all_over(encoding: Encoding, count: int, rng: np.random.Generator, branch: Branch | None = None) -> Array:
    """Return *count* uniform points, in *branch* if one is given, shape (count, k)."""
    X = encoding.from_cube(rng.random((count, encoding.width)))
    if branch is None:
        return X
    moved = X.copy()
    moved[:, branch.column] = branch.place
    return encoding.canonical(activated(encoding, X, moved, encoding.anywhere(rng.random(X.shape))))


def around(
    encoding: Encoding, parents: Array, count: int, rng: np.random.Generator, branch: Branch | None = None
) -> Array:
    """Return *count* mutated copies of *parents* (p, k), drawn evenly among them, shape (count, k).

    Each coordinate moves with probability max(0.25, 1.5 / k): a number by a normal step whose size is drawn log-uniformly for the
    point, a choice to a uniform one. Parameters that a new choice activates get uniform values. What defines *branch* never moves.
    """
    k = encoding.width
    source = parents[rng.integers(len(parents), size=count)]
    moves = rng.random((count, k)) < max(0.25, 1.5 / k)
    if branch is not None:
        moves[:, branch.column] = False
    reach = np.exp(rng.uniform(math.log(_SMALLEST_STEP), math.log(_LARGEST_STEP), (count, 1)))
    stepped = np.clip(source + rng.normal(size=(count, k)) * reach, 0.0, 1.0)
    anywhere = encoding.anywhere(rng.random((count, k)))
    X = np.where(moves, np.where(encoding.categorical, anywhere, stepped), source)
    if not encoding.conditional.any():
        return encoding.canonical(X)
    return encoding.canonical(activated(encoding, source, X, anywhere))


def activated(encoding: Encoding, before: Array, after: Array, values: Array) -> Array:
    """Return *after* with the parameters that are active there but not in *before* set to *values*; all of shape (q, k).

    A parameter that wakes up may wake up others; each level of the tree of conditions takes one turn.
    """
    old = encoding.active(before)
    X = after.copy()
    known = old.copy()
    while True:
        fresh: NDArray[np.bool_] = encoding.active(X) & ~known
        if not fresh.any():
            return X
        X = np.where(fresh, values, X)
        known |= fresh
