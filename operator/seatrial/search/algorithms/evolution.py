"""Regularised (ageing) evolution.

Source: Real et al. 2019, "Regularized evolution for image classifier architecture search", Algorithm 1,
https://arxiv.org/abs/1802.01548. The population is the latest P trials with an outcome, so that every member dies of age however
good it is; the best of a sample of S members is the parent, and the child differs from it in one parameter.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from seatrial.search.base import Ask, Evaluated, Exhausted, History, Settings, Suggestion
from seatrial.search.chance import generator
from seatrial.search.dedupe import unseen
from seatrial.search.ranking import standing
from seatrial.search.recommend import recommend_best
from seatrial.search.space import Assignment, Key, SearchSpace
from seatrial.search.turns import ask_in_turn
from seatrial.search.variation import free_parameters, mutate

__all__ = ["Evolution", "build_evolution", "select_parent"]

_ATTEMPTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolution:
    """Evolution with a population of *population_size* and tournaments of *tournament_size*."""

    space: SearchSpace
    seed: int
    population_size: int
    tournament_size: int

    def ask(self, history: History, count: int) -> Ask:
        """Return random draws until P trials were started, then children."""
        return ask_in_turn(self.space, history, count, self._suggest)

    def recommend(self, history: History) -> int | None:
        """Return the lowest value."""
        return recommend_best(history)

    def _suggest(self, history: History, used: Set[Key]) -> Suggestion | Exhausted:
        rng = generator(self.seed, history.next_index)
        started = len(history.evaluated) + len(history.pending)
        if started < self.population_size or not history.evaluated:
            found = unseen(self.space, used, [self.space.sample(rng)], rng)
            detail = "first population, drawn at random"
        else:
            population = history.evaluated[-self.population_size :]
            parent = select_parent(population, self.tournament_size, rng)
            found = unseen(self.space, used, (self._child(parent.assignment, rng) for _ in range(_ATTEMPTS)), rng)
            detail = f"child of trial {parent.index}"
        return (
            found
            if isinstance(found, Exhausted)
            else Suggestion(assignment=found, algorithm="evolution", detail=detail)
        )

    def _child(self, parent: Assignment, rng: np.random.Generator) -> Assignment:
        """Return *parent* with one active parameter changed; parameters that this activates are drawn at random."""
        active = [p for p in free_parameters(self.space) if p.name in parent]
        drawn = {p.name: p.decode(float(u)) for p, u in zip(self.space, rng.random(len(self.space)), strict=True)}
        if not active:
            return self.space.prune({**drawn, **parent})
        chosen = active[int(rng.integers(len(active)))]
        changed = mutate(chosen, parent[chosen.name], rng)
        return self.space.prune({**drawn, **parent, chosen.name: changed})


def select_parent(population: Sequence[Evaluated], tournament_size: int, rng: np.random.Generator) -> Evaluated:
    """Return the best of *tournament_size* members drawn with replacement, ties to the lower index.

    Args:
        population: At least one trial with an outcome.
        tournament_size: Draws, at least 1.
        rng: Source of chance.
    """
    drawn = [population[int(i)] for i in rng.integers(len(population), size=tournament_size)]
    return min(drawn, key=lambda trial: (standing(trial), trial.index))


def build_evolution(space: SearchSpace, settings: Settings) -> Evolution:
    """Return the algorithm with the numbers ``population_size`` (20) and ``tournament_size`` (5).

    Raises:
        ValueError: If there are several objectives: a tournament needs one order.
    """
    if settings.objectives > 1:
        raise ValueError(f"evolution takes one objective, but there are {settings.objectives}; use nsga2, tpe or auto")
    return Evolution(
        space=space,
        seed=settings.seed,
        population_size=int(settings.numbers.get("population_size", 20)),
        tournament_size=int(settings.numbers.get("tournament_size", 5)),
    )
