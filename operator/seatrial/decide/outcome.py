"""How an attempt that ended is judged: finished with which outcome, or tried again.

What follows from why it ended is in the table of :mod:`seatrial.decide.causes`. In this order:

==============================  ==============  =====================================================
what happened                   outcome         note
==============================  ==============  =====================================================
we stopped it                   by StopReason   a trial that was done before it noticed is Completed
says infeasible or diverged     that            told to the search as bad, never retried
says paused at its last step    Completed       that is spec.untilStep of the trial, however the attempt ended
says paused at a rung           Paused          its next attempt goes on from there when it is promoted
gone, evicted, lost             retry, Failed   Completed if it had said that it is done, or had trained in full
a rule of retryPolicy matches   by its action
OOMKilled                       Infeasible      told to the search as bad, never retried
says stopped, not by us         retry, Failed   from its checkpoint; counts as a loss
the kubelet's deadline          Failed          Timeout
exit not 0, says failed         retry, Failed   counts against trial.retries
exit 0, objective reported      Completed
exit 0, NaN last                Diverged        told to the search as bad, never retried
exit 0, nothing reported        Failed          MetricNotReported, names the metric; never retried
==============================  ==============  =====================================================

A trial that was stopped to go on later (suspended, interrupted) is tried again, unless it says infeasible or diverged.
"""

import math

from seatrial.api.conditions import TrialReason
from seatrial.api.retry import RetryAction
from seatrial.api.study import MetricsSource, StudySpec
from seatrial.decide.actions import FinishTrial, PauseTrial, RequeueTrial, StopReason
from seatrial.decide.attempts import Attempt, Phase, ReportStatus
from seatrial.decide.causes import CANNOT_START_LIMIT, LOSSES, TREATMENTS, Backoff, Cause, find_cause
from seatrial.decide.fidelity import next_rung
from seatrial.decide.retrying import find_rule
from seatrial.decide.snapshot import PAUSED, Limits, TrialSnapshot
from seatrial.decide.values import stated

__all__ = ["LOSSES", "Settlement", "settle", "settle_vanished"]

_BACKOFF = Backoff()


Settlement = FinishTrial | PauseTrial | RequeueTrial


def settle(trial: TrialSnapshot, attempt: Attempt, spec: StudySpec, limits: Limits) -> Settlement:
    """Judge an attempt whose phase is Exited or Lost.

    Args:
        trial: The trial, with the values that its curves and its final message give.
        attempt: Its current attempt.
        spec: The study.
        limits: The study's limits.
    """
    if trial.stop is not None:
        return _after_stop(trial, attempt, trial.stop, spec)
    if (verdict := _by_its_own_word(trial, attempt)) is not None:
        return verdict
    if _says(attempt) is ReportStatus.PAUSED:
        return _after_pause(trial, attempt, spec)
    if attempt.phase is Phase.LOST or attempt.infrastructure:
        return _after_disruption(trial, attempt, spec)
    if (ruled := _by_rule(trial, attempt, spec)) is not None:
        return ruled
    cause = find_cause(attempt)
    match cause:
        case Cause.OUT_OF_MEMORY:
            return _finish(trial, TrialReason.INFEASIBLE, cause.value, _words(attempt) or attempt.message)
        case Cause.TIMEOUT:
            return _finish(trial, TrialReason.FAILED, cause.value, attempt.message or TREATMENTS[cause].what)
        case Cause.PARENT_MISSING | Cause.PARENT_CORRUPT:
            return _finish(trial, TrialReason.FAILED, cause.value, _words(attempt) or TREATMENTS[cause].what)
        case Cause.UNREACHABLE:
            return _after_loss(trial, cause.value, _words(attempt) or TREATMENTS[cause].what)
        case Cause.ENDED_FROM_OUTSIDE:
            # Somebody else asked it to end (a shutdown, an eviction): it stopped in good order and can go on.
            return _after_loss(trial, cause.value, _words(attempt) or "was asked to end from outside")
        case _ if attempt.exit_code not in {0, None} or _says(attempt) is ReportStatus.FAILED:
            return _after_failure(trial, attempt, limits)
    return _after_success(trial, attempt, spec)


def settle_vanished(trial: TrialSnapshot) -> FinishTrial | RequeueTrial | None:
    """Judge a trial that was being stopped and whose attempt is gone altogether; None when it was not being stopped."""
    if trial.stop is None:
        return None
    if trial.stop.outcome is None:
        return _lay_down(trial, trial.stop)
    return _finish(trial, trial.stop.outcome, trial.stop.value, trial.stop_message)


_GONE = "the attempt is gone without a trace of how it ended"


def _says(attempt: Attempt) -> ReportStatus | None:
    return attempt.report.status if attempt.report else None


def _words(attempt: Attempt) -> str:
    return attempt.report.message if attempt.report else ""


def _finish(trial: TrialSnapshot, outcome: TrialReason, reason: str, message: str) -> FinishTrial:
    return FinishTrial(trial=trial.name, outcome=outcome, reason=reason or outcome.value, message=message)


def _requeue(
    trial: TrialSnapshot,
    reason: str,
    message: str,
    *,
    infrastructure: bool,
    delay_seconds: float = 0.0,
    excluded_node: str = "",
) -> RequeueTrial:
    return RequeueTrial(
        trial=trial.name,
        attempt=trial.attempt,
        reason=reason,
        message=message,
        infrastructure=infrastructure,
        delay_seconds=delay_seconds,
        excluded_node=excluded_node,
    )


def _delay(trial: TrialSnapshot, cause: Cause, earlier: int) -> float:
    backoff = TREATMENTS[cause].backoff or _BACKOFF
    return backoff.delay_seconds(earlier, seed=trial.seed, trial=trial.name, attempt=trial.attempt)


def _by_its_own_word(trial: TrialSnapshot, attempt: Attempt) -> FinishTrial | None:
    """Return the outcome of a trial that says that it cannot work with its assignment."""
    if _says(attempt) is ReportStatus.INFEASIBLE:
        # Harness and kernel may both see that memory ran out; the kernel's word is the one to look for.
        reason = attempt.reason if attempt.reason == "OOMKilled" else "Infeasible"
        return _finish(trial, TrialReason.INFEASIBLE, reason, _words(attempt) or attempt.message)
    if _says(attempt) is ReportStatus.DIVERGED:
        return _finish(trial, TrialReason.DIVERGED, "Diverged", _words(attempt) or "the trial says that it diverged")
    return None


def _is_through(trial: TrialSnapshot, attempt: Attempt) -> bool:
    """Whether it says that it is done: at the end of the training, or at the step at which this trial is complete."""
    if _says(attempt) is ReportStatus.PAUSED:
        return trial.until_step is not None and (trial.step or 0) >= trial.until_step
    return _says(attempt) is ReportStatus.SUCCEEDED


def _after_pause(trial: TrialSnapshot, attempt: Attempt, spec: StudySpec) -> Settlement:
    """Judge an attempt that ended at the step until which it was to train."""
    if not trial.complete or _is_through(trial, attempt):
        return _after_success(trial, attempt, spec)
    if (pause := _pause(trial, spec)) is not None:
        return pause
    return _after_loss(
        trial, Cause.PAUSED_UNASKED.value, f"it ended at step {trial.step} by itself, although nobody asked it to"
    )


def _pause(trial: TrialSnapshot, spec: StudySpec) -> PauseTrial | None:
    """Return the rest at the rung that a trial was on its way to; None when it has not come there."""
    rung = next_rung(spec, trial.index, trial.rung)
    value = trial.values[0]
    if rung is None or not trial.complete or value is None or (trial.step or 0) < rung:
        return None
    objective = spec.objectives[0]
    words = f"at step {rung}: {objective.metric}={stated(objective, value):.4g}; it holds nothing until it is promoted"
    return PauseTrial(trial=trial.name, attempt=trial.attempt, rung=rung, reason=PAUSED, message=words)


def _after_disruption(trial: TrialSnapshot, attempt: Attempt, spec: StudySpec) -> FinishTrial | RequeueTrial:
    if _says(attempt) is ReportStatus.SUCCEEDED and trial.complete:
        return _finish(trial, TrialReason.COMPLETED, "Completed", "was done before its attempt was lost")
    if spec.steps is not None and trial.complete and trial.step is not None and trial.step >= spec.steps.max:
        words = f"had reached the last {spec.steps.unit} before its attempt was lost"
        return _finish(trial, TrialReason.COMPLETED, "Completed", words)
    cause = find_cause(attempt)
    if cause is Cause.LOST:
        return _after_loss(trial, attempt.reason or cause.value, attempt.message or _GONE)
    what = TREATMENTS[cause].what
    return _after_loss(trial, cause.value, f"{what}: {attempt.message}" if attempt.message else what)


def _by_rule(trial: TrialSnapshot, attempt: Attempt, spec: StudySpec) -> FinishTrial | RequeueTrial | None:
    """Return what the study's retry policy wants; None where no rule matches."""
    if attempt.exit_code in {0, None} and _says(attempt) is not ReportStatus.FAILED:
        return None
    found = find_rule(spec.trial.retry_policy, attempt)
    if found is None:
        return None
    place, rule = found
    words = _words(attempt) or attempt.message or f"exit code {attempt.exit_code}"
    message = f"spec.trial.retryPolicy.rules[{place}] ({rule.action}) matched: {words}"
    match rule.action:
        case RetryAction.FAIL:
            return _finish(trial, TrialReason.FAILED, Cause.FAILED_BY_RULE.value, message)
        case RetryAction.INFEASIBLE:
            return _finish(trial, TrialReason.INFEASIBLE, Cause.INFEASIBLE_BY_RULE.value, message)
        case RetryAction.RETRY:
            return _after_loss(trial, Cause.RETRIED_BY_RULE.value, message)
        case RetryAction.EXCLUDE_NODE:
            enough = bool(attempt.node) and trial.node_faults.count(attempt.node) + 1 >= rule.after
            return _after_loss(trial, Cause.NODE_FAULT.value, message, excluded=attempt.node if enough else "")


def _after_stop(trial: TrialSnapshot, attempt: Attempt, stop: StopReason, spec: StudySpec) -> Settlement:
    # Whatever its exit code: the signal that we sent may have come between its last word and its end.
    if _is_through(trial, attempt) and trial.complete and stop is not StopReason.DIVERGED:
        return _finish(trial, TrialReason.COMPLETED, "Completed", "was done before it could be stopped")
    outcome = stop.outcome
    if outcome is None:
        pause = _pause(trial, spec) if _says(attempt) is ReportStatus.PAUSED else None
        return _by_its_own_word(trial, attempt) or pause or _lay_down(trial, stop)
    if stop is StopReason.STUDY_COMPLETE and trial.paused_at is not None and trial.complete:
        # What it found at its last rung, and beyond it, is a result.
        outcome = TrialReason.STOPPED
    # A trial that is stopped while its objective is NaN has diverged, whatever it was stopped for.
    if outcome is TrialReason.STOPPED and any(value is not None and not math.isfinite(value) for value in trial.values):
        return _finish(trial, TrialReason.DIVERGED, "Diverged", f"{trial.stop_message}; its objective is not finite")
    return _finish(trial, outcome, stop.value, trial.stop_message)


def _lay_down(trial: TrialSnapshot, stop: StopReason) -> FinishTrial | RequeueTrial:
    """Let a trial go on later that was stopped for that; one whose container does not begin is given up some time."""
    if stop not in {StopReason.CANNOT_START, StopReason.START_TIMEOUT}:
        return _requeue(trial, stop.value, trial.stop_message, infrastructure=True)
    earlier = trial.starts_in_vain
    if earlier + 1 >= CANNOT_START_LIMIT:
        words = f"{trial.stop_message}; given up after {earlier + 1} such attempts"
        return _finish(trial, TrialReason.FAILED, stop.value, words)
    delay = _delay(trial, Cause(stop.value), earlier)
    return _requeue(trial, stop.value, trial.stop_message, infrastructure=True, delay_seconds=delay)


def _after_loss(trial: TrialSnapshot, reason: str, message: str, *, excluded: str = "") -> FinishTrial | RequeueTrial:
    if trial.losses < LOSSES:
        delay = _BACKOFF.delay_seconds(trial.losses, seed=trial.seed, trial=trial.name, attempt=trial.attempt)
        return _requeue(trial, reason, message, infrastructure=True, delay_seconds=delay, excluded_node=excluded)
    return _finish(trial, TrialReason.FAILED, reason, f"{message}; given up after {LOSSES + 1} such attempts")


def _after_failure(trial: TrialSnapshot, attempt: Attempt, limits: Limits) -> FinishTrial | RequeueTrial:
    # One that says that it failed and leaves with 0 has "Completed" for the kubelet.
    reason = (attempt.reason if attempt.exit_code else "") or Cause.EXIT.value
    message = _words(attempt) or attempt.message or f"exit code {attempt.exit_code}"
    if trial.failures < limits.retries:
        left = limits.retries - trial.failures - 1
        delay = _delay(trial, Cause.EXIT, trial.failures)
        return _requeue(trial, reason, f"{message}; {left} retries left", infrastructure=False, delay_seconds=delay)
    return _finish(trial, TrialReason.FAILED, reason, message)


def _ways_to_report(metric: str, spec: StudySpec) -> str:
    ways = f"report it, print {metric}=<value>, or write it to the termination message"
    if spec.metrics.source is MetricsSource.TERMINATION_MESSAGE:
        return f"{ways} (on a cluster what is printed is read with another metrics.source only)"
    if spec.trial.reuse and spec.metrics.source is not MetricsSource.LOGS:
        return f"{ways} (on a cluster what is printed is read without trial.reuse, or with metrics.source: logs, only)"
    return ways


def _after_success(trial: TrialSnapshot, attempt: Attempt, spec: StudySpec) -> FinishTrial:
    missing = [o.metric for o, value in zip(spec.objectives, trial.values, strict=True) if value is None]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        noted = "".join(f"; {note}" for note in attempt.notes if note.startswith("the termination message"))
        words = f"exit code 0, but {names} was never reported; {_ways_to_report(missing[0], spec)}{noted}"
        return _finish(trial, TrialReason.FAILED, "MetricNotReported", words)
    if not trial.complete:
        bad = [
            o.metric
            for o, v in zip(spec.objectives, trial.values, strict=True)
            if v is not None and not math.isfinite(v)
        ]
        return _finish(trial, TrialReason.DIVERGED, "Diverged", f"the final value of {', '.join(bad)} is not finite")
    # What the harness has to say of a good end: that a checkpoint could not be saved, say. Its Pod is gone soon.
    return _finish(trial, TrialReason.COMPLETED, "Completed", _words(attempt))
