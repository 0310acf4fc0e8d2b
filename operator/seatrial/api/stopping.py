"""Rules that end a trial early, and their settings under a member of the rule's name."""

from enum import StrEnum

from pydantic import Field

from seatrial.api.base import Wire

__all__ = ["AshaSettings", "MedianSettings", "PatienceSettings", "PercentileSettings", "Stopping", "StoppingRule"]


class StoppingRule(StrEnum):
    """The rules of the table in :mod:`seatrial.decide.rules`."""

    MEDIAN = "median"
    PERCENTILE = "percentile"
    ASHA = "asha"
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
    """Asynchronous successive halving, stopping variant: at each rung only the best 1/eta go on."""

    eta: int = Field(default=3, ge=2, le=100, description="Reduction factor: the best 1/eta of a rung go on.")
    min_step: int = Field(
        default=1, ge=1, description="Step of the first rung; the next ones are minStep * eta, minStep * eta^2, …"
    )


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


class Stopping(Wire):
    """Early stopping of trials. Only the member named like the rule may be set."""

    rule: StoppingRule = Field(description="median, percentile, asha or patience.")
    median: MedianSettings | None = Field(default=None, description="Settings of median.")
    percentile: PercentileSettings | None = Field(default=None, description="Settings of percentile.")
    asha: AshaSettings | None = Field(default=None, description="Settings of asha.")
    patience: PatienceSettings | None = Field(default=None, description="Settings of patience.")
