"""One file an algorithm, one line an algorithm in the table below; the line also enrols it in the contract tests.

A factory is named by text and imported when it is first called, so that reading the table costs neither Optuna nor SciPy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import cast

from seatrial.search.base import Algorithm, Settings
from seatrial.search.space import SearchSpace

__all__ = ["ALGORITHMS", "TRAITS", "Factory", "Traits"]

Factory = Callable[[SearchSpace, Settings], Algorithm]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What an algorithm can do, for validation and documentation.

    Attributes:
        summary: A few words for people.
        max_objectives: Most objectives it takes, None when any number.
        constraints: Whether the search itself makes use of outcome constraints; the choice of the winner always does.
        finite: Whether it needs finitely many points: a step or a resolution for every float.
        learns: Whether its suggestions depend on results.
        chooses: Whether its winner is what a model says at the end, and not always the one with the best value.
        continues: Whether its trials go on from each other's checkpoints: it repeats assignments, and may wait for trials that run.
    """

    summary: str
    max_objectives: int | None = 1
    constraints: bool = False
    finite: bool = False
    learns: bool = True
    chooses: bool = False
    continues: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the table: where the factory is, and what it makes."""

    target: str
    traits: Traits = field(kw_only=True)

    def __call__(self, space: SearchSpace, settings: Settings) -> Algorithm:
        module, name = self.target.split(":")
        return cast("Factory", getattr(import_module(f"{__name__}.{module}"), name))(space, settings)


# fmt: off
_TABLE: Mapping[str, _Entry] = {
    "auto": _Entry("auto:build_auto", traits=Traits(summary="the default: chooses and changes the algorithm", max_objectives=None, constraints=True, chooses=True)),
    "grid": _Entry("grid:build_grid", traits=Traits(summary="every combination, once", max_objectives=None, finite=True, learns=False)),
    "random": _Entry("random_search:build_random", traits=Traits(summary="independent uniform draws", max_objectives=None, learns=False)),
    "sobol": _Entry("sobol:build_sobol", traits=Traits(summary="an even cover of the space", max_objectives=None, learns=False)),
    "tpe": _Entry("tpe:build_tpe", traits=Traits(summary="tree-structured Parzen estimator", max_objectives=None, constraints=True)),
    "gp": _Entry("gp:build_gp", traits=Traits(summary="Bayesian optimisation with Gaussian processes", constraints=True, chooses=True)),
    "cmaes": _Entry("cmaes_search:build_cmaes", traits=Traits(summary="CMA-ES with margin", constraints=True)),
    "evolution": _Entry("evolution:build_evolution", traits=Traits(summary="regularised evolution", constraints=True)),
    "nsga2": _Entry("nsga2:build_nsga2", traits=Traits(summary="genetic algorithm for several objectives", max_objectives=None, constraints=True)),
    "pbt": _Entry("pbt:build_pbt", traits=Traits(summary="population-based training", constraints=True, continues=True)),
    "replay": _Entry("replay:build_replay", traits=Traits(summary="one training along a schedule", learns=False, continues=True)),
}
# fmt: on

ALGORITHMS: Mapping[str, Factory] = _TABLE
"""Factory by the name that ``spec.algorithm.name`` uses.

Raises (each factory): ValueError if the space or the settings do not suit the algorithm.
"""

TRAITS: Mapping[str, Traits] = {name: entry.traits for name, entry in _TABLE.items()}
"""What the algorithm of each name can do."""
