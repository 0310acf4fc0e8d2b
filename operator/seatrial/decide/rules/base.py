"""What a stopping rule is asked and answers. Curves are minimised; messages speak the user's numbers."""

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Protocol

from seatrial.api.conditions import TrialReason
from seatrial.decide.actions import StopReason
from seatrial.decide.curves import Curve, Point
from seatrial.decide.snapshot import TrialSnapshot

__all__ = ["Cohort", "Judgement", "Measure", "Pass", "Rule", "Standings", "Stop"]

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


class Measure(StrEnum):
    """What of a point is compared; a number that is not finite counts as the worst."""

    VALUE = "value"
    BEST = "best"
    MEAN = "mean"

    def of(self, point: Point) -> float:
        """Return the number, +inf where it is not finite."""
        number = point.value if self is Measure.VALUE else point.low if self is Measure.BEST else point.mean
        return number if math.isfinite(number) else math.inf


class Standings:
    """The numbers of a study's finished trials by step and measure, sorted; they never change and only grow in number.

    It may be thrown away at any time: it only makes the next plan faster.
    """

    def __init__(self) -> None:
        self._known: dict[str, TrialSnapshot] = {}
        self._curves: list[Curve] = []
        self._numbers: dict[tuple[int, Measure], list[float]] = {}

    def take(self, trials: Sequence[TrialSnapshot]) -> list[TrialSnapshot]:
        """Learn which trials are finished, and return the others that can be compared."""
        known, news, others, met = self._known, [], [], 0
        for trial in trials:
            # A trial that is finished by the present plan still has its attempt: its stored curve is not known yet.
            if not trial.terminal or trial.live is not None:
                others.append(trial)
            elif known.get(trial.name) is trial:
                met += 1
            else:
                news.append(trial)
        if met != len(known):
            # A record was changed or taken away by hand: what was computed with it is of no use.
            for computed in (self._known, self._curves, self._numbers):
                computed.clear()
            return self.take(trials)
        for trial in news:
            self._add(trial)
        return [trial for trial in others if _comparable(trial)]

    def numbers(self, step: int, measure: Measure) -> list[float]:
        """Return the numbers of the finished trials that reached *step*, increasing."""
        key = (step, measure)
        found = self._numbers.pop(key, None)
        if found is None:
            found = sorted(measure.of(_point(curve, step)) for curve in self._curves if (curve.step or 0) >= step)
            if len(self._numbers) >= _STEPS_KEPT:
                del self._numbers[next(iter(self._numbers))]
        # The step that was asked for last is dropped last.
        self._numbers[key] = found
        return found

    def _add(self, trial: TrialSnapshot) -> None:
        self._known[trial.name] = trial
        if not _comparable(trial):
            return
        curve = trial.curve
        self._curves.append(curve)
        for (step, measure), numbers in self._numbers.items():
            if (curve.step or 0) >= step:
                insort(numbers, measure.of(_point(curve, step)))


# Steps and measures whose numbers are kept: those of ten thousand trials take 10 to 40 MB.
_STEPS_KEPT = 128


def _comparable(trial: TrialSnapshot) -> bool:
    return bool(trial.curve.points) and trial.reason not in _WITHOUT_CURVE


def _point(curve: Curve, step: int) -> Point:
    """Return the newest point not later than *step*; of a trial that reports more coarsely, its first one."""
    return curve.at(step) or curve.points[0]


class Cohort:
    """All trials of a study whose curves can be compared, and how their numbers read.

    Trials that failed, are infeasible, cancelled or reused are no measure for others; diverged ones are: they were as bad as can be.
    """

    def __init__(self, trials: Sequence[TrialSnapshot], *, sign: int, standings: Standings | None = None) -> None:
        self.sign = sign
        self._standings = standings or Standings()
        self._others = self._standings.take(trials)
        self._numbers: dict[tuple[int, Measure], list[float]] = {}

    def numbers(self, step: int, measure: Measure) -> list[float]:
        """Return the numbers of all trials that reached *step*, increasing. Callers do not change the list."""
        key = (step, measure)
        if key not in self._numbers:
            reached = (trial.curve for trial in self._others if (trial.curve.step or 0) >= step)
            own = [measure.of(_point(curve, step)) for curve in reached]
            self._numbers[key] = sorted([*self._standings.numbers(step, measure), *own])
        return self._numbers[key]

    def others(self, trial: TrialSnapshot, step: int, measure: Measure) -> list[float]:
        """Return the numbers of all trials but *trial*, which has reached *step*, increasing."""
        numbers = list(self.numbers(step, measure))
        del numbers[bisect_left(numbers, self.own(trial, step, measure))]
        return numbers

    def own(self, trial: TrialSnapshot, step: int, measure: Measure) -> float:
        """Return the number of one trial at *step*, by the same reading as everybody's."""
        return measure.of(_point(trial.curve, step))

    def show(self, value: float) -> str:
        """Write a minimised value in the user's words."""
        return f"{self.sign * value + 0.0:.4g}"

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
