"""What one scrape of a trial says, and how scrapes become curves. The same for scrapes of our own and for those of Prometheus.

A scrape shows the newest values only: what was reported between two scrapes is not seen, except at rungs, whose values stay.
Pure and bounded; must not know where a scrape came from.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from seatrial.adapters.metrics.names import CurveTable
from seatrial.decide.curves import Curves

__all__ = ["MOST_METRICS", "MOST_RUNG_VALUES", "NAME_LIMIT", "Scrape", "ScrapedTrial"]

MOST_METRICS = 256
"""Metrics of one trial that are kept besides objectives and constraints."""

MOST_RUNG_VALUES = 4096
"""Values at rungs of one trial that are remembered."""

NAME_LIMIT = 120
"""Longest name of a metric, as the study's fields have it."""


@dataclass(slots=True, kw_only=True)
class Scrape:
    """One look at a trial.

    Attributes:
        step: Training progress, None when the trial tells none.
        metrics: Newest value by metric.
        rungs: Value by metric and rung; those that an earlier scrape showed alike may be left out.
        heartbeat: Unix time of the trial's last report in seconds, None when it tells none.
        of: Whose it says it is, ``trial/attempt``; empty when it does not.
    """

    step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    rungs: dict[tuple[str, int], float] = field(default_factory=dict)
    heartbeat: float | None = None
    of: str = ""

    @property
    def empty(self) -> bool:
        """Whether it says nothing of a training."""
        return self.step is None and not self.metrics and not self.rungs


class ScrapedTrial:
    """Curves of one trial over all of its attempts: a later one goes on from a checkpoint of an earlier one.

    Args:
        make_table: Makes the empty table of its curves.

    Attributes:
        attempt: Number of the newest attempt that was seen, -1 before the first.
        restarts: How often the step went backwards within one attempt.
    """

    def __init__(self, make_table: Callable[[], CurveTable]) -> None:
        self._table = make_table()
        self.attempt = -1
        self.restarts = 0
        self._step: int | None = None
        self._values: Mapping[str, float] = {}
        self._shown: dict[tuple[str, int], float] = {}
        self._taken: dict[tuple[str, int], float] = {}

    def take(self, attempt: int, scrape: Scrape) -> bool:
        """Take the next scrape in order of time; return whether the curves may have changed.

        One of an earlier attempt than the newest is ignored: it came too late.
        """
        if attempt < self.attempt or scrape.empty:
            return False
        if attempt > self.attempt:
            self.attempt = attempt
            self._step, self._values, self._shown, self._taken = None, {}, {}, {}
        step = scrape.step if scrape.step is not None else self._count_step(scrape.metrics)
        if self._step is not None and step < self._step:
            # Trained again from a checkpoint: what the trial still shows of later rungs is of the time before.
            self.restarts += 1
            self._taken = {key: value for key, value in self._taken.items() if key[1] < step}
        told = self._take_rungs(step, scrape.rungs)
        moved = step != self._step
        for name, value in scrape.metrics.items():
            if moved or not _same(self._values.get(name), value):
                self._table.add(name, step, value)
                told = True
        self._step, self._values = step, dict(scrape.metrics)
        return told

    @property
    def step(self) -> int | None:
        """Newest step of the newest attempt."""
        return self._step

    def build(self) -> Curves:
        """Return the curves so far; the same object as long as nothing was added."""
        return self._table.build()

    @property
    def dropped(self) -> frozenset[str]:
        """Names of metrics without a place, some of them."""
        return frozenset(self._table.dropped)

    def _count_step(self, metrics: Mapping[str, float]) -> int:
        """Return the step of a trial that tells none: each change of a value is the next one, as with printed lines."""
        changed = any(not _same(self._values.get(name), value) for name, value in metrics.items())
        return (self._step or 0) + changed

    def _take_rungs(self, step: int, rungs: Mapping[tuple[str, int], float]) -> bool:
        for key, value in rungs.items():
            if key in self._shown or len(self._shown) < MOST_RUNG_VALUES:
                self._shown[key] = value
        # A rung beyond the step was told while the scrape was being written, or before a restart: a later scrape shows which.
        fresh = [
            (rung, name, value)
            for (name, rung), value in self._shown.items()
            if rung <= step and not _same(self._taken.get((name, rung)), value)
        ]
        for rung, name, value in sorted(fresh, key=lambda item: item[:2]):
            self._taken[name, rung] = value
            self._table.add(name, rung, value)
        return bool(fresh)


def _same(known: float | None, value: float) -> bool:
    return known is not None and (known == value or (math.isnan(known) and math.isnan(value)))
