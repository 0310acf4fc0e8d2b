"""Removes checkpoints of other trials that nothing needs any more, as the study told this attempt when it started.

What is needed was decided before; this only carries it out where the volume is, and leaves alone what it was not told of: open trials,
and those that began later. Must not decide anything.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from seatrial_harness.manifest import Mark
from seatrial_harness.places import Place

__all__ = ["Freed", "Needed", "collect", "parse_needed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """What of a study's checkpoints must stay.

    Attributes:
        ended: Ranges of indices, first and last, of trials that are over; of all others everything stays.
        keep: Marks that stay, by index of a trial that is over.
    """

    ended: tuple[tuple[int, int], ...] = ()
    keep: Mapping[int, frozenset[Mark]]

    def is_over(self, index: int) -> bool:
        """Whether the trial of that index may lose checkpoints."""
        return any(first <= index <= last for first, last in self.ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What was removed."""

    checkpoints: int = 0
    size: int = 0


def parse_needed(text: str) -> Needed:
    """Read ``SEATRIAL_CHECKPOINTS_NEEDED``.

    Raises:
        ValueError: If it is not what docs/wire.md says. Nothing may be removed then.
    """
    try:
        document = json.loads(text)
        ended = tuple((int(first), int(last)) for first, last in document["ended"])
        keep: dict[int, set[Mark]] = {}
        for path in document["keep"]:
            index, _, rest = path.partition("/")
            mark = Mark.parse(rest)
            if mark is None:
                raise ValueError(f"{path!r} names no checkpoint")  # noqa: TRY301 - told like any other mistake
            keep.setdefault(int(index), set()).add(mark)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the environment variable SEATRIAL_CHECKPOINTS_NEEDED is {text[:200]!r}: {error}") from None
    return Needed(ended=ended, keep={index: frozenset(marks) for index, marks in keep.items()})


def collect(
    place: Place, study: str, needed: Needed, *, spared: str = "", left_off: Callable[[], bool] = lambda: False
) -> Freed:
    """Remove what is not needed.

    Args:
        place: The place of any trial of the study, whose own checkpoints are left alone.
        study: Name of the study.
        needed: What stays.
        spared: Address of a trial that loses nothing: the parent that this one starts from.
        left_off: Asked between two checkpoints whether to leave it for another time.

    Raises:
        OSError: If the place does not answer.
    """
    checkpoints = size = 0
    for trial, marks in place.survey().items():
        stem, _, number = trial.rpartition("-")
        beside = place.beside(trial)
        if (
            stem != study
            or not number.isdecimal()
            or beside.address in {place.address, spared}
            or not needed.is_over(int(number))
        ):
            continue
        kept = needed.keep.get(int(number), frozenset())
        for mark in marks:
            if left_off():
                return Freed(checkpoints=checkpoints, size=size)
            if mark not in kept:
                size += beside.remove(mark)
                checkpoints += 1
        size += beside.sweep()
    return Freed(checkpoints=checkpoints, size=size)
