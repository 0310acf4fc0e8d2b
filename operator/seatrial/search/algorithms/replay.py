"""Replay: one training along a schedule, segment by segment, each from the checkpoint of the one before.

The schedule is what population-based training found (``seatrial lineage --replay``), or one's own. There is no population: trial k is
segment k, and it begins when trial k - 1 has left its checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.search.base import (
    Ask,
    Evaluated,
    Exhausted,
    History,
    Membership,
    Move,
    Segment,
    Settings,
    Source,
    Suggestion,
    Why,
)
from seatrial.search.population.exploit import Contender
from seatrial.search.population.members import nobody_left
from seatrial.search.recommend import recommend_best
from seatrial.search.space import SearchSpace

__all__ = ["Replay", "build_replay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A training along *segments*, whose steps grow."""

    segments: Sequence[Segment]

    def ask(self, history: History, count: int) -> Ask:
        """Return the next segment, nothing while the one before still trains."""
        index = history.next_index
        if index >= len(self.segments):
            return Ask(exhausted=Exhausted(why=Why.TRAINED, message=f"all {len(self.segments)} segments are trained"))
        source: Source | None = None
        if index > 0:
            if any(trial.index < index for trial in history.pending):
                return Ask()
            before = max(history.evaluated, key=lambda trial: trial.index, default=None)
            contender = Contender(member=0, trial=before)
            if before is None or before.saved is None or not contender.able:
                return Ask(exhausted=nobody_left([contender]))
            source = Source(trial=before.index, step=before.saved.step, digest=before.saved.digest)
        return Ask(suggestions=(self._segment(index, source),)) if count > 0 else Ask()

    def recommend(self, history: History) -> int | None:
        """Return the latest segment that has a result."""
        good: list[Evaluated] = [trial for trial in history.evaluated if trial.feasible and not trial.stopped]
        return max((trial.index for trial in good), default=recommend_best(history))

    def _segment(self, index: int, source: Source | None) -> Suggestion:
        segment = self.segments[index]
        begin = self.segments[index - 1].until_step if index else 0
        return Suggestion(
            assignment=segment.assignment,
            algorithm="replay",
            detail=f"steps {begin + 1} to {segment.until_step} of the schedule",
            until_step=segment.until_step,
            source=source,
            membership=Membership(member=0, generation=index, move=Move.CONTINUE if index else Move.START),
        )


def build_replay(space: SearchSpace, settings: Settings) -> Replay:
    """Return the algorithm for ``settings.schedule``.

    Raises:
        ValueError: If there are several objectives, the schedule is empty or its steps do not grow.
    """
    if settings.objectives > 1:
        raise ValueError(f"replay takes one objective, but there are {settings.objectives}")
    steps = [segment.until_step for segment in settings.schedule]
    if not steps or steps != sorted(set(steps)) or steps[0] < 1:
        raise ValueError("replay needs a schedule whose untilStep grows from segment to segment")
    segments = [
        Segment(until_step=segment.until_step, assignment=space.complete(segment.assignment))
        for segment in settings.schedule
    ]
    return Replay(segments=tuple(segments))
