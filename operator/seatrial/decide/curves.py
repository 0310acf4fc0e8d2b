"""Curves of a trial's metrics: bounded in memory, exact where decisions look.

A curve of a million points is thinned to at most ``LIMIT`` of them. What a thinned curve must not lose is carried by the points
that stay: the running minimum, maximum and mean, and the values at rungs.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["LIMIT", "Curve", "CurveBuilder", "Curves", "Point"]

LIMIT = 1024
"""Most points that a builder keeps for one metric, rungs not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One reported value and what had been seen until then.

    Attributes:
        step: Step of the report.
        value: As reported; may be NaN or infinite.
        low: Smallest finite value up to here, +inf when there is none.
        high: Largest finite value up to here, -inf when there is none.
        mean: Mean of the finite values up to here, NaN when there is none.
    """

    step: int
    value: float
    low: float
    high: float
    mean: float

    def negated(self) -> "Point":
        """Return the point of the negated curve."""
        return Point(step=self.step, value=-self.value, low=-self.high, high=-self.low, mean=-self.mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A metric by step, steps strictly increasing.

    Attributes:
        points: Thinned, the last report included.
        tail: The last values in order, up to the window of the objective; unthinned.
        count: Number of reports, thinned ones included.
    """

    points: tuple[Point, ...] = ()
    tail: tuple[float, ...] = ()
    count: int = 0

    @property
    def last(self) -> Point | None:
        """The newest point."""
        return self.points[-1] if self.points else None

    @property
    def step(self) -> int | None:
        """Step of the newest point."""
        return self.points[-1].step if self.points else None

    def at(self, step: int) -> Point | None:
        """Return the newest point not later than *step*."""
        i = bisect_right(self.points, step, key=lambda point: point.step)
        return self.points[i - 1] if i else None

    def negated(self) -> "Curve":
        """Return the curve of the negated metric."""
        points = tuple(point.negated() for point in self.points)
        return Curve(points=points, tail=tuple(-value for value in self.tail), count=self.count)


Curves = dict[str, Curve]
"""Metric -> curve."""


class CurveBuilder:
    """Collects reports of one metric of one trial, in any number, in bounded memory.

    A report whose step is not beyond the newest one marks a restart from a checkpoint: what came later than it is forgotten and
    told again.
    """

    def __init__(self, *, rungs: Collection[int] = (), window: int = 5) -> None:
        self._rungs = frozenset(rungs)
        self._points: list[Point] = []
        self._tail: deque[float] = deque(maxlen=max(window, 2))
        self._stride = 1
        self._sum, self._finite, self._count = 0.0, 0, 0

    def add(self, step: int, value: float) -> None:
        """Take one report."""
        if self._points and step <= self._points[-1].step:
            self._rewind(step)
        low, high = (self._points[-1].low, self._points[-1].high) if self._points else (math.inf, -math.inf)
        self._count += 1
        self._tail.append(value)
        if math.isfinite(value):
            self._sum, self._finite = self._sum + value, self._finite + 1
            low, high = min(low, value), max(high, value)
        mean = self._sum / self._finite if self._finite else math.nan
        point = Point(step=step, value=value, low=low, high=high, mean=mean)
        # The newest point always stays until the next one shows whether it is one to keep.
        if self._points and not self._keeps(self._points[-1], self._count - 1):
            self._points[-1] = point
        else:
            self._points.append(point)
        if len(self._points) > LIMIT + len(self._rungs):
            self._thin()

    def extend(self, reports: Iterable[tuple[int, float]]) -> None:
        """Take several reports."""
        for step, value in reports:
            self.add(step, value)

    def build(self) -> Curve:
        """Return the curve so far."""
        return Curve(points=tuple(self._points), tail=tuple(self._tail), count=self._count)

    def _keeps(self, point: Point, number: int) -> bool:
        return number % self._stride == 0 or number == 1 or point.step in self._rungs

    def _thin(self) -> None:
        self._stride *= 2
        first, *rest = self._points[:-1]
        kept = [point for i, point in enumerate(rest) if i % 2 or point.step in self._rungs]
        self._points = [first, *kept, self._points[-1]]

    def _rewind(self, step: int) -> None:
        while self._points and self._points[-1].step >= step:
            self._points.pop()
        last = self._points[-1] if self._points else None
        # The exact number of reports before the restart may be thinned away; the mean of what stays is exact at the kept point.
        self._finite = 0 if last is None or math.isnan(last.mean) else max(1, len(self._points) * self._stride)
        self._sum = 0.0 if last is None or math.isnan(last.mean) else last.mean * self._finite
        self._count = len(self._points) * self._stride
        self._tail.clear()
        self._tail.extend(point.value for point in self._points[-(self._tail.maxlen or 2) :])
