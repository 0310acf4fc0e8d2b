"""How far an attempt trains. Pure: the same answer for the same specification and record, wherever it is asked."""

from seatrial.api.study import StudySpec
from seatrial.api.trial import Trial

__all__ = ["until_step"]


def until_step(spec: StudySpec, trial: Trial) -> int | None:
    """Return the step at which the trial's next attempt saves a checkpoint and ends, None for the end of the training.

    Args:
        spec: The study.
        trial: As recorded.
    """
    last = spec.steps.max if spec.steps else None
    own = trial.spec.until_step
    return None if own is None or (last is not None and own >= last) else own
