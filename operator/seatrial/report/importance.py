"""How much each parameter matters: functional ANOVA on an ensemble of regression trees.

Source: Hutter, Hoos, Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance", ICML. The share of a parameter is
the variance of its marginal (the model's mean over all other parameters, as a function of this one) as a share of the variance of the
model over the whole space. Shares add up to at most 1; the rest are joint effects of several parameters.

Differences from the paper, and why:

* The marginals are taken from the mean of all trees instead of tree by tree, so that the trees' noise cancels out first.
* The integrals are stratified Monte-Carlo sums over the search space, corrected for their own noise by the unbiased between-group
  estimate of a one-way analysis of variance; conditional parameters then need no special measure.
* A conditional parameter is measured where it is active, and its variance counts by how much of the space that is.
* Poor results are clipped: one trial with a loss of 10^6 would otherwise be all that the variance sees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seatrial.report.forest import Feature, grow_and_predict
from seatrial.search.parameters import Categorical, Parameter
from seatrial.search.space import Assignment, SearchSpace

__all__ = ["FEWEST_TRIALS", "Importance", "Importances", "build_importances"]

FEWEST_TRIALS = 10
"""Below this number of results no importance is stated at all."""

_GROUPS = 10
_TREES_PER_GROUP = 6
_CELLS = 24
_POINTS = 4096
_MOST_TRIALS = 1000

# Shares of a model that predicts no better than the mean are shares of noise.
_SMALLEST_EXPLAINED = 0.05
_NOTHING_FOUND = "No parameter can be shown to matter: a model of the results predicts trials that it was not shown no better than their mean does."


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """One parameter.

    Attributes:
        share: Of the variance over the search space, in [0, 1].
        spread: Standard deviation of the share when the trials are drawn again (bootstrap).
    """

    name: str
    share: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """All parameters, most important first.

    Attributes:
        entries: Empty when there are too few results, or when the model explains nothing.
        together: Share of the joint effects of several parameters.
        explained: Share of the variance between trials that the model predicts for trials it was not shown (R²), at most 1.
        trials: Number of results used.
        warning: What to keep in mind, as sentences; empty for nothing.
    """

    entries: tuple[Importance, ...] = ()
    together: float = 0.0
    explained: float = 0.0
    trials: int = 0
    warning: str = ""


def build_importances(
    space: SearchSpace, assignments: Sequence[Assignment], losses: Sequence[float], rng: np.random.Generator
) -> Importances:
    """Return the importance of every parameter that varies.

    Args:
        space: The search space.
        assignments: Of the trials with a result.
        losses: Their values, minimised; +inf counts as the worst one.
        rng: Draws trials, points and parameters.
    """
    varying = tuple(p for p in space.parameters if p.levels is None or p.levels > 1)
    finite = [loss for loss in losses if math.isfinite(loss)]
    usable = [i for i, loss in enumerate(losses) if not math.isnan(loss)]
    if len(finite) < FEWEST_TRIALS or not varying:
        return Importances(trials=len(finite), warning=_too_few(len(finite), bool(varying)))
    if max(finite) == min(finite):
        return Importances(
            trials=len(finite), warning="All results are equal, so no parameter can be told from another."
        )
    if len(usable) > _MOST_TRIALS:
        usable = sorted(rng.choice(usable, _MOST_TRIALS, replace=False).tolist())
    features = _features(varying)
    cells = _cells(varying, [assignments[i] for i in usable])
    y = _clipped(np.array([losses[i] for i in usable]))
    points = _points(varying, features, rng)
    at_points, at_trials = _predict(features, cells, y, points, rng)
    explained = _explained(y, at_trials)
    if explained < _SMALLEST_EXPLAINED:
        return Importances(explained=explained, trials=len(usable), warning=_NOTHING_FOUND)
    shares, together = _shares(points, at_points.mean(axis=0), features)
    groups = np.array([_shares(points, group, features)[0] for group in at_points])
    entries = tuple(
        Importance(name=p.name, share=float(share), spread=float(spread))
        for p, share, spread in zip(varying, shares, groups.std(axis=0, ddof=1), strict=True)
    )
    order = tuple(sorted(entries, key=lambda entry: (-entry.share, entry.name)))
    warning = _warning(len(usable), len(varying), explained)
    return Importances(entries=order, together=together, explained=explained, trials=len(usable), warning=warning)


def _too_few(count: int, varies: bool) -> str:
    if not varies:
        return "No parameter varies, so none can matter."
    return f"At least {FEWEST_TRIALS} trials with a result are needed to say what matters; there are {count}."


def _warning(trials: int, parameters: int, explained: float) -> str:
    words = []
    if trials < max(30, 5 * parameters):
        words.append(f"{trials} trials for {parameters} parameters are few: take the order as a hint.")
    if explained < 0.3:
        words.append(
            "The model hardly predicts trials that it was not shown: noise or joint effects outweigh what single parameters do."
        )
    return " ".join(words)


def _clipped(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return losses with poor ones clipped at the upper quartile plus three times the spread of the middle half."""
    finite = y[np.isfinite(y)]
    # Shares do not depend on the unit, and squares of values at the end of the floats would be infinite.
    unit = max(float(np.abs(finite).max()), 1e-300)
    y, finite = y / unit, finite / unit
    low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75])
    spread = max(high - low, high - middle)
    bound = finite.max() if spread == 0 else min(finite.max(), high + 3 * spread)
    return np.asarray(np.minimum(y, bound), dtype=np.float64)


def _count(parameter: Parameter) -> int:
    return _CELLS if parameter.levels is None else min(parameter.levels, 256 if _free(parameter) else _CELLS)


def _free(parameter: Parameter) -> bool:
    return isinstance(parameter, Categorical)


def _cell(parameter: Parameter, value: object) -> int:
    if not isinstance(value, bool | int | float | str) or not parameter.contains(value):
        return -1
    count = _count(parameter)
    return min(int(parameter.encode(value) * count), count - 1)


def _features(parameters: Sequence[Parameter]) -> tuple[Feature, ...]:
    position = {parameter.name: i for i, parameter in enumerate(parameters)}
    features = []
    for parameter in parameters:
        gate, mask = None, None
        # A gate that never varies is always open: what depends on it is always active.
        if parameter.when and parameter.when.parent in position:
            gate = position[parameter.when.parent]
            mask = np.zeros(_count(parameters[gate]), dtype=np.bool_)
            for value in parameter.when.values:
                if (cell := _cell(parameters[gate], value)) >= 0:
                    mask[cell] = True
        features.append(Feature(cells=_count(parameter), ordered=not _free(parameter), gate=gate, gate_cells=mask))
    return tuple(features)


def _cells(parameters: Sequence[Parameter], assignments: Sequence[Assignment]) -> NDArray[np.int64]:
    return np.array(
        [[_cell(p, assignment.get(p.name)) for p in parameters] for assignment in assignments], dtype=np.int64
    )


def _points(
    parameters: Sequence[Parameter], features: tuple[Feature, ...], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return points of the whole space, each parameter's cells equally often (a Latin hypercube of cells), shape (m, d)."""
    points = np.empty((_POINTS, len(parameters)), dtype=np.int64)
    for j, feature in enumerate(features):
        points[:, j] = rng.permutation(np.arange(_POINTS) % feature.cells)
    for j, feature in enumerate(features):
        if feature.gate is not None and feature.gate_cells is not None:
            gate = points[:, feature.gate]
            points[(gate < 0) | ~feature.gate_cells[np.maximum(gate, 0)], j] = -1
    return points


def _predict(
    features: tuple[Feature, ...],
    cells: NDArray[np.int64],
    y: NDArray[np.float64],
    points: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each group's mean prediction at the points, (groups, m), and the prediction at each trial by trees without it, (n,)."""
    asked = np.concatenate([points, cells])
    groups = np.zeros((_GROUPS, len(points)))
    sums, counts = np.zeros(len(y)), np.zeros(len(y))
    for group in range(_GROUPS):
        # One bootstrap for each group, so that the spread between groups is that of the trials, not that of the trees.
        drawn = np.bincount(rng.integers(len(y), size=len(y)), minlength=len(y)).astype(np.float64)
        for _ in range(_TREES_PER_GROUP):
            weights = drawn * (rng.random(len(y)) < 0.8)
            if np.count_nonzero(weights) < 2:
                weights = drawn
            predicted = grow_and_predict(features, cells, y, weights, asked, rng)
            groups[group] += predicted[: len(points)] / _TREES_PER_GROUP
            unseen = drawn == 0
            sums[unseen] += predicted[len(points) :][unseen]
            counts[unseen] += 1
    return groups, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _explained(y: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    seen = np.isfinite(predicted)
    if seen.sum() < 2 or np.var(y[seen]) == 0:
        return 0.0
    return float(1 - np.mean((y[seen] - predicted[seen]) ** 2) / np.var(y[seen]))


def _shares(
    points: NDArray[np.int64], predicted: NDArray[np.float64], features: tuple[Feature, ...]
) -> tuple[NDArray[np.float64], float]:
    """Return each parameter's share of the variance, (d,), and the share of joint effects."""
    total = float(np.var(predicted))
    if total <= 0:
        return np.zeros(len(features)), 0.0
    shares = np.array([_marginal(points[:, j], predicted, f.cells) for j, f in enumerate(features)]) / total
    if shares.sum() > 1:
        shares = shares / shares.sum()
    return shares, float(max(0.0, 1 - shares.sum()))


def _marginal(cells: NDArray[np.int64], predicted: NDArray[np.float64], count: int) -> float:
    """Return the variance of the means by cell where the parameter is active, times the share of the space where it is."""
    active = cells >= 0
    number = int(active.sum())
    if number <= count:
        return 0.0
    cells, values = cells[active], predicted[active] - predicted[active].mean()
    sizes = np.bincount(cells, minlength=count)
    sums = np.bincount(cells, weights=values, minlength=count)
    groups = int((sizes > 0).sum())
    between = float(np.sum(sums**2 / np.maximum(sizes, 1)))
    within = max(0.0, float(np.sum(values**2)) - between) / (number - groups)
    return max(0.0, between - (groups - 1) * within) / len(predicted)
