"""Trials as the report tells them: values as the user states them, times as times, the end in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from seatrial.api.conditions import TrialReason, find_condition
from seatrial.api.study import StudySpec
from seatrial.api.trial import Trial, reason_of
from seatrial.decide.curves import Curve, Curves
from seatrial.decide.snapshot import parse_time
from seatrial.decide.values import minimised, parse_number, read_values, read_violations
from seatrial.report.words import STATE_WORDS, sentence
from seatrial.search.space import Assignment

__all__ = ["MOST_CURVE_POINTS", "TrialView", "build_trial_view", "thin"]

MOST_CURVE_POINTS = 120
"""Points kept of one trial's curve: more than a plot of this width can show."""

_WITH_RESULT = frozenset({TrialReason.COMPLETED, TrialReason.STOPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """One trial.

    Attributes:
        values: In the order of the objectives, as the user states them; None where there is none, may be NaN or infinite.
        losses: The same minimised, so that less is better; NaN where there is none.
        violations: By how much each outcome constraint is violated, 0 or less when it is kept; empty without a result.
        curve: The first objective by step, finite points only, thinned.
        metrics: Last value of every metric that was reported.
        reason: CamelCase word for what ended it, finer than the state: ``NotPromoted``, ``OOMKilled``.
        words: What became of it, as one sentence.
        origin: Who suggested it and why.
        finished: When it ended; None while it is open.
        seconds: How long its attempts ran.
    """

    index: int
    name: str
    state: TrialReason
    values: tuple[float | None, ...]
    losses: tuple[float, ...]
    violations: tuple[float, ...]
    assignment: Assignment
    step: int | None
    curve: tuple[tuple[int, float], ...]
    metrics: tuple[tuple[str, float], ...]
    reason: str
    words: str
    origin: str
    seed: int
    parent: str | None
    reuse_of: str | None
    checkpoint: str | None
    attempts: int
    started: datetime | None
    finished: datetime | None
    seconds: float | None
    gpu_seconds: float

    def stated(self, objective: int = 0) -> float:
        """Return the value of one objective as the user states it, NaN where there is none."""
        value = self.values[objective]
        return math.nan if value is None else value

    @property
    def complete(self) -> bool:
        """Whether every objective has a finite value."""
        return all(math.isfinite(loss) for loss in self.losses)

    @property
    def has_result(self) -> bool:
        """Whether it ended with a usable result of its own, in full or stopped early."""
        return self.state in _WITH_RESULT and self.complete

    @property
    def eligible(self) -> bool:
        """Whether it may be the winner: it has a result and keeps all constraints."""
        return self.has_result and all(violation <= 0 for violation in self.violations)


def build_trial_view(spec: StudySpec, trial: Trial, curves: Curves, now: datetime) -> TrialView:
    """Return one trial as the report tells it.

    Args:
        spec: Of its study.
        trial: As stored.
        curves: Its metrics by step, empty when they are gone: then the thinned curve in its status is shown.
        now: Until when an open trial has run.
    """
    status, state = trial.status, reason_of(trial)
    values = _values(spec, trial, curves)
    metrics = _metrics(trial, curves)
    started = parse_time(status.start_time) if status.start_time else None
    finished = parse_time(status.completion_time) if status.completion_time and state.terminal else None
    reason, words = _ending(trial, state)
    return TrialView(
        index=trial.spec.index,
        name=trial.metadata.name,
        state=state,
        values=values,
        losses=tuple(
            math.nan if value is None else minimised(objective, value)
            for objective, value in zip(spec.objectives, values, strict=True)
        ),
        violations=read_violations(spec.constraints, dict(metrics)) if metrics else (),
        assignment=dict(trial.spec.assignment),
        step=_step(trial, curves),
        curve=_curve(spec, trial, curves),
        metrics=metrics,
        reason=reason,
        words=words,
        origin=": ".join(part for part in (trial.spec.origin.algorithm, trial.spec.origin.detail) if part),
        seed=trial.spec.seed,
        parent=trial.spec.parent.trial if trial.spec.parent else None,
        reuse_of=trial.spec.reuse_of,
        checkpoint=status.checkpoint.path if status.checkpoint else None,
        attempts=status.attempt + 1,
        started=started,
        finished=finished,
        seconds=_seconds(trial, started, finished, state, now),
        gpu_seconds=status.gpu_seconds,
    )


def thin(points: Sequence[tuple[int, float]], limit: int) -> tuple[tuple[int, float], ...]:
    """Return at most *limit* of the points, evenly spaced by position, the first and the last included."""
    if len(points) <= limit:
        return tuple(points)
    places = (round(i * (len(points) - 1) / (limit - 1)) for i in range(limit))
    return tuple(points[place] for place in places)


def _values(spec: StudySpec, trial: Trial, curves: Curves) -> tuple[float | None, ...]:
    seen = trial.status.observation
    if seen and len(seen.values) == len(spec.objectives):
        return tuple(parse_number(value) for value in seen.values)
    return read_values(spec.objectives, curves, None)


def _metrics(trial: Trial, curves: Curves) -> tuple[tuple[str, float], ...]:
    seen = trial.status.observation
    if seen and seen.metrics:
        return tuple((metric.name, parse_number(metric.last)) for metric in seen.metrics)
    return tuple((name, curve.points[-1].value) for name, curve in curves.items() if curve.points)


def _step(trial: Trial, curves: Curves) -> int | None:
    seen = trial.status.observation
    steps = [curve.step for curve in curves.values() if curve.step is not None]
    if seen and seen.step is not None:
        steps.append(seen.step)
    return max(steps, default=None)


def _curve(spec: StudySpec, trial: Trial, curves: Curves) -> tuple[tuple[int, float], ...]:
    points = curves.get(spec.objectives[0].metric, Curve()).points
    seen = trial.status.observation
    pairs = [(point.step, point.value) for point in points]
    if not pairs and seen:
        pairs = [(step, parse_number(value)) for step, value in seen.curve]
    return thin([pair for pair in pairs if math.isfinite(pair[1])], MOST_CURVE_POINTS)


def _ending(trial: Trial, state: TrialReason) -> tuple[str, str]:
    """Return the finest reason that is recorded, and the words for it."""
    conditions = trial.status.conditions
    summary = find_condition(conditions, "Succeeded")
    finer = find_condition(conditions, "Stopped") or find_condition(conditions, "Stopping")
    message = (summary.message if summary else "") or (finer.message if finer else "")
    known = trial.spec.reuse_of
    if state is TrialReason.REUSED and known:
        message = message or f"repeats {known} and took over its result"
    reason = finer.reason if finer and finer.status == "True" and state is not TrialReason.COMPLETED else state.value
    return reason, sentence(message or f"the trial {STATE_WORDS[state]}")


def _seconds(
    trial: Trial, started: datetime | None, finished: datetime | None, state: TrialReason, now: datetime
) -> float | None:
    if trial.status.run_seconds > 0:
        return trial.status.run_seconds
    if started is None:
        return None
    end = finished or (None if state.terminal else now)
    return None if end is None else max(0.0, (end - started).total_seconds())
