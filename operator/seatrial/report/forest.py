"""Regression trees on binned, conditional parameters: the surrogate behind the parameter importances.

Notation:
    n: trials; m: points at which a tree is asked; d: parameters; K: cells, the most that any parameter has.
    cells: (n, d) int, the cell of each value; -1 where a conditional parameter is inactive.

A tree is never stored: the points to predict travel down with the trials that grow it. A conditional parameter is split only where it
is active; where its activity differs, the tree first separates active from inactive, so that the effect of a choice is never booked
on the parameters that this choice brings along.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Feature", "grow_and_predict"]

Cells = NDArray[np.int64]
Numbers = NDArray[np.float64]
Places = NDArray[np.intp]

# A split has to reduce the squared error by this F statistic (about the 95 % point of one split tried alone): pure noise then seldom
# splits, and weak effects still do.
_SMALLEST_F = 4.0
_SMALLEST_LEAF = 2
_MOST_LEAVES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One parameter as the trees see it.

    Attributes:
        cells: Number of cells, at least 2.
        ordered: Whether neighbouring cells are alike; otherwise any subset of cells can be split off.
        gate: Feature whose value decides whether this one is active, None when always.
        gate_cells: Cells of the gate under which it is active, shape (cells of the gate,), bool.
    """

    cells: int
    ordered: bool
    gate: int | None = None
    gate_cells: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """Rows whose cell of *feature* is among *left* go left."""

    feature: int
    left: NDArray[np.bool_]

    def goes_left(self, cells: Cells) -> NDArray[np.bool_]:
        chosen = cells[:, self.feature]
        return np.asarray((chosen >= 0) & self.left[np.maximum(chosen, 0)])


def grow_and_predict(
    features: tuple[Feature, ...],
    cells: Cells,
    y: Numbers,
    weights: Numbers,
    points: Cells,
    rng: np.random.Generator,
) -> Numbers:
    """Grow one tree and return what it says at *points*.

    Args:
        features: Length d.
        cells: Of the trials, shape (n, d).
        y: Their values, shape (n,).
        weights: How often each was drawn, shape (n,); 0 leaves it out.
        points: Where to predict, shape (m, d).
        rng: Chooses which two thirds of the parameters each node may split on first.

    Returns:
        Predictions, shape (m,).
    """
    predicted = np.zeros(len(points))
    used = np.flatnonzero(weights > 0)
    smallest = max(_SMALLEST_LEAF, len(used) // _MOST_LEAVES)
    stack: list[tuple[Places, Places]] = [(used, np.arange(len(points)))]
    while stack:
        rows, asked = stack.pop()
        split = _best_split(features, cells[rows], y[rows], weights[rows], smallest, rng)
        if split is None:
            predicted[asked] = np.average(y[rows], weights=weights[rows])
            continue
        left, asked_left = split.goes_left(cells[rows]), split.goes_left(points[asked])
        stack.append((rows[left], asked[asked_left]))
        stack.append((rows[~left], asked[~asked_left]))
    return predicted


def _best_split(
    features: tuple[Feature, ...], cells: Cells, y: Numbers, weights: Numbers, smallest: int, rng: np.random.Generator
) -> _Split | None:
    if len(y) < 2 * smallest:
        return None
    mean = np.average(y, weights=weights)
    centred = y - mean
    total = float(np.sum(weights * centred**2))
    if total <= 1e-12 * (1 + mean**2):
        return None
    first = -(-2 * len(features) // 3)
    order = rng.permutation(len(features))
    # The parameters left out get their turn when the others have nothing to say: a node must not end by bad luck alone.
    for tried in (order[:first], order[first:]):
        gain, best = 0.0, None
        for feature in tried:
            found = _split_one(features[feature], cells[:, feature], centred, weights, smallest)
            if found is not None and found[0] > gain:
                gain, best = found[0], _Split(feature=int(feature), left=found[1])
        if best is not None and gain * (len(y) - 2) >= _SMALLEST_F * max(total - gain, 1e-12 * total):
            return _open_gate(features, best, cells)
    return None


def _split_one(
    feature: Feature, cells: Cells, centred: Numbers, weights: Numbers, smallest: int
) -> tuple[float, NDArray[np.bool_]] | None:
    """Return the best split of the active rows on one feature: by how much it lowers the squared error, and the cells to the left."""
    active = cells >= 0
    if not active.all():
        cells, weights = cells[active], weights[active]
        if len(cells) < 2 * smallest:
            return None
        centred = centred[active] - np.average(centred[active], weights=weights)
    rows = np.bincount(cells, minlength=feature.cells)
    mass = np.bincount(cells, weights=weights, minlength=feature.cells)
    sums = np.bincount(cells, weights=weights * centred, minlength=feature.cells)
    order = np.arange(feature.cells)
    if not feature.ordered:
        # Sorting the choices by their mean finds the best of all subsets (Breiman et al. 1984, theorem 4.5).
        order = np.argsort(np.where(mass > 0, sums / np.maximum(mass, 1e-12), np.inf), kind="stable")
    rows_left, mass_left, sum_left = np.cumsum(rows[order]), np.cumsum(mass[order]), np.cumsum(sums[order])
    allowed = (rows_left >= smallest) & (rows_left[-1] - rows_left >= smallest)
    if not allowed.any():
        return None
    mass_right = np.maximum(mass_left[-1] - mass_left, 1e-12)
    gains = np.where(allowed, sum_left**2 / np.maximum(mass_left, 1e-12) + sum_left**2 / mass_right, -1.0)
    top = np.flatnonzero(gains >= gains.max() * (1 - 1e-12))
    # Empty cells between two trials give equal gains: cut in the middle of the gap.
    cut = int(top[len(top) // 2])
    left = np.zeros(feature.cells, dtype=np.bool_)
    left[order[: cut + 1]] = True
    return float(gains[cut]), left


def _open_gate(features: tuple[Feature, ...], split: _Split, cells: Cells) -> _Split | None:
    """Return *split*, or the split that first separates the rows in which its feature is active from the others."""
    feature = features[split.feature]
    if feature.gate is None or feature.gate_cells is None or (cells[:, split.feature] >= 0).all():
        return split
    above = _open_gate(features, _Split(feature=feature.gate, left=feature.gate_cells), cells)
    if above is None:
        return None
    left = int(above.goes_left(cells).sum())
    return above if 0 < left < len(cells) else None
