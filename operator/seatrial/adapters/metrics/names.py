"""Curves by metric, with a bound on the number of names that a trial may invent."""

from collections.abc import Collection

from seatrial.decide.curves import CurveBuilder, Curves

__all__ = ["CurveTable"]


class CurveTable:
    """One :class:`~seatrial.decide.curves.CurveBuilder` a metric.

    Args:
        wanted: Metrics that always have a place: objectives and constraints.
        rungs: Steps whose values must be exact.
        window: Longest window of an objective.
        most_others: How many other metrics have a place; later ones are dropped.

    Attributes:
        dropped: Names without a place, some of them.
    """

    def __init__(self, wanted: Collection[str], rungs: Collection[int], window: int, most_others: int) -> None:
        self._wanted = frozenset(wanted)
        self._rungs = rungs
        self._window = window
        self._places = most_others
        self._builders: dict[str, CurveBuilder] = {}
        self._built: Curves | None = {}
        self.dropped: set[str] = set()

    def add(self, name: str, step: int, value: float) -> None:
        """Take one value."""
        builder = self._builders.get(name)
        if builder is None:
            builder = self._make(name)
            if builder is None:
                return
        self._built = None
        builder.add(step, value)

    def build(self) -> Curves:
        """Return the curves so far; the same object as long as nothing was added."""
        if self._built is None:
            self._built = {name: builder.build() for name, builder in self._builders.items()}
        return self._built

    def _make(self, name: str) -> CurveBuilder | None:
        if name not in self._wanted:
            if self._places <= 0:
                if len(self.dropped) < 10:
                    self.dropped.add(name[:60])
                return None
            self._places -= 1
        builder = self._builders[name] = CurveBuilder(rungs=self._rungs, window=self._window)
        return builder
