"""The planner: what should be done about a study, given all that is known of it.

The order of a plan is fixed: first what ended is settled, then what must end is stopped, then what waits is started, and only
then new trials are asked for. Planning is idempotent: a plan that was applied leaves nothing to plan until the world moves.
"""

import math
from dataclasses import dataclass, field
from datetime import timedelta

from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.decide.actions import (
    Action,
    CreateTrials,
    FinishTrial,
    PassRung,
    Plan,
    RecordPhase,
    StartAttempt,
    StopAttempt,
    StopReason,
    StudyState,
)
from seatrial.decide.attempts import Phase
from seatrial.decide.budget import Verdict, judge_budget
from seatrial.decide.outcome import settle
from seatrial.decide.rules import Cohort, Pass, Rule, Stop, build_rule
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot

__all__ = ["plan_study"]

_ENDED = frozenset({Phase.EXITED, Phase.LOST})

# One report that is not finite may be a hiccup of a single batch; two in a row are not.
_DIVERGED_REPORTS = 2


def plan_study(study: StudySnapshot) -> Plan:
    """Return what to do now.

    Args:
        study: The study as it is.

    Returns:
        Actions in the order in which they are to be applied. After they were applied the world has changed: look again.
    """
    draft = _Draft(study=study, unfinished=[trial for trial in study.trials if not trial.terminal])
    _settle_ended(draft)
    _settle_reused(draft)
    verdict = judge_budget(study)
    if verdict is not None and verdict.stop_running:
        _end_all(draft, verdict)
    elif study.interrupted:
        _lay_down(
            draft, StopReason.INTERRUPTED, "the run was interrupted; it goes on from its checkpoint with the next run"
        )
    elif study.spec.suspend:
        _lay_down(
            draft, StopReason.SUSPENDED, "spec.suspend is true; it goes on from its checkpoint when that is false"
        )
    else:
        _record_phases(draft)
        _stop_hopeless(draft)
        _start_waiting(draft)
        if verdict is None:
            _create(draft)
    return Plan(actions=tuple(draft.actions), state=_state(draft, verdict), wake_after_seconds=_next_deadline(draft))


@dataclass(slots=True)
class _Draft:
    """A plan in the making.

    Attributes:
        settled: Trials whose attempt ended and is dealt with in this plan.
        finished: Those of them that are over.
        occupied: Slots that stay taken after this plan: running, waiting for a place, or being stopped.
    """

    study: StudySnapshot
    unfinished: list[TrialSnapshot]
    actions: list[Action] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    occupied: int = 0
    created: int = 0

    def open_trials(self) -> list[TrialSnapshot]:
        """Return trials that are not over after this plan."""
        return [trial for trial in self.unfinished if trial.name not in self.finished]


def _settle_ended(draft: _Draft) -> None:
    for trial in draft.unfinished:
        if trial.live is None or trial.live.phase not in _ENDED:
            continue
        action = settle(trial, trial.live, draft.study.spec, draft.study.limits)
        draft.actions.append(action)
        draft.settled.add(trial.name)
        if isinstance(action, FinishTrial):
            draft.finished.add(trial.name)


def _settle_reused(draft: _Draft) -> None:
    """Finish trials that repeat an assignment as soon as the trial that they repeat is over."""
    for trial in draft.unfinished:
        original = _original(draft.study, trial)
        if original is not None and original.terminal:
            words = f"same assignment as {original.name} ({original.reason.value}), whose result it takes over"
            draft.actions.append(
                FinishTrial(trial=trial.name, outcome=TrialReason.REUSED, reason="Reused", message=words)
            )
            draft.finished.add(trial.name)


def _original(study: StudySnapshot, trial: TrialSnapshot) -> TrialSnapshot | None:
    """Return the trial whose result *trial* takes over; None when it has to run by itself."""
    if trial.reuse_of is None:
        return None
    found = next((other for other in study.trials[: trial.index] if other.name == trial.reuse_of), None)
    return None if found is None or found.reason is TrialReason.CANCELLED else found


def _record_phases(draft: _Draft) -> None:
    """Let the records of open trials say whether they run or why they wait."""
    for trial in draft.open_trials():
        if trial.live is None or trial.name in draft.settled or trial.stop is not None:
            continue
        running = trial.live.phase is Phase.RUNNING
        state = TrialReason.RUNNING if running else TrialReason.PENDING
        message = "" if running else f"{trial.live.reason}: {trial.live.message}".strip(": ")
        if (trial.reason, trial.message) != (state, message):
            draft.actions.append(
                RecordPhase(trial=trial.name, state=state, reason=trial.live.reason or state.value, message=message)
            )


def _stop(draft: _Draft, trial: TrialSnapshot, reason: StopReason, message: str) -> None:
    draft.actions.append(StopAttempt(trial=trial.name, attempt=trial.attempt, reason=reason.value, message=message))


def _end_all(draft: _Draft, verdict: Verdict) -> None:
    for trial in draft.open_trials():
        if trial.live is None or trial.name in draft.settled:
            draft.actions.append(
                FinishTrial(
                    trial=trial.name,
                    outcome=TrialReason.CANCELLED,
                    reason=StopReason.STUDY_COMPLETE.value,
                    message=f"not started again: {verdict.message}"
                    if trial.started_at
                    else f"never started: {verdict.message}",
                )
            )
            draft.finished.add(trial.name)
        elif trial.stop is None or trial.stop.outcome is None:
            _stop(draft, trial, StopReason.STUDY_COMPLETE, verdict.message)


def _lay_down(draft: _Draft, reason: StopReason, message: str) -> None:
    """Stop everything that runs, in a way that it can go on later."""
    for trial in draft.open_trials():
        if trial.live is not None and trial.name not in draft.settled and trial.stop is None:
            _stop(draft, trial, reason, message)


def _stop_hopeless(draft: _Draft) -> None:
    study = draft.study
    rule = build_rule(study.spec)
    cohort: Cohort | None = None
    for trial in draft.unfinished:
        live = trial.live
        if live is None or live.phase is not Phase.RUNNING or trial.stop is not None:
            continue
        if message := _overtime(study, trial):
            _stop(draft, trial, StopReason.TIMEOUT, message)
        elif _diverged(trial):
            metric = study.spec.objectives[0].metric
            _stop(
                draft,
                trial,
                StopReason.DIVERGED,
                f"at step {trial.step}: {metric} is not finite, {_DIVERGED_REPORTS} reports in a row",
            )
        elif rule is not None and trial.curve.points:
            cohort = cohort or Cohort(study.trials, sign=study.signs[0])
            _apply_rule(draft, rule, trial, cohort)


def _apply_rule(draft: _Draft, rule: Rule, trial: TrialSnapshot, cohort: Cohort) -> None:
    match rule.judge(trial, cohort):
        case Stop(reason=reason, message=message):
            _stop(draft, trial, reason, message)
        case Pass(rung=rung, message=message):
            draft.actions.append(PassRung(trial=trial.name, rung=rung, reason="RungPassed", message=message))
        case None:
            pass


def _overtime(study: StudySnapshot, trial: TrialSnapshot) -> str | None:
    limit = study.limits.timeout_seconds
    if limit is None or trial.live is None or trial.live.started_at is None:
        return None
    if study.now - trial.live.started_at < timedelta(seconds=limit):
        return None
    return f"ran for longer than spec.trial.timeout ({study.spec.trial.timeout})"


def _diverged(trial: TrialSnapshot) -> bool:
    tail = trial.curve.tail[-_DIVERGED_REPORTS:]
    return len(tail) == _DIVERGED_REPORTS and not any(math.isfinite(value) for value in tail)


def _start_waiting(draft: _Draft) -> None:
    """Start open trials without an attempt, lowest index first, while there are slots."""
    holding = [t for t in draft.open_trials() if t.live is not None and t.name not in draft.settled]
    waiting = [t for t in draft.open_trials() if t.live is None and _original(draft.study, t) is None]
    draft.occupied = len(holding)
    for trial in waiting:
        if draft.occupied >= draft.study.limits.parallel:
            break
        again = trial.attempt > 0
        draft.actions.append(
            StartAttempt(
                trial=trial.name,
                attempt=trial.attempt,
                reason="Restarted" if again else "Started",
                message=f"attempt {trial.attempt}, from its last checkpoint if there is one"
                if again
                else "first attempt",
            )
        )
        draft.occupied += 1
    # A trial whose attempt was settled in this plan and goes on keeps its slot: it is started by the next plan.
    draft.occupied += sum(t.name in draft.settled for t in draft.open_trials())


def _create(draft: _Draft) -> None:
    limits = draft.study.limits
    unstarted = sum(t.live is None and _original(draft.study, t) is None for t in draft.open_trials())
    started = sum(isinstance(action, StartAttempt) for action in draft.actions)
    free = limits.parallel - draft.occupied - (unstarted - started)
    if limits.max_trials is not None:
        free = min(free, limits.max_trials - len(draft.study.trials))
    if free <= 0:
        return
    draft.created = free
    draft.actions.append(
        CreateTrials(count=free, reason="SlotsFree", message=f"{free} of {limits.parallel} slots are free")
    )


def _state(draft: _Draft, verdict: Verdict | None) -> StudyState:
    study, open_trials = draft.study, draft.open_trials()
    if verdict is not None and not open_trials:
        return _final_state(draft, verdict)
    if verdict is not None and verdict.stop_running:
        return StudyState(
            reason=StudyReason.RUNNING, message=f"{len(open_trials)} trials are being ended: {verdict.message}"
        )
    if study.spec.suspend or study.interrupted:
        held = sum(trial.live is not None and trial.name not in draft.settled for trial in open_trials)
        words = f"{held} trials are being ended" if held else "no trial runs"
        why = "the run was interrupted" if study.interrupted else "spec.suspend is true"
        return StudyState(reason=StudyReason.SUSPENDED, message=f"{why}; {words}")
    waits = [trial.live for trial in open_trials if trial.live is not None and trial.live.phase is Phase.WAITING]
    running = [trial for trial in open_trials if trial.live is not None and trial.live.phase is Phase.RUNNING]
    if waits and not running and not draft.created:
        return StudyState(
            reason=StudyReason.WAITING, message=f"{len(waits)} trials wait: {waits[0].message or waits[0].reason}"
        )
    total = f" of {study.limits.max_trials}" if study.limits.max_trials else ""
    done = len(study.trials) - len(open_trials)
    return StudyState(reason=StudyReason.RUNNING, message=f"{done}{total} trials are done, {len(open_trials)} are open")


def _final_state(draft: _Draft, verdict: Verdict) -> StudyState:
    results = {TrialReason.COMPLETED, TrialReason.STOPPED}
    coming = {a.trial for a in draft.actions if isinstance(a, FinishTrial) and a.outcome in results}
    if verdict.reason.status == "True" and not coming and not any(t.reason in results for t in draft.study.trials):
        return StudyState(
            reason=StudyReason.NO_TRIAL_SUCCEEDED, message=f"{verdict.message}, but none of them has a result"
        )
    return StudyState(reason=verdict.reason, message=verdict.message)


def _next_deadline(draft: _Draft) -> float | None:
    """Return seconds until a timeout or the study's duration ends something, None when nothing does."""
    study = draft.study
    deadlines: list[float] = []
    if study.limits.max_seconds is not None and study.started_at is not None:
        deadlines.append(study.limits.max_seconds - (study.now - study.started_at).total_seconds())
    if study.limits.timeout_seconds is not None:
        deadlines += [
            study.limits.timeout_seconds - (study.now - trial.live.started_at).total_seconds()
            for trial in study.trials
            if trial.live is not None
            and trial.live.started_at is not None
            and not trial.terminal
            and trial.stop is None
        ]
    # The negative ones are dealt with in this very plan.
    return min((seconds for seconds in deadlines if seconds > 0), default=None)
