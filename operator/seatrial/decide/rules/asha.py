"""Asynchronous successive halving, the variant that stops and never pauses.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", https://arxiv.org/abs/1810.05934, Algorithm 2 and
section 3.3 on the stopping variant. Rungs lie at ``min_step * eta**k``. A trial that reaches a rung goes on if it is among the
best ``max(1, floor(n / eta))`` of the n trials that have reached it so far, itself included. It is judged once at each rung.
"""

import math
from dataclasses import dataclass
from functools import cache

from seatrial.api.stopping import AshaSettings
from seatrial.api.study import StudySpec, Summary
from seatrial.decide.actions import StopReason
from seatrial.decide.rules.base import Cohort, Judgement, Measure, Pass, Stop
from seatrial.decide.snapshot import TrialSnapshot

__all__ = ["Asha", "build_asha", "places", "rung_steps"]

# Rungs beyond this step are not listed for a study that names no last step.
_FAR = 1_000_000_000


@cache
def rung_steps(*, min_step: int, eta: int, max_step: int | None) -> tuple[int, ...]:
    """Return the rungs below *max_step*: at the last step there is nothing left to stop."""
    steps, step = [], min_step
    while step < (max_step or _FAR):
        steps.append(step)
        step *= eta
    return tuple(steps)


def places(reached: int, eta: int) -> int:
    """Return how many of *reached* trials at a rung go on: the best 1/eta, at least one."""
    return max(1, reached // eta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asha:
    """The rule with its settings."""

    eta: int
    min_step: int
    best_so_far: bool
    max_step: int | None = None

    def rungs(self, max_step: int | None) -> tuple[int, ...]:
        """Return the rungs below *max_step*."""
        return rung_steps(min_step=self.min_step, eta=self.eta, max_step=max_step)

    def judge(self, trial: TrialSnapshot, cohort: Cohort) -> Judgement:
        """Judge the trial at the lowest rung that it has reached and was not judged at."""
        passed = -1 if trial.rung is None else trial.rung
        reached = trial.curve.step or 0
        rung = next((rung for rung in self.rungs(self.max_step) if passed < rung <= reached), None)
        if rung is None:
            return None
        measure = Measure.BEST if self.best_so_far else Measure.VALUE
        ranking, own = cohort.numbers(rung, measure), cohort.own(trial, rung, measure)
        place, keep = ranking.below(own) + 1, places(len(ranking), self.eta)
        # A tie with the last place that goes on goes on too: equal values give no ground to prefer one.
        if own <= ranking[keep - 1] and math.isfinite(own):
            return Pass(
                rung=rung,
                message=f"at step {rung}: {cohort.show(own)} is number {place} of {len(ranking)}; the best {keep} go on",
            )
        return Stop(
            reason=StopReason.NOT_PROMOTED,
            message=f"at step {rung}: {cohort.show(own)} is number {place} of {len(ranking)}, and only the best {keep} go on (eta {self.eta})",
        )


def build_asha(spec: StudySpec) -> Asha:
    """Return the rule as the study sets it."""
    settings = (spec.stopping and spec.stopping.asha) or AshaSettings()
    return Asha(
        eta=settings.eta,
        min_step=settings.min_step,
        best_so_far=spec.objectives[0].summary is Summary.BEST,
        max_step=spec.steps.max if spec.steps else None,
    )
