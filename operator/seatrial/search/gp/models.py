"""The models of one study: what each is fitted to, and what an instance may remember of its fits.

Duty: from a history to posteriors. Which point follows from them is decided elsewhere.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seatrial.search.base import Evaluated
from seatrial.search.gp.encoding import Array, Encoding
from seatrial.search.gp.features import Features
from seatrial.search.gp.fitting import fit
from seatrial.search.gp.kernel import Kernel
from seatrial.search.gp.posterior import Posterior, condition
from seatrial.search.gp.targets import REFIT_ALWAYS, Shape, imputed, kept_rows, refit_length, signed_log, standardised

__all__ = ["TURNS", "Models", "Observations"]

MOST_ROWS = 300
"""Trials that a model sees at most: the cost grows with the cube."""

_ITERATIONS, _ITERATIONS_LATE = 40, 15
_REMEMBERED = 16


TURNS = (Shape.RAW, Shape.HALF)
"""The models in the order of their turns: they differ in the targets alone."""


@dataclass(frozen=True, slots=True)
class Observations:
    """The evaluated trials, by index, and their values with failures imputed, shape (n,)."""

    trials: tuple[Evaluated, ...]
    values: Array

    @classmethod
    def of(cls, trials: Sequence[Evaluated]) -> "Observations":
        """Return the observations of trials with one objective."""
        return cls(tuple(trials), imputed(np.array([trial.values[0] for trial in trials], dtype=float)))

    def first(self, count: int) -> "Observations":
        """Return the first *count* of them."""
        return Observations(self.trials[:count], imputed(self.values[:count]))


@dataclass(slots=True)
class _Memory:
    """Hyper-parameters by what they were fitted to, the latest last."""

    thetas: dict[bytes, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Models:
    """Posteriors of a study's objective and constraints."""

    encoding: Encoding
    features: Features
    memory: _Memory = field(default_factory=_Memory, compare=False, repr=False)

    def rows(self, observations: Observations) -> NDArray[np.int64]:
        """Return which of the trials every model of the objective sees, increasing."""
        return kept_rows(observations.values, MOST_ROWS)

    def encode(self, observations: Observations, rows: NDArray[np.int64]) -> Array:
        """Return the encoded points of some trials, shape (len(rows), k)."""
        return self.encoding.encode(observations.trials[int(i)].assignment for i in rows)

    def objective(self, shape: Shape, observations: Observations) -> Posterior:
        """Return the posterior of the objective's target, given at least one trial."""
        earlier = observations.first(refit_length(len(observations.trials)))
        kernel = self._kernel
        theta = self._fitted(kernel, *self._seen(shape, earlier), late=len(earlier.trials) > REFIT_ALWAYS)
        F, t = self._seen(shape, observations)
        return condition(kernel, kernel.hyper(theta), F, t)

    def constraint(self, trials: Sequence[Evaluated], position: int) -> tuple[Posterior, float]:
        """Return the posterior of one constraint's violation and the target at which it is just kept.

        Args:
            trials: Trials with violations, at least one.
            position: Number of the constraint.
        """
        scaled = signed_log(np.array([trial.violations[position] for trial in trials], dtype=float))
        rows = kept_rows(np.abs(scaled), MOST_ROWS)
        scaled = scaled[rows]
        spread = float(scaled.std()) or 1.0
        centre = float(scaled.mean())
        F = self.features(self.encoding.encode(trials[int(i)].assignment for i in rows))
        t = (scaled - centre) / spread
        kernel = self._kernel
        theta = self._fitted(kernel, F, t, late=len(rows) > REFIT_ALWAYS)
        return condition(kernel, kernel.hyper(theta), F, t), -centre / spread

    def _seen(self, shape: Shape, observations: Observations) -> tuple[Array, Array]:
        """Return features and targets of the kept trials; the transformation is that of all trials."""
        rows = self.rows(observations)
        return self.features(self.encode(observations, rows)), standardised(observations.values, shape)[rows]

    @cached_property
    def _kernel(self) -> Kernel:
        return Kernel(self.encoding.width, self.features.owner)

    def _fitted(self, kernel: Kernel, F: Array, t: Array, *, late: bool) -> Array:
        key = hashlib.blake2b(F.tobytes() + t.tobytes() + bytes([late]), digest_size=16).digest()
        known = self.memory.thetas.get(key)
        if known is not None:
            return known
        theta = fit(kernel, self.features.distances(F), t, iterations=_ITERATIONS_LATE if late else _ITERATIONS)
        # Replaced in one step, never changed in place: a second thread that reads the old one is not disturbed.
        self.memory.thetas = dict([*self.memory.thetas.items(), (key, theta)][-_REMEMBERED:])
        return theta
