"""Hyper-parameters by maximum a posteriori: the likelihood of the targets times the prior of theta.

    -log p(t | theta) = 1/2 (t - m)' K^-1 (t - m) + 1/2 log |K| + n/2 log 2 pi   (Rasmussen and Williams 2006, eq. 2.30)
    its derivative    = tr((K^-1 - a a') dK) / 2,  a = K^-1 (t - m)               (ibid., eq. 5.9)
    m = 1' K^-1 t / 1' K^-1 1, the generalised least-squares mean, at which the derivative by m is 0

Symmetric matrices are kept as their strict lower triangle, p = n (n - 1) / 2 numbers in the order of ``np.tril_indices(n, -1)``:
half the exponentials, which are what costs.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize

from seatrial.search.gp.encoding import Array
from seatrial.search.gp.kernel import Kernel, matern52_with_slope

__all__ = ["NUGGET", "Objective", "fit"]

NUGGET = 1e-8
"""Added to the diagonal of every covariance matrix of observations, in units of the targets' variance."""

Places = NDArray[np.int64]

_HOPELESS = 1e10


@dataclass(frozen=True)
class Objective:
    """-log posterior of theta, up to a constant, and its gradient.

    Attributes:
        kernel: The covariance.
        D: D_j of all pairs, shape (k, p), see :meth:`Features.distances`.
        t: Targets, shape (n,).
    """

    kernel: Kernel
    D: Array
    t: Array

    @cached_property
    def _places(self) -> tuple[Places, Places]:
        """Flat positions of the strict lower triangle in a C-ordered and of the diagonal, in an (n, n) matrix."""
        n = len(self.t)
        rows, columns = np.tril_indices(n, -1)
        return (rows * n + columns).astype(np.int64), np.arange(n, dtype=np.int64) * (n + 1)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Return the value and the gradient, shape of theta."""
        kernel, n = self.kernel, len(self.t)
        h = kernel.hyper(theta)
        r2 = h.weights @ self.D
        detail, by_r2 = matern52_with_slope(r2)
        broad = h.broad * np.exp(-0.5 * h.reach * r2)
        lower, diagonal = self._places
        K = np.zeros((n, n))
        K.ravel()[lower] = h.detail * detail + broad
        K.ravel()[diagonal] = h.variance + h.noise + NUGGET
        # The lower triangle of a C-ordered matrix is the upper one of its transposed view, which LAPACK takes without a copy.
        U, failed = dpotrf(K.T, lower=0, clean=0, overwrite_a=1)
        if failed:
            return _HOPELESS, np.zeros_like(theta)
        log_det = 2.0 * float(np.log(np.diag(U)).sum())
        half, _ = dpotri(U, lower=0, overwrite_c=1)
        Ki = half.T
        Ki = np.tril(Ki) + np.tril(Ki, -1).T
        ones = Ki.sum(axis=1)
        y = self.t - (ones @ self.t) / ones.sum()
        a = Ki @ y
        value = 0.5 * float(y @ a) + 0.5 * log_det + 0.5 * n * math.log(2.0 * math.pi)
        W = (0.5 * (Ki - a[:, None] * a)).ravel()
        off, trace = 2.0 * W[lower], float(W[diagonal].sum())
        weighted = off * broad
        S = off * (h.detail * by_r2) - 0.5 * h.reach * weighted  # weighted slope by r^2
        # d weights / d log l = -2 weights
        by_length = -2.0 * h.weights * (self.D @ S)
        by_detail = h.detail * (float(off @ detail) + trace)
        by_broad = float(weighted.sum()) + trace * h.broad
        by_reach = -0.5 * h.reach * float(weighted @ r2)
        gradient = np.array([*by_length, trace * h.noise, by_detail, by_broad, by_reach])
        z = (theta - kernel.prior_mean) / kernel.prior_sd
        return value + 0.5 * float(z @ z), gradient + z / kernel.prior_sd


def fit(kernel: Kernel, D: Array, t: Array, *, iterations: int) -> Array:
    """Return theta of the highest posterior found by L-BFGS-B from the kernel's fixed starts.

    There is no warm start from an earlier fit, so that the result depends on the arguments alone.
    """
    low, high = kernel.bounds
    objective = Objective(kernel, D, t)
    best, lowest = kernel.starts()[0], math.inf
    for start in kernel.starts():
        found = minimize(
            objective,
            np.clip(start, low, high),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(low, high, strict=True)),
            options={"maxiter": iterations},
        )
        if found.fun < lowest:
            best, lowest = np.asarray(found.x), float(found.fun)
    return best
