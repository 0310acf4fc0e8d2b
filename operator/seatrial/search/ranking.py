"""Which of two outcomes is better, when one of them may be stopped, infeasible or failed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seatrial.search.base import Evaluated

__all__ = ["standing", "standings"]

Standing = tuple[int, float, float]


def standing(trial: Evaluated) -> Standing:
    """Return the sort key of one trial for a single objective: smaller is better.

    From the best to the worst: feasible and trained in full, by value; feasible and stopped, by the step reached (more is better),
    then by value; infeasible, by the sum of violations; failed.
    """
    violation = sum(max(v, 0.0) for v in trial.violations)
    if trial.failed:
        return (3, 0.0, 0.0)
    if violation > 0:
        return (2, violation, trial.values[0])
    if trial.stopped:
        return (1, -float(trial.step or 0), trial.values[0])
    return (0, trial.values[0], 0.0)


def standings(trials: Sequence[Evaluated]) -> NDArray[np.int64]:
    """Return the place of each trial by :func:`standing`, 0 for the best, ties to the earlier in the sequence, shape (n,)."""
    keys = [standing(trial) for trial in trials]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    places = np.empty(len(keys), dtype=np.int64)
    places[order] = np.arange(len(keys))
    return places
