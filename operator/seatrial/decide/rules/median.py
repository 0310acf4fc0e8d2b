"""The median stopping rule.

Source: Golovin et al. 2017, "Google Vizier", section 3.2.2: a trial is stopped at step s if its best objective value by s is
strictly worse than the median of the running averages, up to s, of the other trials that reached s.
"""

from dataclasses import dataclass

from seatrial.api.stopping import MedianSettings
from seatrial.api.study import StudySpec
from seatrial.decide.actions import StopReason
from seatrial.decide.rules.base import Cohort, Judgement, Measure, Stop
from seatrial.decide.snapshot import TrialSnapshot

__all__ = ["Median", "build_median"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """The rule with its settings."""

    min_trials: int
    min_step: int

    def rungs(self, max_step: int | None) -> tuple[int, ...]:  # noqa: ARG002 - the same signature for every rule
        """Return none: the rule looks at every step."""
        return ()

    def judge(self, trial: TrialSnapshot, cohort: Cohort) -> Judgement:
        """Compare the trial's best value with the others' running averages at its newest step."""
        step, last = trial.curve.step, trial.curve.last
        if step is None or last is None or step < self.min_step:
            return None
        others = cohort.others(trial, step, Measure.MEAN)
        if len(others) < self.min_trials:
            return None
        median = (others[(len(others) - 1) // 2] + others[len(others) // 2]) / 2
        if not last.low > median:
            return None
        return Stop(
            reason=StopReason.BELOW_MEDIAN,
            message=f"at step {step}: best value {cohort.show(last.low)} is worse than {cohort.show(median)}, the median of the averages of {len(others)} trials",
        )


def build_median(spec: StudySpec) -> Median:
    """Return the rule as the study sets it."""
    settings = (spec.stopping and spec.stopping.median) or MedianSettings()
    return Median(min_trials=settings.min_trials, min_step=settings.min_step)
