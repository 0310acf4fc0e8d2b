"""The Trial: one evaluation of one assignment. Its specification never changes; its status only grows towards an end."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from seatrial.api.base import MetricName, Wire
from seatrial.api.conditions import Condition, TrialReason, find_condition
from seatrial.api.meta import Metadata
from seatrial.api.parameters import Choice

__all__ = [
    "AttemptRecord",
    "Checkpoint",
    "Membership",
    "MetricSummary",
    "Observation",
    "Origin",
    "Parent",
    "Trial",
    "TrialSpec",
    "TrialStatus",
    "reason_of",
]


NodeName = Annotated[str, StringConstraints(min_length=1, max_length=253)]


class Origin(Wire):
    """Where an assignment comes from."""

    algorithm: str = Field(max_length=63, description="initial (from spec.initialTrials) or the name of the algorithm.")
    detail: str = Field(
        default="",
        max_length=256,
        description="What the algorithm says of this suggestion: initial design, expected improvement, child of digits-7.",
    )


class Parent(Wire):
    """The checkpoint that a trial starts from."""

    trial: str = Field(max_length=63, description="Name of the parent trial.")
    step: int = Field(ge=0, description="Step of the checkpoint.")
    digest: str = Field(max_length=80, description="Digest of the checkpoint.")


class Membership(Wire):
    """The place of a trial in a population."""

    member: int = Field(ge=0, description="Number of the member, from 0.")
    generation: int = Field(ge=0, description="Intervals that had been trained when the trial began, from 0.")
    move: Literal["start", "continue", "exploit", "replace"] = Field(
        description="start: drawn at the beginning; continue: from the member's own checkpoint; exploit: the member was among the worst and takes over weights and assignment of a better one; replace: the same for a member that could not go on."
    )


class TrialSpec(Wire):
    """What is evaluated."""

    study: str = Field(max_length=63, description="Name of the study.")
    index: int = Field(ge=0, description="Number of the trial in its study, from 0 without gaps.")
    assignment: dict[str, Choice] = Field(
        description="Parameter values; inactive conditional parameters are absent.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    seed: int = Field(ge=0, le=2_147_483_647, description="Seed for the training itself.")
    origin: Origin = Field(description="Where the assignment comes from.")
    parent: Parent | None = Field(default=None, description="Checkpoint to start from.")
    until_step: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="Step at which this trial is complete, with a checkpoint: a part of a training. Default: steps.max.",
    )
    membership: Membership | None = Field(default=None, description="Its place in a population.")
    reuse_of: str | None = Field(
        default=None,
        max_length=63,
        description="Trial with exactly the same assignment, whose result is taken over instead of running again.",
    )


class MetricSummary(Wire):
    """One metric of a trial in a few numbers. NaN and infinities travel as the strings NaN, Infinity and -Infinity."""

    name: MetricName = Field(description="Name of the metric.")
    last: float | str = Field(description="Last value that was reported.")
    last_step: int | None = Field(default=None, description="Step of the last value.")
    min: float | None = Field(default=None, description="Smallest finite value.")
    max: float | None = Field(default=None, description="Largest finite value.")


class Checkpoint(Wire):
    """The last checkpoint of a trial."""

    step: int = Field(ge=0, description="Step at which it was written.")
    digest: str = Field(max_length=80, description="sha256: of its manifest.")
    path: str = Field(max_length=1024, description="Where it lies.")


class Observation(Wire):
    """What a trial found."""

    values: list[float | str] = Field(
        default_factory=list,
        max_length=4,
        description="Objective values in the order of spec.objectives, as the user states them.",
    )
    step: int | None = Field(default=None, description="Last step reached.")
    metrics: list[MetricSummary] = Field(
        default_factory=list, max_length=32, description="All metrics that were reported."
    )
    curve: list[tuple[int, float | str]] = Field(
        default_factory=list,
        max_length=64,
        description="The first objective by step, thinned.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    source: str = Field(
        default="",
        max_length=63,
        description="Where the final values come from: observations, termination-message, logs, prometheus.",
    )


class AttemptRecord(Wire):
    """How an earlier attempt ended."""

    attempt: int = Field(ge=0, description="Number of the attempt.")
    reason: str = Field(max_length=63, description="Why it ended.")
    message: str = Field(default="", max_length=512, description="The same in words.")
    infrastructure: bool = Field(
        default=False, description="Whether it was no fault of the trial, so that retries are not used up."
    )
    node: str = Field(default="", max_length=253, description="Node on which it ran, where that is known.")
    step: int | None = Field(
        default=None,
        ge=0,
        description="Last step that it is known to have reached. Losses count only while no attempt gets further.",
    )


class TrialStatus(Wire):
    """What happened to a trial."""

    attempt: int = Field(default=0, ge=0, description="Number of the current or last attempt.")
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="Summary condition Succeeded (its reason is the state), Stopped with the rule's reason, Resumable (False: its script kept no checkpoint).",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    observation: Observation | None = Field(default=None, description="What it found.")
    checkpoint: Checkpoint | None = Field(default=None, description="Its last checkpoint.")
    rung: int | None = Field(
        default=None, ge=0, description="Highest rung from which it went on; a paused trial waits at the next one."
    )
    attempts: list[AttemptRecord] = Field(
        default_factory=list, max_length=64, description="How earlier attempts ended (the last 64)."
    )
    retry_time: str | None = Field(
        default=None,
        description="The next attempt starts no earlier than this; in the past once it has.",
        json_schema_extra={"format": "date-time"},
    )
    excluded_nodes: list[NodeName] = Field(
        default_factory=list,
        max_length=32,
        description="Nodes that a rule of spec.trial.retryPolicy found faulty while this trial ran on them. No trial of the study is placed there again.",
    )
    start_time: str | None = Field(
        default=None, description="When the first attempt started.", json_schema_extra={"format": "date-time"}
    )
    completion_time: str | None = Field(
        default=None, description="When it ended.", json_schema_extra={"format": "date-time"}
    )
    gpu_seconds: float = Field(
        default=0.0, ge=0, description="Seconds that it held GPUs, summed over GPUs and attempts."
    )
    freed_bytes: int = Field(
        default=0, ge=0, description="What its attempts removed of checkpoints that nothing needs any more, in bytes."
    )
    run_seconds: float = Field(default=0.0, ge=0, description="Seconds that its attempts ran.")
    steps_trained: int = Field(
        default=0, ge=0, description="Steps that its attempts trained, all together; steps of a parent do not count."
    )
    progress: str = Field(
        default="", max_length=32, description="Last step of the steps of a full training, for people: 11/27."
    )
    objective_value: str = Field(
        default="",
        max_length=32,
        description="First objective in four digits, for people: 0.9644. The whole number is in observation.values.",
    )
    parameters: str = Field(default="", max_length=1024, description="The assignment in one line, for people.")


class Trial(Wire):
    """One evaluation of one assignment."""

    api_version: Literal["seatrial.dev/v1alpha1"] = Field(
        default="seatrial.dev/v1alpha1", description="seatrial.dev/v1alpha1"
    )
    kind: Literal["Trial"] = Field(default="Trial", description="Trial")
    metadata: Metadata = Field(description="Standard object metadata.")
    spec: TrialSpec = Field(description="What is evaluated. Immutable.")
    status: TrialStatus = Field(default_factory=TrialStatus, description="What happened to it.")


def reason_of(trial: Trial) -> TrialReason:
    """Return the trial's state in one word, Pending when it has no condition yet."""
    summary = find_condition(trial.status.conditions, "Succeeded")
    return TrialReason(summary.reason) if summary else TrialReason.PENDING
