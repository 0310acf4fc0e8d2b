"""A trial's record at each turn of its life, as pure functions: what is stored when it is created, runs, is stopped, tried again, ends."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from seatrial.api.base import Assignment
from seatrial.api.conditions import Condition, TrialReason, with_condition
from seatrial.api.meta import Metadata, OwnerReference
from seatrial.api.retry import RetryAction
from seatrial.api.study import Study, StudySpec
from seatrial.api.trial import (
    AttemptRecord,
    Checkpoint,
    Membership,
    Observation,
    Origin,
    Parent,
    Trial,
    TrialSpec,
    TrialStatus,
)
from seatrial.decide.actions import (
    FinishTrial,
    PassRung,
    PauseTrial,
    PromoteTrial,
    RecordPhase,
    RequeueTrial,
    StopAttempt,
    shorten,
)
from seatrial.decide.attempts import Attempt
from seatrial.decide.observation import Seen, build_observation, last_steps
from seatrial.decide.snapshot import RESUMABLE, WANTED, format_time
from seatrial.decide.suggest import Proposal
from seatrial.decide.values import describe_value, parse_number

__all__ = [
    "LABEL_STUDY",
    "describe_assignment",
    "new_trial",
    "status_finished",
    "status_passed",
    "status_paused",
    "status_phase",
    "status_promoted",
    "status_requeued",
    "status_reused",
    "status_stopping",
    "with_exclusions",
]

LABEL_STUDY = "seatrial.dev/study"

_ATTEMPTS_KEPT = 64
_NODES_KEPT = 32
_REASON_LIMIT = 63
_DETAIL_LIMIT = 256
_ATTEMPT_MESSAGE_LIMIT = 512


def describe_assignment(assignment: Assignment) -> str:
    """Write an assignment in one line for people: ``lr=0.0031 hidden=211 optimizer=adamw``."""
    words = (
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in assignment.items()
    )
    return shorten(" ".join(words))


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
    origin = Origin(algorithm=proposal.algorithm, detail=shorten(proposal.detail, _DETAIL_LIMIT))
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
            origin=origin,
            parent=_parent(study, proposal),
            until_step=proposal.until_step,
            membership=_membership(proposal),
            reuse_of=proposal.reuse_of,
        ),
        status=_summarised(status, TrialReason.PENDING, "", now),
    )


def _parent(study: Study, proposal: Proposal) -> Parent | None:
    source = proposal.source
    if source is None:
        return None
    return Parent(trial=f"{study.metadata.name}-{source.trial}", step=source.step, digest=source.digest)


def _membership(proposal: Proposal) -> Membership | None:
    place = proposal.membership
    if place is None:
        return None
    return Membership(member=place.member, generation=place.generation, move=place.move.value)


def status_phase(trial: Trial, action: RecordPhase, seen: Seen, now: datetime) -> TrialStatus:
    """Return the status of a trial that runs or waits."""
    status = _with_attempt(trial.status, seen)
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
    status = _closed(trial, action, seen, now, infrastructure=action.infrastructure)
    status = status.model_copy(
        update={
            "retry_time": format_time(now + timedelta(seconds=action.delay_seconds)) if action.delay_seconds else None,
            "excluded_nodes": _with_node(status.excluded_nodes, action.excluded_node),
        }
    )
    later = f"; the next one starts in {action.delay_seconds:.0f} s" if action.delay_seconds else ""
    words = f"attempt {action.attempt} ended: {action.reason}: {action.message}{later}"
    return _summarised(status, TrialReason.PENDING, words, now)


def status_paused(
    trial: Trial, action: PauseTrial, spec: StudySpec, seen: Seen, rungs: Sequence[int], now: datetime
) -> TrialStatus:
    """Return the status of a trial that has come to a rung: what it found there, and that its next attempt is another one."""
    status = _closed(trial, action, seen, now, infrastructure=True)
    observation = build_observation(spec, seen, rungs) or status.observation
    status = status.model_copy(
        update={"observation": observation, "retry_time": None, **_for_people(spec, observation)}
    )
    reached = observation.step if observation and observation.step is not None else action.rung
    return _summarised(_with_resumable(status, reached, now), TrialReason.PAUSED, action.message, now)


def status_promoted(trial: Trial, action: PromoteTrial, now: datetime) -> TrialStatus:
    """Return the status of a paused trial that goes on beyond its rung."""
    status = trial.status.model_copy(update={"rung": trial.status.rung if action.rung is None else action.rung})
    return _summarised(status, TrialReason.PAUSED if action.waits else TrialReason.PENDING, action.message, now)


def _closed(
    trial: Trial, action: RequeueTrial | PauseTrial, seen: Seen, now: datetime, *, infrastructure: bool
) -> TrialStatus:
    """Return the status after an attempt that is not the last one: on record with what it used and saved, and another one comes."""
    record = AttemptRecord(
        attempt=action.attempt,
        reason=action.reason[:_REASON_LIMIT],
        message=shorten(action.message, _ATTEMPT_MESSAGE_LIMIT),
        infrastructure=infrastructure,
        node=seen.attempt.node if seen.attempt else "",
        step=_reached(seen),
    )
    status = _used(trial, seen, trial.status, now)
    return status.model_copy(
        update={
            "attempt": action.attempt + 1,
            "attempts": _newest([*status.attempts, record]),
            "conditions": [condition for condition in status.conditions if condition.type != "Stopping"],
            "checkpoint": _checkpoint(seen.attempt) or status.checkpoint,
        }
    )


def _with_resumable(status: TrialStatus, reached: int, now: datetime) -> TrialStatus:
    """Add the condition that says whether the next attempt goes on from where this one ended."""
    saved = status.checkpoint
    if saved is not None and saved.step >= reached:
        words = f"goes on from the checkpoint of step {saved.step}"
        return _conditioned(status, RESUMABLE, "True", "CheckpointSaved", words, now)
    start = f"its newest checkpoint is of step {saved.step}" if saved else "it has no checkpoint"
    words = f"it reached step {reached}, but {start}: if it is promoted, it trains from step {saved.step + 1 if saved else 1} again; call trial.save() at the end of every step"
    return _conditioned(status, RESUMABLE, "False", "CheckpointMissing", words, now)


def with_exclusions(trial: Trial, study: Study, trials: Mapping[str, Trial]) -> Trial:
    """Return the trial as its next attempt is placed: away from every node that a trial of its study found faulty.

    Args:
        trial: The trial; its record keeps its own findings only.
        study: Without a rule that excludes nodes nothing is looked at.
        trials: All trials of the study, by name.
    """
    policy = study.spec.trial.retry_policy
    if policy is None or all(rule.action is not RetryAction.EXCLUDE_NODE for rule in policy.rules):
        return trial
    found = dict.fromkeys(node for other in trials.values() for node in other.status.excluded_nodes)
    nodes = list(found)[-_NODES_KEPT:]
    return trial.model_copy(update={"status": trial.status.model_copy(update={"excluded_nodes": nodes})})


def _with_node(nodes: Sequence[str], node: str) -> list[str]:
    """Return at most 32 nodes; the newest ones count."""
    kept = [held for held in nodes if held != node]
    return ([*kept, node] if node else kept)[-_NODES_KEPT:]


def _reached(seen: Seen) -> int | None:
    """Return the last step that an attempt is known to have reached; of one that says so, what its checkpoint holds."""
    report = seen.attempt.report if seen.attempt else None
    if report is not None and report.checkpoint is not None:
        return report.checkpoint.step
    return max((step for step in last_steps(seen) if step >= 0), default=None)


def _newest(attempts: list[AttemptRecord]) -> list[AttemptRecord]:
    """Return at most 64 attempts; those that a user laid down go first, then old losses, so that every failure still counts."""
    dispensable = sorted(
        (place for place, attempt in enumerate(attempts) if attempt.infrastructure),
        key=lambda place: (attempts[place].reason not in WANTED, place),
    )
    dropped = set(dispensable[: max(0, len(attempts) - _ATTEMPTS_KEPT)])
    return [attempt for place, attempt in enumerate(attempts) if place not in dropped][-_ATTEMPTS_KEPT:]


def status_finished(
    trial: Trial, action: FinishTrial, spec: StudySpec, seen: Seen, rungs: Sequence[int], now: datetime
) -> TrialStatus:
    """Return the status of a trial that is over."""
    status = _used(trial, seen, _with_attempt(trial.status, seen), now)
    finished = seen.attempt.finished_at if seen.attempt else None
    observation = build_observation(spec, seen, rungs) or status.observation
    status = status.model_copy(
        update={
            "observation": observation,
            "checkpoint": _checkpoint(seen.attempt) or status.checkpoint,
            "completion_time": format_time(finished or now),
            **_for_people(spec, observation),
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
            "progress": original.status.progress,
            "objective_value": original.status.objective_value,
        }
    )
    return _summarised(status, action.outcome, action.message, now)


def _for_people(spec: StudySpec, observation: Observation | None) -> dict[str, str]:
    """Return the fields of a status that only repeat the observation, for columns."""
    values = observation.values if observation else []
    return {
        "progress": _progress(spec, observation),
        "objective_value": describe_value(parse_number(values[0])) if values else "",
    }


def _progress(spec: StudySpec, observation: Observation | None) -> str:
    if observation is None or observation.step is None:
        return ""
    return f"{observation.step}/{spec.steps.max}" if spec.steps else str(observation.step)


def _with_attempt(status: TrialStatus, seen: Seen) -> TrialStatus:
    """Let the record name the attempt that is there, should an earlier record have been lost."""
    if seen.attempt is None or seen.attempt.number <= status.attempt:
        return status
    return status.model_copy(update={"attempt": seen.attempt.number})


def _checkpoint(attempt: Attempt | None) -> Checkpoint | None:
    saved = attempt.report.checkpoint if attempt and attempt.report else None
    return None if saved is None else Checkpoint(step=saved.step, digest=saved.digest, path=saved.path)


def _used(trial: Trial, seen: Seen, status: TrialStatus, now: datetime) -> TrialStatus:
    """Add what the attempt has used: time, GPUs, steps."""
    timed = _timed(status, seen.attempt, now)
    return timed.model_copy(update={"steps_trained": status.steps_trained + _steps_of(trial, seen)})


def _steps_of(trial: Trial, seen: Seen) -> int:
    """Return how many steps an attempt trained.

    One that did not say has trained what it reported beyond where it began: at its checkpoint, or later, where an attempt before it
    saved one and was lost before it could tell.
    """
    report = seen.attempt.report if seen.attempt else None
    if report is not None and report.steps_trained is not None:
        return report.steps_trained
    origin = trial.status.checkpoint or trial.spec.parent
    begin = max(origin.step if origin else 0, (seen.first_step or 1) - 1)
    return max(0, max(last_steps(seen), default=0) - begin)


def _timed(status: TrialStatus, attempt: Attempt | None, now: datetime) -> TrialStatus:
    """Add what the attempt has used; one that vanished has held its GPUs until now, for all that is known."""
    if attempt is None or attempt.started_at is None:
        return status
    seconds = max(0.0, ((attempt.finished_at or now) - attempt.started_at).total_seconds())
    return status.model_copy(
        update={
            "start_time": status.start_time or format_time(attempt.started_at),
            "run_seconds": status.run_seconds + seconds,
            "gpu_seconds": status.gpu_seconds + seconds * attempt.gpus,
            "freed_bytes": status.freed_bytes + (attempt.report.freed_bytes if attempt.report else 0),
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
            "message": shorten(message),
            "lastTransitionTime": format_time(now),
        }
    )
    return status.model_copy(update={"conditions": with_condition(status.conditions, new)})
