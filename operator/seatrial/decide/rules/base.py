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
from seatrial.decide.changes import changed_places
from seatrial.decide.curves import Curve, Point
from seatrial.decide.snapshot import TrialSnapshot

__all__ = ["Cohort", "Judgement", "Measure", "Numbers", "Pass", "Rule", "Standings", "Stop"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Numbers in increasing order, held in two parts so that the many need not be sorted again for the few.

    Attributes:
        finished: Those of finished trials, increasing.
        running: Those of all others, increasing.
    """

    finished: Sequence[float]
    running: Sequence[float]

    def __len__(self) -> int:
        return len(self.finished) + len(self.running)

    def __getitem__(self, place: int) -> float:
        if not 0 <= place < len(self):
            raise IndexError(place)
        # What lies before this in one part is below *place* whatever the other part holds.
        first = max(0, place - len(self.running))
        return sorted([*self.finished[first : place + 1], *self.running])[place - first]

    def below(self, number: float) -> int:
        """Return how many are smaller than *number*."""
        return bisect_left(self.finished, number) + bisect_left(self.running, number)

    def without_running(self, number: float) -> "Numbers":
        """Return the numbers without one of a running trial."""
        place = bisect_left(self.running, number)
        return Numbers(finished=self.finished, running=[*self.running[:place], *self.running[place + 1 :]])


class Standings:
    """The numbers of a study's finished trials by step and measure, sorted; they never change and only grow in number.

    It may be thrown away at any time: it only makes the next plan faster.
    """

    def __init__(self) -> None:
        self._trials: Sequence[TrialSnapshot] = ()
        self._open: set[int] = set()
        self._curves: list[Curve] = []
        self._numbers: dict[tuple[int, Measure], list[float]] = {}

    def take(self, trials: Sequence[TrialSnapshot]) -> list[TrialSnapshot]:
        """Learn which trials are finished, and return the others that can be compared."""
        places = changed_places(self._trials, trials)
        if len(trials) < len(self._trials) or any(
            place < len(self._trials) and place not in self._open for place in places
        ):
            # A record of a finished trial was changed or taken away by hand: what was computed with it is of no use.
            self._trials, self._open, self._curves, self._numbers = (), set(), [], {}
            places = list(range(len(trials)))
        for place in places:
            self._open.discard(place)
            if not _is_finished(trials[place]):
                self._open.add(place)
            elif _is_comparable(trials[place]):
                self._add(trials[place].curve)
        self._trials = tuple(trials)
        return [trials[place] for place in sorted(self._open) if _is_comparable(trials[place])]

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

    def _add(self, curve: Curve) -> None:
        self._curves.append(curve)
        for (step, measure), numbers in self._numbers.items():
            if (curve.step or 0) >= step:
                insort(numbers, measure.of(_point(curve, step)))


# Steps and measures whose numbers are kept: those of ten thousand trials take 10 to 40 MB.
_STEPS_KEPT = 128


def _is_finished(trial: TrialSnapshot) -> bool:
    # A trial that is finished by the present plan still has its attempt: the curve that is stored of it is not known yet.
    return trial.terminal and trial.live is None


def _is_comparable(trial: TrialSnapshot) -> bool:
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
        self._numbers: dict[tuple[int, Measure], Numbers] = {}

    def numbers(self, step: int, measure: Measure) -> Numbers:
        """Return the numbers of all trials that reached *step*."""
        key = (step, measure)
        if key not in self._numbers:
            reached = (trial.curve for trial in self._others if (trial.curve.step or 0) >= step)
            running = sorted(measure.of(_point(curve, step)) for curve in reached)
            self._numbers[key] = Numbers(finished=self._standings.numbers(step, measure), running=running)
        return self._numbers[key]

    def others(self, trial: TrialSnapshot, step: int, measure: Measure) -> Numbers:
        """Return the numbers of all trials but *trial*, which runs and has reached *step*."""
        return self.numbers(step, measure).without_running(self.own(trial, step, measure))

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
