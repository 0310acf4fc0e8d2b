"""Which trial is the winner, when no model says otherwise."""

import numpy as np

from seatrial.search.base import Evaluated, History
from seatrial.search.pareto import pareto_front

__all__ = ["MOST_RECOMMENDED", "recommend_best"]

MOST_RECOMMENDED = 300
"""A model chooses the winner among this many of the best trials, so that the checkpoints of no others are needed for it."""


def recommend_best(history: History) -> int | None:
    """Return the index of the winner, None when no trial is feasible.

    One objective: the lowest value, ties to the lower index. Several: the point of the Pareto front with the lowest sum of ranks
    over the objectives, ties to the lower index. Stopped trials count only when no feasible trial was trained in full.
    """
    feasible = sorted((trial for trial in history.evaluated if trial.feasible), key=lambda trial: trial.index)
    candidates = [trial for trial in feasible if not trial.stopped] or feasible
    if not candidates:
        return None
    if len(candidates[0].values) == 1:
        return min(candidates, key=lambda trial: (trial.values[0], trial.index)).index
    return _balanced(candidates).index


def _balanced(candidates: list[Evaluated]) -> Evaluated:
    """Return the point of the front with the lowest sum of ranks; equal values have equal ranks."""
    Y = np.array([trial.values for trial in candidates])
    front = Y[indices := pareto_front(Y)]
    ranks = sum(np.searchsorted(np.sort(column), column) for column in front.T)
    return candidates[indices[int(np.argmin(ranks))]]
