"""Pareto fronts and hypervolumes. Everything is minimised.

Notation: Y: (n, m) values of n points in m objectives, no NaN; +inf is allowed.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["dominates", "hypervolume_2d", "pareto_front", "pareto_ranks"]

# Up to here the matrix of all pairs is faster than one sweep a front, and small: 2,000 points take 4 MB an objective.
_MATRIX_POINTS = 2000


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether *a* is at least as good as *b* in every objective and better in one."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def pareto_front(values: ArrayLike) -> list[int]:
    """Return the indices of the points that no other point dominates, increasing; equal points are all on the front.

    Args:
        values: Shape (n, m).
    """
    Y = _matrix(values)
    if Y.shape[1] == 2:
        return _front_2d(Y)
    front = []
    for i, y in enumerate(Y):
        beaten = np.all(y >= Y, axis=1) & np.any(y > Y, axis=1)
        if not beaten.any():
            front.append(i)
    return front


def pareto_ranks(values: ArrayLike) -> NDArray[np.int64]:
    """Return the front of each point, shape (n,): 0 is the Pareto front, 1 the front of the rest, and so on.

    Source: the non-dominated sorting of Deb et al. 2002, https://doi.org/10.1109/4235.996017, section III A.
    """
    Y = _matrix(values)
    if Y.shape[1] == 1:
        return np.unique(Y[:, 0], return_inverse=True)[1].astype(np.int64)
    ranks = np.zeros(len(Y), dtype=np.int64)
    if len(Y) <= _MATRIX_POINTS:
        return _peel(Y, ranks)
    left = np.arange(len(Y))
    rank = 0
    while len(left):
        front = left[pareto_front(Y[left])]
        ranks[front] = rank
        left = np.setdiff1d(left, front)
        rank += 1
    return ranks


def hypervolume_2d(values: ArrayLike, reference: Sequence[float]) -> float:
    """Return the area that the points dominate, up to the reference point.

    Args:
        values: Shape (n, 2).
        reference: Worst value of both objectives; points that are not better than it in both count nothing.
    """
    Y = _matrix(values)
    Y = Y[np.all(np.asarray(reference) > Y, axis=1)] if len(Y) else Y
    area, ceiling = 0.0, float(reference[1])
    for x, y in sorted(map(tuple, Y.tolist())):
        if y < ceiling:
            area += (float(reference[0]) - x) * (ceiling - y)
            ceiling = y
    return area


def _matrix(values: ArrayLike) -> NDArray[np.float64]:
    Y = np.asarray(values, dtype=float)
    return Y.reshape(len(Y), -1) if Y.size else np.empty((0, 2))


def _peel(Y: NDArray[np.float64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fill in *ranks*, front by front, from the matrix of who dominates whom."""
    beats = np.all(Y[:, None] <= Y, axis=2) & np.any(Y[:, None] < Y, axis=2)
    left = np.ones(len(Y), dtype=bool)
    rank = 0
    while left.any():
        front = left & ~beats[left].any(axis=0)
        ranks[front] = rank
        left &= ~front
        rank += 1
    return ranks


def _front_2d(Y: NDArray[np.float64]) -> list[int]:
    """One sweep in order of the first objective: O(n log n)."""
    order = np.lexsort((Y[:, 1], Y[:, 0]))
    front: list[int] = []
    best, last = np.inf, (np.nan, np.nan)
    for i in order:
        point = (Y[i, 0], Y[i, 1])
        # A point of infinite second value is on the front only if nothing is better in the first either.
        if point == last or point[1] < best or not front:
            front.append(int(i))
            best, last = min(best, point[1]), point
    return sorted(front)
