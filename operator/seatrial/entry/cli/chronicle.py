"""What has happened in a run, told from look to look: events for people, and the tallies that a live view shows.

A look costs as much as there are open trials and news, however many trials are over. Nothing here draws or prints.
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.decide.actions import (
    Action,
    FinishTrial,
    PauseTrial,
    PromoteTrial,
    RequeueTrial,
    StopAttempt,
    StopReason,
)
from seatrial.decide.attempts import Phase
from seatrial.decide.lifecycle import describe_assignment
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot
from seatrial.entry.cli.pace import ENDED_KEPT
from seatrial.reconcile import Look
from seatrial.report.words import describe_study_reason

__all__ = ["Chronicle", "Ended", "Event", "EventKind"]

_ROWS_KEPT = 200
_TIMES_KEPT = 10_000


class EventKind(StrEnum):
    """What an event is about."""

    STARTED = "started"
    ENDED = "ended"
    STOPPING = "stopping"
    AGAIN = "again"
    STUDY = "study"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something worth a line.

    Attributes:
        trial: Name of the trial, empty for the study itself.
        outcome: How the trial ended, None for other events.
        values: Objective values as the user states them.
        best: Whether it is the best result so far.
        text: Reason or parameters, in words.
    """

    kind: EventKind
    at: datetime
    trial: str = ""
    outcome: TrialReason | None = None
    values: tuple[float | None, ...] = ()
    step: int | None = None
    best: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A trial that is over, as the live view lists it."""

    name: str
    outcome: TrialReason
    values: tuple[float | None, ...]
    step: int | None
    best: bool
    text: str


class Chronicle:
    """Follows one study.

    Attributes:
        ended: The last trials that ended, newest last.
        best_values: Best value of the first objective after each improvement or trial, as the user states it, thinned.
        durations: Seconds of the last trials that ended in this run.
        end_times: When trials ended in this run, in seconds since the epoch; the newest ones.
        counted_since: From when on no such time is missing, in seconds since the epoch.
        began_at: Time of the first look.
        event: The newest event.
    """

    def __init__(self) -> None:
        self.ended: deque[Ended] = deque(maxlen=_ROWS_KEPT)
        self.best_values: list[float] = []
        self.durations: deque[float] = deque(maxlen=ENDED_KEPT)
        self.end_times: list[float] = []
        self.counted_since = 0.0
        self.began_at: datetime | None = None
        self.event: Event | None = None
        self._open: list[int] = []
        self._known = 0
        self._over: set[str] = set()
        self._started: set[tuple[str, int]] = set()
        self._state: tuple[StudyReason, str] | None = None
        self._best: float | None = None  # minimised

    @property
    def open_indexes(self) -> tuple[int, ...]:
        """Indexes of the trials that were not over in the newest look."""
        return tuple(self._open)

    def see(self, look: Look) -> tuple[Event, ...]:
        """Take the next look and return what is new in it, in order."""
        snapshot = look.snapshot
        first = self.began_at is None
        self.began_at = self.began_at or snapshot.now
        starts = self._starts(snapshot, first=first)
        found: list[Event] = []
        for action in look.plan.actions:
            event = self._tell(snapshot, action)
            if event is not None:
                found.append(event)
        # Who took the place is told after who left it.
        found += starts
        # What this plan ended is over, though the snapshot shows the world before.
        self._open = [i for i in self._open if snapshot.trials[i].name not in self._over]
        state = look.plan.state
        key = (state.reason, state.message if state.reason is not StudyReason.RUNNING else "")
        if self._state is not None and key != self._state:
            text = describe_study_reason(state.reason, state.message)
            found.append(Event(kind=EventKind.STUDY, at=snapshot.now, text=text))
        self._state = key
        if found:
            self.event = found[-1]
        return tuple(found)

    def _starts(self, snapshot: StudySnapshot, *, first: bool) -> list[Event]:
        """Sort trials into open and over, and tell which have begun to run."""
        events, still_open = [], []
        for index in [*self._open, *range(self._known, len(snapshot.trials))]:
            trial = snapshot.trials[index]
            if trial.terminal:
                self._take_over(snapshot, trial)
                continue
            still_open.append(index)
            if trial.live is not None and trial.live.phase is Phase.RUNNING:
                mark = (trial.name, trial.live.number)
                if mark not in self._started:
                    self._started.add(mark)
                    events.append(_start_event(snapshot, trial, adopted=first))
        self._open, self._known = still_open, len(snapshot.trials)
        return events

    def _take_over(self, snapshot: StudySnapshot, trial: TrialSnapshot) -> None:
        """Count a trial that was over before it was ever seen open, such as those of an earlier run."""
        if trial.name not in self._over:
            self._over.add(trial.name)
            best = self._improves(snapshot, trial, trial.reason)
            self.ended.append(_ended(snapshot, trial, trial.reason, trial.message, best=best))

    def _tell(self, snapshot: StudySnapshot, action: Action) -> Event | None:
        match action:
            case FinishTrial():
                return self._finish(snapshot, _find(snapshot, action.trial), action)
            case StopAttempt():
                reason = StopReason(action.reason)
                text = f"{reason.value}: {action.message}"
                return Event(kind=EventKind.STOPPING, at=snapshot.now, trial=action.trial, text=text)
            case RequeueTrial():
                text = f"attempt {action.attempt} ended ({action.reason}: {action.message}); it goes on later"
                return Event(kind=EventKind.AGAIN, at=snapshot.now, trial=action.trial, text=text)
            case PauseTrial():
                text = f"paused {action.message}"
                return Event(kind=EventKind.AGAIN, at=snapshot.now, trial=action.trial, text=text)
            case PromoteTrial():
                text = f"promoted {action.message}"
                return Event(kind=EventKind.AGAIN, at=snapshot.now, trial=action.trial, text=text)
            case _:
                return None

    def _finish(self, snapshot: StudySnapshot, trial: TrialSnapshot, action: FinishTrial) -> Event:
        self._over.add(trial.name)
        if action.outcome is TrialReason.REUSED and trial.reuse_of is not None:
            values: tuple[float | None, ...] = _find(snapshot, trial.reuse_of).values
        else:
            values = trial.values
            self._time(snapshot, trial)
        best = self._improves(snapshot, trial, action.outcome)
        reason = "" if action.reason == action.outcome.value else f"{action.reason}: "
        row = _ended(snapshot, trial, action.outcome, f"{reason}{action.message}", best=best, values=values)
        self.ended.append(row)
        return Event(
            kind=EventKind.ENDED,
            at=snapshot.now,
            trial=row.name,
            outcome=row.outcome,
            values=row.values,
            step=row.step,
            best=best,
            text=row.text,
        )

    def _time(self, snapshot: StudySnapshot, trial: TrialSnapshot) -> None:
        started = trial.live.started_at if trial.live else None
        if trial.live is None or started is None:
            return
        ended = trial.live.finished_at or snapshot.now
        self.durations.append(max(0.0, (ended - started).total_seconds()))
        self.end_times.append(snapshot.now.timestamp())
        if len(self.end_times) > 2 * _TIMES_KEPT:
            self.counted_since = self.end_times[_TIMES_KEPT - 1]
            del self.end_times[:_TIMES_KEPT]

    def _improves(self, snapshot: StudySnapshot, trial: TrialSnapshot, outcome: TrialReason) -> bool:
        """Whether a completed trial beats all before it; with several objectives nothing is best."""
        value = trial.values[0] if trial.values else None
        if outcome is not TrialReason.COMPLETED or value is None or not trial.complete:
            return False
        if any(violation > 0 for violation in trial.violations):
            return False
        better = self._best is None or value < self._best
        self._best = value if self._best is None else min(self._best, value)
        self.best_values.append(snapshot.signs[0] * self._best)
        if len(self.best_values) > _ROWS_KEPT:
            # Every second one is dropped, never the first and the last.
            self.best_values[1:-1] = self.best_values[1:-1:2]
        return better and len(snapshot.signs) == 1


def _find(snapshot: StudySnapshot, name: str) -> TrialSnapshot:
    """Return the trial of that name; the number behind the last dash is its index."""
    index = name.rpartition("-")[2]
    if index.isdecimal() and int(index) < len(snapshot.trials) and snapshot.trials[int(index)].name == name:
        return snapshot.trials[int(index)]
    return next(trial for trial in snapshot.trials if trial.name == name)


def _start_event(snapshot: StudySnapshot, trial: TrialSnapshot, *, adopted: bool) -> Event:
    words = [f"attempt {trial.attempt}"] if trial.attempt else []
    words += ["already running"] if adopted else []
    note = f" ({', '.join(words)})" if words else ""
    text = f"{describe_assignment(trial.assignment)}{note}"
    return Event(kind=EventKind.STARTED, at=snapshot.now, trial=trial.name, text=text)


def _ended(
    snapshot: StudySnapshot,
    trial: TrialSnapshot,
    outcome: TrialReason,
    message: str,
    *,
    best: bool,
    values: tuple[float | None, ...] | None = None,
) -> Ended:
    kept = trial.values if values is None else values
    stated = tuple(None if v is None else sign * v for sign, v in zip(snapshot.signs, kept, strict=True))
    # A result speaks by its parameters, every other end by its reason.
    text = describe_assignment(trial.assignment) if outcome is TrialReason.COMPLETED else message
    return Ended(name=trial.name, outcome=outcome, values=stated, step=trial.step, best=best, text=text)
