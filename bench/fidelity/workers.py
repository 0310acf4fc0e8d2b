"""Workers that train points of a table step by step, on a clock that costs nothing; whom they ask is anybody's public interface.

Needs NumPy alone: Syne Tune's environment imports it as well.
"""

import heapq
from collections.abc import Hashable
from typing import Protocol

__all__ = ["MOST_TRIALS", "Asked", "Outcome", "simulate"]

MOST_TRIALS = 20_000
"""Somebody who asks for nothing but points that were trained before would never end."""


class Asked(Protocol):
    """Whoever says what to train, and whether to go on."""

    def ask(self) -> tuple[Hashable, dict[str, int]]:
        """Return a new trial and its levels."""
        ...

    def go_on(self, trial: Hashable, step: int, loss: float) -> bool:
        """Take a report below the last step and say whether the trial goes on; if not, it is over."""
        ...

    def end(self, trial: Hashable, step: int, loss: float) -> None:
        """Take the report of the last step."""
        ...


Outcome = int | None
"""Steps that were trained until the first loss at or below the target, at any step of any trial; None when there was none."""


def simulate(
    table, asked: Asked, *, parallel: int, target: float, most_steps: int, most_trials: int = MOST_TRIALS
) -> Outcome:
    """Return how many steps it takes to reach *target*; None when it takes more than *most_steps* or *most_trials*.

    A point that is asked for again costs nothing until it goes beyond where it was trained before: grids have repeats, ranges have none.
    """
    trained: dict[int, int] = {}
    steps = trials = 0
    # (time, order, what is being trained: trial, row and the step that is ready then; empty for a worker without a trial)
    queue: list[tuple[float, int, tuple]] = []
    order = iter(range(10**12))
    for _ in range(parallel):
        heapq.heappush(queue, (0.0, next(order), ()))
    while queue and steps < most_steps and trials < most_trials:
        now, _, playing = heapq.heappop(queue)
        if not playing:
            trial, levels = asked.ask()
            trials += 1
            row, done = table.row(levels), 0
        else:
            trial, row, done = playing
            loss = float(table.losses[row, done - 1])
            if done > trained.get(row, 0):
                trained[row] = done
                steps += 1
            if loss <= target:
                return steps
            if done == table.steps:
                asked.end(trial, done, loss)
                heapq.heappush(queue, (now, next(order), ()))
                continue
            if not asked.go_on(trial, done, loss):
                heapq.heappush(queue, (now, next(order), ()))
                continue
        cost = 0.0 if done + 1 <= trained.get(row, 0) else table.pace(row)
        heapq.heappush(queue, (now + cost, next(order), (trial, row, done + 1)))
    return None
