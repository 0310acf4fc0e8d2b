"""A study in miniature: an algorithm, an objective and workers that finish in random order."""

from collections.abc import Callable, Sequence

import numpy as np

from seatrial.search.base import Algorithm, Evaluated, History, Suggestion
from seatrial.search.space import Assignment

__all__ = ["rehearse"]

Objective = Callable[[Assignment], Sequence[float] | float | None]


def rehearse(
    algorithm: Algorithm, objective: Objective, *, trials: int, parallel: int = 1, order: int = 0
) -> tuple[History, list[Suggestion]]:
    """Run *trials* trials, *parallel* at a time, and return the history and what was suggested.

    Args:
        algorithm: Asked for one suggestion whenever a worker is free.
        objective: Gives the value or values of an assignment; None fails the trial.
        trials: Budget. The run ends earlier when the algorithm is exhausted.
        parallel: Number of workers.
        order: Seed of the order in which trials finish.
    """
    rng = np.random.default_rng(order)
    history, suggestions, exhausted = History(), [], False
    while True:
        while not exhausted and len(history.pending) < parallel and history.next_index < trials:
            answer = algorithm.ask(history, 1)
            for suggestion in answer.suggestions:
                suggestions.append(suggestion)
                history = history.with_pending(suggestion.assignment)
            exhausted = answer.exhausted is not None
        if not history.pending:
            return history, suggestions
        done = history.pending[int(rng.integers(len(history.pending)))]
        found = objective(done.assignment)
        values = (float("inf"),) if found is None else (found,) if isinstance(found, float) else tuple(found)
        result = Evaluated(index=done.index, assignment=done.assignment, values=values, failed=found is None)
        history = History(
            evaluated=tuple(sorted([*history.evaluated, result], key=lambda trial: trial.index)),
            pending=tuple(trial for trial in history.pending if trial is not done),
            next_index=history.next_index,
        )
