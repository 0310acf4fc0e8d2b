"""The default: asks the algorithm that suits the study, and changes it as the study grows.

    several objectives:  TPE for the first 200 trials, NSGA-II after.
    more than 16 running: TPE, whose cost does not grow with what is running.
    otherwise:           Gaussian processes; past 300 trials every third turn is TPE's, which is not drawn to the same places.

Which one is asked depends on the history alone, like the suggestion itself. Each sees all trials, whoever suggested them.
"""

from collections.abc import Set
from dataclasses import dataclass, replace
from functools import cached_property

from seatrial.search.algorithms import ALGORITHMS
from seatrial.search.base import Algorithm, Ask, Exhausted, History, Settings, Suggestion
from seatrial.search.space import Key, SearchSpace
from seatrial.search.turns import ask_in_turn

__all__ = ["Auto", "build_auto"]

TPE_OBJECTIVES_UNTIL = 200
MOST_RUNNING_FOR_GP = 16
GP_ALONE_UNTIL = 300
TPE_EVERY = 3


@dataclass(frozen=True, kw_only=True)
class Auto:
    """A portfolio of the other algorithms."""

    space: SearchSpace
    settings: Settings

    def ask(self, history: History, count: int) -> Ask:
        """Return *count* suggestions, each by the algorithm that suits the history at its turn."""
        return ask_in_turn(self.space, history, count, self._suggest)

    def recommend(self, history: History) -> int | None:
        """Return the winner by the models of ``gp``, or of the Pareto front."""
        return (self._gp if self.settings.objectives == 1 else self._tpe).recommend(history)

    def chosen(self, history: History) -> str:
        """Return the name of the algorithm that makes the next suggestion."""
        if self.settings.objectives > 1:
            return "tpe" if history.next_index < TPE_OBJECTIVES_UNTIL else "nsga2"
        if len(history.pending) > MOST_RUNNING_FOR_GP:
            return "tpe"
        late = history.next_index >= GP_ALONE_UNTIL
        return "tpe" if late and history.next_index % TPE_EVERY == 0 else "gp"

    def _suggest(self, history: History, used: Set[Key]) -> Suggestion | Exhausted:  # noqa: ARG002 - the asked one looks itself
        algorithm = {"gp": lambda: self._gp, "tpe": lambda: self._tpe, "nsga2": lambda: self._nsga2}[
            self.chosen(history)
        ]()
        answer = algorithm.ask(history, 1)
        if answer.suggestions:
            return answer.suggestions[0]
        return answer.exhausted or Exhausted(message="there is nothing left to suggest")

    @cached_property
    def _gp(self) -> Algorithm:
        return ALGORITHMS["gp"](self.space, self.settings)

    @cached_property
    def _tpe(self) -> Algorithm:
        return ALGORITHMS["tpe"](self.space, replace(self.settings, numbers={}))

    @cached_property
    def _nsga2(self) -> Algorithm:
        return ALGORITHMS["nsga2"](self.space, replace(self.settings, numbers={}))


def build_auto(space: SearchSpace, settings: Settings) -> Auto:
    """Return the algorithm with the number ``default_pull`` of ``gp``."""
    return Auto(space=space, settings=settings)
