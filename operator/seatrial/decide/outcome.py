"""How an attempt that ended is judged: finished with which outcome, or tried again.

==========================  ==============  =====================================================
what happened               outcome         note
==========================  ==============  =====================================================
we stopped it               by StopReason   a trial that was done before it noticed is Completed
says diverged, or NaN last  Diverged        told to the search as bad
says infeasible, OOMKilled  Infeasible      told to the search as bad, never retried
says stopped, not by us     tried again     from its checkpoint; never counts
exit 0, objective reported  Completed
exit 0, nothing reported    Failed          MetricNotReported, names the metric; never retried
exit not 0                  retry, Failed   counts against trial.retries
gone, evicted, lost         retry, Failed   never counts; at most LOSSES times
==========================  ==============  =====================================================
"""

import math

from seatrial.api.conditions import TrialReason
from seatrial.api.study import StudySpec
from seatrial.decide.actions import FinishTrial, RequeueTrial, StopReason
from seatrial.decide.attempts import Attempt, Phase, ReportStatus
from seatrial.decide.snapshot import Limits, TrialSnapshot

__all__ = ["LOSSES", "settle"]

LOSSES = 20
"""How often a trial is started again after ends that were no fault of its own. Arbitrary: enough for a bad day, not for ever."""


def settle(trial: TrialSnapshot, attempt: Attempt, spec: StudySpec, limits: Limits) -> FinishTrial | RequeueTrial:
    """Judge an attempt whose phase is Exited or Lost.

    Args:
        trial: The trial, with the values that its curves and its final message give.
        attempt: Its current attempt.
        spec: The study.
        limits: The study's limits.
    """
    if trial.stop is not None:
        return _after_stop(trial, attempt, trial.stop)
    if attempt.phase is Phase.LOST or attempt.infrastructure:
        return _after_loss(trial, attempt)
    said = attempt.report.status if attempt.report else None
    words = attempt.report.message if attempt.report else ""
    if said is ReportStatus.INFEASIBLE or attempt.reason == "OOMKilled":
        return _finish(
            trial,
            TrialReason.INFEASIBLE,
            attempt.reason if attempt.reason == "OOMKilled" else "Infeasible",
            words or attempt.message,
        )
    if said is ReportStatus.DIVERGED:
        return _finish(trial, TrialReason.DIVERGED, "Diverged", words or "the trial says that it diverged")
    if said is ReportStatus.STOPPED:
        # Somebody else asked it to end (a shutdown, an eviction): it stopped in good order and can go on.
        return _requeue(
            trial, StopReason.INTERRUPTED.value, words or "was asked to end from outside", infrastructure=True
        )
    if attempt.exit_code not in {0, None} or said is ReportStatus.FAILED:
        return _after_failure(trial, attempt, limits)
    return _after_success(trial, spec)


def _finish(trial: TrialSnapshot, outcome: TrialReason, reason: str, message: str) -> FinishTrial:
    return FinishTrial(trial=trial.name, outcome=outcome, reason=reason or outcome.value, message=message)


def _requeue(trial: TrialSnapshot, reason: str, message: str, *, infrastructure: bool) -> RequeueTrial:
    return RequeueTrial(
        trial=trial.name, attempt=trial.attempt, reason=reason, message=message, infrastructure=infrastructure
    )


def _after_stop(trial: TrialSnapshot, attempt: Attempt, stop: StopReason) -> FinishTrial | RequeueTrial:
    said = attempt.report.status if attempt.report else None
    if said is ReportStatus.SUCCEEDED and attempt.exit_code == 0 and trial.complete and stop is not StopReason.DIVERGED:
        return _finish(trial, TrialReason.COMPLETED, "Completed", "was done before it could be stopped")
    outcome = stop.outcome
    if outcome is None:
        return _requeue(trial, stop.value, trial.stop_message, infrastructure=True)
    # A trial that is stopped while its objective is NaN has diverged, whatever it was stopped for.
    if outcome is TrialReason.STOPPED and any(value is not None and not math.isfinite(value) for value in trial.values):
        return _finish(trial, TrialReason.DIVERGED, "Diverged", f"{trial.stop_message}; its objective is not finite")
    return _finish(trial, outcome, stop.value, trial.stop_message)


def _after_loss(trial: TrialSnapshot, attempt: Attempt) -> FinishTrial | RequeueTrial:
    reason, message = attempt.reason or "Lost", attempt.message or "the attempt is gone without a trace of how it ended"
    if trial.losses < LOSSES:
        return _requeue(trial, reason, message, infrastructure=True)
    return _finish(trial, TrialReason.FAILED, reason, f"{message}; given up after {LOSSES + 1} such attempts")


def _after_failure(trial: TrialSnapshot, attempt: Attempt, limits: Limits) -> FinishTrial | RequeueTrial:
    reason = attempt.reason or "Error"
    message = (attempt.report.message if attempt.report else "") or attempt.message or f"exit code {attempt.exit_code}"
    if trial.failures < limits.retries:
        left = limits.retries - trial.failures - 1
        return _requeue(trial, reason, f"{message}; {left} retries left", infrastructure=False)
    return _finish(trial, TrialReason.FAILED, reason, message)


def _after_success(trial: TrialSnapshot, spec: StudySpec) -> FinishTrial:
    missing = [o.metric for o, value in zip(spec.objectives, trial.values, strict=True) if value is None]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        return _finish(
            trial,
            TrialReason.FAILED,
            "MetricNotReported",
            f"exit code 0, but {names} was never reported; report it, print {missing[0]}=<value>, or write it to the termination message",
        )
    if not trial.complete:
        bad = [
            o.metric
            for o, v in zip(spec.objectives, trial.values, strict=True)
            if v is not None and not math.isfinite(v)
        ]
        return _finish(trial, TrialReason.DIVERGED, "Diverged", f"the final value of {', '.join(bad)} is not finite")
    return _finish(trial, TrialReason.COMPLETED, "Completed", "")
