"""The study's status: small, and recomputed from the trials at every look."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from seatrial.api.conditions import Condition, ConditionStatus, StudyReason, TrialReason, with_condition
from seatrial.api.study import Best, Study, StudyStatus, TrialCounts
from seatrial.api.trial import Trial
from seatrial.decide.actions import StudyState, shorten
from seatrial.decide.budget import gpu_seconds
from seatrial.decide.snapshot import RESUMABLE, StudySnapshot, TrialSnapshot, format_time
from seatrial.decide.values import describe_value
from seatrial.search.pareto import pareto_front

__all__ = ["Remark", "best_so_far", "build_status", "count_trials", "front"]

_FRONT_KEPT = 50
_STATE_LIMIT = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A condition beside the summary.

    Attributes:
        type: CamelCase, ``MetricsAvailable``.
        reason: CamelCase word for machines.
        message: For people; cut where it is too long.
    """

    type: str
    status: ConditionStatus
    reason: str
    message: str


def best_so_far(study: StudySnapshot) -> TrialSnapshot | None:
    """Return the finished trial with the lowest value that keeps all constraints; trials trained in full come first.

    Of a population those that have come furthest count. A trial that a rule stopped, or that is paused, counts only while no other has a result:
    its value speaks of fewer steps. Ties go to the lower index.
    """
    good = _furthest([trial for trial in study.trials if trial.feasible])
    full = [trial for trial in good if trial.reason is TrialReason.COMPLETED]
    # The first of equals is the one with the lowest index.
    return min(full or good, key=lambda trial: trial.values[0] or 0.0, default=None)


def _furthest(trials: Sequence[TrialSnapshot]) -> Sequence[TrialSnapshot]:
    """Return the members of a population that have come furthest: values of earlier steps cannot be compared with theirs."""
    if not any(trial.membership for trial in trials):
        return trials
    last = max(trial.until_step or 0 for trial in trials)
    return [trial for trial in trials if (trial.until_step or 0) == last]


def front(study: StudySnapshot) -> tuple[TrialSnapshot, ...]:
    """Return the Pareto front of the completed trials that keep all constraints, by the first objective."""
    good = [trial for trial in study.trials if trial.reason is TrialReason.COMPLETED and trial.feasible]
    if not good:
        return ()
    chosen = [good[i] for i in pareto_front([[v for v in t.values if v is not None] for t in good])]
    return tuple(sorted(chosen, key=lambda trial: (trial.values[0], trial.index)))


def count_trials(trials: Sequence[TrialSnapshot]) -> TrialCounts:
    """Return the numbers of trials by state."""
    number = Counter(trial.reason for trial in trials)
    return TrialCounts(
        total=len(trials),
        pending=number[TrialReason.PENDING],
        running=number[TrialReason.RUNNING] + number[TrialReason.STOPPING],
        paused=number[TrialReason.PAUSED],
        completed=number[TrialReason.COMPLETED] + number[TrialReason.REUSED],
        stopped=number[TrialReason.STOPPED],
        failed=number[TrialReason.FAILED],
        diverged=number[TrialReason.DIVERGED],
        infeasible=number[TrialReason.INFEASIBLE],
        cancelled=number[TrialReason.CANCELLED],
    )


def build_status(
    *,
    study: Study,
    snapshot: StudySnapshot,
    trials: Mapping[str, Trial],
    state: StudyState,
    recommended: int | None,
    now: datetime,
    remarks: Sequence[Remark] = (),
) -> StudyStatus:
    """Return the status that the study should have.

    Args:
        study: With its status as stored; only times and unknown conditions are taken over.
        snapshot: The trials as they are after the plan was applied.
        trials: Their records, by name, for checkpoints.
        state: Summary that the plan gives.
        recommended: Index of the winner that the algorithm recommends at the end, None while it runs.
        now: The time.
        remarks: Further conditions.
    """
    old = study.status or StudyStatus()
    points = front(snapshot) if len(snapshot.signs) > 1 else ()
    winner = points[0] if points else best_so_far(snapshot)
    if recommended is not None and not points:
        winner = _eligible(snapshot, recommended) or winner
    summary = Remark(type="Succeeded", status=state.reason.status, reason=state.reason.value, message=state.message)
    conditions: Sequence[Condition] = old.conditions
    for remark in (summary, *_resumable(snapshot), *remarks):
        conditions = with_condition(conditions, _condition(study, remark, now))
    concluded = state.reason.concludes
    return StudyStatus(
        observed_generation=study.metadata.generation,
        conditions=list(conditions),
        trials=count_trials(snapshot.trials),
        best=_best(snapshot, winner, trials) if winner else None,
        pareto_front=[_best(snapshot, point, trials) for point in points[:_FRONT_KEPT]],
        start_time=old.start_time or (format_time(now) if snapshot.trials else None),
        completion_time=(old.completion_time or format_time(now)) if concluded else None,
        steps_trained=sum(trial.steps_trained for trial in snapshot.trials),
        gpu_hours=round(gpu_seconds(snapshot) / 3600, 6),
        progress=_progress(snapshot),
        best_value=describe_value(snapshot.signs[0] * winner.values[0])
        if winner and winner.values[0] is not None
        else "",
        state=_state(state),
    )


def _resumable(study: StudySnapshot) -> list[Remark]:
    """Return whether trials that are promoted go on from a checkpoint; nothing where none has paused yet."""
    if study.spec.stopping is None or not study.spec.stopping.pauses:
        return []
    lost = [trial.name for trial in study.trials if trial.starts_over]
    if lost:
        words = f"{len(lost)} trials reached a rung without a checkpoint of it, the last one {lost[-1]}: promoted trials train again what they have trained; call trial.save() at the end of every step, and give trials a place for checkpoints"
        return [Remark(type=RESUMABLE, status="False", reason="CheckpointMissing", message=words)]
    if all(trial.steps_trained == 0 for trial in study.trials):
        return []
    words = "trials that are promoted go on from their checkpoints"
    return [Remark(type=RESUMABLE, status="True", reason="CheckpointSaved", message=words)]


def _condition(study: Study, remark: Remark, now: datetime) -> Condition:
    return Condition(
        type=remark.type,
        status=remark.status,
        reason=remark.reason,
        message=shorten(remark.message),
        last_transition_time=format_time(now),
        observed_generation=study.metadata.generation,
    )


def _eligible(study: StudySnapshot, index: int) -> TrialSnapshot | None:
    """Return the trial that an algorithm recommends, None when it cannot be the winner."""
    return next((trial for trial in study.trials if trial.index == index and trial.feasible), None)


def _progress(study: StudySnapshot) -> str:
    ended, limit = sum(trial.terminal for trial in study.trials), study.limits.max_trials
    return f"{ended}/{limit}" if limit is not None else str(ended)


def _state(state: StudyState) -> str:
    words = f"{state.reason.value}: {state.message}" if state.reason is StudyReason.WAITING else state.reason.value
    return shorten(words, _STATE_LIMIT)


def _best(study: StudySnapshot, trial: TrialSnapshot, trials: Mapping[str, Trial]) -> Best:
    checkpoint = trials[trial.name].status.checkpoint if trial.name in trials else None
    return Best(
        trial=trial.name,
        index=trial.index,
        values=[sign * value + 0.0 for sign, value in zip(study.signs, trial.values, strict=True) if value is not None],
        assignment=trial.assignment,
        checkpoint=checkpoint.path if checkpoint else None,
    )
