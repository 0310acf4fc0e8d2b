"""Stop a trial whose best value so far is not among the best percentile of the others' best values at the same step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.api.stopping import PercentileSettings
from seatrial.api.study import StudySpec
from seatrial.decide.actions import StopReason
from seatrial.decide.rules.base import Cohort, Judgement, Measure, Numbers, Stop
from seatrial.decide.snapshot import TrialSnapshot

__all__ = ["Percentile", "build_percentile", "percentile"]


def percentile(ordered: Sequence[float] | Numbers, percent: float) -> float:
    """Return the *percent*-th percentile of *ordered* by linear interpolation between order statistics.

    Args:
        ordered: At least one number, increasing; +inf is allowed.
        percent: Between 0 and 100.
    """
    place = (len(ordered) - 1) * percent / 100.0
    below = math.floor(place)
    share = place - below
    # Without this, 0 * inf would be NaN.
    if share == 0 or below + 1 >= len(ordered):
        return ordered[below]
    return ordered[below] * (1 - share) + ordered[below + 1] * share


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """The rule with its settings."""

    percent: float
    min_trials: int
    min_step: int

    def rungs(self, max_step: int | None) -> tuple[int, ...]:  # noqa: ARG002 - the same signature for every rule
        """Return none: the rule looks at every step."""
        return ()

    def judge(self, trial: TrialSnapshot, cohort: Cohort) -> Judgement:
        """Compare the trial's best value with the others' best values at its newest step."""
        step, last = trial.curve.step, trial.curve.last
        if step is None or last is None or step < self.min_step:
            return None
        others = cohort.others(trial, step, Measure.BEST)
        if len(others) < self.min_trials:
            return None
        bar = percentile(others, self.percent)
        if not last.low > bar:
            return None
        return Stop(
            reason=StopReason.BELOW_PERCENTILE,
            message=f"at step {step}: best value {cohort.show(last.low)} is worse than {cohort.show(bar)}, which the best {self.percent:g} % of {len(others)} trials reach",
        )


def build_percentile(spec: StudySpec) -> Percentile:
    """Return the rule as the study sets it."""
    settings = (spec.stopping and spec.stopping.percentile) or PercentileSettings()
    return Percentile(percent=settings.percentile, min_trials=settings.min_trials, min_step=settings.min_step)
