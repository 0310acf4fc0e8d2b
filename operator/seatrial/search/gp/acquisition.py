"""What a point promises: expected improvement, the chance that it keeps the constraints, and a pull towards the defaults.

    a(x) = log mean_s EI_s(x) + sum_c log P(v_c(x) <= 0) - (pull / N) sum_j (x_j - c_j)^2 / (2 * 0.3^2)

EI_s is taken of sample s of the outcomes of running trials; N is the number of observations, c_j the default of number j. The
pull follows the idea of Hvarfner et al. 2022, https://arxiv.org/abs/2204.11051: a prior on where the best point is whose weight
goes down with what has been seen. The product with the probability of feasibility is after Gardner et al. 2014.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr

from seatrial.search.gp.encoding import Array, Encoding
from seatrial.search.gp.features import Features
from seatrial.search.gp.posterior import Posterior

__all__ = ["Acquisition", "Limit", "log_improvement"]

_PULL_WIDTH = 0.3
_LOG_2PI = math.log(2.0 * math.pi)


def log_improvement(z: Array) -> tuple[Array, Array]:
    """Return log h(z) and its derivative, h(z) = phi(z) + z Phi(z), for any z.

    Expected improvement is sd * h((incumbent - mean) / sd). Far below 0, h cancels; there it is written by Mills' ratio
    R(z) = Phi(z) / phi(z) as phi(z) (1 + z R(z)) (Ament et al. 2023, https://arxiv.org/abs/2310.20708, eq. 9).
    """
    value, slope = np.empty_like(z), np.empty_like(z)
    high = z > -1.0
    zh = z[high]
    Phi = ndtr(zh)
    h = np.exp(-0.5 * zh * zh) / math.sqrt(2.0 * math.pi) + zh * Phi
    value[high], slope[high] = np.log(h), Phi / h
    zl = z[~high]
    mills = math.sqrt(math.pi / 2.0) * erfcx(-zl / math.sqrt(2.0))
    # 1 + z R(z) loses all digits from about -1e4 on, where it is 1 / z^2 to double precision.
    g = np.where(zl < -1e4, 1.0 / (zl * zl), np.maximum(1.0 + zl * mills, 1e-300))
    value[~high], slope[~high] = -0.5 * zl * zl - 0.5 * _LOG_2PI + np.log(g), mills / g
    return value, slope


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A constraint: a model of its violation, kept where the model's target is at most *threshold*."""

    model: Posterior
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """a(x) and its gradient.

    Attributes:
        encoding: Columns of X.
        features: X -> F.
        model: Model of the objective, with S samples of what runs.
        incumbent: Target to improve on for each sample, shape (S,); None while no feasible point is known, when only feasibility
            is sought.
        limits: Constraints.
        pull: Strength of the pull divided by the number of observations.
        centre: Defaults in [0, 1], shape (k,).
    """

    encoding: Encoding
    features: Features
    model: Posterior
    incumbent: Array | None
    limits: tuple[Limit, ...]
    pull: float
    centre: Array

    def __call__(self, X: Array) -> Array:
        """Return a(x) of encoded points, shape (q,)."""
        return self._value(X, gradient=False)[0]

    def with_gradient(self, X: Array) -> tuple[Array, Array]:
        """Return a(x), shape (q,), and its derivative by the numbers in X, shape (q, k), 0 for choices."""
        return self._value(X, gradient=True)

    def _value(self, X: Array, *, gradient: bool) -> tuple[Array, Array]:
        F = self.features(X)
        value, by_feature = np.zeros(len(X)), np.zeros_like(F)
        if self.incumbent is not None:
            value, by_feature = _expected_improvement(self.model, F, self.incumbent, gradient=gradient)
        for limit in self.limits:
            more, slope = _feasibility(limit, F, gradient=gradient)
            value, by_feature = value + more, by_feature + slope
        offset = np.where(self.encoding.categorical, 0.0, X - self.centre)
        if self.encoding.conditional.any():
            offset = np.where(self.encoding.active(X), offset, 0.0)
        strength = self.pull / _PULL_WIDTH**2
        value = value - 0.5 * strength * (offset * offset).sum(axis=1)
        if not gradient:
            return value, by_feature
        by_x = -strength * offset
        np.add.at(by_x.T, self.features.owner, (by_feature * self.features.derivative(X)).T)
        return value, by_x


def _expected_improvement(model: Posterior, F: Array, incumbent: Array, *, gradient: bool) -> tuple[Array, Array]:
    """Return log mean_s EI_s, shape (q,), and its gradient by F, shape (q, m), zeros if not wanted."""
    mean, variance, V = model.moments(F)
    sd = np.sqrt(variance)[:, None]
    z = (incumbent - mean) / sd
    log_h, slope = log_improvement(z)
    log_ei = log_h + np.log(sd)
    top = log_ei.max(axis=1, keepdims=True)
    shares = np.exp(log_ei - top)
    total = shares.sum(axis=1, keepdims=True)
    value = (top + np.log(total / z.shape[1]))[:, 0]
    if not gradient:
        return value, np.zeros_like(F)
    shares /= total
    # d log EI_s = -slope / sd dmean + (1 - slope z) / sd dsd, with dmean = alpha' dk and dsd = -(k K^-1) dk / sd
    by_mean = -(shares * slope / sd)
    by_sd = (shares * (1.0 - slope * z)).sum(axis=1, keepdims=True) / sd
    U = by_mean @ model.alpha.T - (by_sd / sd) * V
    return value, model.kernel.pull_back(model.hyper, F, model.F, U)


def _feasibility(limit: Limit, F: Array, *, gradient: bool) -> tuple[Array, Array]:
    """Return log P(violation <= 0), shape (q,), and its gradient by F, shape (q, m), zeros if not wanted."""
    model = limit.model
    mean, variance, V = model.moments(F)
    sd = np.sqrt(variance)
    z = (limit.threshold - mean[:, 0]) / sd
    value = log_ndtr(z)
    if not gradient:
        return value, np.zeros_like(F)
    slope = np.exp(-0.5 * z * z - 0.5 * _LOG_2PI - value)  # phi / Phi
    # dz = -dmean / sd - z dsd / sd
    U = (-slope / sd)[:, None] * model.alpha[:, 0] + (slope * z / variance)[:, None] * V
    return value, model.kernel.pull_back(model.hyper, F, model.F, U)
