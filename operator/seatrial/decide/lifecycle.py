"""A trial's record at each turn of its life, as pure functions: what is stored when it is created, runs, is stopped, tried again, ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from seatrial.api.base import Assignment
from seatrial.api.conditions import Condition, TrialReason, with_condition
from seatrial.api.meta import Metadata, OwnerReference
from seatrial.api.study import Study, StudySpec
from seatrial.api.trial import (
    AttemptRecord,
    Checkpoint,
    MetricSummary,
    Observation,
    Origin,
    Trial,
    TrialSpec,
    TrialStatus,
)
from seatrial.decide.actions import FinishTrial, PassRung, RecordPhase, RequeueTrial, StopAttempt
from seatrial.decide.attempts import Attempt, Report
from seatrial.decide.curves import Curve, Curves
from seatrial.decide.snapshot import format_time
from seatrial.decide.suggest import Proposal
from seatrial.decide.values import read_values, write_number

__all__ = [
    "LABEL_STUDY",
    "Seen",
    "describe_assignment",
    "new_trial",
    "status_finished",
    "status_passed",
    "status_phase",
    "status_requeued",
    "status_reused",
    "status_stopping",
    "thin",
]

LABEL_STUDY = "seatrial.dev/study"

_METRICS_KEPT = 32
_CURVE_KEPT = 64
_ATTEMPTS_KEPT = 64
_MESSAGE_LIMIT = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a trial's current attempt when its record is written."""

    attempt: Attempt | None = None
    curves: Curves | None = None


def describe_assignment(assignment: Assignment) -> str:
    """Write an assignment in one line for people: ``lr=0.0031 hidden=211 optimizer=adamw``."""
    words = (
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in assignment.items()
    )
    return " ".join(words)[:_MESSAGE_LIMIT]


def new_trial(study: Study, proposal: Proposal, now: datetime) -> Trial:
    """Return the record that reserves a trial."""
    owners = []
    if study.metadata.uid:
        owner = OwnerReference(
            api_version=study.api_version,
            kind=study.kind,
            name=study.metadata.name,
            uid=study.metadata.uid,
            controller=True,
        )
        owners.append(owner)
    status = TrialStatus(parameters=describe_assignment(proposal.assignment))
    return Trial(
        metadata=Metadata(
            name=f"{study.metadata.name}-{proposal.index}",
            namespace=study.metadata.namespace,
            labels={LABEL_STUDY: study.metadata.name},
            owner_references=owners,
            creation_timestamp=format_time(now),
        ),
        spec=TrialSpec(
            study=study.metadata.name,
            index=proposal.index,
            assignment=proposal.assignment,
            seed=proposal.seed,
            origin=Origin(algorithm=proposal.algorithm, detail=proposal.detail),
            reuse_of=proposal.reuse_of,
        ),
        status=_summarised(status, TrialReason.PENDING, "", now),
    )


def status_phase(trial: Trial, action: RecordPhase, seen: Seen, now: datetime) -> TrialStatus:
    """Return the status of a trial that runs or waits."""
    status = trial.status
    started = seen.attempt.started_at if seen.attempt else None
    if started is not None and status.start_time is None:
        status = status.model_copy(update={"start_time": format_time(started)})
    return _summarised(status, action.state, action.message, now)


def status_stopping(trial: Trial, action: StopAttempt, now: datetime) -> TrialStatus:
    """Return the status of a trial that is asked to end."""
    marked = _conditioned(trial.status, "Stopping", "True", action.reason, action.message, now)
    return _summarised(marked, TrialReason.STOPPING, action.message, now)


def status_passed(trial: Trial, action: PassRung) -> TrialStatus:
    """Return the status of a trial that goes on beyond a rung."""
    return trial.status.model_copy(update={"rung": action.rung})


def status_requeued(trial: Trial, action: RequeueTrial, seen: Seen, now: datetime) -> TrialStatus:
    """Return the status of a trial whose attempt ended and that is tried again."""
    record = AttemptRecord(
        attempt=action.attempt, reason=action.reason, message=action.message[:512], infrastructure=action.infrastructure
    )
    status = _timed(trial.status, seen.attempt)
    conditions = [condition for condition in status.conditions if condition.type != "Stopping"]
    status = status.model_copy(
        update={
            "attempt": action.attempt + 1,
            "attempts": [*status.attempts, record][-_ATTEMPTS_KEPT:],
            "conditions": conditions,
            "checkpoint": _checkpoint(seen.attempt) or status.checkpoint,
        }
    )
    return _summarised(
        status, TrialReason.PENDING, f"attempt {action.attempt} ended: {action.reason}: {action.message}", now
    )


def status_finished(
    trial: Trial, action: FinishTrial, spec: StudySpec, seen: Seen, rungs: Sequence[int], now: datetime
) -> TrialStatus:
    """Return the status of a trial that is over."""
    status = _timed(trial.status, seen.attempt)
    finished = seen.attempt.finished_at if seen.attempt else None
    status = status.model_copy(
        update={
            "observation": build_observation(spec, seen, rungs) or status.observation,
            "checkpoint": _checkpoint(seen.attempt) or status.checkpoint,
            "completion_time": format_time(finished or now),
        }
    )
    reason = "" if action.reason == action.outcome.value else f"{action.reason}: "
    return _summarised(status, action.outcome, f"{reason}{action.message}", now)


def status_reused(trial: Trial, original: Trial, action: FinishTrial, now: datetime) -> TrialStatus:
    """Return the status of a trial that takes over the result of *original*."""
    status = trial.status.model_copy(
        update={
            "observation": original.status.observation,
            "checkpoint": original.status.checkpoint,
            "completion_time": format_time(now),
        }
    )
    return _summarised(status, action.outcome, action.message, now)


def build_observation(spec: StudySpec, seen: Seen, rungs: Sequence[int]) -> Observation | None:
    """Return what an attempt found, None when it reported nothing."""
    curves = seen.curves or {}
    report = seen.attempt.report if seen.attempt else None
    values = read_values(spec.objectives, curves, report)
    metrics = _metric_summaries(spec, curves, report)
    if not metrics:
        return None
    steps = [curve.step for curve in curves.values() if curve.step is not None]
    steps += [report.step] if report and report.step is not None else []
    curve = thin(curves.get(spec.objectives[0].metric, Curve()), rungs)
    if not curve and report is not None:
        curve = report.curve[:_CURVE_KEPT]
    return Observation(
        values=[write_number(v) for v in values if v is not None] if None not in values else [],
        step=max(steps, default=None),
        metrics=metrics,
        curve=[(step, write_number(value)) for step, value in curve],
        source="observations" if curves else "termination-message",
    )


def thin(curve: Curve, rungs: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """Return at most 64 points of a curve: the first, the last, those at rungs, and an even choice of the others."""
    points = [(point.step, point.value) for point in curve.points]
    if len(points) <= _CURVE_KEPT:
        return tuple(points)
    wanted = {0, len(points) - 1} | {i for i, (step, _) in enumerate(points) if step in set(rungs)}
    room = _CURVE_KEPT - len(wanted)
    wanted |= {round(i * (len(points) - 1) / (room + 1)) for i in range(1, room + 1)}
    return tuple(points[i] for i in sorted(wanted)[:_CURVE_KEPT])


def _metric_summaries(spec: StudySpec, curves: Curves, report: Report | None) -> list[MetricSummary]:
    found: dict[str, MetricSummary] = {}
    for final in report.metrics if report else ():
        found[final.name] = MetricSummary(
            name=final.name, last=write_number(final.last), last_step=final.last_step, min=final.low, max=final.high
        )
    for name, curve in curves.items():
        point = curve.last
        told = found.get(name)
        if point is None or (told and (told.last_step is None or told.last_step > point.step)):
            continue
        seen = point.low <= point.high
        found[name] = MetricSummary(
            name=name,
            last=write_number(point.value),
            last_step=point.step,
            min=point.low if seen else None,
            max=point.high if seen else None,
        )
    # Objectives and constraints come first, so that a trial with a hundred metrics keeps those that matter.
    wanted = [o.metric for o in spec.objectives] + [c.metric for c in spec.constraints]
    order = [name for name in dict.fromkeys(wanted) if name in found] + [name for name in found if name not in wanted]
    return [found[name] for name in order[:_METRICS_KEPT]]


def _checkpoint(attempt: Attempt | None) -> Checkpoint | None:
    saved = attempt.report.checkpoint if attempt and attempt.report else None
    return None if saved is None else Checkpoint(step=saved.step, digest=saved.digest, path=saved.path)


def _timed(status: TrialStatus, attempt: Attempt | None) -> TrialStatus:
    """Add what the attempt has used."""
    if attempt is None or attempt.started_at is None or attempt.finished_at is None:
        return status
    seconds = max(0.0, (attempt.finished_at - attempt.started_at).total_seconds())
    return status.model_copy(
        update={
            "start_time": status.start_time or format_time(attempt.started_at),
            "run_seconds": status.run_seconds + seconds,
            "gpu_seconds": status.gpu_seconds + seconds * attempt.gpus,
        }
    )


def _summarised(status: TrialStatus, reason: TrialReason, message: str, now: datetime) -> TrialStatus:
    return _conditioned(status, "Succeeded", reason.status, reason.value, message, now)


def _conditioned(status: TrialStatus, kind: str, state: str, reason: str, message: str, now: datetime) -> TrialStatus:
    new = Condition.model_validate(
        {
            "type": kind,
            "status": state,
            "reason": reason,
            "message": message[:_MESSAGE_LIMIT],
            "lastTransitionTime": format_time(now),
        }
    )
    return status.model_copy(update={"conditions": with_condition(status.conditions, new)})
