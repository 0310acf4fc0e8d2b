"""What every algorithm is given and gives back: history in, suggestions out, nothing kept.

An algorithm is a frozen value made from a space, a seed and its settings. It is asked with the whole history each time, so that
it can be rebuilt anywhere: the same (space, seed, settings, history) give the same suggestions. An instance may remember what it
computed to be faster, never to be right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from seatrial.search.space import Assignment, Key, SearchSpace

__all__ = [
    "Algorithm",
    "Ask",
    "Evaluated",
    "Exhausted",
    "History",
    "Membership",
    "Move",
    "Pending",
    "Saved",
    "Segment",
    "Settings",
    "Source",
    "Suggestion",
    "Why",
]


class Move(StrEnum):
    """How a member of a population comes to its next trial."""

    START = "start"
    CONTINUE = "continue"
    EXPLOIT = "exploit"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The place of a trial in a population.

    Attributes:
        member: Number of the member, from 0.
        generation: How many intervals had been trained when the trial began, from 0.
        move: start (drawn at the beginning), continue (from its own checkpoint), exploit (a loser takes a winner's checkpoint and
            assignment), replace (the same for a member that cannot go on).
    """

    member: int
    generation: int
    move: Move


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The last checkpoint of a trial, as its record has it."""

    step: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The checkpoint that a trial starts from: index of the trial that wrote it, its step and its digest."""

    trial: int
    step: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a schedule: train with *assignment* until *until_step*."""

    until_step: int
    assignment: Assignment


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A trial with an outcome.

    Attributes:
        index: Its number in the study.
        assignment: Active parameters.
        values: One number for each objective, minimised. Finite unless the trial *failed*: then all are +inf.
        violations: One number for each outcome constraint, by how much it is violated; 0 or less means kept.
        step: Last step of training, None when the trial reports none.
        stopped: Whether a rule ended it early, so that its values speak of *step* and not of a full training.
        failed: Whether it has no usable result: it diverged, is infeasible or failed.
        until_step: Step until which it was to train, None for a full training.
        saved: Its last checkpoint, None when it wrote none.
        source: The checkpoint that it started from.
        membership: Its place in a population, None outside of one.
    """

    index: int
    assignment: Assignment
    values: tuple[float, ...]
    violations: tuple[float, ...] = ()
    step: int | None = None
    stopped: bool = False
    failed: bool = False
    until_step: int | None = None
    saved: Saved | None = None
    source: Source | None = None
    membership: Membership | None = None

    @property
    def feasible(self) -> bool:
        """Whether it has a result and keeps all constraints."""
        return not self.failed and all(violation <= 0 for violation in self.violations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A trial without an outcome yet; the other attributes are those of :class:`Evaluated`."""

    index: int
    assignment: Assignment
    until_step: int | None = None
    source: Source | None = None
    membership: Membership | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the search knows. The order in which trials finished is not part of it.

    Attributes:
        evaluated: Trials with an outcome, by index.
        pending: Trials without one, by index.
        next_index: Index that the next trial gets; trials that reuse another's result have an index but are in neither list.
    """

    evaluated: tuple[Evaluated, ...] = ()
    pending: tuple[Pending, ...] = ()
    next_index: int = 0

    def keys(self, space: SearchSpace) -> frozenset[Key]:
        """Identities of all assignments that are evaluated or pending."""
        evaluated = frozenset(space.keys_of_trials(trial.assignment for trial in self.evaluated))
        return evaluated.union(space.keys_of_trials(trial.assignment for trial in self.pending))

    def with_pending(self, assignment: Assignment) -> "History":
        """Return the history after one more trial was started."""
        new = Pending(index=self.next_index, assignment=assignment)
        return History(evaluated=self.evaluated, pending=(*self.pending, new), next_index=self.next_index + 1)

    def with_suggestion(self, suggestion: "Suggestion") -> "History":
        """Return the history after a suggestion became a trial."""
        new = Pending(
            index=self.next_index,
            assignment=suggestion.assignment,
            until_step=suggestion.until_step,
            source=suggestion.source,
            membership=suggestion.membership,
        )
        return History(evaluated=self.evaluated, pending=(*self.pending, new), next_index=self.next_index + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """An assignment worth a trial.

    Attributes:
        assignment: Active parameters.
        algorithm: Name of the algorithm that found it (``auto`` says whom it asked).
        detail: Where it comes from, in a few words for people.
        until_step: Train until this step, save a checkpoint there and end; None for a full training.
        source: Checkpoint to start from, None to start anew.
        membership: Its place in a population.
    """

    assignment: Assignment
    algorithm: str
    detail: str = ""
    until_step: int | None = None
    source: Source | None = None
    membership: Membership | None = None


class Why(StrEnum):
    """Why an algorithm has nothing more to suggest; the value is the reason of the study's condition."""

    SPACE = "SearchSpaceExhausted"
    TRAINED = "TrainingComplete"
    NO_CHECKPOINT = "NoCheckpoint"
    LOST = "PopulationLost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """Why there are no more suggestions."""

    message: str
    why: Why = Why.SPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Answer of an algorithm.

    Attributes:
        suggestions: At most as many as were asked for. Fewer without an end means that the next one depends on trials that still run.
        exhausted: Set when the algorithm has nothing more to suggest, now and later.
    """

    suggestions: tuple[Suggestion, ...] = ()
    exhausted: Exhausted | None = None


class Algorithm(Protocol):
    """A search algorithm. Implementations are made by a factory of the table in :mod:`seatrial.search.algorithms`."""

    def ask(self, history: History, count: int) -> Ask:
        """Return up to *count* suggestions for the trials ``history.next_index`` and following.

        None of them is in the history or repeated, except when every assignment of a finite space has been used: then the answer
        is exhausted. Suggestion k sees the suggestions before it as pending.
        """
        ...

    def recommend(self, history: History) -> int | None:
        """Return the index of the trial to choose as the winner, None when no feasible one exists.

        One objective: the lowest value by default; a model may prefer a trial whose low value is not luck. Only trials that were
        trained in full count, unless there is none.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of any algorithm, flattened: the factory picks what it knows.

    Attributes:
        seed: Of the study.
        objectives: Number of objectives, at least 1.
        max_trials: Budget, None when unlimited.
        max_step: Steps of a full training, None when unknown.
        numbers: Numeric settings by snake_case name, ``population_size``.
        resolutions: Grid points by parameter name.
        words: Settings that are one of several words, by snake_case name, ``explore``.
        mutable: Parameters that may change after the start of a training; empty for all.
        initial: Assignments that a population begins with.
        schedule: Segments to be trained one after the other.
    """

    seed: int = 0
    objectives: int = 1
    max_trials: int | None = None
    max_step: int | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    resolutions: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    mutable: frozenset[str] = frozenset()
    initial: Sequence[Assignment] = ()
    schedule: Sequence[Segment] = ()
