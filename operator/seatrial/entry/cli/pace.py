"""How fast a study goes, and how long it may still take. Pure.

The estimate: trials that are still to come each take the mean of the last trials that ended (stopped ones included: that is what
early stopping saves), those that run take what is left of it (beyond it, what their own steps say), and ``parallelTrials`` of them run side by side. The study's own
time limit cuts it off. Nothing is said before two trials have ended.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ENDED_KEPT", "Load", "estimate_seconds", "rate_per_minute"]

ENDED_KEPT = 64
"""Trials whose durations speak for those to come."""

_WINDOW_SECONDS = 300.0
_FEWEST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is left to do.

    Attributes:
        to_start: Trials that have not started yet; None when the study has no number of trials.
        running: For each running trial the seconds that it has run, and those until its last step at its own pace, None where
            that is unknown.
        parallel: Trials side by side.
        limit_seconds: Time left until the study's own limit, None without one.
    """

    to_start: int | None
    running: tuple[tuple[float, float | None], ...]
    parallel: int
    limit_seconds: float | None = None


def estimate_seconds(durations: Sequence[float], load: Load) -> float | None:
    """Return the seconds until the study is done, None when nothing can be said.

    Args:
        durations: Seconds of the last trials that ended.
        load: What is left.
    """
    limit = None if load.limit_seconds is None else max(0.0, load.limit_seconds)
    if load.to_start is None or len(durations) < _FEWEST:
        return limit
    mean = sum(durations) / len(durations)
    # A trial that has outlived the mean was not stopped early: it will train to its end.
    running = [mean - ran if ran <= mean else own or 0.0 for ran, own in load.running]
    side_by_side = max(1, min(load.parallel, load.to_start + len(running)))
    # No schedule is shorter than its longest job.
    found = max((load.to_start * mean + sum(running)) / side_by_side, max(running, default=0.0))
    return found if limit is None else min(found, limit)


def rate_per_minute(ended: Sequence[float], now: float, since: float) -> float | None:
    """Return trials a minute over the last five minutes (or since the run began); None before two have ended.

    Args:
        ended: When trials ended, in seconds on any clock, ascending.
        now: The time on that clock.
        since: When the run began.
    """
    start = max(since, now - _WINDOW_SECONDS)
    recent = len(ended) - bisect_left(ended, start)
    if recent < _FEWEST or now <= start:
        return None
    return 60 * recent / (now - start)
