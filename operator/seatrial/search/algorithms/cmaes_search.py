"""CMA-ES with margin for mixed spaces, replayed from history.

Source: Hamano et al. 2025, "CatCMA with margin", https://arxiv.org/abs/2504.07884, as implemented by the ``cmaes`` library: a
normal distribution over the numbers, whose margin keeps discrete ones moving, and a product of categorical distributions for the
choices. A converged run is followed by one of twice the population from a random mean (Auger and Hansen 2005, "A restart CMA
evolution strategy with increasing population size", https://doi.org/10.1109/CEC.2005.1554902).

Generations are what the history says they are: the trials with an outcome, in order of their index, cut into pieces of the
population's size. A trial that is asked for beyond that is drawn from the current distribution. The raw point behind a trial is
drawn again from its index; where it does not decode to what was tried (another generation, an initial trial, a moved duplicate),
the coordinates of what was tried stand in. An inactive coordinate keeps its draw, so that it neither widens nor shrinks.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from cmaes import CatCMAwM

from seatrial.search.base import Ask, Evaluated, Exhausted, History, Settings, Suggestion
from seatrial.search.chance import generator
from seatrial.search.dedupe import unseen
from seatrial.search.enumeration import level_of
from seatrial.search.parameters import Categorical, Int, Parameter, Value
from seatrial.search.ranking import standing, standings
from seatrial.search.recommend import recommend_best
from seatrial.search.space import Assignment, Key, SearchSpace
from seatrial.search.turns import ask_in_turn
from seatrial.search.variation import free_parameters

__all__ = ["Cmaes", "build_cmaes"]

_ATTEMPTS = 8
# More levels than this are a continuum to CMA-ES. On a log scale the levels are too uneven much earlier.
_MANY_LEVELS, _MANY_LOG_LEVELS = 256, 8

# A millionth of the range is finer than any training can tell apart.
_TOGETHER = 1e-6


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which parameter is which kind of coordinate."""

    continuous: tuple[Parameter, ...]
    discrete: tuple[Parameter, ...]
    choices: tuple[Parameter, ...]


@dataclass(frozen=True, kw_only=True)
class Cmaes:
    """CMA-ES with first standard deviation *sigma* in the unit cube."""

    space: SearchSpace
    seed: int
    population_size: int
    sigma: float

    def ask(self, history: History, count: int) -> Ask:
        """Return *count* draws from the distribution that the full generations led to."""
        with np.errstate(all="ignore"):
            optimizer = self._replay(sorted(history.evaluated, key=lambda trial: trial.index))

            def suggest(now: History, used: Set[Key]) -> Suggestion | Exhausted:
                return self._suggest(optimizer, now.next_index, used)

            return ask_in_turn(self.space, history, count, suggest)

    def recommend(self, history: History) -> int | None:
        """Return the lowest value."""
        return recommend_best(history)

    @cached_property
    def _layout(self) -> _Layout:
        continuous, discrete, choices = [], [], []
        for parameter in free_parameters(self.space):
            levels = parameter.levels
            many = _MANY_LOG_LEVELS if isinstance(parameter, Int) and parameter.log else _MANY_LEVELS
            if isinstance(parameter, Categorical) or levels == 2:
                choices.append(parameter)
            elif levels is None or levels > many:
                continuous.append(parameter)
            else:
                discrete.append(parameter)
        return _Layout(tuple(continuous), tuple(discrete), tuple(choices))

    def _suggest(self, optimizer: CatCMAwM | None, index: int, used: Set[Key]) -> Suggestion | Exhausted:
        rng = generator(self.seed, index)
        draws = self._draws(optimizer, index) if optimizer else iter([self.space.default()])
        found = unseen(self.space, used, draws, rng)
        generation = optimizer.generation if optimizer else 0
        if isinstance(found, Exhausted):
            return found
        return Suggestion(assignment=found, algorithm="cmaes", detail=f"generation {generation}")

    def _draws(self, optimizer: CatCMAwM, index: int) -> Iterator[Assignment]:
        self._reseed(optimizer, index)
        for _ in range(_ATTEMPTS):
            yield self._decode(optimizer.ask())

    def _reseed(self, optimizer: CatCMAwM, index: int) -> None:
        optimizer.reseed_rng(int(generator(self.seed, index, 1).integers(2**32)))

    def _replay(self, evaluated: Sequence[Evaluated]) -> CatCMAwM | None:
        """Return the optimizer after all full generations, None when there is nothing to optimise."""
        if not free_parameters(self.space):
            return None
        numeric = bool(self._layout.continuous or self._layout.discrete)
        run, start = 0, 0
        optimizer = self._start(run)
        while start + optimizer.population_size <= len(evaluated):
            generation = evaluated[start : start + optimizer.population_size]
            start += len(generation)
            # A generation without any difference teaches nothing; its order of indices must not be taken for a ranking.
            if len({standing(trial) for trial in generation}) == 1:
                continue
            places = standings(generation)
            optimizer.tell([(self._raw(optimizer, t), float(p)) for t, p in zip(generation, places, strict=True)])
            if self._converged(generation) or (numeric and optimizer.should_stop()):
                run += 1
                optimizer = self._start(run)
        return optimizer

    def _converged(self, generation: Sequence[Evaluated]) -> bool:
        """Whether the continuous parameters of a generation have come together; the library's own tolerance is below rounding."""
        spreads = []
        for parameter in self._layout.continuous:
            places = [
                parameter.encode(t.assignment[parameter.name]) for t in generation if parameter.name in t.assignment
            ]
            spreads.append(max(places, default=0.0) - min(places, default=0.0))
        return bool(spreads) and max(spreads) < _TOGETHER

    def _start(self, run: int) -> CatCMAwM:
        layout = self._layout
        top = np.array([(p.levels or 2) - 1 for p in layout.discrete], dtype=float)
        mean = [p.encode(_centre(p)) for p in layout.continuous]
        mean += [level_of(p, _centre(p)) for p in layout.discrete]
        if run:
            rng = generator(self.seed, run, 2)
            mean = [*rng.random(len(layout.continuous)), *(rng.random(len(top)) * top)]
        width = np.concatenate([np.ones(len(layout.continuous)), top])
        gaussian = {"mean": np.array(mean, dtype=float), "sigma": self.sigma, "cov": np.diag(width**2)}
        return CatCMAwM(
            x_space=[[0.0, 1.0]] * len(layout.continuous) or None,
            z_space=[list(range(p.levels or 1)) for p in layout.discrete] or None,
            c_space=[p.levels for p in layout.choices] or None,
            population_size=self.population_size * 2**run,
            seed=0,
            **(gaussian if len(mean) else {}),
        )

    def _decode(self, drawn: CatCMAwM.Solution) -> Assignment:
        layout = self._layout
        values = {p.name: _centre(p) for p in self.space}
        for i, parameter in enumerate(layout.continuous):
            values[parameter.name] = parameter.decode(float(drawn.x[i]))
        for i, parameter in enumerate(layout.discrete):
            values[parameter.name] = parameter.at(round(float(drawn.z[i])))
        for i, parameter in enumerate(layout.choices):
            values[parameter.name] = parameter.at(int(np.argmax(drawn.c[i])))
        return self.space.prune(values)

    def _raw(self, optimizer: CatCMAwM, trial: Evaluated) -> CatCMAwM.Solution:
        """Return the point of the distribution's space that stands for *trial*."""
        layout, assignment = self._layout, trial.assignment
        self._reseed(optimizer, trial.index)
        drawn = optimizer.ask()
        raw, c = drawn._v_raw, drawn.c  # noqa: SLF001 - the library has no other way to tell where a solution was drawn
        for i, parameter in enumerate(layout.continuous):
            if parameter.name in assignment and parameter.decode(float(drawn.x[i])) != assignment[parameter.name]:
                raw[i] = parameter.encode(assignment[parameter.name])
        for i, parameter in enumerate(layout.discrete):
            if parameter.name in assignment:
                level = level_of(parameter, assignment[parameter.name])
                if level != round(float(drawn.z[i])):
                    raw[len(layout.continuous) + i] = level
        for i, parameter in enumerate(layout.choices):
            if parameter.name in assignment:
                c[i] = np.arange(c.shape[1]) == level_of(parameter, assignment[parameter.name])
        return CatCMAwM.Solution(drawn.x, drawn.z, c, raw)


def _centre(parameter: Parameter) -> Value:
    """Return where the first mean lies: the default, or the middle of the range."""
    return parameter.decode(0.5) if parameter.default is None else parameter.normalise(parameter.default)


def build_cmaes(space: SearchSpace, settings: Settings) -> Cmaes:
    """Return the algorithm with the numbers ``population_size`` (4 + floor(3 ln d), at least 4) and ``sigma`` (0.25).

    Raises:
        ValueError: If there are several objectives.
    """
    if settings.objectives > 1:
        raise ValueError(f"cmaes takes one objective, but there are {settings.objectives}; use nsga2, tpe or auto")
    dimensions = max(1, len(free_parameters(space)))
    usual = 4 + int(3 * np.log(dimensions))
    # With fewer than four the weights of the update are not defined.
    size = max(4, int(settings.numbers.get("population_size", usual)))
    return Cmaes(space=space, seed=settings.seed, population_size=size, sigma=settings.numbers.get("sigma", 0.25))
