"""Asynchronous successive halving with promotion: a trial pauses at each rung and goes on when it is among the best there.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", https://arxiv.org/abs/1810.05934, Algorithm 2, with
``s = 0``: ``get_job`` looks for a promotable trial from the highest rung down, ``top_k(rung, |rung| / eta)`` without those that were
promoted before, and otherwise grows the bottom rung.

Not in the paper: when no more trials come and nothing runs, the best of the highest rung that nobody has left goes on, one
rung after the other, so that a study of any size ends with a trial that was trained in full.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.api.stopping import AshaSettings
from seatrial.api.study import StudySpec
from seatrial.decide.rules.asha import rung_steps
from seatrial.decide.rules.base import Cohort, Judgement, Measure
from seatrial.decide.rules.ladder import Climber, Dismissal, Field, Place, Promotion, Verdicts, measure_of
from seatrial.decide.snapshot import TrialSnapshot

__all__ = ["Promotions", "build_promotions", "promotable", "rank"]


def rank(trials: Sequence[Climber], rung: int) -> list[tuple[float, Climber]]:
    """Return (value, trial) of all that have reached a rung, the best first, ties to the lower index."""
    found = [(value, trial) for trial in trials if (value := trial.value_at(rung)) is not None]
    return sorted(found, key=lambda pair: (pair[0], pair[1].index))


def promotable(ranking: Sequence[tuple[float, Climber]], rung: int, eta: int) -> list[tuple[int, Climber]]:
    """Return (place, trial), from 1, of the waiting trials among the best ``floor(n / eta)`` of the n at a rung."""
    best = ranking[: len(ranking) // eta]
    return [
        (place, trial)
        for place, (value, trial) in enumerate(best, 1)
        if trial.waits_at == rung and math.isfinite(value)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotions:
    """The rule with its settings."""

    eta: int
    min_step: int
    max_step: int
    measure: Measure

    def rungs(self, max_step: int | None) -> tuple[int, ...]:
        """Return the rungs below *max_step*."""
        return rung_steps(min_step=self.min_step, eta=self.eta, max_step=max_step)

    def ladder(self, index: int) -> tuple[int, ...]:  # noqa: ARG002 - the same signature for every rule
        """Return the rungs, the same for every trial."""
        return self.rungs(self.max_step)

    def judge(self, trial: TrialSnapshot, cohort: Cohort) -> Judgement:  # noqa: ARG002 - the same signature for every rule
        """Return None: an attempt ends by itself at its rung."""
        return None

    def decide(self, field: Field) -> Verdicts:
        """Promote from the highest rung down; at the very end see the last ones through and dismiss the rest."""
        rankings = [(rung, rank(field.trials, rung)) for rung in reversed(self.ladder(0))]
        promotions = [
            Promotion(trial=trial.name, rung=rung, message=self._words(field, rung, ranking, trial, place))
            for rung, ranking in rankings
            for place, trial in promotable(ranking, rung, self.eta)
        ]
        if promotions or field.growing or field.moving:
            return Verdicts(promotions=tuple(promotions))
        last = self._last(field, rankings)
        if last is not None:
            return Verdicts(promotions=(last,))
        dismissals = [
            Dismissal(trial=trial.name, message=self._refusal(field, rung, ranking, place))
            for rung, ranking in rankings
            for place, (_, trial) in enumerate(ranking, 1)
            if trial.waits_at == rung
        ]
        return Verdicts(dismissals=tuple(dismissals))

    def _last(self, field: Field, rankings: Sequence[tuple[int, list[tuple[float, Climber]]]]) -> Promotion | None:
        """Return the promotion of the best trial of the highest rung, unless one came further already."""
        if any(trial.place is Place.THROUGH for trial in field.trials):
            return None
        for rung, ranking in rankings:
            if any(trial.passed >= rung and trial.place is not Place.BROKEN for _, trial in ranking):
                return None
            for place, (value, trial) in enumerate(ranking, 1):
                if trial.waits_at == rung and math.isfinite(value):
                    words = f"at step {rung}: {field.show(value)} is number {place} of {len(ranking)}, and no more trials come: the best goes on"
                    return Promotion(trial=trial.name, rung=rung, message=words)
        return None

    def _words(
        self, field: Field, rung: int, ranking: Sequence[tuple[float, Climber]], trial: Climber, place: int
    ) -> str:
        value = trial.value_at(rung) or 0.0
        return f"at step {rung}: {field.show(value)} is number {place} of {len(ranking)}; the best {len(ranking) // self.eta} go on"

    def _refusal(self, field: Field, rung: int, ranking: Sequence[tuple[float, Climber]], place: int) -> str:
        value, keep = ranking[place - 1][0], len(ranking) // self.eta
        rest = f"only the best {keep} go on" if keep else "of so few nobody goes on"
        return f"at step {rung}: {field.show(value)} is number {place} of {len(ranking)}, and {rest} (eta {self.eta})"


def build_promotions(spec: StudySpec) -> Promotions:
    """Return the rule as the study sets it.

    Raises:
        ValueError: If the study names no last step.
    """
    settings = (spec.stopping and spec.stopping.asha) or AshaSettings()
    if spec.steps is None:
        raise ValueError("spec.stopping.asha.promote needs spec.steps.max")
    return Promotions(
        eta=settings.eta, min_step=settings.min_step, max_step=spec.steps.max, measure=measure_of(spec.objectives[0])
    )
