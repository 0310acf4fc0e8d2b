"""Trials on the rungs of successive halving: who has come how far, with which value, and what a rule that pauses answers.

A trial climbs to the next rung, where its attempt ends and its value is recorded; there it waits until it is promoted or dismissed.
Values are minimised. Pure.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from seatrial.api.conditions import TrialReason
from seatrial.api.study import Objective, Summary
from seatrial.decide.rules.base import Measure, Rule
from seatrial.decide.snapshot import TrialSnapshot

__all__ = [
    "Climber",
    "Dismissal",
    "Field",
    "Pauser",
    "Place",
    "Promotion",
    "Verdicts",
    "build_climber",
    "halve",
    "measure_of",
]

_OUT_OF_THE_RACE = frozenset({TrialReason.REUSED, TrialReason.INFEASIBLE, TrialReason.CANCELLED})


class Place(Enum):
    """Where a trial is."""

    CLIMBING = "on its way to the next rung"
    WAITING = "paused at a rung"
    THROUGH = "trained in full"
    GONE = "over before the last step"
    BROKEN = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Climber:
    """One trial as rungs see it.

    Attributes:
        passed: Highest rung from which it went on, -1 for none.
        values: (rung, value) of the rungs that it has reached for good, increasing; +inf where the value is not finite.
    """

    index: int
    name: str
    passed: int
    values: tuple[tuple[int, float], ...]
    place: Place

    @property
    def waits_at(self) -> int | None:
        """The rung at which it waits for a verdict, None when it does not wait."""
        if self.place is not Place.WAITING:
            return None
        return next((rung for rung, _ in self.values if rung > self.passed), None)

    def value_at(self, rung: int) -> float | None:
        """Return its value at a rung, None when it has not come so far."""
        return next((value for at, value in self.values if at == rung), None)


def build_climber(trial: TrialSnapshot, ladder: Sequence[int], measure: Measure) -> Climber | None:
    """Return the trial as the rungs of *ladder* see it; None when it is no measure for others.

    Only what is recorded counts: the rungs that a trial has passed, and those that one reached that waits or is over. A trial that
    diverged is as bad as can be at the rung that it was on its way to.
    """
    if trial.reason in _OUT_OF_THE_RACE or (trial.reuse_of is not None and trial.live is None and not trial.terminal):
        return None
    passed = -1 if trial.rung is None else trial.rung
    place = _place(trial)
    reached = passed if place is Place.CLIMBING else max(passed, trial.curve.step or 0)
    points = trial.curve.points
    values = [(rung, measure.of(trial.curve.at(rung) or points[0])) for rung in ladder if points and rung <= reached]
    if trial.reason is TrialReason.DIVERGED:
        ahead = [rung for rung in ladder if rung > passed][:1]
        values = [*((rung, value) for rung, value in values if rung <= passed), *((rung, math.inf) for rung in ahead)]
    return Climber(index=trial.index, name=trial.name, passed=passed, values=tuple(values), place=place)


def _place(trial: TrialSnapshot) -> Place:
    match trial.reason:
        case TrialReason.PAUSED:
            return Place.WAITING
        case TrialReason.COMPLETED:
            return Place.THROUGH
        case TrialReason.FAILED:
            return Place.BROKEN
        case _:
            return Place.GONE if trial.terminal else Place.CLIMBING


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Let a waiting trial go on beyond the rung at which it waits; None where there are no rungs any more."""

    trial: str
    rung: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissal:
    """End a waiting trial: it will never be promoted."""

    trial: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a rule says of the trials that wait.

    Attributes:
        promotions: In the order in which free slots go to them.
        dismissals: Of trials whose rung is decided.
    """

    promotions: tuple[Promotion, ...] = ()
    dismissals: tuple[Dismissal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """All trials of a study, and what may still happen to it.

    Attributes:
        trials: By index.
        growing: Whether more trials may be created.
        moving: Whether a trial runs or is about to.
        created: Number of trials that exist, those that are no measure for others included.
        total: Number of trials that there will be when all are created, None when nobody knows.
        show: Writes a minimised value in the user's words.
    """

    trials: Sequence[Climber]
    growing: bool
    moving: bool
    created: int
    total: int | None
    show: Callable[[float], str]


class Pauser(Rule, Protocol):
    """A rule under which trials pause at rungs. Pure: the same verdicts for the same field, whoever came first."""

    def ladder(self, index: int) -> tuple[int, ...]:
        """Return the rungs of one trial, increasing and below the last step."""
        ...

    def decide(self, field: Field) -> Verdicts:
        """Say who of the waiting trials goes on, and who never will."""
        ...

    @property
    def measure(self) -> Measure:
        """What of a curve is compared at a rung."""
        ...


def measure_of(objective: Objective) -> Measure:
    """Return what of a curve is compared at a rung."""
    return Measure.BEST if objective.summary is Summary.BEST else Measure.VALUE


def halve(size: int, eta: int, times: int) -> int:
    """Return how many of *size* trials are left after *times* rungs: ``floor(size / eta**times)``, at least one."""
    return max(1, size // int(eta**times))
