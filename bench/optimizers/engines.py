"""Optimisers under one interface: ours by the table of algorithms, Optuna's live, and variants by settings.

Names: an algorithm of the table (``auto``, ``gp``, ``tpe``, …), ``optuna:tpe``, ``optuna:nsga2``, ``optuna:cma``, ``optuna:gp``, or
``random``. Ours may carry settings: ``gp{default_pull=0}``.
"""

import re
import warnings
from collections.abc import Sequence
from typing import Protocol

from seatrial.search.algorithms import ALGORITHMS
from seatrial.search.base import Evaluated, History, Settings
from seatrial.search.parameters import Categorical, Int
from seatrial.search.space import Assignment, SearchSpace

__all__ = ["Engine", "build_engine"]


class Engine(Protocol):
    """An optimiser of one run."""

    def ask(self, count: int) -> list[Assignment]:
        """Return the next assignments."""
        ...

    def tell(self, results: Sequence[tuple[Assignment, float]]) -> None:
        """Report the values of what was asked last."""
        ...

    def recommend(self) -> int | None:
        """Return the number of the evaluation to choose, None for the lowest value."""
        ...


class Ours:
    """An algorithm of this project, asked with its whole history each time."""

    def __init__(self, name: str, space: SearchSpace, seed: int, budget: int) -> None:
        base, numbers = _settings(name)
        self.algorithm = ALGORITHMS[base](space, Settings(seed=seed, max_trials=budget, numbers=numbers))
        self.history = History()

    def ask(self, count: int) -> list[Assignment]:
        answer = self.algorithm.ask(self.history, count)
        for suggestion in answer.suggestions:
            self.history = self.history.with_pending(suggestion.assignment)
        return [suggestion.assignment for suggestion in answer.suggestions]

    def tell(self, results: Sequence[tuple[Assignment, float]]) -> None:
        new = [
            Evaluated(index=trial.index, assignment=trial.assignment, values=(value,))
            for trial, (_, value) in zip(self.history.pending, results, strict=True)
        ]
        self.history = History(evaluated=(*self.history.evaluated, *new), next_index=self.history.next_index)

    def recommend(self) -> int | None:
        return self.algorithm.recommend(self.history)


class Optuna:
    """A sampler of Optuna with its defaults. Samplers that need one fixed space see a conditional space flattened."""

    def __init__(self, name: str, space: SearchSpace, seed: int) -> None:
        import optuna

        warnings.filterwarnings("ignore", module="optuna")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers = optuna.samplers
        make = {
            "tpe": lambda: samplers.TPESampler(seed=seed),
            "nsga2": lambda: samplers.NSGAIISampler(seed=seed, population_size=20),
            "cma": lambda: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
            "gp": lambda: samplers.GPSampler(seed=seed, warn_independent_sampling=False),
        }
        self.flat = name in {"cma", "gp"}
        self.space = space
        self.study = optuna.create_study(sampler=make[name]())
        self.waiting: list = []

    def ask(self, count: int) -> list[Assignment]:
        self.waiting = [self.study.ask() for _ in range(count)]
        return [self._assign(trial) for trial in self.waiting]

    def _assign(self, trial) -> Assignment:
        values: Assignment = {}
        for p in self.space:
            if self.flat or p.when is None or p.when.holds(values):
                if isinstance(p, Categorical):
                    values[p.name] = trial.suggest_categorical(p.name, p.choices)
                elif isinstance(p, Int):
                    values[p.name] = trial.suggest_int(p.name, p.low, p.high, log=p.log)
                else:
                    values[p.name] = trial.suggest_float(p.name, p.low, p.high, log=p.log)
        return self.space.prune(values)

    def tell(self, results: Sequence[tuple[Assignment, float]]) -> None:
        for trial, (_, value) in zip(self.waiting, results, strict=True):
            self.study.tell(trial, value)

    def recommend(self) -> int | None:
        return None


def build_engine(name: str, space: SearchSpace, seed: int, budget: int) -> Engine:
    """Return an optimiser by name."""
    if name.startswith("optuna:"):
        return Optuna(name.removeprefix("optuna:"), space, seed)
    return Ours(name, space, seed, budget)


def _settings(name: str) -> tuple[str, dict[str, float]]:
    found = re.fullmatch(r"(\w+)(?:\{(.*)\})?", name)
    if not found:
        raise ValueError(f"{name} is no engine")
    pairs = [pair.split("=") for pair in (found[2] or "").split(",") if pair]
    return found[1], {key: float(value) for key, value in pairs}
