"""Rules that end a trial early, and their settings under a member of the rule's name."""

from enum import StrEnum

from pydantic import Field

from seatrial.api.base import Wire

__all__ = [
    "AshaSettings",
    "HyperbandSettings",
    "MedianSettings",
    "PatienceSettings",
    "PercentileSettings",
    "Stopping",
    "StoppingRule",
    "SuccessiveHalvingSettings",
]


class StoppingRule(StrEnum):
    """The rules of the table in :mod:`seatrial.decide.rules`."""

    MEDIAN = "median"
    PERCENTILE = "percentile"
    ASHA = "asha"
    SUCCESSIVE_HALVING = "successiveHalving"
    HYPERBAND = "hyperband"
    PATIENCE = "patience"


class MedianSettings(Wire):
    """Stop a trial whose best value so far is worse than the median of the others' running averages at the same step."""

    min_trials: int = Field(
        default=5, ge=1, le=10_000, description="Trials that must have reached the step before anybody is stopped."
    )
    min_step: int = Field(default=1, ge=0, description="No trial is stopped before this step.")


class PercentileSettings(Wire):
    """Stop a trial whose best value so far is not within the best percentile of the others at the same step."""

    percentile: float = Field(
        default=50.0, gt=0, lt=100, description="Percentage of trials to keep: 25 stops all but the best quarter."
    )
    min_trials: int = Field(
        default=5, ge=1, le=10_000, description="Trials that must have reached the step before anybody is stopped."
    )
    min_step: int = Field(default=1, ge=0, description="No trial is stopped before this step.")


class AshaSettings(Wire):
    """Asynchronous successive halving: at each rung only the best 1/eta go on; the others are stopped, or paused with promote."""

    eta: int = Field(default=3, ge=2, le=100, description="Reduction factor: the best 1/eta of a rung go on.")
    min_step: int = Field(
        default=1,
        ge=1,
        description="Step of the first rung; the next ones are minStep * eta, minStep * eta^2 and so on.",
    )

    promote: bool = Field(
        default=False,
        description="true: trials pause at each rung, and the best of it go on later from their checkpoint, as in the paper; needs steps. false: who is not among the best on arrival is stopped for good.",
    )


class SuccessiveHalvingSettings(Wire):
    """Successive halving: trials pause at each rung until all of their cohort have come; then the best 1/eta go on. Needs steps."""

    eta: int = Field(default=3, ge=2, le=100, description="Reduction factor: the best 1/eta of a rung go on.")
    min_step: int = Field(
        default=1,
        ge=1,
        description="Step of the first rung; the next ones are minStep * eta, minStep * eta^2 and so on.",
    )
    cohort_size: int | None = Field(
        default=None,
        ge=2,
        le=100_000,
        description="Trials that are judged together. Default: eta to the power of the number of rungs, so that one of them is trained in full.",
    )


class HyperbandSettings(Wire):
    """Hyperband: brackets of successive halving, from many trials with few steps to few trials with all steps. Needs steps."""

    eta: int = Field(default=3, ge=2, le=100, description="Reduction factor: the best 1/eta of a rung go on.")
    min_step: int = Field(default=1, ge=1, description="Fewest steps after which a trial is judged.")


class PatienceSettings(Wire):
    """Stop a trial that no longer improves."""

    steps: int = Field(
        default=5,
        ge=1,
        description="Steps without an improvement of at least minDelta after which the trial is stopped.",
    )
    min_delta: float = Field(
        default=0.0, ge=0, description="Smallest change of the objective that counts as an improvement."
    )
    min_step: int = Field(default=1, ge=0, description="No trial is stopped before this step.")


StoppingSettings = (
    MedianSettings
    | PercentileSettings
    | AshaSettings
    | SuccessiveHalvingSettings
    | HyperbandSettings
    | PatienceSettings
)


class Stopping(Wire):
    """Early stopping of trials. Only the member named like the rule may be set."""

    rule: StoppingRule = Field(description="median, percentile, asha, successiveHalving, hyperband or patience.")
    median: MedianSettings | None = Field(default=None, description="Settings of median.")
    percentile: PercentileSettings | None = Field(default=None, description="Settings of percentile.")
    asha: AshaSettings | None = Field(default=None, description="Settings of asha.")
    successive_halving: SuccessiveHalvingSettings | None = Field(
        default=None, description="Settings of successiveHalving."
    )
    hyperband: HyperbandSettings | None = Field(default=None, description="Settings of hyperband.")
    patience: PatienceSettings | None = Field(default=None, description="Settings of patience.")

    @property
    def settings(self) -> StoppingSettings | None:
        """The settings of the rule, None when only defaults are used."""
        members: dict[StoppingRule, StoppingSettings | None] = {
            StoppingRule.MEDIAN: self.median,
            StoppingRule.PERCENTILE: self.percentile,
            StoppingRule.ASHA: self.asha,
            StoppingRule.SUCCESSIVE_HALVING: self.successive_halving,
            StoppingRule.HYPERBAND: self.hyperband,
            StoppingRule.PATIENCE: self.patience,
        }
        return members[self.rule]

    @property
    def pauses(self) -> bool:
        """Whether trials pause at rungs, to go on later."""
        promotes = self.rule is StoppingRule.ASHA and self.asha is not None and self.asha.promote
        return promotes or self.rule in {StoppingRule.SUCCESSIVE_HALVING, StoppingRule.HYPERBAND}
