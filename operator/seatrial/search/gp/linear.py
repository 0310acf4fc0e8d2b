"""Cholesky factorisation that always succeeds."""

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from seatrial.search.gp.encoding import Array

__all__ = ["factor", "inverse"]

# Shares of the mean diagonal. Points that nearly coincide, or samples that follow exactly from others, need the larger ones.
_JITTERS = (0.0, 1e-8, 1e-6, 1e-4, 1e-2)


def factor(K: Array) -> Array:
    """Return the lower Cholesky factor of *K* plus the smallest jitter of a ladder that makes it positive definite.

    Args:
        K: Symmetric, shape (n, n); only the lower triangle is read.

    Returns:
        L with L L' = K + jitter I. If even the largest jitter does not help, the square root of the diagonal, which ignores all
        correlations.
    """
    scale = float(np.mean(np.diag(K))) if len(K) else 0.0
    for jitter in _JITTERS:
        # LAPACK counts columns first: our lower triangle is its upper one, and the transposed view costs no copy.
        work = np.array(K.T, order="F", copy=True)
        work[np.diag_indices(len(K))] += jitter * scale
        U, failed = dpotrf(work, lower=0, clean=1, overwrite_a=1)
        if not failed and np.isfinite(U).all():
            return np.asarray(U.T)
    return np.diag(np.sqrt(np.maximum(np.diag(K), 1e-12)))


def inverse(L: Array) -> Array:
    """Return (L L')^-1, shape (n, n), from the lower Cholesky factor."""
    half, _ = dpotri(np.array(L.T, order="F", copy=True), lower=0, overwrite_c=1)
    upper = np.triu(half)
    return np.asarray(upper + np.triu(half, 1).T)
