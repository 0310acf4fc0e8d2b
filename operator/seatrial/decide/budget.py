"""When a study is over: limits reached, target reached, nothing left to try."""

from dataclasses import dataclass
from datetime import timedelta

from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.decide.actions import say_number
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot

__all__ = ["Verdict", "gpu_seconds", "judge_budget", "reached_target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why no new trial is started.

    Attributes:
        stop_running: Whether trials that still run are ended too; otherwise they may finish.
    """

    reason: StudyReason
    message: str
    stop_running: bool


def reached_target(study: StudySnapshot) -> TrialSnapshot | None:
    """Return the first finished trial that keeps the constraints and reaches the target."""
    target = study.limits.target
    if target is None:
        return None
    for trial in study.trials:
        value = trial.values[0]
        if value is not None and value <= target and trial.feasible:
            return trial
    return None


def judge_budget(study: StudySnapshot) -> Verdict | None:
    """Return why no new trial may be started, None when one may."""
    number = _number(study)
    # A study that has run all its trials is complete for that reason, also when it is looked at after its duration.
    ran = number is not None and not any(t.reason is TrialReason.CANCELLED or not t.terminal for t in study.trials)
    first, last = (number, None) if ran else (None, number)
    return _failures(study) or _target(study) or first or _duration(study) or _gpu_time(study) or last


def _failures(study: StudySnapshot) -> Verdict | None:
    failed = [trial for trial in study.trials if trial.reason is TrialReason.FAILED]
    limit = study.limits.max_failed
    if len(failed) <= limit:
        return None
    words = say_number(len(failed), "has failed", "have failed")
    return Verdict(
        reason=StudyReason.MAX_FAILED_TRIALS_EXCEEDED,
        message=f"{words}, more than budget.maxFailedTrials allows ({limit}); the last one is {failed[-1].name}",
        stop_running=True,
    )


def _target(study: StudySnapshot) -> Verdict | None:
    trial = reached_target(study)
    if trial is None or trial.values[0] is None or study.limits.target is None:
        return None
    metric = study.spec.objectives[0].metric
    return Verdict(
        reason=StudyReason.TARGET_REACHED,
        message=f"{trial.name} reached {metric}={study.show(trial.values[0])}; the target is {study.show(study.limits.target)}",
        stop_running=True,
    )


def _duration(study: StudySnapshot) -> Verdict | None:
    limit = study.limits.max_seconds
    if limit is None or study.started_at is None:
        return None
    # The clock of a study that is complete stands still: looking at it later must not change why it is complete.
    if (study.completed_at or study.now) - study.started_at < timedelta(seconds=limit):
        return None
    return Verdict(
        reason=StudyReason.MAX_DURATION_REACHED,
        message=f"the study has run for budget.maxDuration ({study.spec.budget.max_duration})",
        stop_running=True,
    )


def gpu_seconds(study: StudySnapshot) -> float:
    """Return the GPU time of all trials, running attempts included."""
    total = 0.0
    for trial in study.trials:
        total += trial.gpu_seconds
        if trial.live is not None and trial.live.started_at is not None:
            end = trial.live.finished_at or study.now
            total += trial.live.gpus * max(0.0, (end - trial.live.started_at).total_seconds())
    return total


def _gpu_time(study: StudySnapshot) -> Verdict | None:
    limit = study.limits.max_gpu_seconds
    if limit is None or gpu_seconds(study) < limit:
        return None
    return Verdict(
        reason=StudyReason.MAX_GPU_HOURS_REACHED,
        message=f"the trials have held GPUs for budget.maxGPUHours ({study.spec.budget.max_gpu_hours:g})",
        stop_running=True,
    )


def _all_done(count: int, whose: str) -> str:
    return f"the only trial of {whose} is done" if count == 1 else f"all {count} trials of {whose} are done"


def _number(study: StudySnapshot) -> Verdict | None:
    limit = study.limits.max_trials
    if limit is not None and len(study.trials) >= limit:
        total = len(study.trials)
        words = _all_done(limit, "budget.maxTrials")
        if total > limit:
            words = f"{total} trials are done, and budget.maxTrials is {limit}"
        if (study.spec.budget.max_trials or limit + 1) > limit:
            words = _all_done(limit, "the schedule" if study.spec.algorithm.replay else "the population")
            return Verdict(reason=StudyReason.TRAINING_COMPLETE, message=words, stop_running=False)
        return Verdict(reason=StudyReason.MAX_TRIALS_REACHED, message=words, stop_running=False)
    if study.exhausted is not None:
        reason = StudyReason(study.exhausted.why.value)
        return Verdict(reason=reason, message=study.exhausted.message, stop_running=False)
    return None
