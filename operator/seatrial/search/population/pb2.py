"""Explore by a Gaussian-process bandit that knows that the best hyperparameters change during training (PB2).

Source: Parker-Holder et al. 2020, "Provably efficient online hyperparameter optimization with population-based bandits", sections 3
and 4, https://arxiv.org/abs/2002.02518. The bandit's reward is the improvement over one interval; the next assignment maximises

    UCB(x) = mu(x) + sqrt(beta) sigma(x),     beta = 0.2 + log(0.4 n)                            (n: rows known)

under a Gaussian process with a time-varying kernel (Bogunovic et al. 2016), in which sigma also counts the rows that are being
trained now, as in GP-BUCB (Desautels et al. 2014):

    k((x, t), (x', t')) = s exp(-|x - x'|^2 / 2 l^2) (1 - eps)^(|t - t'| / 2)

l, eps and the share of noise are those of a fixed grid with the highest marginal likelihood; s has a closed form there. Choices
without order are no coordinates of this process: they are resampled as in the original method.

Notation: X: (n, d) in [0, 1]; t: (n,) generations; y: (n,) improvements, larger is better, standardised.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from seatrial.search.base import Evaluated
from seatrial.search.gp.linear import factor, inverse
from seatrial.search.parameters import Categorical, Parameter
from seatrial.search.population.explore import Explorer, explore
from seatrial.search.space import Assignment, SearchSpace

__all__ = ["Improvement", "Trained", "bandit_parameters", "explore_by_bandit", "improvements"]

Array = NDArray[np.float64]

_LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6)
_EPSILONS = (0.0, 0.02, 0.1, 0.3)
_NOISES = (0.01, 0.1, 0.5, 1.0)
_ROWS_KEPT = 200
_UNIFORM, _NEAR, _NEAR_REACH = 384, 128, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What is trained, or was: an assignment during a generation."""

    assignment: Assignment
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement(Trained):
    """By how much an interval with an assignment improved the objective, per step."""

    gain: float


def improvements(trials: Sequence[Evaluated]) -> tuple[Improvement, ...]:
    """Return the gains of all intervals of which both ends are known, by index.

    Generation 0 has no earlier value and gives none, and neither do failed trials.
    """
    by_index = {trial.index: trial for trial in trials}
    found = []
    for trial in trials:
        before = by_index.get(trial.source.trial) if trial.source else None
        if before is None or trial.source is None or trial.membership is None or trial.failed or before.failed:
            continue
        steps = (trial.until_step or 0) - trial.source.step
        gain = (before.values[0] - trial.values[0]) / max(steps, 1)
        if math.isfinite(gain):
            found.append(Improvement(assignment=trial.assignment, generation=trial.membership.generation, gain=gain))
    return tuple(found)


def bandit_parameters(space: SearchSpace, explorer: Explorer) -> tuple[Parameter, ...]:
    """Return the parameters that are coordinates of the process: mutable, ordered, with more than one value."""
    return tuple(p for p in space if p.name in explorer.mutable and p.levels != 1 and not isinstance(p, Categorical))


def explore_by_bandit(
    space: SearchSpace,
    winner: Assignment,
    explorer: Explorer,
    *,
    known: Sequence[Improvement],
    running: Sequence[Trained],
    generation: int,
    rng: np.random.Generator,
) -> Assignment | None:
    """Return the assignment with the highest upper confidence bound of improvement.

    Args:
        space: The search space.
        winner: Assignment that is taken over.
        explorer: Which parameters may change, and how choices without order do.
        known: Intervals that were trained.
        running: Intervals that are being trained, or are about to be.
        generation: When the assignment is to be used.
        rng: Source of chance.

    Returns:
        None while too little is known: fewer intervals than coordinates + 2.
    """
    base = explore(space, winner, explorer, rng)
    wanted = [p for p in bandit_parameters(space, explorer) if p.name in base]
    rows = sorted(known, key=lambda row: row.generation)[-_ROWS_KEPT:]
    if not wanted or len(rows) < len(wanted) + 2:
        return None
    model = _fit(_encode(wanted, rows), _times(rows), np.array([row.gain for row in rows]))
    model = model.with_running(_encode(wanted, running), _times(running))
    centre = _encode(wanted, [Trained(assignment=winner, generation=generation)])
    candidates = np.vstack(
        [
            rng.random((_UNIFORM, len(wanted))),
            np.clip(centre + rng.normal(0.0, _NEAR_REACH, (_NEAR, len(wanted))), 0.0, 1.0),
        ]
    )
    bound = model.upper_bound(candidates, float(generation))
    best = candidates[int(np.argmax(bound))]
    chosen = {p.name: p.decode(float(u)) for p, u in zip(wanted, best, strict=True)}
    # A moved parent may switch children on: they have a value of `base` or are drawn.
    drawn = {p.name: p.decode(float(u)) for p, u in zip(space, rng.random(len(space)), strict=True)}
    return space.prune({**drawn, **base, **chosen})


def _encode(parameters: Sequence[Parameter], rows: Sequence[Trained]) -> Array:
    """Return X (n, d); a parameter that was not active stands in the middle."""
    table = [
        [p.encode(row.assignment[p.name]) if p.name in row.assignment else 0.5 for p in parameters] for row in rows
    ]
    return np.array(table, dtype=float).reshape(len(rows), len(parameters))


def _times(rows: Sequence[Trained]) -> Array:
    return np.array([row.generation for row in rows], dtype=float)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kernel:
    length: float
    epsilon: float

    def __call__(self, X: Array, t: Array, Z: Array, u: Array) -> Array:
        """Return k without s, shape (n, m)."""
        r2 = ((X[:, None, :] - Z[None, :, :]) ** 2).sum(axis=2)
        apart = np.abs(t[:, None] - u[None, :])
        return np.asarray(np.exp(-0.5 * r2 / self.length**2) * (1.0 - self.epsilon) ** (0.5 * apart))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A fitted process. X, t, alpha: rows with an outcome; Z, u, Ki: these and the running ones."""

    kernel: _Kernel
    noise: float
    variance: float
    X: Array
    t: Array
    alpha: Array
    Z: Array
    u: Array
    Ki: Array

    def with_running(self, X: Array, t: Array) -> "_Model":
        """Return the model whose deviations, not means, count the running rows."""
        Z, u = np.vstack([self.Z, X]), np.concatenate([self.u, t])
        return _Model(
            kernel=self.kernel,
            noise=self.noise,
            variance=self.variance,
            X=self.X,
            t=self.t,
            alpha=self.alpha,
            Z=Z,
            u=u,
            Ki=_inverse(self.kernel(Z, u, Z, u), self.noise),
        )

    def upper_bound(self, C: Array, generation: float) -> Array:
        """Return UCB at the candidates C (m, d), shape (m,)."""
        now = np.full(len(C), generation)
        mean = self.kernel(C, now, self.X, self.t) @ self.alpha
        k = self.kernel(C, now, self.Z, self.u)
        share = np.maximum(1.0 - np.einsum("ij,jk,ik->i", k, self.Ki, k), 0.0)
        beta = 0.2 + max(0.0, math.log(0.4 * len(self.t)))
        return np.asarray(mean + np.sqrt(beta * self.variance * share))


def _inverse(K: Array, noise: float) -> Array:
    K = K.copy()
    K[np.diag_indices(len(K))] += noise
    return inverse(factor(K))


def _fit(X: Array, t: Array, gains: Array) -> _Model:
    """Return the model of the highest marginal likelihood on the grid.

    With s at its maximum y' C^-1 y / n, the log likelihood is -n/2 log s - 1/2 log |C| up to a constant (Rasmussen and Williams 2006,
    eq. 2.30), where C is the covariance in units of s.
    """
    gains = gains / max(float(np.abs(gains).max()), 1e-300)  # squares of huge losses would overflow
    spread = float(gains.std())
    y = (gains - gains.mean()) / (spread if spread > 0 else 1.0)
    found = (
        _score(_Kernel(length=length * math.sqrt(X.shape[1]), epsilon=epsilon), noise, X, t, y)
        for length, epsilon, noise in product(_LENGTHS, _EPSILONS, _NOISES)
    )
    _, kernel, noise, s, Ki = max(found, key=lambda row: row[0])
    return _Model(kernel=kernel, noise=noise, variance=s, X=X, t=t, alpha=Ki @ y, Z=X, u=t, Ki=Ki)


def _score(kernel: _Kernel, noise: float, X: Array, t: Array, y: Array) -> tuple[float, _Kernel, float, float, Array]:
    """Return (log likelihood, kernel, noise, s, C^-1)."""
    C = kernel(X, t, X, t)
    C[np.diag_indices(len(C))] += noise
    L = factor(C)
    Ki = inverse(L)
    s = max(float(y @ Ki @ y) / len(y), 1e-12)
    return -0.5 * len(y) * math.log(s) - float(np.log(np.diag(L)).sum()), kernel, noise, s, Ki
