"""Stop a trial that no longer improves, whatever the others do."""

from dataclasses import dataclass

from seatrial.api.stopping import PatienceSettings
from seatrial.api.study import StudySpec
from seatrial.decide.actions import StopReason
from seatrial.decide.rules.base import Cohort, Judgement, Stop
from seatrial.decide.snapshot import TrialSnapshot

__all__ = ["Patience", "build_patience"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The rule with its settings."""

    steps: int
    min_delta: float
    min_step: int

    def rungs(self, max_step: int | None) -> tuple[int, ...]:  # noqa: ARG002 - the same signature for every rule
        """Return none: the rule looks at every step."""
        return ()

    def judge(self, trial: TrialSnapshot, cohort: Cohort) -> Judgement:
        """Compare the best value now with the best value *steps* steps ago."""
        step, last = trial.curve.step, trial.curve.last
        if step is None or last is None or step < self.min_step:
            return None
        before = trial.curve.at(step - self.steps)
        # Not yet long enough on its way, or an improvement of more than min_delta since then.
        if before is None or last.low < before.low - self.min_delta:
            return None
        return Stop(
            reason=StopReason.NO_IMPROVEMENT,
            message=f"at step {step}: best value {cohort.show(last.low)} has not improved by more than {self.min_delta:g} for {self.steps} steps",
        )


def build_patience(spec: StudySpec) -> Patience:
    """Return the rule as the study sets it."""
    settings = (spec.stopping and spec.stopping.patience) or PatienceSettings()
    return Patience(steps=settings.steps, min_delta=settings.min_delta, min_step=settings.min_step)
