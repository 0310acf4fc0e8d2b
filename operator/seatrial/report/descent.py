"""Who went on from whom, as the report draws it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from seatrial.api.trial import Trial
from seatrial.decide.lineage import build_stretches, line_of
from seatrial.search.space import Assignment

__all__ = ["Descent", "Part", "build_descent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One trial as a part of a training; see :class:`seatrial.decide.lineage.Stretch`."""

    index: int
    source: int | None
    from_step: int
    to_step: int
    member: int
    move: str
    assignment: Assignment


@dataclass(frozen=True, kw_only=True)
class Descent:
    """All parts, and which of them are the winner's line.

    Attributes:
        parts: By index.
        line: Indices of the winner and its ancestors; empty while there is no winner.
    """

    parts: tuple[Part, ...]
    line: frozenset[int]

    @cached_property
    def by_index(self) -> Mapping[int, Part]:
        """Parts by their trial's index."""
        return {part.index: part for part in self.parts}

    @property
    def last_step(self) -> int:
        """The last step that anybody reached, at least 1."""
        return max((part.to_step for part in self.parts), default=1) or 1


def build_descent(trials: Sequence[Trial], winner: int | None) -> Descent | None:
    """Return who went on from whom, None when everybody started anew."""
    stretches = build_stretches(trials)
    if not any(trial.spec.parent or trial.spec.membership for trial in trials):
        return None
    parts = tuple(
        Part(
            index=stretch.index,
            source=stretch.source,
            from_step=stretch.from_step,
            to_step=stretch.to_step if stretch.to_step is not None else stretch.from_step,
            member=stretch.member,
            move=stretch.move,
            assignment=dict(stretch.assignment),
        )
        for stretch in stretches
    )
    line = frozenset() if winner is None else frozenset(s.index for s in line_of(stretches, winner))
    return Descent(parts=parts, line=line)
