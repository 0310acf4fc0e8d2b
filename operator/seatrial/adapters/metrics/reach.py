"""How far Prometheus has been read for each trial, and which windows of time are to be asked next. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

__all__ = ["Gaps", "Reach", "Window", "plan_windows"]

_SERIES_OF_A_TRIAL = 12
_SAMPLES_AT_ONCE = 200_000
_TRIALS_AT_ONCE = 200
_WARM_SECONDS = 600.0


@dataclass(slots=True, kw_only=True)
class Reach:
    """One trial. All times are unix seconds.

    Attributes:
        until: All samples until then have been read; where its story begins before the first reading.
        warm: Whether *until* was reached by reading.
        asked: When the newest answer that covers the trial's present was asked for.
        newest: Time of the newest scrape by attempt.
        heard: When an answer last had something new, of the operator's clock.
        excluded: Whether its answers are too large to be read.
    """

    until: float
    warm: bool = False
    asked: float = float("-inf")
    newest: dict[int, float] = field(default_factory=dict)
    heard: float | None = None
    excluded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One question.

    Attributes:
        trials: Whom it is about; None for all of the study.
        start: Unix seconds.
        end: Unix seconds.
        present: Whether it ends now, by the server's clock.
    """

    trials: tuple[str, ...] | None
    start: float
    end: float
    present: bool

    def halves(self, everybody: Iterable[str], shortest_seconds: float) -> tuple["Window", "Window"] | None:
        """Return two smaller questions: half of the trials each, or half of the time; None where neither can be halved."""
        trials = tuple(everybody) if self.trials is None else self.trials
        if len(trials) > 1:
            middle = len(trials) // 2
            first, second = trials[:middle], trials[middle:]
            return (
                Window(trials=first, start=self.start, end=self.end, present=self.present),
                Window(trials=second, start=self.start, end=self.end, present=self.present),
            )
        return self.halves_of_time(shortest_seconds)

    def halves_of_time(self, shortest_seconds: float) -> tuple["Window", "Window"] | None:
        """Return two questions about half of the time each; None where it is too short for that."""
        if self.end - self.start <= shortest_seconds:
            return None
        half = (self.start + self.end) / 2
        return (
            Window(trials=self.trials, start=self.start, end=half, present=False),
            Window(trials=self.trials, start=half, end=self.end, present=self.present),
        )


class Gaps:
    """Pieces of time about which a question brings more than can be read, however short it is.

    Args:
        step: Seconds between two points of the grid on which questions are answered.
    """

    def __init__(self, step: float) -> None:
        self._step = step
        self._pieces: list[tuple[float, float]] = []

    def add(self, start: float, end: float) -> None:
        """Note all points of the grid from *start* to *end*."""
        first = start // self._step * self._step
        last = end // self._step * self._step + self._step
        pieces: list[tuple[float, float]] = []
        for begin, until in sorted([*self._pieces, (first, last)]):
            if pieces and begin <= pieces[-1][1]:
                pieces[-1] = (pieces[-1][0], max(pieces[-1][1], until))
            else:
                pieces.append((begin, until))
        self._pieces = pieces

    def split(self, window: Window) -> Iterator[tuple[Window, bool]]:
        """Yield the pieces of a window in order, each with whether it can be read."""
        at = window.start
        for begin, until in self._pieces:
            if until <= at or begin > window.end:
                continue
            if at < begin:
                # One step short: the grid has a point at the beginning of the gap.
                before = max(at, begin - self._step)
                yield replace(window, start=at, end=before, present=False), True
                at = before
            yield replace(window, start=at, end=min(until, window.end), present=False), False
            at = until
        if at <= window.end:
            yield replace(window, start=at), True


def plan_windows(reaches: Mapping[str, Reach], now: float, *, interval: float) -> Iterator[Window]:
    """Yield the questions that bring all trials to the present.

    Trials that were read lately share one question about the whole study. Others (new here, or after an outage) are asked by
    name, a bounded piece of time at once, oldest first.

    Args:
        reaches: By name of the trial.
        now: The time.
        interval: Seconds between two scrapes.
    """
    readable = {name: reach for name, reach in reaches.items() if not reach.excluded}
    warm = {name: reach.until for name, reach in readable.items() if reach.warm and now - reach.until <= _WARM_SECONDS}
    if warm:
        # A scrape is dated by its beginning and seen at its end: the last two intervals are always asked again.
        start = min(warm.values()) - 2 * interval
        whole = len(readable) == len(reaches)
        yield Window(trials=None if whole else tuple(sorted(warm)), start=start, end=now, present=True)
        if whole:
            # A trial whose story began since then is part of that question.
            warm |= {name: reach.until for name, reach in readable.items() if reach.until >= start}
    cold = sorted((reach.until, name) for name, reach in readable.items() if name not in warm)
    for place in range(0, len(cold), _TRIALS_AT_ONCE):
        group = cold[place : place + _TRIALS_AT_ONCE]
        names = tuple(name for _, name in group)
        piece = max(_SAMPLES_AT_ONCE * interval / (len(names) * _SERIES_OF_A_TRIAL), 4 * interval)
        # Clocks may differ a little, and a Pod runs before its container is seen to.
        start = group[0][0] - 2 * interval - 60
        while start + piece < now:
            yield Window(trials=names, start=start, end=start + piece, present=False)
            start += piece
        yield Window(trials=names, start=start - 60, end=now, present=True)
