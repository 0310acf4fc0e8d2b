"""What a stopping rule is asked and answers. Curves are minimised; messages speak the user's numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from seatrial.api.conditions import TrialReason
from seatrial.decide.actions import StopReason
from seatrial.decide.curves import Point
from seatrial.decide.snapshot import TrialSnapshot

__all__ = ["Cohort", "Judgement", "Pass", "Rule", "Stop"]

_WITHOUT_CURVE = frozenset({TrialReason.REUSED, TrialReason.FAILED, TrialReason.INFEASIBLE, TrialReason.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End the trial now."""

    reason: StopReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The trial was judged at a rung and goes on; it is not judged there again."""

    rung: int
    message: str


Judgement = Stop | Pass | None


class Cohort:
    """All trials of a study whose curves can be compared, and how their numbers read.

    Trials that failed, are infeasible, cancelled or reused are no measure for others; diverged ones are: they were as bad as can be.
    """

    def __init__(self, trials: Iterable[TrialSnapshot], *, sign: int) -> None:
        self.trials: Sequence[TrialSnapshot] = [
            trial for trial in trials if trial.curve.points and trial.reason not in _WITHOUT_CURVE
        ]
        self.sign = sign
        self._at: dict[int, list[tuple[str, Point]]] = {}

    def at(self, step: int) -> list[tuple[str, Point]]:
        """Return (trial, its point at *step*) for every trial that got that far, by index.

        The point is the newest one not later than *step*; for a trial that reports more coarsely, its first one.
        """
        if step not in self._at:
            reached = (trial for trial in self.trials if (trial.curve.step or 0) >= step)
            self._at[step] = [(trial.name, trial.curve.at(step) or trial.curve.points[0]) for trial in reached]
        return self._at[step]

    def show(self, value: float) -> str:
        """Write a minimised value in the user's words."""
        return f"{self.sign * value:.4g}"

    @cached_property
    def better(self) -> str:
        """The user's word for a better value."""
        return "lower" if self.sign > 0 else "higher"


class Rule(Protocol):
    """A stopping rule: pure, and the same answer for the same cohort whenever it is asked."""

    def judge(self, trial: TrialSnapshot, cohort: Cohort) -> Judgement:
        """Say whether a running trial that has reported at least one step should end.

        Args:
            trial: The trial; it is part of the cohort.
            cohort: All trials that can be compared.
        """
        ...

    def rungs(self, max_step: int | None) -> tuple[int, ...]:
        """Return the steps at which the rule needs exact values, increasing and below *max_step*."""
        ...
