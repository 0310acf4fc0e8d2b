"""What is known of one attempt of a trial: a process on a laptop, a Pod on a cluster."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = ["Attempt", "FinalMetric", "Phase", "Report", "ReportStatus", "SavedCheckpoint"]


class Phase(StrEnum):
    """Where an attempt stands."""

    WAITING = "Waiting"
    RUNNING = "Running"
    EXITED = "Exited"
    LOST = "Lost"


class ReportStatus(StrEnum):
    """What a trial says of its own end."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    PAUSED = "paused"
    DIVERGED = "diverged"
    INFEASIBLE = "infeasible"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalMetric:
    """One metric in the termination message; values may be NaN or infinite."""

    name: str
    last: float
    low: float | None = None
    high: float | None = None
    low_step: int | None = None
    high_step: int | None = None
    last_step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCheckpoint:
    """A checkpoint that a trial says it wrote."""

    step: int
    digest: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The termination message of an attempt, parsed.

    Attributes:
        status: None when the message has none (a minimal message without the SDK).
        reason: One word for machines that explains a failure; empty when it said none.
        curve: (step, value) of the first objective, thinned.
        freed_bytes: What the attempt removed of checkpoints that nothing needs.
        steps_trained: Steps of this attempt, without those before the checkpoint that it started from.
    """

    status: ReportStatus | None = None
    reason: str = ""
    step: int | None = None
    metrics: tuple[FinalMetric, ...] = ()
    curve: tuple[tuple[int, float], ...] = ()
    checkpoint: SavedCheckpoint | None = None
    freed_bytes: int = 0
    steps_trained: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt as its runner sees it now.

    Attributes:
        trial: Name of the trial.
        number: Number of the attempt, from 0.
        phase: Waiting (for a GPU, a core, an image), Running, Exited, or Lost (gone without a trace of how it ended).
        reason: CamelCase word: why it waits, or what ended it (``Insufficient``, ``OOMKilled``, ``Error``, ``SIGKILL``).
        message: The same in words, with the last lines of its output when it failed.
        exit_code: 128 + n for a signal n, as a shell and Kubernetes say it. None unless Exited.
        report: Its termination message, None when there is none (yet).
        started_at: When it began to run.
        finished_at: When it ended.
        gpus: Number of GPUs that it holds or held.
        infrastructure: Whether an end was no fault of the trial (evicted, preempted, node lost, runner killed).
        output: The last lines that it printed, where they are known; what rules of a retry policy are matched against.
        node: Name of the node that it was placed on; empty where there are no nodes.
        waits_since: While it waits: since when nothing but its container is missing. None while it waits for a place.
    """

    trial: str
    number: int
    phase: Phase
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    report: Report | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    gpus: float = 0.0
    infrastructure: bool = False
    notes: tuple[str, ...] = field(default=())
    output: str = ""
    node: str = ""
    waits_since: datetime | None = None
