"""What a trial has reported so far, in bounded memory: the last value and the extremes of each metric, and a thinned curve.

Pure: the time comes in with each report. A million points cost what a hundred cost.
"""

import math
from collections.abc import Iterable, Mapping

__all__ = ["CURVE_POINTS", "METRICS_LIMIT", "Curve", "Record", "Tally"]

CURVE_POINTS = 128
"""Most points that a curve keeps besides those at rungs."""

METRICS_LIMIT = 1000
"""Most different metric names; a name made of the step would otherwise grow for ever."""

_RUNG_VALUES_LIMIT = 4096
_METRICS_SAVED = 64


class Tally:
    """Last value, minimum and maximum of one metric, with their steps. NaN and infinities are never an extreme."""

    __slots__ = ("last", "last_step", "max", "max_step", "min", "min_step")

    def __init__(self) -> None:
        self.last = math.nan
        self.min = math.inf
        self.max = -math.inf
        self.last_step = self.min_step = self.max_step = 0

    def add(self, step: int, value: float) -> None:
        """Count one value; a later report of the same step replaces the last value, not the extremes."""
        self.last = value
        self.last_step = step
        # Both comparisons are false for NaN.
        if value < self.min and value != -math.inf:
            self.min = value
            self.min_step = step
        if value > self.max and value != math.inf:
            self.max = value
            self.max_step = step

    def to_plain(self) -> list[float]:
        """Return the six numbers in the order of :meth:`from_plain`."""
        return [self.last, self.last_step, self.min, self.min_step, self.max, self.max_step]

    @classmethod
    def from_plain(cls, numbers: Iterable[float]) -> "Tally":
        """Return the tally of which :meth:`to_plain` gave the numbers.

        Raises:
            ValueError: If they are not six.
        """
        last, last_step, low, low_step, high, high_step = numbers
        tally = cls()
        tally.last, tally.min, tally.max = float(last), float(low), float(high)
        tally.last_step, tally.min_step, tally.max_step = int(last_step), int(low_step), int(high_step)
        return tally


class Curve:
    """One metric by step: exact at the rungs and at the ends, evenly thinned between them.

    Keeps the steps that are multiples of a stride; the stride doubles whenever too many are kept, so the choice does
    not depend on when the points came.
    """

    def __init__(self, metric: str, rungs: frozenset[int]) -> None:
        self.metric = metric
        self._rungs = rungs
        self._exact: dict[int, float] = {}
        self._kept: dict[int, float] = {}
        self._stride = 1
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] | None = None

    def add(self, step: int, value: float) -> None:
        """Take one point; a later value of the same step wins."""
        self._last = (step, value)
        if self._first is None or step <= self._first[0]:
            self._first = (step, value)
        if step in self._rungs:
            self._exact[step] = value
        elif step % self._stride == 0:
            self._kept[step] = value
            while len(self._kept) > CURVE_POINTS:
                self._stride *= 2
                self._kept = {at: kept for at, kept in self._kept.items() if at % self._stride == 0}

    def points(self, limit: int | None = None) -> list[tuple[int, float]]:
        """Return the points by step, at most *limit* of them: the last one and the latest rungs go first."""
        ends = [point for point in (self._first, self._last) if point is not None]
        merged = dict(sorted({**self._kept, **dict(ends), **self._exact}.items()))
        if limit is None or len(merged) <= limit:
            return list(merged.items())
        first_of_all = [point[0] for point in (self._last,) if point is not None]
        chosen = set(list(dict.fromkeys([*first_of_all, *sorted(self._exact, reverse=True)]))[:limit])
        rest = [step for step in merged if step not in chosen]
        chosen.update(_evenly(rest, limit - len(chosen)))
        return [(step, value) for step, value in merged.items() if step in chosen]


def _evenly(steps: list[int], count: int) -> Iterable[int]:
    if count <= 0:
        return ()
    return (steps[position * len(steps) // count] for position in range(min(count, len(steps))))


class Record:
    """All reports of one trial. Callers hold their own lock."""

    def __init__(self, objectives: tuple[str, ...], rungs: frozenset[int]) -> None:
        self.objectives = objectives
        self.rungs = rungs
        self.step: int | None = None
        self.highest: int | None = None
        self.base: int | None = None
        self.heartbeat = 0.0
        self.tallies: dict[str, Tally] = {}
        self.rung_values: dict[tuple[str, int], float] = {}
        self.curve: Curve | None = None
        self._curve_metric = objectives[0] if objectives else None

    @property
    def steps_trained(self) -> int:
        """Steps trained by this process: those of the checkpoint that it started from do not count."""
        return 0 if self.highest is None or self.base is None else max(0, self.highest - self.base)

    def resume_at(self, step: int) -> None:
        """Say that training goes on after *step*."""
        self.base = step

    def to_plain(self) -> dict[str, object]:
        """Return what a later attempt that goes on from here has to know, as JSON can hold it."""
        names = [*self.objectives, *(name for name in self.tallies if name not in self.objectives)]
        kept = [name for name in names if name in self.tallies][:_METRICS_SAVED]
        curve = self.curve
        return {
            "step": self.step,
            "metrics": {name: self.tallies[name].to_plain() for name in kept},
            "curve": [] if curve is None else [[curve.metric, step, value] for step, value in curve.points()],
        }

    def restore(self, plain: Mapping[str, object]) -> None:
        """Put back what :meth:`to_plain` gave to an earlier attempt; what this one reports comes on top.

        Something that is not of that form changes nothing.
        """
        try:
            step, metrics, curve = plain["step"], plain["metrics"], plain["curve"]
            tallies = {str(name): Tally.from_plain(numbers) for name, numbers in metrics.items()}  # type: ignore[attr-defined]
            points = [(str(metric), int(at), float(value)) for metric, at, value in curve]  # type: ignore[attr-defined]
        except (KeyError, TypeError, ValueError, AttributeError):
            return
        if self.step is not None or not isinstance(step, int):
            return
        self.step, self.tallies = step, tallies
        for metric, at, value in points:
            self._begin_curve(metric)
            if self.curve is not None and self.curve.metric == metric:
                self.curve.add(at, value)
                if at in self.rungs:
                    self.rung_values[metric, at] = value

    def add(self, step: int, values: Mapping[str, float], now: float) -> bool:
        """Take one report.

        Args:
            step: Training progress, at least 0.
            values: Value by metric; NaN and infinities are allowed.
            now: Unix time in seconds.

        Returns:
            Whether the step went backwards.
        """
        backwards = self.step is not None and step < self.step
        self.step = step
        self.heartbeat = now
        if self.highest is None or step > self.highest:
            self.highest = step
            if self.base is None:
                self.base = min(step - 1, 0)
        at_rung = step in self.rungs
        for name, value in values.items():
            tally = self.tallies.get(name)
            if tally is None:
                if len(self.tallies) >= METRICS_LIMIT:
                    continue
                tally = self.tallies[name] = Tally()
                self._begin_curve(name)
            tally.add(step, value)
            if at_rung and len(self.rung_values) < _RUNG_VALUES_LIMIT:
                self.rung_values[name, step] = value
            if self.curve is not None and self.curve.metric == name:
                self.curve.add(step, value)
        return backwards

    def diverged(self) -> list[str]:
        """Return the objectives whose last value is NaN or infinite."""
        return [name for name in self.objectives if name in self.tallies and not math.isfinite(self.tallies[name].last)]

    def missing(self) -> list[str]:
        """Return the objectives that were never reported."""
        return [name for name in self.objectives if name not in self.tallies]

    def _begin_curve(self, name: str) -> None:
        if self.curve is None and self._curve_metric in (None, name):
            self.curve = Curve(name, self.rungs)
