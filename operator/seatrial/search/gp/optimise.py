"""The point that promises most: many candidates, then gradient ascent on the numbers and single changes of everything discrete.

Duty: maximise a given acquisition function. It never returns a worse point than it started from.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from seatrial.search.gp.acquisition import Acquisition
from seatrial.search.gp.candidates import Branch, activated, all_over, around
from seatrial.search.gp.encoding import Array, Encoding, Mask

__all__ = ["apart_first", "most_promising", "single_changes"]

_EVERYWHERE, _NEARBY = 500, 1000
_STARTS, _REFINED, _ROUNDS = 8, 4, 2
_ITERATIONS = 30
# All levels of a short range are tried, the neighbours of a long one.
_SHORT_RANGE = 8
_STEPS = (-2, -1, 1, 2)
_LEAST_GAIN = 1e-9

NEAR = 0.003
"""Points that differ by less than this share of the range in every number are taken for the same."""


@dataclass(frozen=True, slots=True)
class _Points:
    """Points and what they promise: X of shape (q, k), a of shape (q,)."""

    X: Array
    a: Array

    def better_of(self, X: Array, a: Array) -> "_Points":
        """Return, row by row, the point that promises more."""
        better = a > self.a
        return _Points(np.where(better[:, None], X, self.X), np.where(better, a, self.a))


def most_promising(
    acquisition: Acquisition, parents: Array, rng: np.random.Generator, branch: Branch | None = None
) -> Array:
    """Return points in the order of what they promise, best first, shape (q, k): the refined ones, then all candidates.

    Args:
        acquisition: What to maximise.
        parents: Good points to look around, shape (p, k), p at least 1.
        rng: Source of chance.
        branch: Where to look, None for the whole space; the parents lie in it.
    """
    encoding = acquisition.encoding
    X = np.vstack([all_over(encoding, _EVERYWHERE, rng, branch), around(encoding, parents, _NEARBY, rng, branch)])
    a = acquisition(X)
    order = np.argsort(-a, kind="stable")
    chosen = _starts(a, order, rng)
    points = _climb(acquisition, _Points(X[chosen], a[chosen]), ~encoding.categorical)
    if not encoding.continuous.all():
        points = _refine(acquisition, points, branch)
    return np.vstack([points.X[np.argsort(-points.a, kind="stable")], X[order]])


def apart_first(points: Array, bad: Array) -> Iterator[Array]:
    """Yield *points* (q, k) in their order, those that nearly repeat one of the *bad* ones (n, k) after all others.

    When nothing better is in sight, the doubt is largest at the edges of the space and the most promising point is a hair's breadth
    from one that was tried there; the next best one elsewhere teaches more.
    """
    repeated = []
    for x in points:
        if (np.abs(bad - x).max(axis=1) < NEAR).any():
            repeated.append(x)
        else:
            yield x
    yield from repeated


def _starts(a: Array, order: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the three best candidates, the best from all over, and others drawn in proportion to exp(a)."""
    chosen = [*order[:3], int(np.argmax(a[:_EVERYWHERE]))]
    weights = np.exp(np.clip(a - a.max(), -50.0, 0.0))
    chosen += list(rng.choice(len(a), _STARTS - len(chosen), replace=False, p=weights / weights.sum()))
    return np.array(list(dict.fromkeys(int(i) for i in chosen)), dtype=np.int64)


def _climb(acquisition: Acquisition, points: _Points, movable: Mask) -> _Points:
    """Return *points* moved uphill in the *movable* columns (k,), all at once, snapped to the grid where that is still better."""
    encoding = acquisition.encoding
    free = encoding.active(points.X) & movable & ~encoding.parents
    if not free.any():
        return points
    X = points.X.copy()

    def downhill(x: Array) -> tuple[float, Array]:
        X[free] = x
        a, gradient = acquisition.with_gradient(X)
        return -float(a.sum()), -gradient[free]

    bounds = [(0.0, 1.0)] * int(free.sum())
    found = minimize(
        downhill, points.X[free], jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ITERATIONS}
    )
    X[free] = found.x
    X = encoding.canonical(X)
    return points.better_of(X, acquisition(X))


def _refine(acquisition: Acquisition, points: _Points, branch: Branch | None) -> _Points:
    """Return the best few points after rounds of the best single discrete change each, followed by ascent on the continua."""
    best = np.argsort(-points.a, kind="stable")[:_REFINED]
    points = _Points(points.X[best], points.a[best])
    continuous = acquisition.encoding.continuous
    for _ in range(_ROUNDS):
        changed = _best_changes(acquisition, points, branch)
        moved = bool((changed.a > points.a + _LEAST_GAIN).any())
        points = _climb(acquisition, changed, continuous)
        if not moved:
            break
    return points


def _best_changes(acquisition: Acquisition, points: _Points, branch: Branch | None) -> _Points:
    """Return each point after the one change of a discrete parameter that raises its promise most, if any does."""
    changes = [single_changes(acquisition.encoding, x, branch) for x in points.X]
    X = np.vstack(changes)
    if not len(X):
        return points
    a = acquisition(X)
    best_X, best_a = points.X.copy(), np.full(len(points.X), -np.inf)
    start = 0
    for i, block in enumerate(changes):
        if len(block):
            j = start + int(np.argmax(a[start : start + len(block)]))
            best_X[i], best_a[i] = X[j], a[j]
        start += len(block)
    return points.better_of(best_X, best_a)


def single_changes(encoding: Encoding, x: Array, branch: Branch | None = None) -> Array:
    """Return the neighbours of an encoded point (k,) that differ in one active discrete parameter, shape (q, k).

    Every other choice; every other level of a short range, the two nearest on both sides of a long one. What a change activates is
    set to its default. What defines *branch* does not change.
    """
    active = encoding.active(x[None])[0]
    if branch is not None:
        active[branch.column] = False
    found = []
    for j in np.flatnonzero(active & ~encoding.continuous):
        level, levels = encoding.level(int(j), x[j]), int(encoding.levels[j])
        near = range(levels) if encoding.categorical[j] or levels <= _SHORT_RANGE else [level + s for s in _STEPS]
        for other in near:
            if 0 <= other < levels and other != level:
                neighbour = x.copy()
                neighbour[j] = encoding.place(int(j), other)
                found.append(neighbour)
    if not found:
        return np.zeros((0, encoding.width))
    X = np.array(found)
    if encoding.conditional.any():
        X = activated(
            encoding, np.repeat(x[None], len(X), axis=0), X, np.repeat(encoding.defaults[None], len(X), axis=0)
        )
    return encoding.canonical(X)
