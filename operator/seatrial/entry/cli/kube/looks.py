"""What an operator does elsewhere, as looks: the same values that a run on a laptop hands to whoever watches it. Pure.

Two observations of the records differ by what was done between them. A look is the world before together with those actions, so
that live view and lines tell of a cluster exactly as of a laptop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from seatrial.api.conditions import StudyReason, TrialReason, find_condition
from seatrial.api.study import Study
from seatrial.api.trial import Trial, reason_of
from seatrial.decide.actions import Action, FinishTrial, Plan, RequeueTrial, StopAttempt, StudyState
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.curves import Curves
from seatrial.decide.snapshot import Snapshotter, TrialSnapshot, parse_time
from seatrial.reconcile import Look

__all__ = ["Looks", "attempt_of_record", "read_state", "rests"]


class Looks:
    """Turns observations of one study into looks.

    Args:
        unseen: What is said of a study that no operator has looked at.
    """

    def __init__(self, *, unseen: str) -> None:
        self._unseen = unseen
        self._snapshotter = Snapshotter()
        self._open: dict[str, TrialSnapshot] | None = None
        self._next = 0

    def build(
        self,
        study: Study,
        trials: Sequence[Trial],
        attempts: Mapping[str, Attempt],
        curves: Mapping[str, Curves],
        now: datetime,
    ) -> Look:
        """Return the next look.

        Args:
            study: As stored now.
            trials: Its trials, by index.
            attempts: What is known of the attempts of open trials.
            curves: Of open trials.
            now: The time.
        """
        seen = self._snapshotter.build(study=study, trials=trials, attempts=attempts, curves=curves, now=now)
        before = self._open
        shown, actions = [], list[Action]()
        for snapshot, trial in zip(seen.trials, trials, strict=True):
            known = before.get(snapshot.name) if before is not None else None
            is_news = before is not None and (known is not None or snapshot.index >= self._next)
            shown.append(_before(snapshot, known) if is_news and snapshot.terminal else snapshot)
            if is_news:
                actions += _changes(snapshot, known, trial)
        self._open = {trial.name: trial for trial in seen.trials if not trial.terminal}
        self._next = seen.trials[-1].index + 1 if seen.trials else 0
        plan = Plan(actions=tuple(actions), state=read_state(study, self._unseen))
        return Look(
            study=study,
            snapshot=replace(seen, trials=tuple(shown)),
            curves=curves,
            plan=plan,
            moved=bool(actions),
        )


def read_state(study: Study, unseen: str) -> StudyState:
    """Return how the study stands, as its status says."""
    condition = find_condition(study.status.conditions, "Succeeded") if study.status else None
    if condition is None:
        return StudyState(reason=StudyReason.RUNNING, message=unseen)
    return StudyState(reason=StudyReason(condition.reason), message=condition.message)


def rests(look: Look) -> bool:
    """Whether the study is complete by its present specification, with all trials over."""
    status = look.study.status
    current = status is not None and status.observed_generation == look.study.metadata.generation
    return current and look.plan.state.reason.terminal and all(trial.terminal for trial in look.snapshot.trials)


def attempt_of_record(trial: Trial) -> Attempt | None:
    """Return what a trial's record says of its attempt, for whoever cannot see the Pod; None when it is over."""
    reason = reason_of(trial)
    if reason.terminal or reason is TrialReason.PAUSED or trial.spec.reuse_of is not None:
        return None
    started = parse_time(trial.status.start_time) if trial.status.start_time else None
    summary = find_condition(trial.status.conditions, "Succeeded")
    return Attempt(
        trial=trial.metadata.name,
        number=trial.status.attempt,
        phase=Phase.WAITING if reason is TrialReason.PENDING else Phase.RUNNING,
        message=summary.message if summary else "not started yet",
        started_at=None if reason is TrialReason.PENDING else started,
    )


def _before(now: TrialSnapshot, known: TrialSnapshot | None) -> TrialSnapshot:
    """Return a trial that has just ended as it was before, with the values that it ended with."""
    if known is None:
        return replace(now, reason=TrialReason.PENDING)
    return replace(now, reason=known.reason, live=known.live)


def _changes(now: TrialSnapshot, known: TrialSnapshot | None, trial: Trial) -> list[Action]:
    found: list[Action] = []
    if known is not None and now.attempt > known.attempt and trial.status.attempts:
        last = trial.status.attempts[-1]
        found.append(
            RequeueTrial(
                trial=now.name,
                attempt=last.attempt,
                reason=last.reason,
                message=last.message,
                infrastructure=last.infrastructure,
            )
        )
    if now.stop is not None and not now.terminal and (known is None or known.stop is None):
        found.append(StopAttempt(trial=now.name, attempt=now.attempt, reason=now.stop.value, message=now.stop_message))
    if now.terminal:
        # The stored sentence has the reason in front already.
        found.append(FinishTrial(trial=now.name, outcome=now.reason, reason=now.reason.value, message=now.message))
    return found
