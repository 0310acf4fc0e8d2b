"""The posterior of a Gaussian process with given hyper-parameters: means, variances, and trials that are still running.

    mean(x) = m + k(x)' K^-1 (t - m)            (Rasmussen and Williams 2006, eq. 2.25)
    var(x)  = k(x, x) - k(x)' K^-1 k(x)         (ibid., eq. 2.26; without the variance of the noise)
    m       = 1' K^-1 t / 1' K^-1 1

Duty: linear algebra for given hyper-parameters; it fits nothing.
"""

from dataclasses import dataclass

import numpy as np

from seatrial.search.gp.encoding import Array
from seatrial.search.gp.fitting import NUGGET
from seatrial.search.gp.kernel import Hyper, Kernel
from seatrial.search.gp.linear import factor, inverse

__all__ = ["Posterior", "condition"]

_LEAST_VARIANCE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """A Gaussian process given S alternative sets of targets at the same points.

    Attributes:
        kernel: The covariance.
        hyper: Its hyper-parameters.
        F: Features of the points, shape (n, m).
        targets: Targets, shape (n, S).
        constant: m, the same for all sets.
        Ki: K^-1, shape (n, n).
        alpha: K^-1 (targets - m), shape (n, S).
    """

    kernel: Kernel
    hyper: Hyper
    F: Array
    targets: Array
    constant: float
    Ki: Array
    alpha: Array

    def mean(self, F: Array) -> Array:
        """Return the posterior means at points with features F (q, m), shape (q, S)."""
        return np.asarray(self.constant + self.kernel.cross(self.hyper, F, self.F) @ self.alpha)

    def moments(self, F: Array) -> tuple[Array, Array, Array]:
        """Return means (q, S), variances (q,) and k K^-1 (q, n) at points with features F (q, m)."""
        k = self.kernel.cross(self.hyper, F, self.F)
        V = k @ self.Ki
        variance = self.hyper.variance - np.einsum("ij,ij->i", V, k)
        return self.constant + k @ self.alpha, np.maximum(variance, _LEAST_VARIANCE), V

    def with_pending(self, F: Array, normals: Array) -> "Posterior":
        """Return the posterior given samples of the outcomes of running trials (Snoek et al. 2012, section 3.2).

        The outcomes are drawn jointly, noise included, so that trials that run side by side are told to spread.

        Args:
            F: Features of the running trials, shape (p, m).
            normals: Standard normal numbers, shape (p, S).
        """
        k = self.kernel.cross(self.hyper, F, self.F)
        mean = self.constant + k @ self.alpha[:, :1]
        C = self.kernel.cross(self.hyper, F, F) - k @ self.Ki @ k.T
        C[np.diag_indices(len(F))] += self.hyper.noise + 1e-6
        outcomes = mean + factor(C) @ normals
        targets = np.vstack([np.repeat(self.targets[:, :1], normals.shape[1], axis=1), outcomes])
        return _solve(self.kernel, self.hyper, np.vstack([self.F, F]), targets, self.constant)


def condition(kernel: Kernel, hyper: Hyper, F: Array, t: Array) -> Posterior:
    """Return the posterior given targets t (n,) at points with features F (n, m), n at least 1."""
    return _solve(kernel, hyper, F, t[:, None], None)


def _solve(kernel: Kernel, hyper: Hyper, F: Array, targets: Array, constant: float | None) -> Posterior:
    K = kernel.cross(hyper, F, F)
    K[np.diag_indices(len(F))] = hyper.variance + hyper.noise + NUGGET
    Ki = inverse(factor(K))
    if constant is None:
        ones = Ki.sum(axis=1)
        constant = float(ones @ targets[:, 0] / ones.sum())
    alpha = Ki @ (targets - constant)
    return Posterior(kernel=kernel, hyper=hyper, F=F, targets=targets, constant=constant, Ki=Ki, alpha=alpha)
