"""The covariance function and the prior of its hyper-parameters.

    r^2(x, x') = sum_j D_j(x, x') / l_j^2
    k(x, x') = s Matern52(r) + s_g exp(-eta r^2 / 2)
    Matern52(r) = (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r)                    (Rasmussen and Williams 2006, eq. 4.17)

The first term follows detail; the second one the slope of the landscape as a whole, for which the first would need long length
scales. The prior of the length scales grows with sqrt(k) (Hvarfner et al. 2024, https://arxiv.org/abs/2402.02229), without which
everything is far from everything in many dimensions.

theta = (log l_1 … log l_k, log v, log s, log s_g, log eta); v is the variance of the noise.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seatrial.search.gp.encoding import Array

__all__ = ["Hyper", "Kernel", "matern52", "matern52_slope", "matern52_with_slope"]

_SQRT5 = math.sqrt(5.0)


def matern52(r2: Array) -> Array:
    """Return Matern52 by squared distance."""
    r = np.sqrt(r2)
    return np.asarray((1.0 + _SQRT5 * r + (5.0 / 3.0) * r2) * np.exp(-_SQRT5 * r))


def matern52_with_slope(r2: Array) -> tuple[Array, Array]:
    """Return Matern52 and its slope for the price of one exponential."""
    root5_r = np.sqrt(5.0 * r2)
    decay = np.exp(-root5_r)
    linear = (1.0 + root5_r) * decay
    return linear + (5.0 / 3.0) * r2 * decay, (-5.0 / 6.0) * linear


def matern52_slope(r2: Array) -> Array:
    """Return d Matern52 / d(r^2) = -(5/6) (1 + sqrt(5) r) exp(-sqrt(5) r), finite at 0."""
    r = np.sqrt(r2)
    return np.asarray((-5.0 / 6.0) * (1.0 + _SQRT5 * r) * np.exp(-_SQRT5 * r))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyper:
    """Hyper-parameters on their natural scales.

    Attributes:
        weights: 1 / l_j^2, shape (k,).
        noise: Variance of the noise.
        detail: s.
        broad: s_g.
        reach: eta.
    """

    weights: Array
    noise: float
    detail: float
    broad: float
    reach: float

    @property
    def variance(self) -> float:
        """k(x, x)."""
        return self.detail + self.broad


@dataclass(frozen=True)
class Kernel:
    """The covariance function on a space.

    Attributes:
        width: Number of free parameters, k, at least 1.
        owner: Parameter of each feature, shape (m,).
    """

    width: int
    owner: NDArray[np.int64]

    # ---- hyper-parameters --------------------------------------------------------------------------------------------

    @cached_property
    def prior_mean(self) -> Array:
        """Mean of the normal prior of theta."""
        scale = math.log(0.7) + 0.5 * math.log(self.width)
        return np.array([scale] * self.width + [-5.0, -0.5, 0.0, math.log(0.1)])

    @cached_property
    def prior_sd(self) -> Array:
        """Standard deviation of the normal prior of theta."""
        return np.array([1.0] * self.width + [1.5, 1.0, 1.5, 0.7])

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Smallest and largest theta."""
        others = [(math.log(1e-6), 0.5), (-6.0, 3.0), (-8.0, 4.0), (math.log(0.005), math.log(0.6))]
        box = np.array([(-4.0, 5.0)] * self.width + others)
        return box[:, 0], box[:, 1]

    def starts(self) -> list[Array]:
        """Return the two points from which theta is optimised: a smooth landscape, and a rough one with noise."""
        smooth = self.prior_mean.copy()
        smooth[: self.width] = math.log(0.5) + 0.5 * math.log(self.width)
        rough = smooth.copy()
        rough[: self.width] -= 1.0
        rough[self.width] = -2.0
        return [smooth, rough]

    def hyper(self, theta: Array) -> Hyper:
        """Return theta on its natural scales."""
        noise, detail, broad, reach = (math.exp(value) for value in theta[self.width :])
        weights = np.exp(-2.0 * theta[: self.width])
        return Hyper(weights=weights, noise=noise, detail=detail, broad=broad, reach=reach)

    # ---- covariance --------------------------------------------------------------------------------------------------

    def cross(self, hyper: Hyper, F: Array, G: Array) -> Array:
        """Return k between the points with features F (q, m) and G (n, m), shape (q, n)."""
        r2 = self._r2(hyper, F, G)
        return np.asarray(hyper.detail * matern52(r2) + hyper.broad * np.exp(-0.5 * hyper.reach * r2))

    def pull_back(self, hyper: Hyper, F: Array, G: Array, U: Array) -> Array:
        """Return the gradient by F of sum_ij U_ij k(F_i, G_j), shape (q, m).

        Args:
            hyper: Hyper-parameters.
            F: Features of the points that move, shape (q, m).
            G: Features of the points that stay, shape (n, m).
            U: Weights, shape (q, n).
        """
        r2 = self._r2(hyper, F, G)
        broad = hyper.broad * np.exp(-0.5 * hyper.reach * r2)
        S = U * (hyper.detail * matern52_slope(r2) - 0.5 * hyper.reach * broad)  # d/d(r^2), weighted
        w = hyper.weights[self.owner]
        return np.asarray(2.0 * w * (F * S.sum(axis=1, keepdims=True) - S @ G))

    def _r2(self, hyper: Hyper, F: Array, G: Array) -> Array:
        scale = np.sqrt(hyper.weights)[self.owner]
        A, B = F * scale, G * scale
        r2 = (A * A).sum(axis=1)[:, None] + (B * B).sum(axis=1) - 2.0 * A @ B.T
        # Rounding makes tiny negative squares of nearly equal points.
        return np.asarray(np.maximum(r2, 0.0))
