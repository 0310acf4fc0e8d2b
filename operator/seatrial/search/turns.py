"""One suggestion after the other, each seeing the earlier ones as pending."""

from collections.abc import Callable, Set
from operator import attrgetter

from seatrial.search.base import Ask, Exhausted, History, Suggestion
from seatrial.search.space import Key, SearchSpace

__all__ = ["ask_in_turn"]

_INDEX = attrgetter("index")

Suggest = Callable[[History, Set[Key]], Suggestion | Exhausted]


def ask_in_turn(space: SearchSpace, history: History, count: int, suggest: Suggest) -> Ask:
    """Ask *suggest* up to *count* times.

    Args:
        space: The search space.
        history: What is known, in any order.
        count: Suggestions wanted.
        suggest: Returns one suggestion for ``history.next_index``, given the history by index and the keys in use.

    Returns:
        The suggestions made before the first exhaustion, and that exhaustion if there was one.
    """
    # The order in which trials finished is no part of a history; sorting makes that true whatever the caller did.
    history = History(
        evaluated=tuple(sorted(history.evaluated, key=_INDEX)),
        pending=tuple(sorted(history.pending, key=_INDEX)),
        next_index=history.next_index,
    )
    used = set(history.keys(space))
    suggestions: list[Suggestion] = []
    for _ in range(count):
        answer = suggest(history, used)
        if isinstance(answer, Exhausted):
            return Ask(suggestions=tuple(suggestions), exhausted=answer)
        suggestions.append(answer)
        used.add(space.key(answer.assignment))
        history = history.with_pending(answer.assignment)
    return Ask(suggestions=tuple(suggestions))
