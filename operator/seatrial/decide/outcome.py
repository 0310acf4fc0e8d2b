"""How an attempt that ended is judged: finished with which outcome, or tried again.

==============================  ==============  =====================================================
what happened                   outcome         note
==============================  ==============  =====================================================
we stopped it                   by StopReason   a trial that was done before it noticed is Completed
says infeasible, OOMKilled      Infeasible      told to the search as bad, never retried
says diverged, or NaN last      Diverged        told to the search as bad, never retried
gone, evicted, lost             retry, Failed   Completed if it had said that it is done; at most LOSSES times
says stopped, not by us         retry, Failed   from its checkpoint; counts as a loss
exit not 0, says failed         retry, Failed   counts against trial.retries
exit 0, objective reported      Completed
exit 0, nothing reported        Failed          MetricNotReported, names the metric; never retried
==============================  ==============  =====================================================

A trial that was stopped to go on later (suspended, interrupted) is tried again, unless it says infeasible or diverged.
"""

import math

from seatrial.api.conditions import TrialReason
from seatrial.api.study import StudySpec
from seatrial.decide.actions import FinishTrial, RequeueTrial, StopReason
from seatrial.decide.attempts import Attempt, Phase, ReportStatus
from seatrial.decide.snapshot import Limits, TrialSnapshot

__all__ = ["LOSSES", "settle", "settle_vanished"]

LOSSES = 20
"""How often a trial is started again after ends that were no fault of its own. Arbitrary: enough for a bad day, not for ever."""

_ENDED_FROM_OUTSIDE = "EndedFromOutside"


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
    if (verdict := _by_its_own_word(trial, attempt)) is not None:
        return verdict
    lost = attempt.phase is Phase.LOST or attempt.infrastructure
    if lost and _says(attempt) is ReportStatus.SUCCEEDED and trial.complete:
        return _finish(trial, TrialReason.COMPLETED, "Completed", "was done before its attempt was lost")
    if lost:
        reason, message = attempt.reason or "Lost", attempt.message or _GONE
        return _after_loss(trial, reason, message)
    if _says(attempt) is ReportStatus.STOPPED:
        # Somebody else asked it to end (a shutdown, an eviction): it stopped in good order and can go on.
        return _after_loss(trial, _ENDED_FROM_OUTSIDE, _words(attempt) or "was asked to end from outside")
    if attempt.exit_code not in {0, None} or _says(attempt) is ReportStatus.FAILED:
        return _after_failure(trial, attempt, limits)
    return _after_success(trial, spec)


def settle_vanished(trial: TrialSnapshot) -> FinishTrial | RequeueTrial | None:
    """Judge a trial that was being stopped and whose attempt is gone altogether; None when it was not being stopped."""
    if trial.stop is None:
        return None
    if trial.stop.outcome is None:
        return _requeue(trial, trial.stop.value, trial.stop_message, infrastructure=True)
    return _finish(trial, trial.stop.outcome, trial.stop.value, trial.stop_message)


_GONE = "the attempt is gone without a trace of how it ended"


def _says(attempt: Attempt) -> ReportStatus | None:
    return attempt.report.status if attempt.report else None


def _words(attempt: Attempt) -> str:
    return attempt.report.message if attempt.report else ""


def _finish(trial: TrialSnapshot, outcome: TrialReason, reason: str, message: str) -> FinishTrial:
    return FinishTrial(trial=trial.name, outcome=outcome, reason=reason or outcome.value, message=message)


def _requeue(trial: TrialSnapshot, reason: str, message: str, *, infrastructure: bool) -> RequeueTrial:
    return RequeueTrial(
        trial=trial.name, attempt=trial.attempt, reason=reason, message=message, infrastructure=infrastructure
    )


def _by_its_own_word(trial: TrialSnapshot, attempt: Attempt) -> FinishTrial | None:
    """Return the outcome of a trial that says, or shows by its end, that it cannot work with its assignment."""
    killed = attempt.reason == "OOMKilled" and not attempt.infrastructure
    if killed or _says(attempt) is ReportStatus.INFEASIBLE:
        reason = attempt.reason if killed else "Infeasible"
        return _finish(trial, TrialReason.INFEASIBLE, reason, _words(attempt) or attempt.message)
    if _says(attempt) is ReportStatus.DIVERGED:
        return _finish(trial, TrialReason.DIVERGED, "Diverged", _words(attempt) or "the trial says that it diverged")
    return None


def _after_stop(trial: TrialSnapshot, attempt: Attempt, stop: StopReason) -> FinishTrial | RequeueTrial:
    # Whatever its exit code: the signal that we sent may have come between its last word and its end.
    if _says(attempt) is ReportStatus.SUCCEEDED and trial.complete and stop is not StopReason.DIVERGED:
        return _finish(trial, TrialReason.COMPLETED, "Completed", "was done before it could be stopped")
    outcome = stop.outcome
    if outcome is None:
        later = _requeue(trial, stop.value, trial.stop_message, infrastructure=True)
        return _by_its_own_word(trial, attempt) or later
    # A trial that is stopped while its objective is NaN has diverged, whatever it was stopped for.
    if outcome is TrialReason.STOPPED and any(value is not None and not math.isfinite(value) for value in trial.values):
        return _finish(trial, TrialReason.DIVERGED, "Diverged", f"{trial.stop_message}; its objective is not finite")
    return _finish(trial, outcome, stop.value, trial.stop_message)


def _after_loss(trial: TrialSnapshot, reason: str, message: str) -> FinishTrial | RequeueTrial:
    if trial.losses < LOSSES:
        return _requeue(trial, reason, message, infrastructure=True)
    return _finish(trial, TrialReason.FAILED, reason, f"{message}; given up after {LOSSES + 1} such attempts")


def _after_failure(trial: TrialSnapshot, attempt: Attempt, limits: Limits) -> FinishTrial | RequeueTrial:
    reason = attempt.reason or "Error"
    message = _words(attempt) or attempt.message or f"exit code {attempt.exit_code}"
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
