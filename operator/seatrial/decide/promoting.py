"""Who of the paused trials of a study goes on, and who never will: the rule's verdicts on what is on record."""

from collections.abc import Sequence
from functools import partial

from seatrial.decide.rules import Field, Pauser, Promotion, Verdicts, build_pauser
from seatrial.decide.rules.ladder import Climber, build_climber
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot

__all__ = ["judge_paused"]


def judge_paused(study: StudySnapshot, waiting: Sequence[TrialSnapshot], *, growing: bool, moving: bool) -> Verdicts:
    """Return who is promoted, first come first, and who is dismissed.

    Args:
        study: With all its trials.
        waiting: Those of them that are paused.
        growing: Whether more trials may be created.
        moving: Whether a trial runs or is about to.
    """
    if not waiting:
        return Verdicts()
    pauser = build_pauser(study.spec)
    if pauser is None:
        words = "trials do not pause any more"
        return Verdicts(promotions=tuple(Promotion(trial=t.name, rung=t.rung, message=words) for t in waiting))
    field = Field(
        trials=_climbers(study, pauser),
        growing=growing,
        moving=moving,
        created=len(study.trials),
        total=study.limits.max_trials if growing else len(study.trials),
        show=partial(study.show, objective=0),
    )
    return pauser.decide(field)


def _climbers(study: StudySnapshot, pauser: Pauser) -> Sequence[Climber]:
    found = (build_climber(trial, pauser.ladder(trial.index), pauser.measure) for trial in study.trials)
    return [climber for climber in found if climber is not None]
