"""Progress as plain lines, for pipes, files and CI logs. Pure: events and times in, lines out.

A study of tiny trials ends hundreds a second. More than a few lines a second are summed up in one, except where something is said
of the study itself.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from seatrial.api.conditions import TrialReason
from seatrial.entry.cli.cells import UNICODE, Signs, shorten
from seatrial.entry.cli.chronicle import Event, EventKind
from seatrial.entry.cli.screen import format_values

__all__ = ["PlainLines", "format_event"]

_LONGEST = 240
_BURST = 20
_LINES_PER_SECOND = 4.0
_SUMMARY_SECONDS = 1.0


def format_event(event: Event, *, metrics: Sequence[str], since: datetime, signs: Signs = UNICODE) -> str:
    """Return one line: elapsed time, trial, what happened, and why.

    Args:
        event: What to tell.
        metrics: Names of the objectives.
        since: When the run began.
        signs: What the output can show.
    """
    return _line(event.at, since, _words(event, metrics), signs)


def _words(event: Event, metrics: Sequence[str]) -> str:
    match event.kind:
        case EventKind.STUDY:
            return event.text
        case EventKind.STARTED:
            return f"{event.trial} started: {event.text}"
        case EventKind.STOPPING:
            return f"{event.trial} is being stopped: {event.text}"
        case EventKind.AGAIN:
            return f"{event.trial}: {event.text}"
        case EventKind.ENDED:
            return _ended_words(event, metrics)


def _ended_words(event: Event, metrics: Sequence[str]) -> str:
    outcome = event.outcome.value.lower() if event.outcome else "ended"
    known = any(value is not None for value in event.values)
    values = f" {format_values(metrics, event.values)}" if known else ""
    step = f" at step {event.step}" if event.step is not None and event.outcome is TrialReason.STOPPED else ""
    best = " (best so far)" if event.best else ""
    return f"{event.trial} {outcome}{step}{values}{best}: {event.text}".removesuffix(": ")


def _line(at: datetime, since: datetime, words: str, signs: Signs) -> str:
    seconds = max(0.0, (at - since).total_seconds())
    clock = (
        f"{seconds:7.1f}s"
        if seconds < 3600
        else f"{int(seconds // 3600)}:{int(seconds // 60 % 60):02}:{int(seconds % 60):02}"
    )
    return f"[{clock:>8}] {shorten(words, _LONGEST, signs)}"


class PlainLines:
    """Turns events into lines, summed up where they come too fast."""

    def __init__(self, *, metrics: Sequence[str], since: datetime, signs: Signs = UNICODE) -> None:
        self._metrics, self._since, self._signs = tuple(metrics), since, signs
        self._allowance, self._filled_at = float(_BURST), since
        self._held: list[Event] = []
        self._held_since: datetime | None = None
        self._crowded = False

    def tell(self, events: Sequence[Event], now: datetime) -> list[str]:
        """Return the lines to print now."""
        lines: list[str] = []
        self._refill(now)
        for event in events:
            if event.kind is EventKind.STOPPING:
                continue  # how it ended follows within the grace period, with the same reason
            if event.kind is EventKind.STUDY or (self._allowance >= 1 and not self._held and not self._crowded):
                lines += self.flush(now) if event.kind is EventKind.STUDY else []
                self._allowance = max(0.0, self._allowance - 1)
                lines.append(format_event(event, metrics=self._metrics, since=self._since, signs=self._signs))
            else:
                self._held.append(event)
                self._held_since = self._held_since or now
        if self._held_since is not None and (now - self._held_since).total_seconds() >= _SUMMARY_SECONDS:
            lines += self.flush(now)
        return lines

    def flush(self, now: datetime) -> list[str]:
        """Return what was held back, as one line."""
        held, self._held, self._held_since = self._held, [], None
        # A flood that goes on is not told in single lines between two sums.
        self._crowded = len(held) > 2 * _LINES_PER_SECOND
        if not held:
            return []
        if len(held) == 1:
            return [format_event(held[0], metrics=self._metrics, since=self._since, signs=self._signs)]
        return [_line(now, self._since, self._summary(held), self._signs)]

    def note(self, text: str, now: datetime) -> list[str]:
        """Return the lines for something that the session says."""
        return [*self.flush(now), _line(now, self._since, text, self._signs)]

    def _refill(self, now: datetime) -> None:
        seconds = max(0.0, (now - self._filled_at).total_seconds())
        self._allowance = min(float(_BURST), self._allowance + seconds * _LINES_PER_SECOND)
        self._filled_at = now

    def _summary(self, held: Sequence[Event]) -> str:
        words = Counter(e.outcome.value.lower() if e.outcome else _MANY[e.kind] for e in held)
        text = ", ".join(f"{number} {word}" for word, number in words.items())
        best = next((event for event in reversed(held) if event.best), None)
        last_failure = next((event for event in reversed(held) if event.outcome is TrialReason.FAILED), None)
        if best is not None:
            text += f"; best so far {best.trial} {format_values(self._metrics, best.values)}"
        if last_failure is not None:
            text += f"; last failure {last_failure.trial}: {last_failure.text}"
        return text


_MANY = {EventKind.STARTED: "started", EventKind.STOPPING: "being stopped", EventKind.AGAIN: "to go on later"}
