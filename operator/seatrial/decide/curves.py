"""Curves of a trial's metrics: bounded in memory, exact where decisions look.

A curve of a million points is thinned to at most ``LIMIT`` of them. What a thinned curve must not lose is carried by the points
that stay: the running minimum, maximum and mean, and the values at rungs.
"""

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import takewhile
from operator import attrgetter

__all__ = ["LIMIT", "Curve", "CurveBuilder", "Curves", "Point"]

_STEP = attrgetter("step")

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
        total: Sum of the finite values up to here.
        finite: Number of finite values up to here.
        number: Number of reports up to here, this one included.
    """

    step: int
    value: float
    low: float
    high: float
    total: float
    finite: int
    number: int

    @property
    def mean(self) -> float:
        """Mean of the finite values up to here, NaN when there is none."""
        return self.total / self.finite if self.finite else math.nan

    def negated(self) -> "Point":
        """Return the point of the negated curve."""
        return Point(
            step=self.step,
            value=-self.value,
            low=-self.high,
            high=-self.low,
            total=-self.total,
            finite=self.finite,
            number=self.number,
        )


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
        i = bisect_right(self.points, step, key=_STEP)
        return self.points[i - 1] if i else None

    def negated(self, known: tuple["Curve", "Curve"] | None = None) -> "Curve":
        """Return the curve of the negated metric.

        Args:
            known: An earlier state of this curve and its negation: points that are still the same are not negated again.
        """
        kept: tuple[Point, ...] = ()
        if known is not None:
            pairs = zip(self.points, known[0].points, strict=False)
            kept = known[1].points[: sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], pairs))]
        points = (*kept, *(point.negated() for point in self.points[len(kept) :]))
        return Curve(points=points, tail=tuple(-value for value in self.tail), count=self.count)


Curves = dict[str, Curve]
"""Metric -> curve."""


class CurveBuilder:
    """Collects reports of one metric of one trial, in any number, in bounded memory.

    A report whose step is not beyond the newest one marks a restart from a checkpoint: what came later than it is forgotten and
    told again. On a thinned curve the reports between the last point that stays and the restart are forgotten too.
    """

    def __init__(self, *, rungs: Collection[int] = (), window: int = 5) -> None:
        self._rungs = sorted(set(rungs))
        self._points: list[Point] = []
        self._tail: deque[float] = deque(maxlen=max(window, 2))
        self._stride = 1

    def add(self, step: int, value: float) -> None:
        """Take one report."""
        if self._points and step <= self._points[-1].step:
            self._rewind(step)
        last = self._points[-1] if self._points else _NOTHING
        finite = math.isfinite(value)
        point = Point(
            step=step,
            value=value,
            low=min(last.low, value) if finite else last.low,
            high=max(last.high, value) if finite else last.high,
            total=last.total + value if finite else last.total,
            finite=last.finite + finite,
            number=last.number + 1,
        )
        self._tail.append(value)
        # The newest point always stays until the next one shows whether it is one to keep.
        if self._points and not self._keeps(last, step):
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
        count = self._points[-1].number if self._points else 0
        return Curve(points=tuple(self._points), tail=tuple(self._tail), count=count)

    def _keeps(self, point: Point, following: int) -> bool:
        """Whether a point stays that is followed by a point at step *following*."""
        if point.number == 1 or point.number % self._stride == 0:
            return True
        # The value at a rung is that of the newest report not beyond it.
        i = bisect_left(self._rungs, point.step)
        return i < len(self._rungs) and self._rungs[i] < following

    def _thin(self) -> None:
        self._stride *= 2
        pairs = zip(self._points, self._points[1:], strict=False)
        self._points = [*(point for point, after in pairs if self._keeps(point, after.step)), self._points[-1]]

    def _rewind(self, step: int) -> None:
        while self._points and self._points[-1].step >= step:
            self._points.pop()
        self._tail.clear()
        self._tail.extend(point.value for point in self._points[-(self._tail.maxlen or 2) :])


_NOTHING = Point(step=-1, value=math.nan, low=math.inf, high=-math.inf, total=0.0, finite=0, number=0)
