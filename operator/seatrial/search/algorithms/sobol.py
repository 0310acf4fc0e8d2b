"""Sobol search: the points of a scrambled Sobol sequence, which cover the space more evenly than independent draws.

Source: Owen 1998, "Scrambling Sobol' and Niederreiter-Xing points", https://doi.org/10.1006/jcom.1998.0487, as made by SciPy.
"""

from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from seatrial.search.base import Ask, Exhausted, History, Settings, Suggestion
from seatrial.search.chance import generator
from seatrial.search.dedupe import unseen
from seatrial.search.recommend import recommend_best
from seatrial.search.space import Assignment, Key, SearchSpace
from seatrial.search.turns import ask_in_turn
from seatrial.search.variation import free_parameters

__all__ = ["Sobol", "build_sobol", "sobol_point"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sobol:
    """Trial i takes point i of the sequence; inactive coordinates are dropped."""

    space: SearchSpace
    seed: int

    def ask(self, history: History, count: int) -> Ask:
        """Return the next *count* points."""
        return ask_in_turn(self.space, history, count, self._suggest)

    def recommend(self, history: History) -> int | None:
        """Return the lowest value."""
        return recommend_best(history)

    def _suggest(self, history: History, used: Set[Key]) -> Suggestion | Exhausted:
        index = history.next_index
        found = unseen(self.space, used, [self._point(index)], generator(self.seed, index))
        if isinstance(found, Exhausted):
            return found
        return Suggestion(assignment=found, algorithm="sobol", detail=f"point {index + 1} of the sequence")

    def _point(self, index: int) -> Assignment:
        free = free_parameters(self.space)
        u = np.full(len(self.space), 0.5)
        # Constants take no coordinate: the first dimensions of the sequence are its best.
        if free:
            u[[self.space.position[p.name] for p in free]] = sobol_point(len(free), self.seed, index)
        return self.space.from_unit(u)


def sobol_point(dimensions: int, seed: int, index: int) -> NDArray[np.float64]:
    """Return point *index* (from 0) of the scrambled sequence, shape (dimensions,), in [0, 1)."""
    engine = _engine(dimensions, seed)
    engine.reset()
    if index:
        engine.fast_forward(index)
    return np.asarray(engine.random(1)[0], dtype=float)


@lru_cache(maxsize=8)
def _engine(dimensions: int, seed: int) -> qmc.Sobol:
    return qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))


def build_sobol(space: SearchSpace, settings: Settings) -> Sobol:
    """Return the algorithm; it has no settings of its own."""
    return Sobol(space=space, seed=settings.seed)
