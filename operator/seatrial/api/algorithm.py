"""Which algorithm suggests the next trials, and the settings of each under a member of its name."""

from enum import StrEnum

from pydantic import Field

from seatrial.api.base import ParameterName, Wire
from seatrial.api.parameters import Choice

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
    "PbtExplore",
    "PbtMode",
    "PbtSelection",
    "PbtSettings",
    "ReplaySegment",
    "ReplaySettings",
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
    PBT = "pbt"
    REPLAY = "replay"


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


class PbtSelection(StrEnum):
    """How a member of a population finds whom to take over."""

    TRUNCATION = "truncation"
    TOURNAMENT = "tournament"


class PbtExplore(StrEnum):
    """How what was taken over is changed."""

    PERTURB = "perturb"
    PB2 = "pb2"


class PbtMode(StrEnum):
    """Whether members wait for each other."""

    SYNCHRONOUS = "synchronous"
    ASYNCHRONOUS = "asynchronous"


class PbtSettings(Wire):
    """Settings of population-based training (Jaderberg et al. 2017). It needs spec.steps and a script that saves checkpoints."""

    population_size: int = Field(
        default=8,
        ge=2,
        le=1000,
        description="Members of the population. More than budget.parallelTrials share the slots in turn.",
    )
    ready_interval: int | None = Field(
        default=None,
        ge=1,
        description="Steps that a member trains between two decisions. A decision costs a start of the program: keep it at a minute or more. Default: a tenth of steps.max.",
    )
    mode: PbtMode = Field(
        default=PbtMode.SYNCHRONOUS,
        description="synchronous (the default): a generation is judged when all of it is there, and the same seed gives the same lineage. asynchronous: nobody waits.",
    )
    selection: PbtSelection = Field(
        default=PbtSelection.TRUNCATION,
        description="truncation (the default): the worst quantile takes over members of the best one. tournament: everybody meets one other and takes it over if it is better.",
    )
    quantile: float = Field(
        default=0.25, gt=0, le=0.5, description="Share of the population at either end, for truncation."
    )
    explore: PbtExplore = Field(
        default=PbtExplore.PERTURB,
        description="perturb (the default): numbers are multiplied by perturbDown or perturbUp, or drawn anew. pb2: a Gaussian-process bandit chooses them as soon as it knows enough.",
    )
    resample_probability: float = Field(
        default=0.25, ge=0, le=1, description="Probability of each parameter of being drawn anew instead of perturbed."
    )
    perturb_down: float = Field(default=0.8, gt=0, lt=1, description="Factor of a number that is lowered.")
    perturb_up: float = Field(default=1.2, gt=1, le=10, description="Factor of a number that is raised.")
    mutable: list[ParameterName] = Field(
        default_factory=list,
        max_length=64,
        description="Parameters that may change during training. The others are drawn at the beginning and stay with the weights, as the number of hidden units must. Default: all.",
    )
    straggler_factor: float = Field(
        default=5.0,
        gt=1,
        le=1000,
        description="In synchronous mode a member is stopped and replaced when half of its generation is done and it has run this many times as long as their median (and 30 s longer than it).",
    )


class ReplaySegment(Wire):
    """A part of a schedule."""

    until_step: int = Field(ge=1, description="Last step of this segment.")
    parameters: dict[str, Choice] = Field(
        description="Assignment of this segment.", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )


class ReplaySettings(Wire):
    """A schedule that one training follows; ``seatrial lineage STUDY --replay FILE`` writes it."""

    schedule: list[ReplaySegment] = Field(
        min_length=1, max_length=1000, description="Segments in order; untilStep grows from one to the next."
    )


class Algorithm(Wire):
    """The algorithm and its settings. Only the member named like the algorithm may be set."""

    name: AlgorithmName = Field(
        default=AlgorithmName.AUTO,
        description="auto (the default) chooses and changes the algorithm by the space, the number of objectives and the number of finished trials; or one of grid, random, sobol, tpe, gp, cmaes, evolution, nsga2; pbt trains a population, replay one model along a schedule.",
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
    pbt: PbtSettings | None = Field(default=None, description="Settings of pbt.")
    replay: ReplaySettings | None = Field(default=None, description="The schedule of replay.")
