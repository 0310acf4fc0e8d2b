"""The planner: what should be done about a study, given all that is known of it.

The order of a plan is fixed: first what ended is settled, then what must end is stopped, then what waits is started, and only
then new trials are asked for. Planning is idempotent: a plan that was applied leaves nothing to plan until the world moves.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.decide.actions import (
    Action,
    CreateTrials,
    FinishTrial,
    PassRung,
    Plan,
    PromoteTrial,
    RecordPhase,
    RequeueTrial,
    StartAttempt,
    StopAttempt,
    StopReason,
    StudyState,
    say_number,
    shorten,
)
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.budget import Verdict, gpu_seconds, judge_budget
from seatrial.decide.causes import TREATMENTS, Cause, find_cause, start_deadline
from seatrial.decide.fidelity import next_rung
from seatrial.decide.outcome import Settlement, settle, settle_vanished
from seatrial.decide.population import find_stragglers, next_straggler_seconds, room
from seatrial.decide.promoting import judge_paused
from seatrial.decide.rules import Cohort, Pass, Rule, Standings, Stop, build_rule
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot

__all__ = ["plan_study"]

_ENDED = frozenset({Phase.EXITED, Phase.LOST})

_REASONS_SHOWN = 3

# One report that is not finite may be a hiccup of a single batch; two in a row are not.
_DIVERGED_REPORTS = 2


def plan_study(study: StudySnapshot, standings: Standings | None = None) -> Plan:
    """Return what to do now.

    Args:
        study: The study as it is.
        standings: What earlier plans of the same study have computed of its finished trials. It only makes this one faster.

    Returns:
        Actions in the order in which they are to be applied. After they were applied the world has changed: look again.
    """
    draft = _Draft(study=study, open_trials=[trial for trial in study.trials if not trial.terminal])
    _settle_ended(draft)
    _settle_reused(draft)
    # What ended just now counts: no trial is started that its result makes superfluous.
    verdict = judge_budget(draft.study)
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
        _stop_hopeless(draft, standings)
        _start_waiting(draft)
        _judge_paused(draft, growing=verdict is None)
        if verdict is None:
            _create(draft)
    state = _state(draft, verdict)
    wake = None if state.reason.terminal else _next_deadline(draft)
    return Plan(actions=tuple(draft.actions), state=state, wake_after_seconds=wake)


@dataclass(slots=True)
class _Draft:
    """A plan in the making.

    Attributes:
        study: The study as it will be: trials that this plan finishes are over.
        open_trials: Trials that are not over after this plan.
        settled: Those of them whose attempt ended and is dealt with in this plan.
        occupied: Slots that stay taken after this plan: running, waiting for a place, or being stopped.
    """

    study: StudySnapshot
    open_trials: list[TrialSnapshot]
    actions: list[Action] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)
    occupied: int = 0
    created: int = 0

    def finish(self, actions: Sequence[FinishTrial]) -> None:
        """Add actions, and see their trials as over from here on."""
        if not actions:
            return
        outcomes = {action.trial: action.outcome for action in actions}
        self.actions += actions
        self.open_trials = [trial for trial in self.open_trials if trial.name not in outcomes]
        trials = tuple(
            replace(trial, reason=outcomes[trial.name]) if trial.name in outcomes else trial
            for trial in self.study.trials
        )
        self.study = replace(self.study, trials=trials)

    def holds(self, trial: TrialSnapshot) -> bool:
        """Whether the trial has an attempt that goes on after this plan."""
        return trial.live is not None and trial.name not in self.settled


def _settle_ended(draft: _Draft) -> None:
    finished: list[FinishTrial] = []
    for trial in draft.open_trials:
        action: Settlement | None
        if trial.live is None:
            action = settle_vanished(trial)
        elif trial.live.phase in _ENDED:
            action = settle(trial, trial.live, draft.study.spec, draft.study.limits)
        else:
            continue
        if isinstance(action, FinishTrial):
            finished.append(action)
        elif action is not None:
            draft.actions.append(action)
            draft.settled.add(trial.name)
    draft.finish(finished)


def _settle_reused(draft: _Draft) -> None:
    """Finish trials that repeat an assignment as soon as the trial that they repeat is over."""
    finished = []
    for trial in draft.open_trials:
        original = _original(draft.study, trial)
        # One that runs on its own and was just settled is looked at again when that is recorded.
        if original is not None and original.terminal and trial.name not in draft.settled:
            words = f"same assignment as {original.name} ({original.reason.value}), whose result it takes over"
            finished.append(FinishTrial(trial=trial.name, outcome=TrialReason.REUSED, reason="Reused", message=words))
    draft.finish(finished)


def _original(study: StudySnapshot, trial: TrialSnapshot) -> TrialSnapshot | None:
    """Return the trial whose result *trial* takes over; None when it has to run by itself."""
    if trial.reuse_of is None or trial.live is not None:
        return None
    found = study.find(trial.reuse_of)
    return None if found is None or found.index >= trial.index or found.reason is TrialReason.CANCELLED else found


def _record_phases(draft: _Draft) -> None:
    """Let the records of open trials say whether they run or why they wait."""
    for trial in draft.open_trials:
        if trial.name in draft.settled or trial.stop is not None:
            continue
        live = trial.live
        if live is None and trial.reason is TrialReason.PAUSED:
            continue
        if (live is None or (live.phase is Phase.WAITING and not live.reason)) and trial.reason is TrialReason.PENDING:
            # Why it is pending (never started, an earlier attempt ended) is in its record, and one that only begins adds nothing.
            continue
        running = live is not None and live.phase is Phase.RUNNING
        state = TrialReason.RUNNING if running else TrialReason.PENDING
        message = ""
        if not running:
            message = _why(live) if live else "its attempt is gone; it is started again"
        # As long as the record has it: otherwise the two would differ for ever.
        message = shorten(message)
        if (trial.reason, trial.message) != (state, message):
            reason = (live.reason if live else "") or state.value
            draft.actions.append(RecordPhase(trial=trial.name, state=state, reason=reason, message=message))


def _why(live: Attempt) -> str:
    """Return why an attempt waits; empty for one that only begins."""
    return live.message if live.message.startswith(live.reason) else f"{live.reason}: {live.message}".rstrip(": ")


def _stop(draft: _Draft, trial: TrialSnapshot, reason: StopReason, message: str) -> None:
    draft.actions.append(StopAttempt(trial=trial.name, attempt=trial.attempt, reason=reason.value, message=message))


def _end_all(draft: _Draft, verdict: Verdict) -> None:
    # Nothing is tried again.
    draft.actions = [action for action in draft.actions if not isinstance(action, RequeueTrial)]
    finished = []
    for trial in draft.open_trials:
        if trial.rests_at_rung and trial.complete:
            words = f"paused at step {trial.paused_at}: {verdict.message}"
            reason, stopped = StopReason.STUDY_COMPLETE.value, TrialReason.STOPPED
            finished.append(FinishTrial(trial=trial.name, outcome=stopped, reason=reason, message=words))
        elif not draft.holds(trial):
            before = "not started again" if trial.started_at else "never started"
            finished.append(
                FinishTrial(
                    trial=trial.name,
                    outcome=TrialReason.CANCELLED,
                    reason=StopReason.STUDY_COMPLETE.value,
                    message=f"{before}: {verdict.message}",
                )
            )
        elif trial.stop is None or trial.stop.outcome is None:
            _stop(draft, trial, StopReason.STUDY_COMPLETE, verdict.message)
    draft.finish(finished)


def _lay_down(draft: _Draft, reason: StopReason, message: str) -> None:
    """Stop everything that runs, in a way that it can go on later."""
    for trial in draft.open_trials:
        if draft.holds(trial) and trial.stop is None:
            _stop(draft, trial, reason, message)


def _stop_hopeless(draft: _Draft, standings: Standings | None) -> None:
    study = draft.study
    late = find_stragglers(study)
    rule = build_rule(study.spec)
    cohort: Cohort | None = None
    for trial in draft.open_trials:
        live = trial.live
        if live is None or trial.stop is not None:
            continue
        if (left := _seconds_to_start(study, live)) is not None and left <= 0:
            _stop(draft, trial, *_late_start(study, live))
        if live.phase is not Phase.RUNNING:
            continue
        if message := _overtime(study, trial):
            _stop(draft, trial, StopReason.TIMEOUT, message)
        elif trial.name in late:
            _stop(draft, trial, StopReason.STRAGGLER, late[trial.name])
        elif _diverged(trial):
            # The words of a trial that sees it first itself.
            words = f"{study.spec.objectives[0].metric} is {study.signs[0] * trial.curve.tail[-1]} at step {trial.step}"
            _stop(draft, trial, StopReason.DIVERGED, words)
        elif rule is not None and trial.curve.points and not _has_trained(study, trial):
            cohort = cohort or Cohort(study.trials, sign=study.signs[0], standings=standings)
            _apply_rule(draft, rule, trial, cohort)


def _late_start(study: StudySnapshot, live: Attempt) -> tuple[StopReason, str]:
    """Return why an attempt whose container has not begun is given up."""
    cause = find_cause(live)
    limit = f" ({study.spec.trial.start_timeout})" if cause is Cause.START_TIMEOUT else ""
    return StopReason(cause.value), f"{TREATMENTS[cause].what}{limit}: {live.reason}: {live.message}"


def _has_trained(study: StudySnapshot, trial: TrialSnapshot) -> bool:
    """Whether it has reached the last step: there is nothing left to save by stopping it."""
    ends = [end for end in (study.spec.steps.max if study.spec.steps else None, trial.until_step) if end is not None]
    return bool(ends) and trial.step is not None and trial.step >= min(ends)


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
    draft.occupied = sum(draft.holds(trial) for trial in draft.open_trials)
    for trial in _unstarted(draft):
        if draft.occupied >= draft.study.limits.parallel:
            break
        if _backs_off(draft.study, trial):
            continue
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


def _backs_off(study: StudySnapshot, trial: TrialSnapshot) -> bool:
    """Whether its next attempt has to wait; until then it keeps its slot, so that the search goes the way it would have gone."""
    return trial.not_before is not None and study.now < trial.not_before


def _unstarted(draft: _Draft) -> list[TrialSnapshot]:
    """Return open trials that only need a slot."""
    return [
        trial
        for trial in draft.open_trials
        if trial.live is None
        and trial.reason is not TrialReason.PAUSED
        and trial.name not in draft.settled
        and _original(draft.study, trial) is None
    ]


def _free_slots(draft: _Draft) -> int:
    """Return how many slots are left: trials that wait for one come first, and so do those that the next plan sees anew."""
    starting = {action.trial for action in draft.actions if isinstance(action, StartAttempt)}
    owed = sum(trial.name not in starting for trial in _unstarted(draft)) + len(draft.settled)
    return draft.study.limits.parallel - draft.occupied - owed


def _judge_paused(draft: _Draft, *, growing: bool) -> None:
    """Let paused trials go on while there are slots, and end those that never will."""
    study = draft.study
    waiting = [trial for trial in draft.open_trials if trial.reason is TrialReason.PAUSED and trial.live is None]
    if not waiting or (free := _free_slots(draft)) <= 0:
        return
    moving = bool(draft.settled or draft.occupied or _unstarted(draft))
    verdicts = judge_paused(study, waiting, growing=growing, moving=moving)
    names = {trial.name: trial for trial in waiting}
    for chosen in verdicts.promotions:
        trial = names[chosen.trial]
        following = next_rung(study.spec, trial.index, chosen.rung)
        waits = following is not None and (trial.paused_at or 0) >= following
        if free <= 0 and not waits:
            break
        draft.actions.append(
            PromoteTrial(trial=trial.name, rung=chosen.rung, waits=waits, reason="Promoted", message=chosen.message)
        )
        if not waits:
            _start_promoted(draft, trial)
            free -= 1
    stopped, reason = TrialReason.STOPPED, StopReason.NOT_PROMOTED.value
    draft.finish(
        [FinishTrial(trial=d.trial, outcome=stopped, reason=reason, message=d.message) for d in verdicts.dismissals]
    )


def _start_promoted(draft: _Draft, trial: TrialSnapshot) -> None:
    where = f"from its checkpoint of step {trial.saved.step}" if trial.saved else "from step 1: it has no checkpoint"
    words = f"attempt {trial.attempt}, {where}"
    draft.actions.append(StartAttempt(trial=trial.name, attempt=trial.attempt, reason="Promoted", message=words))
    draft.occupied += 1


def _create(draft: _Draft) -> None:
    limits = draft.study.limits
    free = _free_slots(draft)
    if limits.max_trials is not None:
        free = min(free, limits.max_trials - len(draft.study.trials))
    free = free if (most := room(draft.study)) is None else min(free, most)
    if free <= 0:
        return
    draft.created = free
    draft.actions.append(
        CreateTrials(count=free, reason="SlotsFree", message=f"{free} of {limits.parallel} slots are free")
    )


def _state(draft: _Draft, verdict: Verdict | None) -> StudyState:
    study, open_trials = draft.study, draft.open_trials
    if verdict is not None and not open_trials:
        return _final_state(study, verdict)
    if verdict is not None and verdict.stop_running:
        return StudyState(reason=StudyReason.RUNNING, message=f"{_ending(len(open_trials))}: {verdict.message}")
    if study.spec.suspend or study.interrupted:
        held = sum(draft.holds(trial) for trial in open_trials)
        words = _ending(held) if held else "no trial runs"
        why = "the run was interrupted" if study.interrupted else "spec.suspend is true"
        return StudyState(reason=StudyReason.SUSPENDED, message=f"{why}; {words}")
    lives = [trial.live for trial in open_trials if trial.live is not None and draft.holds(trial)]
    waits = [live for live in lives if live.phase is Phase.WAITING and live.reason]
    if waits and len(waits) == len(lives) and not draft.created:
        words = say_number(len(waits), "waits", "wait")
        return StudyState(reason=StudyReason.WAITING, message=f"{words}: {_reasons(waits)}")
    total = f" of {study.limits.max_trials}" if study.limits.max_trials else ""
    words = f"{len(study.trials) - len(open_trials)}{total} trials are done, {len(open_trials)} are open"
    if paused := sum(trial.reason is TrialReason.PAUSED for trial in open_trials):
        words += f", {paused} of them paused at a rung"
    if waits:
        running = sum(live.phase is Phase.RUNNING for live in lives)
        words += f"; {running} run, {len(waits)} wait: {_reasons(waits)}"
    return StudyState(reason=StudyReason.RUNNING, message=words)


def _ending(count: int) -> str:
    return say_number(count, "is being ended", "are being ended")


def _reasons(waits: Sequence[Attempt]) -> str:
    """Return why attempts wait: each reason once, the most frequent first, with its number where there are several."""
    numbers = Counter(_why(live) for live in waits).most_common()
    if len(numbers) == 1:
        return numbers[0][0]
    shown = [f"{number} {words}" for words, number in numbers[:_REASONS_SHOWN]]
    rest = sum(number for _, number in numbers[_REASONS_SHOWN:])
    return "; ".join([*shown, *([f"{rest} for other reasons"] if rest else [])])


def _final_state(study: StudySnapshot, verdict: Verdict) -> StudyState:
    if verdict.reason.status == "True" and not any(trial.succeeded for trial in study.trials):
        return StudyState(
            reason=StudyReason.NO_TRIAL_SUCCEEDED, message=f"{verdict.message}, but none of them has a result"
        )
    return StudyState(reason=verdict.reason, message=verdict.message)


def _next_deadline(draft: _Draft) -> float | None:
    """Return seconds until a timeout or a limit of the study ends something, None when nothing does."""
    study, limits = draft.study, draft.study.limits
    deadlines: list[float] = []
    if limits.max_seconds is not None and study.started_at is not None:
        deadlines.append(limits.max_seconds - (study.now - study.started_at).total_seconds())
    lives = [
        (trial, trial.live, trial.live.started_at)
        for trial in draft.open_trials
        if trial.live is not None and trial.live.started_at is not None and trial.live.phase is Phase.RUNNING
    ]
    if limits.timeout_seconds is not None:
        deadlines += [
            limits.timeout_seconds - (study.now - started).total_seconds()
            for trial, _, started in lives
            if trial.stop is None
        ]
    deadlines += [
        (trial.not_before - study.now).total_seconds()
        for trial in _unstarted(draft)
        if trial.not_before is not None and not study.spec.suspend and not study.interrupted
    ]
    deadlines += [
        left
        for trial in draft.open_trials
        if trial.live is not None and (left := _seconds_to_start(study, trial.live)) is not None
    ]
    if (straggler := next_straggler_seconds(study)) is not None:
        deadlines.append(straggler)
    held = sum(live.gpus for _, live, _ in lives)
    if limits.max_gpu_seconds is not None and held > 0:
        deadlines.append((limits.max_gpu_seconds - gpu_seconds(study)) / held)
    # The negative ones are dealt with in this very plan.
    return min((seconds for seconds in deadlines if seconds > 0), default=None)


def _seconds_to_start(study: StudySnapshot, live: Attempt) -> float | None:
    """Return for how long an attempt may go on waiting for its container; None for one that may wait for ever."""
    if live.phase is not Phase.WAITING or live.waits_since is None:
        return None
    seconds = start_deadline(live, study.limits.start_seconds)
    return None if seconds is None else seconds - (study.now - live.waits_since).total_seconds()
