"""From what trials measured to what a model is fitted to.

Duty: outliers, failures, the scale of the values, and which trials to keep when there are too many for a GP.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from seatrial.search.gp.encoding import Array

__all__ = ["Shape", "imputed", "kept_rows", "refit_length", "signed_log", "standardised"]

REFIT_ALWAYS = 150
"""Up to this many trials the hyper-parameters are fitted anew for each suggestion."""

_GROWTH = 1.05
_TINY = 1e-12


class Shape(StrEnum):
    """How values become targets."""

    RAW = "raw"
    HALF = "half"
    """Linear in the better half, logarithmic in the worse one, where an accurate model is of no use."""


def imputed(values: Array) -> Array:
    """Return *values* (n,) with everything that is not finite replaced by the worst finite value, or 0 if there is none."""
    finite = np.isfinite(values)
    worst = float(values[finite].max()) if finite.any() else 0.0
    return np.where(finite, values, worst)


def standardised(values: Array, shape: Shape) -> Array:
    """Return targets with mean 0 and standard deviation 1, all 0 if the values are all equal.

    With m the median of the values, q the quantile 0.1 and u = (value - m) / (m - q), the shape HALF is u for u <= 0 and
    log(1 + u) above.

    Args:
        values: Finite, shape (n,), n at least 1.
        shape: Transformation.
    """
    # Scaled first: squares of 1e300 are infinite.
    largest = float(np.abs(values).max())
    y = values / largest if largest > 0 else values
    if shape is Shape.HALF:
        median = float(np.median(y))
        scale = max(median - float(np.quantile(y, 0.1)), _TINY * (1.0 + abs(median)))
        u = (y - median) / scale
        y = np.where(u > 0, np.log1p(np.maximum(u, 0.0)), u)
    spread = float(y.std())
    if spread < _TINY * max(1.0, float(np.abs(y).max())):
        return np.zeros(len(y))
    return np.asarray((y - y.mean()) / spread)


def signed_log(violations: Array) -> Array:
    """Return violations (n,) on a scale that tames outliers and keeps 0 where it is: sign(v) log(1 + |v| / median |v|)."""
    size = np.abs(violations)
    scale = float(np.median(size)) or float(size.max()) or 1.0
    # By logarithms: the ratio of a huge to a tiny violation is infinite.
    ratio = np.log(np.maximum(size, np.finfo(float).tiny)) - np.log(max(scale, np.finfo(float).tiny))
    return np.asarray(np.sign(violations) * np.logaddexp(0.0, ratio))


def kept_rows(values: Array, limit: int) -> NDArray[np.int64]:
    """Return which trials a model sees, increasing, at most *limit*: the best half, and an even spread over the ranks of the rest."""
    if len(values) <= limit:
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    best, rest = order[: limit // 2], order[limit // 2 :]
    spread = rest[np.linspace(0, len(rest) - 1, limit - limit // 2).astype(np.int64)]
    return np.sort(np.concatenate([best, spread]))


def refit_length(trials: int) -> int:
    """Return how many of the first *trials* trials the hyper-parameters are fitted to.

    All of them up to 150; beyond, the last of 150, ceil(1.05 * 150), … that is reached, so that a fit serves many suggestions.
    """
    if trials <= REFIT_ALWAYS:
        return trials
    length = REFIT_ALWAYS
    while (following := int(np.ceil(_GROWTH * length))) <= trials:
        length = following
    return length
