"""Successive halving and Hyperband: trials are judged together when all of their cohort have come to a rung.

Sources: Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
https://arxiv.org/abs/1502.07943; Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization",
https://jmlr.org/papers/v18/16-558.html, Algorithm 1: ``s_max = floor(log_eta(R))``; bracket s begins with
``n = ceil((s_max + 1) / (s + 1) * eta**s)`` trials of ``R / eta**s`` steps, and ``floor(n / eta**i)`` are left at its rung i.

A trial's cohort follows from its index alone. While a cohort waits for its last trials, free slots begin the next one. A failed trial
does not hold its cohort up, and its place is not given away. The last cohort may be smaller than planned; it is judged by its size.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from seatrial.api.stopping import HyperbandSettings, SuccessiveHalvingSettings
from seatrial.api.study import StudySpec
from seatrial.decide.rules.asha import rung_steps
from seatrial.decide.rules.base import Cohort, Judgement, Measure
from seatrial.decide.rules.ladder import Climber, Dismissal, Field, Place, Promotion, Verdicts, halve, measure_of
from seatrial.decide.rules.promotion import rank
from seatrial.decide.snapshot import TrialSnapshot

__all__ = [
    "Bracket",
    "Halving",
    "build_halving",
    "build_hyperband",
    "halving_brackets",
    "hyperband_brackets",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """One kind of cohort.

    Attributes:
        size: Number of trials that begin.
        ladder: Its rungs, increasing, below the last step.
    """

    size: int
    ladder: tuple[int, ...]


@cache
def halving_brackets(*, min_step: int, eta: int, max_step: int, size: int | None) -> tuple[Bracket, ...]:
    """Return the one bracket of successive halving; without a *size*, one of its trials is trained in full."""
    ladder = rung_steps(min_step=min_step, eta=eta, max_step=max_step)
    return (Bracket(size=eta ** len(ladder) if size is None else size, ladder=ladder),)


@cache
def hyperband_brackets(*, min_step: int, eta: int, max_step: int) -> tuple[Bracket, ...]:
    """Return the brackets of one round of Hyperband, the one with the most trials first.

    Steps are whole: rung i of bracket s lies at ``floor(max_step / eta**(s - i))``.
    """
    deepest = 0
    while min_step * eta ** (deepest + 1) <= max_step:
        deepest += 1
    return tuple(
        Bracket(
            # ceil of a fraction of whole numbers, without rounding.
            size=-(-(deepest + 1) * eta**s // (s + 1)),
            ladder=tuple(max_step // eta**k for k in range(s, 0, -1)),
        )
        for s in range(deepest, -1, -1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """The rule with its brackets, which follow each other again and again."""

    eta: int
    brackets: tuple[Bracket, ...]
    measure: Measure

    def rungs(self, max_step: int | None) -> tuple[int, ...]:
        """Return all rungs of all brackets below *max_step*."""
        steps = {rung for bracket in self.brackets for rung in bracket.ladder}
        return tuple(sorted(rung for rung in steps if max_step is None or rung < max_step))

    def ladder(self, index: int) -> tuple[int, ...]:
        """Return the rungs of the trial's bracket."""
        place = index % sum(bracket.size for bracket in self.brackets)
        for bracket in self.brackets:
            if place < bracket.size:
                return bracket.ladder
            place -= bracket.size
        raise AssertionError(index)

    def judge(self, trial: TrialSnapshot, cohort: Cohort) -> Judgement:  # noqa: ARG002 - the same signature for every rule
        """Return None: an attempt ends by itself at its rung."""
        return None

    def decide(self, field: Field) -> Verdicts:
        """Decide each rung of each cohort that is whole; higher rungs come first."""
        promotions: list[tuple[int, float, int, Promotion]] = []
        dismissals: list[Dismissal] = []
        known = {trial.index: trial for trial in field.trials}
        for first, bracket in self._cohorts(field):
            size = bracket.size if field.total is None else min(bracket.size, max(0, field.total - first))
            members = [known[i] for i in range(first, first + bracket.size) if i in known]
            # Somebody of a cohort that is not whole may still be created.
            if first + size <= field.created and any(trial.place is Place.WAITING for trial in members):
                self._judge_cohort(field, bracket, size, members, promotions, dismissals)
        order = sorted(promotions, key=lambda found: found[:3])
        return Verdicts(promotions=tuple(found[3] for found in order), dismissals=tuple(dismissals))

    def _cohorts(self, field: Field) -> Iterator[tuple[int, Bracket]]:
        """Yield first index and bracket of every cohort that has begun."""
        end = max((trial.index for trial in field.trials), default=-1) + 1
        first = 0
        while first < end:
            for bracket in self.brackets:
                yield first, bracket
                first += bracket.size

    def _judge_cohort(
        self,
        field: Field,
        bracket: Bracket,
        size: int,
        members: Sequence[Climber],
        promotions: list[tuple[int, float, int, Promotion]],
        dismissals: list[Dismissal],
    ) -> None:
        entrants: Sequence[Climber] = members
        for i, rung in enumerate(bracket.ladder):
            if any(_is_on_the_way(trial, rung) for trial in entrants):
                return
            keep = halve(size, self.eta, i + 1)
            ranking = rank(entrants, rung)
            chosen = {trial.name for value, trial in ranking[:keep] if math.isfinite(value)}
            for place, (value, trial) in enumerate(ranking, 1):
                if trial.waits_at != rung:
                    continue
                words = f"at step {rung}: {field.show(value)} is number {place} of {len(ranking)}"
                if trial.name in chosen:
                    promotion = Promotion(trial=trial.name, rung=rung, message=f"{words}; the best {keep} go on")
                    promotions.append((-rung, value, trial.index, promotion))
                else:
                    words += f", and only the best {keep} go on (eta {self.eta})"
                    dismissals.append(Dismissal(trial=trial.name, message=words))
            entrants = [trial for trial in entrants if trial.passed >= rung or trial.name in chosen]


def _is_on_the_way(trial: Climber, rung: int) -> bool:
    """Whether a trial may still come to a rung."""
    if trial.place is Place.CLIMBING:
        return trial.passed < rung
    # One that waits below has been chosen there and goes on as soon as there is a slot.
    return trial.place is Place.WAITING and trial.value_at(rung) is None


def build_halving(spec: StudySpec) -> Halving:
    """Return successive halving as the study sets it.

    Raises:
        ValueError: If the study names no last step.
    """
    settings = (spec.stopping and spec.stopping.successive_halving) or SuccessiveHalvingSettings()
    if spec.steps is None:
        raise ValueError("spec.stopping.rule: successiveHalving needs spec.steps.max")
    brackets = halving_brackets(
        min_step=settings.min_step, eta=settings.eta, max_step=spec.steps.max, size=settings.cohort_size
    )
    return Halving(eta=settings.eta, brackets=brackets, measure=measure_of(spec.objectives[0]))


def build_hyperband(spec: StudySpec) -> Halving:
    """Return Hyperband as the study sets it.

    Raises:
        ValueError: If the study names no last step.
    """
    settings = (spec.stopping and spec.stopping.hyperband) or HyperbandSettings()
    if spec.steps is None:
        raise ValueError("spec.stopping.rule: hyperband needs spec.steps.max")
    brackets = hyperband_brackets(min_step=settings.min_step, eta=settings.eta, max_step=spec.steps.max)
    return Halving(eta=settings.eta, brackets=brackets, measure=measure_of(spec.objectives[0]))
