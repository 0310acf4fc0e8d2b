"""What is new in a sequence of values that never change themselves: ten thousand finished trials are not looked at again."""

from collections.abc import Sequence
from operator import is_

__all__ = ["changed_places"]


def changed_places(old: Sequence[object], new: Sequence[object]) -> list[int]:
    """Return the places at which *new* has another object than *old*, or one where *old* has none, increasing.

    Objects are told apart by identity, so both sequences have to be held while their places matter.
    """
    if old is new:
        return []
    places = [place for place, same in enumerate(map(is_, old, new)) if not same]
    return [*places, *range(len(old), len(new))]
