"""From encoded points to the Euclidean space in which the kernel measures distances.

A parameter's squared distance D_j(x, x') is the squared distance of its features:
    number, always active: the number itself, D = (x - x')^2.
    number with a condition: a point of an arc of radius R while active, the centre of the arc while inactive (after Swersky et al.
        2013, https://arxiv.org/abs/1409.4011). Two active values are about |x - x'| apart, D = 2 R^2 (1 - cos((x - x') / R));
        two inactive ones are the same; an active value is R away from an inactive one whatever it is.
    choice without order: one-hot, inactive being a code of its own, scaled so that D = [x != x'].
All of these are embeddings, so that every kernel of Euclidean distances stays positive definite on conditional spaces.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seatrial.search.gp.encoding import Array, Encoding

__all__ = ["ARC_RADIUS", "Features"]

ARC_RADIUS = 0.7
_HALF = np.sqrt(0.5)


@dataclass(frozen=True)
class Features:
    """The map X -> F and its derivative."""

    encoding: Encoding

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """Column of X that each feature comes from, shape (m,)."""
        owners: list[int] = []
        for j in range(self.encoding.width):
            owners += [j] * self._count(j)
        return np.array(owners, dtype=np.int64)

    def _count(self, j: int) -> int:
        if self.encoding.categorical[j]:
            return int(self.encoding.levels[j]) + 1
        return 2 if self.encoding.conditional[j] else 1

    def __call__(self, X: Array) -> Array:
        """Return the features of encoded points, shape (q, m)."""
        return self._map(X, derivative=False)

    def derivative(self, X: Array) -> Array:
        """Return dF/dx of each feature by the number that it comes from, 0 for choices, shape (q, m)."""
        return self._map(X, derivative=True)

    def _map(self, X: Array, *, derivative: bool) -> Array:
        F = np.zeros((len(X), len(self.owner)))
        active = self.encoding.active(X) if self.encoding.conditional.any() else None
        start = 0
        for j in range(self.encoding.width):
            width = self._count(j)
            x = X[:, j]
            if self.encoding.categorical[j]:
                if not derivative:
                    F[np.arange(len(X)), start + x.astype(np.int64) + 1] = _HALF
            elif width == 1:
                F[:, start] = 1.0 if derivative else x
            else:
                on = active[:, j] if active is not None else 1.0
                angle = x / ARC_RADIUS
                first, second = (np.cos(angle), -np.sin(angle)) if derivative else (np.sin(angle), np.cos(angle))
                scale = 1.0 if derivative else ARC_RADIUS
                F[:, start] = on * scale * first
                F[:, start + 1] = on * scale * second
            start += width
        return F

    def distances(self, F: Array) -> Array:
        """Return D_j of all pairs i > i' in the order of ``np.tril_indices(n, -1)``, shape (k, n (n - 1) / 2)."""
        rows, columns = np.tril_indices(len(F), -1)
        D = np.zeros((self.encoding.width, len(rows)))
        for feature, j in enumerate(self.owner):
            difference = F[rows, feature] - F[columns, feature]
            D[j] += difference * difference
        return D
