"""Conditions as Kubernetes writes them, and the machine-readable reasons that Seatrial uses."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from pydantic import Field

from seatrial.api.base import Wire

__all__ = ["Condition", "ConditionStatus", "StudyReason", "TrialReason", "find_condition", "with_condition"]

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Wire):
    """One condition of a Study or a Trial."""

    type: str = Field(
        min_length=1,
        max_length=63,
        description="CamelCase name of the condition, an adjective or a participle: Succeeded, Suspended, Stopped.",
    )
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="CamelCase word for machines.",
    )
    message: str = Field(default="", max_length=1024, description="One sentence for people.")
    last_transition_time: str = Field(
        description="When the status last changed, RFC 3339, UTC.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: int | None = Field(
        default=None, ge=0, description="Generation of the specification that the condition speaks of."
    )


class TrialReason(StrEnum):
    """Reasons of a Trial's summary condition ``Succeeded``: the state of the trial in one word.

    While the condition is Unknown: Pending, Running, Stopping, Paused (it waits at a rung and holds nothing). True: Completed, Stopped, Reused. False: Failed, Diverged, Infeasible, Cancelled.
    """

    PENDING = "Pending"
    RUNNING = "Running"
    STOPPING = "Stopping"
    PAUSED = "Paused"
    COMPLETED = "Completed"
    STOPPED = "Stopped"
    REUSED = "Reused"
    FAILED = "Failed"
    DIVERGED = "Diverged"
    INFEASIBLE = "Infeasible"
    CANCELLED = "Cancelled"

    @property
    def status(self) -> ConditionStatus:
        """Status of the summary condition that carries this reason."""
        if self in _OPEN:
            return "Unknown"
        return "True" if self in {TrialReason.COMPLETED, TrialReason.STOPPED, TrialReason.REUSED} else "False"

    @property
    def terminal(self) -> bool:
        """Whether the trial's story is over; a terminal trial never changes again."""
        return self not in _OPEN


_OPEN = frozenset({TrialReason.PENDING, TrialReason.RUNNING, TrialReason.STOPPING, TrialReason.PAUSED})


class StudyReason(StrEnum):
    """Reasons of a Study's summary condition ``Succeeded``."""

    RUNNING = "Running"
    SUSPENDED = "Suspended"
    WAITING = "Waiting"
    MAX_TRIALS_REACHED = "MaxTrialsReached"
    TARGET_REACHED = "TargetReached"
    SEARCH_SPACE_EXHAUSTED = "SearchSpaceExhausted"
    TRAINING_COMPLETE = "TrainingComplete"
    MAX_DURATION_REACHED = "MaxDurationReached"
    MAX_GPU_HOURS_REACHED = "MaxGPUHoursReached"
    MAX_FAILED_TRIALS_EXCEEDED = "MaxFailedTrialsExceeded"
    NO_TRIAL_SUCCEEDED = "NoTrialSucceeded"
    NO_CHECKPOINT = "NoCheckpoint"
    POPULATION_LOST = "PopulationLost"
    INVALID_SPEC = "InvalidSpec"

    @property
    def status(self) -> ConditionStatus:
        """Status of the summary condition that carries this reason."""
        if self in {StudyReason.RUNNING, StudyReason.SUSPENDED, StudyReason.WAITING}:
            return "Unknown"
        failed = {
            StudyReason.MAX_FAILED_TRIALS_EXCEEDED,
            StudyReason.NO_TRIAL_SUCCEEDED,
            StudyReason.NO_CHECKPOINT,
            StudyReason.POPULATION_LOST,
            StudyReason.INVALID_SPEC,
        }
        return "False" if self in failed else "True"

    @property
    def terminal(self) -> bool:
        """Whether the study rests until its specification changes."""
        return self.status != "Unknown"

    @property
    def concludes(self) -> bool:
        """Whether the study has come to its end: one whose specification is not valid only waits for a better one."""
        return self.terminal and self is not StudyReason.INVALID_SPEC


def find_condition(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """Return the condition of type *kind*, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


def with_condition(conditions: Sequence[Condition], new: Condition) -> list[Condition]:
    """Return *conditions* with *new* in place of the one of its type; an unchanged status keeps its transition time."""
    old = find_condition(conditions, new.type)
    if old is not None and old.status == new.status:
        new = new.model_copy(update={"last_transition_time": old.last_transition_time})
    kept = [condition for condition in conditions if condition.type != new.type]
    return sorted([*kept, new], key=lambda condition: condition.type)
