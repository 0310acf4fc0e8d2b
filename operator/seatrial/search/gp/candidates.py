"""Where to look for the most promising point: all over the space, and around the best points known."""

import math

import numpy as np
from numpy.typing import NDArray

from seatrial.search.gp.encoding import Array, Encoding

__all__ = ["all_over", "around"]

_SMALLEST_STEP, _LARGEST_STEP = 0.005, 0.3


def all_over(encoding: Encoding, count: int, rng: np.random.Generator) -> Array:
    """Return *count* uniform points, shape (count, k)."""
    return encoding.from_cube(rng.random((count, encoding.width)))


def around(encoding: Encoding, parents: Array, count: int, rng: np.random.Generator) -> Array:
    """Return *count* mutated copies of *parents* (p, k), drawn evenly among them, shape (count, k).

    Each coordinate moves with probability max(0.25, 1.5 / k): a number by a normal step whose size is drawn log-uniformly for the
    point, a choice to a uniform one. Parameters that a new choice activates get uniform values.
    """
    k = encoding.width
    source = parents[rng.integers(len(parents), size=count)]
    moves = rng.random((count, k)) < max(0.25, 1.5 / k)
    reach = np.exp(rng.uniform(math.log(_SMALLEST_STEP), math.log(_LARGEST_STEP), (count, 1)))
    stepped = np.clip(source + rng.normal(size=(count, k)) * reach, 0.0, 1.0)
    drawn = rng.random((count, k))
    anywhere = np.where(encoding.categorical, np.floor(drawn * encoding.levels), drawn)
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
