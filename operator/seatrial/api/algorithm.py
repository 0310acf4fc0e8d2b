"""Which algorithm suggests the next trials, and the settings of each under a member of its name."""

from enum import StrEnum

from pydantic import Field

from seatrial.api.base import ParameterName, Wire

__all__ = [
    "Algorithm",
    "AlgorithmName",
    "AutoSettings",
    "CmaesSettings",
    "EvolutionSettings",
    "GpSettings",
    "GridResolution",
    "GridSettings",
    "Nsga2Settings",
    "TpeSettings",
]


class AlgorithmName(StrEnum):
    """The algorithms of the table in :mod:`seatrial.search.algorithms`."""

    AUTO = "auto"
    GRID = "grid"
    RANDOM = "random"
    SOBOL = "sobol"
    TPE = "tpe"
    GP = "gp"
    CMAES = "cmaes"
    EVOLUTION = "evolution"
    NSGA2 = "nsga2"


class GridResolution(Wire):
    """Resolution of one parameter in a grid."""

    parameter: ParameterName = Field(description="Name of a float or int parameter.")
    points: int = Field(
        ge=1, le=10_000, description="Number of evenly spaced values (on the parameter's scale), both ends included."
    )


class GridSettings(Wire):
    """Settings of grid search."""

    points: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Number of values for every float without a step that has no resolution of its own, and for ints with more values than this.",
    )
    resolutions: list[GridResolution] = Field(
        default_factory=list, max_length=64, description="Resolutions of single parameters."
    )


class TpeSettings(Wire):
    """Settings of the tree-structured Parzen estimator."""

    startup_trials: int = Field(
        default=10, ge=1, le=10_000, description="Trials drawn at random before the model is asked."
    )


class GpSettings(Wire):
    """Settings of Gaussian-process Bayesian optimisation."""

    startup_trials: int | None = Field(
        default=None,
        ge=2,
        le=10_000,
        description="Points of the initial design. Default: number of parameters + 2, at least 6 and at most 12.",
    )
    default_pull: float = Field(
        default=2.0,
        ge=0,
        le=100,
        description="How strongly early suggestions are drawn to the parameters' defaults (or the middle of their ranges). 0 switches it off.",
    )


class AutoSettings(Wire):
    """Settings of the default algorithm: none is needed."""

    default_pull: float = Field(default=2.0, ge=0, le=100, description="As in gp.defaultPull.")


class CmaesSettings(Wire):
    """Settings of CMA-ES."""

    population_size: int | None = Field(
        default=None,
        ge=4,
        le=10_000,
        description="Trials of one generation. Default: 4 + floor(3 ln d) for d parameters.",
    )
    sigma: float = Field(default=0.25, gt=0, le=1, description="First standard deviation, as a share of the unit cube.")


class EvolutionSettings(Wire):
    """Settings of regularised evolution (Real et al. 2019)."""

    population_size: int = Field(
        default=20, ge=2, le=10_000, description="Trials kept; the oldest leaves when a new one enters."
    )
    tournament_size: int = Field(
        default=5, ge=1, le=10_000, description="Members drawn for each tournament; the best of them is the parent."
    )


class Nsga2Settings(Wire):
    """Settings of NSGA-II."""

    population_size: int = Field(default=20, ge=2, le=10_000, description="Trials of one generation.")


class Algorithm(Wire):
    """The algorithm and its settings. Only the member named like the algorithm may be set."""

    name: AlgorithmName = Field(
        default=AlgorithmName.AUTO,
        description="auto (the default) chooses and changes the algorithm by the space, the number of objectives and the number of finished trials; or one of grid, random, sobol, tpe, gp, cmaes, evolution, nsga2.",
    )
    seed: int = Field(
        default=0, ge=0, le=2_147_483_647, description="The same seed and the same history give the same suggestions."
    )
    auto: AutoSettings | None = Field(default=None, description="Settings of auto.")
    grid: GridSettings | None = Field(default=None, description="Settings of grid.")
    tpe: TpeSettings | None = Field(default=None, description="Settings of tpe.")
    gp: GpSettings | None = Field(default=None, description="Settings of gp.")
    cmaes: CmaesSettings | None = Field(default=None, description="Settings of cmaes.")
    evolution: EvolutionSettings | None = Field(default=None, description="Settings of evolution.")
    nsga2: Nsga2Settings | None = Field(default=None, description="Settings of nsga2.")
