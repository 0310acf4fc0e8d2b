"""The tree-structured Parzen estimator, by Optuna.

Source: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization"; Watanabe 2023, https://arxiv.org/abs/2304.11127.

Optuna's sampler is shown the history as if it were its own: finished trials as complete, stopped ones as pruned, failed ones as
infeasible without measure, pending ones as running (it takes them for bad ones, a constant liar). Each set of parameters that
exist under the same condition is modelled jointly, down the tree of conditions, and only where it is active.
"""

import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from seatrial.search.base import Ask, Evaluated, Exhausted, History, Pending, Settings, Suggestion
from seatrial.search.chance import generator
from seatrial.search.dedupe import unseen
from seatrial.search.enumeration import level_of
from seatrial.search.parameters import Categorical, Int, Parameter, Value
from seatrial.search.recommend import recommend_best
from seatrial.search.space import Assignment, Key, SearchSpace
from seatrial.search.turns import ask_in_turn
from seatrial.search.variation import free_parameters

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["Tpe", "build_tpe"]

# A study in memory is announced in the log each time it is rebuilt.
optuna.logging.set_verbosity(optuna.logging.WARNING)

# Hypervolumes multiply up to four objectives, which must not overflow.
_LARGEST = 1e75
_ATTEMPTS = 4
_NAME = "replay"


@dataclass(slots=True)
class _Memory:
    """Optuna's form of the trials seen last, by position; what an entry was made from stands beside it and is compared."""

    entries: list[tuple[object, FrozenTrial]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Tpe:
    """TPE after *startup_trials* random draws."""

    space: SearchSpace
    seed: int
    objectives: int
    startup_trials: int
    memory: _Memory = field(default_factory=_Memory, compare=False, repr=False)

    def ask(self, history: History, count: int) -> Ask:
        """Return *count* suggestions."""
        return ask_in_turn(self.space, history, count, self._suggest)

    def recommend(self, history: History) -> int | None:
        """Return the lowest value, or the first of the Pareto front."""
        return recommend_best(history)

    @cached_property
    def _distributions(self) -> Mapping[str, BaseDistribution]:
        return {parameter.name: _distribution(parameter) for parameter in free_parameters(self.space)}

    def _suggest(self, history: History, used: Set[Key]) -> Suggestion | Exhausted:
        rng = generator(self.seed, history.next_index)
        model = len(history.evaluated) >= self.startup_trials and bool(free_parameters(self.space))
        candidates = self._modelled(history, rng) if model else iter([self.space.sample(rng)])
        found = unseen(self.space, used, candidates, rng)
        if isinstance(found, Exhausted):
            return found
        detail = f"model of {len(history.evaluated)} trials" if model else "drawn at random before the model starts"
        return Suggestion(assignment=found, algorithm="tpe", detail=detail)

    def _modelled(self, history: History, rng: np.random.Generator) -> Iterator[Assignment]:
        trials = self._frozen(history)
        storage = _Replay(trials)
        storage.create_new_study([StudyDirection.MINIMIZE] * self.objectives, _NAME)
        sampler = optuna.samplers.TPESampler(
            multivariate=True, constant_liar=True, n_startup_trials=0, seed=int(rng.integers(2**32))
        )
        study = Study(_NAME, storage, sampler)
        asked = _running(len(trials), {}, {})
        for _ in range(_ATTEMPTS):
            yield self._sample(study, asked)

    def _sample(self, study: Study, asked: FrozenTrial) -> Assignment:
        """Sample group by group, parents first."""
        values: Assignment = {}
        for group in _groups(self.space):
            if group[0].when is not None and not group[0].when.holds(values):
                continue
            values |= {p.name: p.decode(0.5) for p in group if p.levels == 1}
            free = {p.name: self._distributions[p.name] for p in group if p.levels != 1}
            drawn = study.sampler.sample_relative(study, asked, free)
            values |= {p.name: _from_optuna(p, drawn[p.name]) for p in group if p.levels != 1}
        return self.space.prune(values)

    def _frozen(self, history: History) -> list[FrozenTrial]:
        """Return the history in Optuna's form, by index; entries that did not change since the last call are taken from memory."""
        trials: list[Evaluated | Pending] = sorted(
            [*history.evaluated, *history.pending], key=lambda trial: trial.index
        )
        old = self.memory.entries
        entries = []
        for number, trial in enumerate(trials):
            source = _identity(trial)
            known = number < len(old) and old[number][0] == source
            entries.append(old[number] if known else (source, self._convert(number, trial)))
        # Replaced in one step, never changed in place: a second thread that reads the old list is not disturbed.
        self.memory.entries = entries
        return [frozen for _, frozen in entries]

    def _convert(self, number: int, trial: Evaluated | Pending) -> FrozenTrial:
        distributions = {name: d for name, d in self._distributions.items() if name in trial.assignment}
        params = {name: _to_optuna(self.space.by_name[name], trial.assignment[name]) for name in distributions}
        if isinstance(trial, Pending):
            return _running(number, params, distributions)
        pruned = trial.stopped and not trial.failed and self.objectives == 1
        violations = [float("inf")] if trial.failed else list(trial.violations)
        limit = _LARGEST if self.objectives > 1 else math.inf
        values = [min(max(value, -limit), limit) for value in trial.values]
        return FrozenTrial(
            number=number,
            trial_id=number,
            state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
            value=None,
            values=[0.0] * self.objectives if trial.failed else values,
            datetime_start=None,
            datetime_complete=None,
            params=params,
            distributions=distributions,
            user_attrs={},
            system_attrs={"constraints": violations} if violations else {},
            intermediate_values={trial.step or 0: trial.values[0]} if pruned else {},
        )


class _Replay(InMemoryStorage):
    """A storage that holds the given trials and forgets what is written."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self._given = trials

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002 - the library's signature
        deepcopy: bool = True,  # noqa: ARG002
        states: "Container[TrialState] | None" = None,
    ) -> list[FrozenTrial]:
        return [trial for trial in self._given if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        """Forget it: what the sampler notes for other processes is of no use here."""


def _identity(trial: Evaluated | Pending) -> object:
    # Types are part of it: True == 1 == 1.0, yet they are different values.
    key = tuple((name, type(value), value) for name, value in trial.assignment.items())
    if isinstance(trial, Pending):
        return (key,)
    return (key, trial.values, trial.violations, trial.step, trial.stopped, trial.failed)


def _running(
    number: int, params: Mapping[str, float | int], distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params=dict(params),
        distributions=dict(distributions),
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _groups(space: SearchSpace) -> list[list[Parameter]]:
    """Return the parameters that exist under equal conditions, groups in the space's order."""
    found: dict[object, list[Parameter]] = {}
    for parameter in space:
        found.setdefault(parameter.when and (parameter.when.parent, repr(parameter.when.values)), []).append(parameter)
    return list(found.values())


def _distribution(parameter: Parameter) -> BaseDistribution:
    """Return Optuna's view: a continuum is the unit interval, levels are whole numbers, an int on a log scale is itself."""
    if isinstance(parameter, Categorical):
        return CategoricalDistribution(range(parameter.levels))
    if parameter.levels is None:
        return FloatDistribution(0.0, 1.0)
    if isinstance(parameter, Int) and parameter.log:
        return IntDistribution(parameter.low, parameter.high, log=True)
    return IntDistribution(0, parameter.levels - 1)


def _to_optuna(parameter: Parameter, value: Value) -> float | int:
    if parameter.levels is None:
        return parameter.encode(value)
    return int(value) if isinstance(parameter, Int) and parameter.log else level_of(parameter, value)


def _from_optuna(parameter: Parameter, drawn: float | int) -> Value:
    if parameter.levels is None:
        return parameter.decode(float(drawn))
    return parameter.normalise(drawn) if isinstance(parameter, Int) and parameter.log else parameter.at(int(drawn))


def build_tpe(space: SearchSpace, settings: Settings) -> Tpe:
    """Return the algorithm with the number ``startup_trials`` (10)."""
    startup = int(settings.numbers.get("startup_trials", 10))
    return Tpe(space=space, seed=settings.seed, objectives=settings.objectives, startup_trials=startup)
