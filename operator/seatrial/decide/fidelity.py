"""How far an attempt trains. Pure: the same answer for the same specification and record, wherever it is asked."""

from seatrial.api.study import StudySpec
from seatrial.api.trial import Trial
from seatrial.decide.rules import build_pauser

__all__ = ["next_rung", "until_step"]


def next_rung(spec: StudySpec, index: int, passed: int | None) -> int | None:
    """Return the rung at which a trial pauses next, None when it trains to the end.

    Args:
        spec: The study.
        index: Number of the trial: it decides upon the bracket.
        passed: Highest rung from which it went on.
    """
    pauser = build_pauser(spec)
    if pauser is None:
        return None
    return next((rung for rung in pauser.ladder(index) if passed is None or rung > passed), None)


def until_step(spec: StudySpec, trial: Trial) -> int | None:
    """Return the step at which the trial's next attempt saves a checkpoint and ends, None for the end of the training.

    That is the next rung where trials pause, or the trial's own last step, whichever comes first.

    Args:
        spec: The study.
        trial: As recorded.
    """
    last = spec.steps.max if spec.steps else None
    ends = (trial.spec.until_step, next_rung(spec, trial.spec.index, trial.status.rung))
    return min((end for end in ends if end is not None and (last is None or end < last)), default=None)
