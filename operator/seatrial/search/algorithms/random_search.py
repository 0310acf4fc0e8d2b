"""Random search: every trial an independent draw, uniform on each parameter's scale.

Source: Bergstra and Bengio 2012, "Random search for hyper-parameter optimization", https://jmlr.org/papers/v13/bergstra12a.html.
"""

from collections.abc import Set
from dataclasses import dataclass

from seatrial.search.base import Ask, Exhausted, History, Settings, Suggestion
from seatrial.search.chance import generator
from seatrial.search.dedupe import unseen
from seatrial.search.recommend import recommend_best
from seatrial.search.space import Key, SearchSpace
from seatrial.search.turns import ask_in_turn

__all__ = ["RandomSearch", "build_random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSearch:
    """Draw number i depends on the seed and i alone, unless it repeats an earlier assignment: then it is drawn again."""

    space: SearchSpace
    seed: int

    def ask(self, history: History, count: int) -> Ask:
        """Return *count* draws."""
        return ask_in_turn(self.space, history, count, self._suggest)

    def recommend(self, history: History) -> int | None:
        """Return the lowest value."""
        return recommend_best(history)

    def _suggest(self, history: History, used: Set[Key]) -> Suggestion | Exhausted:
        rng = generator(self.seed, history.next_index)
        # A lazy candidate that is drawn again, not nudged: a nudge would favour the neighbours of what has been tried.
        found = unseen(self.space, used, (self.space.sample(rng) for _ in range(64)), rng)
        return found if isinstance(found, Exhausted) else Suggestion(assignment=found, algorithm="random")


def build_random(space: SearchSpace, settings: Settings) -> RandomSearch:
    """Return the algorithm; it has no settings of its own."""
    return RandomSearch(space=space, seed=settings.seed)
