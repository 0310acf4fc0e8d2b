"""How far the search got, trial by trial: the best so far, the front's hypervolume, and which trials a plot draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from seatrial.api.conditions import TrialReason
from seatrial.report.trials import TrialView

__all__ = ["Lane", "Step", "best_so_far", "finished_order", "pick_to_draw", "plan_lanes", "rank_groups"]

_FAR_PAST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An improvement.

    Attributes:
        place: How many trials had finished, this one included.
        trial: Index of the trial that was the best from here on.
        value: As the user states it.
    """

    place: int
    trial: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One trial in the timeline: the lowest row that was free when it started."""

    trial: TrialView
    row: int
    start_seconds: float
    seconds: float


def finished_order(trials: Sequence[TrialView]) -> tuple[TrialView, ...]:
    """Return the trials that are over, in the order in which they ended; ties and unknown times by index."""
    over = [trial for trial in trials if trial.state.terminal]
    return tuple(sorted(over, key=lambda trial: (trial.finished or _FAR_PAST, trial.index)))


def best_so_far(trials: Sequence[TrialView]) -> tuple[Step, ...]:
    """Return the improvements of the first objective, in the order in which trials ended.

    Only trials that were trained in full count, unless there is none: a trial that was stopped early speaks of fewer steps.
    Failed and diverged trials and those that break a constraint never count.

    Args:
        trials: All trials of the study.
    """
    order = finished_order(trials)
    full = any(trial.eligible and trial.state is TrialReason.COMPLETED for trial in order)
    steps: list[Step] = []
    best = float("inf")
    for place, trial in enumerate(order, 1):
        counts = trial.eligible and (trial.state is TrialReason.COMPLETED or not full)
        value = trial.values[0]
        if counts and value is not None and trial.losses[0] < best:
            best = trial.losses[0]
            steps.append(Step(place=place, trial=trial.index, value=value))
    return tuple(steps)


def pick_to_draw(trials: Sequence[TrialView], limit: int) -> tuple[TrialView, ...]:
    """Return the trials that a plot draws, by index: all, or the best fifth of *limit* and the rest evenly spaced by index."""
    if len(trials) <= limit:
        return tuple(sorted(trials, key=lambda trial: trial.index))
    best = sorted((t for t in trials if t.has_result), key=lambda t: (t.losses[0], t.index))[: limit // 5]
    chosen = {trial.index: trial for trial in best}
    others = sorted((t for t in trials if t.index not in chosen), key=lambda trial: trial.index)
    room = limit - len(chosen)
    chosen |= {t.index: t for t in (others[i * len(others) // room] for i in range(room))}
    return tuple(chosen[index] for index in sorted(chosen))


def rank_groups(trials: Sequence[TrialView]) -> tuple[tuple[TrialView, ...], ...]:
    """Return the trials with a result in four groups: the best tenth, the rest of the best quarter, of the best half, and others.

    With several objectives the first one ranks.
    """
    ranked = sorted((t for t in trials if t.has_result), key=lambda t: (t.losses[0], t.index))
    if not ranked:
        return ((), (), (), ())
    count = len(ranked)
    ends = [0, *(max(1, -(-count * percent // 100)) for percent in (10, 25, 50)), count]
    return tuple(tuple(ranked[low:high]) for low, high in pairwise(ends))


def plan_lanes(trials: Sequence[TrialView], now: datetime) -> tuple[Lane, ...]:
    """Return where each started trial lies in the timeline, in the order of their starts.

    Args:
        trials: Of the study.
        now: Where the bars of open trials end.
    """
    started = sorted((t for t in trials if t.started), key=lambda t: (t.started or _FAR_PAST, t.index))
    if not started:
        return ()
    origin = started[0].started or now
    free_at: list[float] = []
    lanes: list[Lane] = []
    for trial in started:
        begin = ((trial.started or origin) - origin).total_seconds()
        end = max(begin, ((trial.finished or now) - origin).total_seconds())
        row = next((i for i, free in enumerate(free_at) if free <= begin + 1e-9), len(free_at))
        if row == len(free_at):
            free_at.append(end)
        free_at[row] = end
        lanes.append(Lane(trial=trial, row=row, start_seconds=begin, seconds=end - begin))
    return tuple(lanes)
