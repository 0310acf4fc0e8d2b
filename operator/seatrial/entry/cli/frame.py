"""One picture of a running study in plain values: what the live view draws, made from the newest look and the chronicle. Pure."""

from dataclasses import dataclass
from datetime import datetime

from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.api.study import Best, TrialCounts
from seatrial.decide.attempts import Phase
from seatrial.decide.budget import gpu_seconds
from seatrial.decide.lifecycle import describe_assignment
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot
from seatrial.entry.cli.chronicle import Chronicle, Ended, Event
from seatrial.entry.cli.pace import Load, estimate_seconds, rate_per_minute
from seatrial.reconcile import Look

__all__ = ["Frame", "OpenRow", "Use", "build_frame", "done_count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of a budget is used.

    Attributes:
        limit: None when there is none.
    """

    used: float
    limit: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRow:
    """A trial that is not over.

    Attributes:
        values: As the user states them.
        curve: First objective by report, as the user states it.
        seconds: How long its attempt has run, None when it does not run.
        note: What it waits for or why it is being stopped; empty while it simply runs.
    """

    name: str
    running: bool
    step: int | None
    values: tuple[float | None, ...]
    curve: tuple[float, ...]
    seconds: float | None
    note: str
    parameters: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the live view draws.

    Attributes:
        sentence: The study's state, its reason first.
        elapsed_seconds: Since this run began.
        best: The winner so far; with several objectives the first point of the front.
        front: Points on the Pareto front, 0 with one objective.
        rows: Open trials, those that run first.
        ended: Trials that are over, newest last.
    """

    name: str
    algorithm: str
    state: StudyReason
    sentence: str
    metrics: tuple[str, ...]
    max_step: int | None
    step_unit: str
    elapsed_seconds: float
    counts: TrialCounts
    trials: Use
    failed: Use
    seconds: Use
    gpu_hours: Use
    best: Best | None
    front: int
    best_values: tuple[float, ...]
    rate_per_minute: float | None
    left_seconds: float | None
    rows: tuple[OpenRow, ...]
    ended: tuple[Ended, ...]
    event: Event | None


def build_frame(look: Look, chronicle: Chronicle, *, now: datetime) -> Frame:
    """Return the picture of *look* at the time *now*.

    Args:
        look: The newest look.
        chronicle: Has seen it.
        now: The time, not before the look.
    """
    snapshot, spec = look.snapshot, look.study.spec
    status, limits = look.study.status, look.snapshot.limits
    counts = status.trials if status else TrialCounts()
    # Those that are paused at a rung hold nothing: the counts tell of them.
    open_trials = [t for i in chronicle.open_indexes if (t := snapshot.trials[i]).reason is not TrialReason.PAUSED]
    rows = sorted((_row(snapshot, t, now) for t in open_trials), key=lambda row: not row.running)
    began = chronicle.began_at or now
    return Frame(
        name=snapshot.name,
        algorithm=spec.algorithm.name.value,
        state=look.plan.state.reason,
        sentence=f"{look.plan.state.reason.value}: {look.plan.state.message}",
        metrics=tuple(objective.metric for objective in spec.objectives),
        max_step=spec.steps.max if spec.steps else None,
        step_unit=spec.steps.unit if spec.steps else "step",
        elapsed_seconds=max(0.0, (now - began).total_seconds()),
        counts=counts,
        trials=Use(used=done_count(counts), limit=limits.max_trials),
        failed=Use(used=counts.failed, limit=limits.max_failed),
        seconds=Use(used=_since(snapshot.started_at, now), limit=limits.max_seconds),
        gpu_hours=_gpu_hours(snapshot),
        best=status.best if status else None,
        front=len(status.pareto_front) if status and len(spec.objectives) > 1 else 0,
        best_values=tuple(chronicle.best_values),
        rate_per_minute=rate_per_minute(
            chronicle.end_times, now.timestamp(), max(began.timestamp(), chronicle.counted_since)
        ),
        left_seconds=None if look.plan.state.reason.terminal else _left(snapshot, open_trials, chronicle, now),
        rows=tuple(rows),
        ended=tuple(chronicle.ended),
        event=chronicle.event,
    )


def done_count(counts: TrialCounts) -> int:
    """Return the number of trials that are over."""
    return counts.total - counts.pending - counts.running - counts.paused


def _since(start: datetime | None, now: datetime) -> float:
    return max(0.0, (now - start).total_seconds()) if start else 0.0


def _gpu_hours(snapshot: StudySnapshot) -> Use:
    limit = snapshot.limits.max_gpu_seconds
    if limit is None:
        # Summing ten thousand trials eight times a second is only worth it where there is a limit to show.
        return Use(used=0.0, limit=None)
    return Use(used=gpu_seconds(snapshot) / 3600, limit=limit / 3600)


def _row(snapshot: StudySnapshot, trial: TrialSnapshot, now: datetime) -> OpenRow:
    running = trial.live is not None and trial.live.phase is Phase.RUNNING
    started = trial.live.started_at if trial.live and running else None
    return OpenRow(
        name=trial.name,
        running=running,
        step=trial.step,
        values=tuple(None if v is None else s * v for s, v in zip(snapshot.signs, trial.values, strict=True)),
        curve=tuple(snapshot.signs[0] * point.value for point in trial.curve.points),
        seconds=_since(started, now) if started else None,
        note=_note(trial),
        parameters=describe_assignment(trial.assignment),
    )


def _note(trial: TrialSnapshot) -> str:
    """Return what holds a trial up."""
    if trial.stop is not None:
        return f"stopping: {trial.stop_message or trial.stop.value}"
    if trial.reason is TrialReason.STOPPING:
        return "stopping"
    if trial.live is None:
        return f"waits for the result of {trial.reuse_of}" if trial.reuse_of else "waits for a free slot"
    match trial.live.phase:
        case Phase.WAITING:
            return f"waits: {trial.live.message or trial.live.reason or 'not started yet'}"
        case Phase.EXITED | Phase.LOST:
            return "ended, its result is being stored"
        case Phase.RUNNING:
            return ""


def _time_of(trial: TrialSnapshot, seconds: float, most: int | None) -> tuple[float, float | None]:
    if most is None or not trial.step:
        return seconds, None
    return seconds, seconds * max(0, most - trial.step) / trial.step


def _left(
    snapshot: StudySnapshot, open_trials: list[TrialSnapshot], chronicle: Chronicle, now: datetime
) -> float | None:
    limits = snapshot.limits
    most = snapshot.spec.steps.max if snapshot.spec.steps else None
    running = tuple(
        _time_of(t, _since(t.live.started_at, now), most)
        for t in open_trials
        if t.live is not None and t.live.phase is Phase.RUNNING
    )
    # What does not run yet starts later, whether its record exists already or not.
    to_start = None if limits.max_trials is None else limits.max_trials - len(snapshot.trials)
    if to_start is not None:
        to_start = max(0, to_start) + sum(t.reuse_of is None for t in open_trials) - len(running)
    limit = None
    if limits.max_seconds is not None and snapshot.started_at is not None:
        limit = limits.max_seconds - _since(snapshot.started_at, now)
    load = Load(
        to_start=None if to_start is None else max(0, to_start),
        running=running,
        parallel=limits.parallel,
        limit_seconds=limit,
    )
    return estimate_seconds(tuple(chronicle.durations), load)
