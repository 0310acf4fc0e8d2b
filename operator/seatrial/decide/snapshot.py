"""The world in one value: everything that a plan depends on, minimised and typed.

Reading a snapshot never changes anything. Finished trials never change, so their part is kept between snapshots; that cache may
only make it faster.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from seatrial.api.base import to_seconds
from seatrial.api.conditions import TrialReason, find_condition
from seatrial.api.study import Study, StudySpec
from seatrial.api.trial import AttemptRecord, Trial, reason_of
from seatrial.decide.actions import StopReason
from seatrial.decide.attempts import Attempt
from seatrial.decide.causes import Cause
from seatrial.decide.changes import changed_places
from seatrial.decide.curves import Curve, CurveBuilder, Curves
from seatrial.decide.values import minimised, parse_number, read_finals, read_values, read_violations
from seatrial.search.base import Evaluated, Exhausted, Membership, Move, Saved, Source
from seatrial.search.build import planned_trials
from seatrial.search.space import Assignment

__all__ = [
    "PAUSED",
    "RESUMABLE",
    "WANTED",
    "Limits",
    "Snapshotter",
    "StudySnapshot",
    "TrialSnapshot",
    "default_max_failed",
    "format_time",
    "parse_time",
    "read_completion",
]

RESUMABLE = "Resumable"
"""Type of the condition that says whether a trial, or all of a study, go on from a checkpoint."""

PAUSED = "Paused"
"""Reason of the end of an attempt that came to the rung until which it was to train."""

_IN_VAIN = frozenset({StopReason.CANNOT_START.value, StopReason.START_TIMEOUT.value})

WANTED = frozenset({StopReason.SUSPENDED.value, StopReason.INTERRUPTED.value, PAUSED})
"""Reasons of ends that were asked for: they are neither failures nor losses."""

_NODE_FAULT = Cause.NODE_FAULT.value

_NO_CURVES: Curves = {}

_FOUND = ("terminal", "complete", "rests_at_rung", "succeeded", "feasible")


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time of the wire."""
    return datetime.fromisoformat(text)


def format_time(time: datetime) -> str:
    """Write a time for the wire: RFC 3339, UTC, microseconds."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSnapshot:
    """One trial now.

    Attributes:
        message: The sentence stored with the reason.
        reuse_of: Trial with the same assignment whose result it takes over.
        values: Objective values, minimised; None where not (yet) reported. May be NaN or infinite.
        violations: By how much each outcome constraint is violated.
        curve: The first objective by step, minimised.
        failures: Earlier attempts that ended by the trial's own fault.
        losses: Earlier attempts in a row that ended without its fault, since one got further than all before it.
        starts_in_vain: Earlier attempts in a row whose container could not be created or did not begin in time.
        node_faults: Nodes of earlier attempts that a rule with action: excludeNode matched.
        excluded: Nodes on which no trial of the study is to be placed again.
        not_before: Its next attempt starts no earlier than this; None for at once.
        seed: For the training, and for chance in its back-off.
        until_step: Step at which it is complete; None for a full training.
        saved: Its last checkpoint, None when its record names none.
        source: The checkpoint that it starts from.
        membership: Its place in a population.
        run_seconds: Seconds that its earlier attempts ran; of a trial that is over, all of them.
        paused_at: Step of what its record holds while it is not over: where it paused last. None for one that never paused.
        starts_over: Whether it would have to train again what it has trained: its script kept no checkpoint.
        steps_trained: Steps that its earlier attempts have trained.
        terminal: Whether its story is over.
        complete: Whether every objective has a finite value.
        rests_at_rung: Whether its values are those of the rung at which it paused last: it waits there, or for the start of what follows.
        succeeded: Whether it has a result: it was trained in full, stopped or paused, and every objective has a finite value.
        feasible: Whether it has a result that keeps all constraints.
        rung: Highest rung from which it went on.
        stop: Why it is being stopped, while it is.
        live: Its current attempt, None when there is none.
    """

    index: int
    name: str
    assignment: Assignment
    reason: TrialReason
    message: str
    attempt: int
    reuse_of: str | None
    values: tuple[float | None, ...]
    violations: tuple[float, ...]
    curve: Curve
    step: int | None
    failures: int
    losses: int
    rung: int | None
    stop: StopReason | None
    stop_message: str
    started_at: datetime | None
    gpu_seconds: float
    live: Attempt | None
    starts_in_vain: int = 0
    node_faults: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    not_before: datetime | None = None
    seed: int = 0
    until_step: int | None = None
    saved: Saved | None = None
    source: Source | None = None
    membership: Membership | None = None
    run_seconds: float = 0.0
    paused_at: int | None = None
    starts_over: bool = False
    steps_trained: int = 0
    terminal: bool = field(init=False)
    complete: bool = field(init=False)
    rests_at_rung: bool = field(init=False)
    succeeded: bool = field(init=False)
    feasible: bool = field(init=False)

    def __post_init__(self) -> None:
        """Find what is asked for every trial in every pass."""
        terminal = self.reason.terminal
        complete = all(value is not None and math.isfinite(value) for value in self.values)
        rests = self.paused_at is not None and self.live is None and not terminal
        ended_well = self.reason is TrialReason.COMPLETED or self.reason is TrialReason.STOPPED or rests
        feasible = complete and ended_well and all(violation <= 0 for violation in self.violations)
        found = (terminal, complete, rests, complete and ended_well, feasible)
        for name, value in zip(_FOUND, found, strict=True):
            object.__setattr__(self, name, value)

    def evaluated(self) -> Evaluated | None:
        """Return it as the search sees it; None while pending, when cancelled, and when it only repeats another trial."""
        if self.reason in {TrialReason.CANCELLED, TrialReason.REUSED}:
            return None
        if not self.terminal and not self.rests_at_rung:
            return None
        good = self.succeeded
        return Evaluated(
            index=self.index,
            assignment=self.assignment,
            values=tuple(value for value in self.values if value is not None)
            if good
            else (math.inf,) * len(self.values),
            violations=self.violations if good else (),
            step=self.step,
            stopped=self.reason is TrialReason.STOPPED or not self.terminal,
            failed=not good,
            until_step=self.until_step,
            saved=self.saved,
            source=self.source,
            membership=self.membership,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The study's limits in seconds and numbers."""

    max_trials: int | None
    parallel: int
    max_failed: int
    max_seconds: float | None
    max_gpu_seconds: float | None
    target: float | None
    timeout_seconds: float | None
    start_seconds: float
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySnapshot:
    """One study now.

    Attributes:
        trials: By index.
        exhausted: Set when the algorithm said that it has nothing more to suggest for this history.
        interrupted: Whether whoever runs the study here was asked to leave (Ctrl-C): like suspend, but not part of the specification.
        signs: +1 for a minimised objective, -1 for a maximised one: what turns minimised values back.
        completed_at: When the study became complete, while its specification is the same as then; None while it runs.
    """

    name: str
    spec: StudySpec
    limits: Limits
    trials: tuple[TrialSnapshot, ...]
    now: datetime
    started_at: datetime | None
    exhausted: Exhausted | None
    interrupted: bool
    signs: tuple[int, ...]
    completed_at: datetime | None = None

    @property
    def next_index(self) -> int:
        """Index that the next trial gets: the first that no trial has. A record that was lost leaves a gap, which is filled."""
        trials = self.trials
        if not trials or trials[-1].index == len(trials) - 1:
            return len(trials)
        return next(i for i, trial in enumerate(trials) if trial.index != i)

    @property
    def free_indices(self) -> int | None:
        """Number of free indices from :attr:`next_index` on; None without end."""
        first = self.next_index
        return None if first == len(self.trials) else self.trials[first].index - first

    def find(self, name: str) -> TrialSnapshot | None:
        """Return the trial of that name; the number behind its last dash is almost always its place."""
        index = name.rpartition("-")[2]
        if index.isdecimal() and int(index) < len(self.trials) and self.trials[int(index)].name == name:
            return self.trials[int(index)]
        return next((trial for trial in self.trials if trial.name == name), None)

    def show(self, value: float, objective: int = 0) -> str:
        """Write a minimised value in the user's words."""
        return f"{self.signs[objective] * value + 0.0:.4g}"


def default_max_failed(max_trials: int | None) -> int:
    """Return the number of failed trials that a study bears when its author named none: a tenth, at least 3."""
    return max(3, (max_trials or 0) // 10)


def build_limits(spec: StudySpec) -> Limits:
    """Flatten the study's limits."""
    budget, first = spec.budget, spec.objectives[0]
    given = budget.max_failed_trials
    numbers = [number for number in (budget.max_trials, planned_trials(spec)) if number is not None]
    max_trials = min(numbers, default=None)
    return Limits(
        max_trials=max_trials,
        parallel=budget.parallel_trials,
        max_failed=default_max_failed(max_trials) if given is None else given,
        max_seconds=to_seconds(budget.max_duration) if budget.max_duration else None,
        max_gpu_seconds=budget.max_gpu_hours * 3600 if budget.max_gpu_hours else None,
        target=None if first.target is None or len(spec.objectives) > 1 else minimised(first, first.target),
        timeout_seconds=to_seconds(spec.trial.timeout) if spec.trial.timeout else None,
        start_seconds=to_seconds(spec.trial.start_timeout),
        retries=spec.trial.retries,
    )


@dataclass(frozen=True, slots=True)
class _Lived:
    """A trial with what its attempt has reported, and the objects that this was made of."""

    stored: TrialSnapshot
    live: Attempt
    curves: Curves
    seen: TrialSnapshot

    def is_of(self, stored: TrialSnapshot, live: Attempt, curves: Curves) -> bool:
        """Whether it was made of these very objects."""
        return self.stored is stored and self.live is live and self.curves is curves


class Snapshotter:
    """Builds snapshots of one study; remembers the part of each trial whose objects are still the same."""

    def __init__(self) -> None:
        self._records: tuple[Trial, ...] = ()
        self._stored: list[TrialSnapshot] = []
        self._places: dict[str, int] = {}
        self._negated: dict[str, tuple[Curve, Curve]] = {}
        self._lived: dict[str, _Lived] = {}
        self._spec: StudySpec | None = None
        self._limits: Limits | None = None

    def build(
        self,
        *,
        study: Study,
        trials: Sequence[Trial],
        attempts: Mapping[str, Attempt],
        curves: Mapping[str, Curves],
        now: datetime,
        exhausted: Exhausted | None = None,
        interrupted: bool = False,
    ) -> StudySnapshot:
        """Return the study as it is now.

        Args:
            study: With its status as stored.
            trials: All of them, by index.
            attempts: Newest attempt of each trial that has one.
            curves: Metrics of live trials, as the user states them.
            now: The time.
            exhausted: What the algorithm said last, if it had nothing more to suggest.
            interrupted: Whether everything is to be laid down for a later run.
        """
        if study.spec is not self._spec and study.spec != self._spec:
            self._forget()
        self._spec = study.spec
        self._limits = self._limits or build_limits(study.spec)
        started = study.status.start_time if study.status else None
        return StudySnapshot(
            name=study.metadata.name,
            spec=study.spec,
            limits=self._limits,
            trials=self._trials(study.spec, trials, attempts, curves),
            now=now,
            started_at=parse_time(started) if started else None,
            exhausted=exhausted,
            interrupted=interrupted,
            signs=tuple(int(minimised(objective, 1.0)) for objective in study.spec.objectives),
            completed_at=read_completion(study),
        )

    def _trials(
        self, spec: StudySpec, trials: Sequence[Trial], attempts: Mapping[str, Attempt], curves: Mapping[str, Curves]
    ) -> tuple[TrialSnapshot, ...]:
        self._read(spec, trials)
        found = list(self._stored)
        for name, live in attempts.items():
            place = self._places.get(name)
            if place is None or found[place].name != name:
                continue
            stored = found[place]
            # An attempt of a lower number is over and dealt with; one of a higher number was started before a record was lost.
            if live.number >= stored.attempt and not stored.terminal:
                found[place] = self._see(spec, stored, live, curves.get(name, _NO_CURVES))
        if attempts:
            self._negated = {name: pair for name, pair in self._negated.items() if name in attempts}
            self._lived = {name: lived for name, lived in self._lived.items() if name in attempts}
        return tuple(found)

    def _see(self, spec: StudySpec, stored: TrialSnapshot, live: Attempt, curves: Curves) -> TrialSnapshot:
        """Return the trial with its attempt: what of a thousand of them has not changed since is not put together again."""
        known = self._lived.get(stored.name)
        if known is not None and known.is_of(stored, live, curves):
            return known.seen
        seen = self._with_attempt(spec, stored, live, curves)
        self._lived[stored.name] = _Lived(stored, live, curves, seen)
        return seen

    def _read(self, spec: StudySpec, trials: Sequence[Trial]) -> None:
        """Read the records that are new or changed."""
        if len(trials) < len(self._records):
            self._forget()
        for place in changed_places(self._records, trials):
            self._stored[place : place + 1] = [build_trial(spec, trials[place])]
            self._places[trials[place].metadata.name] = place
        self._records = tuple(trials)

    def _forget(self) -> None:
        self._records, self._stored, self._places, self._negated = (), [], {}, {}
        self._lived, self._limits = {}, None

    def _with_attempt(self, spec: StudySpec, stored: TrialSnapshot, live: Attempt, curves: Curves) -> TrialSnapshot:
        """Return the trial with what its running attempt has reported so far."""
        raw = read_values(spec.objectives, curves, live.report)
        values = tuple(None if v is None else minimised(o, v) for o, v in zip(spec.objectives, raw, strict=True))
        steps = [curve.step for curve in curves.values() if curve.step is not None]
        return replace(
            stored,
            attempt=live.number,
            values=values,
            violations=read_violations(spec.constraints, read_finals(curves, live.report)),
            curve=self._minimised(spec, stored.name, curves),
            step=max(steps) if steps else live.report.step if live.report else None,
            live=live,
        )

    def _minimised(self, spec: StudySpec, name: str, curves: Curves) -> Curve:
        first = curves.get(spec.objectives[0].metric, Curve())
        if minimised(spec.objectives[0], 1.0) > 0:
            return first
        known = self._negated.get(name)
        if known is not None and known[0] is first:
            return known[1]
        negated = first.negated(known)
        self._negated[name] = (first, negated)
        return negated


def read_completion(study: Study) -> datetime | None:
    """Return when a study became complete, while its specification is the same as then; None while there is something to do."""
    status = study.status
    if status is None or status.completion_time is None or status.observed_generation != study.metadata.generation:
        return None
    return parse_time(status.completion_time)


def build_trial(spec: StudySpec, trial: Trial) -> TrialSnapshot:
    """Return a trial as its stored record says it is."""
    status, seen = trial.status, trial.status.observation
    stopping = find_condition(status.conditions, "Stopping")
    finals = {metric.name: parse_number(metric.last) for metric in seen.metrics} if seen else {}
    values: tuple[float | None, ...] = (None,) * len(spec.objectives)
    if seen and len(seen.values) == len(spec.objectives):
        values = tuple(minimised(o, parse_number(v)) for o, v in zip(spec.objectives, seen.values, strict=True))
    return TrialSnapshot(
        index=trial.spec.index,
        name=trial.metadata.name,
        assignment=dict(trial.spec.assignment),
        reason=reason_of(trial),
        message=summary.message if (summary := find_condition(status.conditions, "Succeeded")) else "",
        attempt=status.attempt,
        reuse_of=trial.spec.reuse_of,
        values=values,
        violations=read_violations(spec.constraints, finals) if seen else (),
        curve=_stored_curve(spec, trial),
        step=seen.step if seen else None,
        failures=sum(not attempt.infrastructure for attempt in status.attempts),
        losses=_count_losses(status.attempts),
        starts_in_vain=_count_starts_in_vain(status.attempts),
        node_faults=tuple(past.node for past in status.attempts if past.reason == _NODE_FAULT),
        excluded=tuple(status.excluded_nodes),
        not_before=parse_time(status.retry_time) if status.retry_time else None,
        seed=trial.spec.seed,
        until_step=trial.spec.until_step,
        saved=Saved(step=status.checkpoint.step, digest=status.checkpoint.digest) if status.checkpoint else None,
        source=_source(trial),
        membership=_membership(trial),
        run_seconds=status.run_seconds,
        rung=status.rung,
        paused_at=seen.step if seen and not reason_of(trial).terminal else None,
        starts_over=(resumable := find_condition(status.conditions, RESUMABLE)) is not None
        and resumable.status == "False",
        steps_trained=status.steps_trained,
        stop=StopReason(stopping.reason) if stopping and stopping.status == "True" else None,
        stop_message=stopping.message if stopping else "",
        started_at=parse_time(status.start_time) if status.start_time else None,
        gpu_seconds=status.gpu_seconds,
        live=None,
    )


def _count_losses(attempts: Sequence[AttemptRecord]) -> int:
    """Count losses in a row. One that got further than all before it has brought something: the count begins anew."""
    losses, furthest = 0, -1
    for past in attempts:
        step = -1 if past.step is None else past.step
        if past.infrastructure and past.reason not in WANTED:
            losses = 0 if step > furthest else losses + 1
        furthest = max(furthest, step)
    return losses


def _count_starts_in_vain(attempts: Sequence[AttemptRecord]) -> int:
    count = 0
    for past in attempts:
        if past.reason not in WANTED:
            count = count + 1 if past.reason in _IN_VAIN else 0
    return count


def _source(trial: Trial) -> Source | None:
    """Return what a trial starts from; trials of a study are told apart by the number behind the last dash."""
    parent = trial.spec.parent
    number = parent.trial.rpartition("-")[2] if parent else ""
    return Source(trial=int(number), step=parent.step, digest=parent.digest) if parent and number.isdecimal() else None


def _membership(trial: Trial) -> Membership | None:
    place = trial.spec.membership
    return (
        None if place is None else Membership(member=place.member, generation=place.generation, move=Move(place.move))
    )


def _stored_curve(spec: StudySpec, trial: Trial) -> Curve:
    seen = trial.status.observation
    # Ten thousand curves are only read for a rule that compares them.
    if spec.stopping is None or seen is None or not seen.curve:
        return Curve()
    builder = CurveBuilder()
    builder.extend((step, minimised(spec.objectives[0], parse_number(value))) for step, value in seen.curve)
    return builder.build()
