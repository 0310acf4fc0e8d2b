"""NSGA-II: a genetic algorithm for several objectives, replayed from history.

Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", https://doi.org/10.1109/4235.996017:
non-dominated sorting, crowding distance, constrained domination (section VI), simulated binary crossover and mutation.

Generations are what the history says they are: the trials with an outcome, in order of their index, cut into pieces of the
population's size. A trial that is asked for beyond a full generation is one more child of the same parents.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seatrial.search.base import Ask, Evaluated, Exhausted, History, Settings, Suggestion
from seatrial.search.chance import generator
from seatrial.search.dedupe import unseen
from seatrial.search.parameters import Categorical, Parameter, Value
from seatrial.search.pareto import pareto_ranks
from seatrial.search.recommend import recommend_best
from seatrial.search.space import Assignment, Key, SearchSpace
from seatrial.search.turns import ask_in_turn
from seatrial.search.variation import free_parameters, mutate, reflect

__all__ = ["Nsga2", "build_nsga2", "crowding_distance", "survivors"]

_ATTEMPTS = 8
_CROSSOVER = 0.9  # probability that a child has two parents, as in the paper
_SPREAD = 20.0  # distribution index of simulated binary crossover, as in the paper


@dataclass(frozen=True, slots=True, kw_only=True)
class Nsga2:
    """NSGA-II with a population of *population_size*."""

    space: SearchSpace
    seed: int
    population_size: int

    def ask(self, history: History, count: int) -> Ask:
        """Return random draws in the first generation, then children of the survivors."""
        parents = self._parents(sorted(history.evaluated, key=lambda trial: trial.index))

        def suggest(now: History, used: Set[Key]) -> Suggestion | Exhausted:
            return self._suggest(now.next_index, used, parents)

        return ask_in_turn(self.space, history, count, suggest)

    def recommend(self, history: History) -> int | None:
        """Return the first of the Pareto front, or the lowest value."""
        return recommend_best(history)

    def _parents(self, evaluated: Sequence[Evaluated]) -> list[tuple[Evaluated, int, float]]:
        """Return the survivors of all full generations with rank and crowding distance."""
        size = self.population_size
        alive: list[Evaluated] = []
        for start in range(0, len(evaluated) - size + 1, size):
            alive = survivors([*alive, *evaluated[start : start + size]], size)
        if not alive:
            return []
        ranks = _ranks(alive)
        return [*zip(alive, ranks.tolist(), _crowding(alive, ranks).tolist(), strict=True)]

    def _suggest(
        self, index: int, used: Set[Key], parents: Sequence[tuple[Evaluated, int, float]]
    ) -> Suggestion | Exhausted:
        rng = generator(self.seed, index)
        if not parents:
            found = unseen(self.space, used, [self.space.sample(rng)], rng)
            detail = "first generation, drawn at random"
        else:
            a, b = _tournament(parents, rng), _tournament(parents, rng)
            children = (self._child(a.assignment, b.assignment, rng) for _ in range(_ATTEMPTS))
            found = unseen(self.space, used, children, rng)
            detail = f"child of trials {a.index} and {b.index}"
        return found if isinstance(found, Exhausted) else Suggestion(assignment=found, algorithm="nsga2", detail=detail)

    def _child(self, a: Assignment, b: Assignment, rng: np.random.Generator) -> Assignment:
        """Return a mutated cross of *a* and *b*; what only one of them has is inherited from it, what none has is drawn."""
        cross = bool(rng.random() < _CROSSOVER)
        drawn = {p.name: p.decode(float(u)) for p, u in zip(self.space, rng.random(len(self.space)), strict=True)}
        values: Assignment = {**drawn, **b, **a}
        free = free_parameters(self.space)
        for parameter in free:
            if cross and parameter.name in a and parameter.name in b:
                values[parameter.name] = _cross(parameter, a[parameter.name], b[parameter.name], rng)
        active = self.space.prune(values)
        rate = 1.0 / max(1, sum(parameter.name in active for parameter in free))
        for parameter in free:
            if rng.random() < rate:
                values[parameter.name] = mutate(parameter, values[parameter.name], rng)
        return self.space.prune(values)


def survivors(trials: Sequence[Evaluated], size: int) -> list[Evaluated]:
    """Return the best *size* trials: whole fronts, the last one cut by crowding distance; ties go to the earlier trial."""
    ranks = _ranks(trials)
    crowding = _crowding(trials, ranks)
    order = sorted(range(len(trials)), key=lambda i: (ranks[i], -crowding[i], i))
    return [trials[i] for i in sorted(order[:size])]


def crowding_distance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how lonely each point of a front is, shape (n,); the ends are infinitely so.

    Args:
        values: Objectives of one front, finite, shape (n, m).
    """
    distance = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if spread > 0 and len(order) > 2:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distance


def _ranks(trials: Sequence[Evaluated]) -> NDArray[np.int64]:
    """Return the front of each trial under constrained domination: feasible, then stopped, infeasible and failed ones."""
    violation = np.array([sum(max(v, 0.0) for v in trial.violations) for trial in trials])
    failed = np.array([trial.failed for trial in trials], dtype=bool)
    stopped = np.array([trial.stopped for trial in trials], dtype=bool)
    kept = ~failed & (violation <= 0)
    ranks = np.zeros(len(trials), dtype=np.int64)
    following = 0
    for group in (kept & ~stopped, kept & stopped, ~failed & (violation > 0), failed):
        if not (places := np.flatnonzero(group)).size:
            continue
        if kept[places[0]]:
            inner = pareto_ranks([trials[int(i)].values for i in places])
        else:
            inner = np.unique(np.where(failed, np.inf, violation)[places], return_inverse=True)[1].astype(np.int64)
        ranks[places] = following + inner
        following += int(inner.max()) + 1
    return ranks


def _crowding(trials: Sequence[Evaluated], ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    distance = np.zeros(len(trials))
    for rank in np.unique(ranks):
        places = np.flatnonzero(ranks == rank)
        if not trials[int(places[0])].failed:
            distance[places] = crowding_distance(np.array([trials[int(i)].values for i in places]))
    return distance


def _tournament(parents: Sequence[tuple[Evaluated, int, float]], rng: np.random.Generator) -> Evaluated:
    """Return the better of two members drawn at random: lower front, then lonelier."""
    first, second = (parents[int(i)] for i in rng.integers(len(parents), size=2))
    return min(first, second, key=lambda member: (member[1], -member[2], member[0].index))[0]


def _cross(parameter: Parameter, a: Value, b: Value, rng: np.random.Generator) -> Value:
    """Cross one gene: simulated binary crossover (Deb and Agrawal 1995) of numbers, inheritance of choices without order."""
    swap, u = bool(rng.random() < 0.5), float(rng.random())
    first, second = (b, a) if swap else (a, b)
    if isinstance(parameter, Categorical) or parameter.encode(a) == parameter.encode(b) or rng.random() < 0.5:
        return first
    exponent = 1.0 / (_SPREAD + 1.0)
    beta = (2.0 * u) ** exponent if u <= 0.5 else (1.0 / (2.0 * (1.0 - u))) ** exponent
    x, y = parameter.encode(first), parameter.encode(second)
    return parameter.decode(reflect(0.5 * ((1.0 + beta) * x + (1.0 - beta) * y)))


def build_nsga2(space: SearchSpace, settings: Settings) -> Nsga2:
    """Return the algorithm with the number ``population_size`` (20)."""
    return Nsga2(space=space, seed=settings.seed, population_size=int(settings.numbers.get("population_size", 20)))
