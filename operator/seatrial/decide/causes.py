"""Why attempts end, and what follows from it: one table, the same for a laptop and a cluster. docs/retries.md is written from it.

A cause is found in what a runner says of an attempt (:func:`find_cause`); its row says whose fault it was, whether it uses up the
trial's retries, when the next attempt starts, and what the search is told. Must not: look at a trial's history, or decide.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from seatrial.decide.attempts import Attempt, Phase, ReportStatus

__all__ = [
    "CANNOT_START_LIMIT",
    "LOSSES",
    "TREATMENTS",
    "Backoff",
    "Cause",
    "Counts",
    "Fault",
    "Told",
    "Treatment",
    "find_cause",
    "start_deadline",
]

LOSSES = 20
"""How often in a row a trial is started again, without getting any further, after ends that were no fault of its own.

Arbitrary: enough for a bad day, not for ever."""

CANNOT_START_LIMIT = 3
"""How many attempts in a row may wait in vain for their container to be created or to begin."""


class Cause(StrEnum):
    """Why an attempt ended or does not begin; the value is the reason word of its record."""

    PREEMPTED = "Preempted"
    EVICTED = "Evicted"
    DRAINED = "NodeDrained"
    NODE_LOST = "NodeLost"
    NODE_REFUSED = "NodeRefused"
    DELETED = "Deleted"
    KUEUE = "StoppedByKueue"
    LOST = "Lost"
    ENDED_FROM_OUTSIDE = "EndedFromOutside"
    PAUSED_UNASKED = "PausedUnasked"
    NODE_FAULT = "NodeFault"
    RETRIED_BY_RULE = "RetriedByRule"
    UNREACHABLE = "CheckpointsUnreachable"
    CANNOT_START = "CannotStart"
    START_TIMEOUT = "StartTimeout"
    UNWANTED = "PodRefused"
    NO_ROOM = "Insufficient"
    LAID_DOWN = "Suspended"
    EXIT = "Error"
    INIT_FAILED = "InitContainerFailed"
    STORAGE = "StorageExceeded"
    TIMEOUT = "Timeout"
    NOT_REPORTED = "MetricNotReported"
    PARENT_MISSING = "ParentCheckpointMissing"
    PARENT_CORRUPT = "ParentCheckpointCorrupt"
    FAILED_BY_RULE = "FailedByRule"
    OUT_OF_MEMORY = "OOMKilled"
    INFEASIBLE = "Infeasible"
    INFEASIBLE_BY_RULE = "InfeasibleByRule"
    DIVERGED = "Diverged"


class Fault(StrEnum):
    """Who is to blame."""

    CLUSTER = "the cluster"
    TRIAL = "the training"
    ASSIGNMENT = "the assignment"
    SPECIFICATION = "the specification"
    NOBODY = "nobody: it was asked for"


class Counts(StrEnum):
    """What an end is counted against."""

    NOTHING = "nothing"
    LOSSES = "losses in a row"
    STARTS = "starts in vain"
    RETRIES = "trial.retries"
    ONCE = "never tried again"


class Told(StrEnum):
    """What the search learns when a trial ends for good by this cause."""

    FAILED = "failed: as bad"
    BAD = "a result: as bad"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """When the next attempt starts.

    It waits *base_seconds*, the one after it twice that, and so on, at most *cap_seconds*, all of it a quarter longer or shorter by
    chance, so that trials that were hit together do not come back together.

    Attributes:
        at_once: Whether the first one is started without a wait, so that the second one waits *base_seconds*.
    """

    base_seconds: float = 10.0
    cap_seconds: float = 300.0
    at_once: bool = True

    def delay_seconds(self, earlier: int, *, seed: int, trial: str, attempt: int) -> float:
        """Return how long the next attempt waits.

        Args:
            earlier: Ends of this kind before the one at hand.
            seed: Of the trial. Chance is made of it, the name and the attempt, so that planning again plans the same.
            trial: Name of the trial.
            attempt: Number of the attempt that ended.
        """
        doublings = earlier - self.at_once
        if doublings < 0:
            return 0.0
        # Beyond 2^20 any base is above any cap.
        plain = min(self.cap_seconds, self.base_seconds * 2.0 ** min(doublings, 20))
        digest = hashlib.sha256(f"{seed}/{trial}/{attempt}".encode()).digest()
        return plain * (0.75 + 0.5 * int.from_bytes(digest[:8], "big") / 2**64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """One row of the table.

    Attributes:
        what: What happened, for people; begins the message of the attempt's record.
        signs: Reason words of Kubernetes or of a laptop by which it is known.
        fault: Who is to blame.
        counts: What it is counted against.
        limit: How many of that kind there may be; None where trial.retries says so or there is no limit.
        backoff: When the next attempt starts, None where none follows.
        told: What the search learns when this cause ends the trial.
        advice: What a user may do.
    """

    what: str
    signs: tuple[str, ...] = ()
    fault: Fault
    counts: Counts
    limit: int | None = None
    backoff: Backoff | None = None
    told: Told = Told.FAILED
    advice: str = ""

    @property
    def resumes(self) -> bool:
        """Whether an attempt follows, which goes on from the last checkpoint."""
        return self.counts is not Counts.ONCE


def _infrastructure(what: str, *signs: str, advice: str = "") -> Treatment:
    return Treatment(
        what=what,
        signs=signs,
        fault=Fault.CLUSTER,
        counts=Counts.LOSSES,
        limit=LOSSES,
        backoff=Backoff(),
        advice=advice,
    )


def _own(what: str, *signs: str, advice: str = "") -> Treatment:
    return Treatment(what=what, signs=signs, fault=Fault.TRIAL, counts=Counts.RETRIES, backoff=Backoff(), advice=advice)


def _final(what: str, *signs: str, fault: Fault, told: Told, advice: str = "") -> Treatment:
    return Treatment(what=what, signs=signs, fault=fault, counts=Counts.ONCE, told=told, advice=advice)


TREATMENTS: Mapping[Cause, Treatment] = {
    Cause.PREEMPTED: _infrastructure(
        "a Pod of higher priority took its place",
        "PreemptionByScheduler",
        "Preempting",
        advice="give trials a priorityClassName of their own, or let them checkpoint more often",
    ),
    Cause.EVICTED: _infrastructure(
        "its node ran short of memory, disk or processes",
        "TerminationByKubelet",
        "Evicted",
        advice="request as much memory and ephemeral-storage as a trial uses",
    ),
    Cause.DRAINED: _infrastructure(
        "its node was drained or shut down, or it was evicted by request",
        "EvictionByEvictionAPI",
        "NodeShutdown",
        "Terminated",
        "Shutdown",
    ),
    Cause.NODE_LOST: _infrastructure(
        "its node is unreachable or gone", "DeletionByTaintManager", "DeletionByPodGC", "NodeLost"
    ),
    Cause.NODE_REFUSED: _infrastructure(
        "its node did not take it",
        "OutOfcpu",
        "OutOfmemory",
        "OutOfpods",
        "NodeAffinity",
        "NodeName",
        "NodePorts",
        "UnexpectedAdmissionError",
        "PodOSNotSupported",
    ),
    Cause.DELETED: _infrastructure(
        "somebody deleted its Pod", "Deleted", "SIGTERM", "SIGKILL", advice="use spec.suspend to pause a study"
    ),
    Cause.KUEUE: _infrastructure(
        "Kueue took its place back", "StoppedByKueue", advice="look at its Workload: kubectl describe workload"
    ),
    Cause.LOST: _infrastructure(
        "it is gone without a trace of how it ended", "Lost", "ContainerStatusUnknown", "NotTaken"
    ),
    Cause.ENDED_FROM_OUTSIDE: _infrastructure("it was asked to end by somebody else, and did so in good order"),
    Cause.PAUSED_UNASKED: Treatment(
        what="it said that it paused at a step, where nobody had asked it to",
        fault=Fault.TRIAL,
        counts=Counts.LOSSES,
        limit=LOSSES,
        backoff=Backoff(),
        advice="end before the last step only at SEATRIAL_UNTIL_STEP, as the harness does",
    ),
    Cause.NODE_FAULT: _infrastructure(
        "a rule of retryPolicy with action: excludeNode matched",
        advice="have the node looked at: trial.status.excludedNodes",
    ),
    Cause.RETRIED_BY_RULE: _infrastructure("a rule of retryPolicy with action: retry matched"),
    Cause.UNREACHABLE: _infrastructure(
        "the volume or the object store that holds its checkpoints did not answer",
        advice="look at spec.trial.checkpoints, the volume named checkpoints, and the credentials in the template's env",
    ),
    Cause.CANNOT_START: Treatment(
        what="its container could not be created",
        signs=(
            "ImagePullBackOff",
            "ErrImagePull",
            "ImageInspectError",
            "RegistryUnavailable",
            "SignatureValidationFailed",
            "InvalidImageName",
            "ErrImageNeverPull",
            "CreateContainerConfigError",
            "CreateContainerError",
            "CreateContainer",
            "PreCreateHookError",
        ),
        fault=Fault.SPECIFICATION,
        counts=Counts.STARTS,
        limit=CANNOT_START_LIMIT,
        backoff=Backoff(base_seconds=30.0, at_once=False),
        advice="correct the image, its pull secret, or the ConfigMap or Secret that the container names; the next attempt uses the edited template",
    ),
    Cause.START_TIMEOUT: Treatment(
        what="its container did not begin within trial.startTimeout",
        signs=("StartTimeout", "ContainerCreating", "PodInitializing"),
        fault=Fault.SPECIFICATION,
        counts=Counts.STARTS,
        limit=CANNOT_START_LIMIT,
        backoff=Backoff(base_seconds=30.0, at_once=False),
        advice="kubectl describe its Pod: a ConfigMap, a Secret or a volume is missing, or an image is large; create it, correct the template, or raise trial.startTimeout",
    ),
    Cause.UNWANTED: Treatment(
        what="the API server does not take its Pod",
        signs=("PodForbidden", "PodSecurity", "PodInvalid"),
        fault=Fault.SPECIFICATION,
        counts=Counts.NOTHING,
        backoff=Backoff(base_seconds=15.0, at_once=False),
        told=Told.NOTHING,
        advice="correct spec.trial.template, or the policy that the server's words name",
    ),
    Cause.NO_ROOM: Treatment(
        what="it waits for room",
        signs=("Insufficient", "Unschedulable", "SchedulingGated", "QuotaExceeded"),
        fault=Fault.NOBODY,
        counts=Counts.NOTHING,
        told=Told.NOTHING,
        advice="wait, ask for less, or lower budget.parallelTrials",
    ),
    Cause.LAID_DOWN: Treatment(
        what="the study was suspended or its runner interrupted",
        signs=("Suspended", "Interrupted"),
        fault=Fault.NOBODY,
        counts=Counts.NOTHING,
        backoff=Backoff(base_seconds=0.0),
        told=Told.NOTHING,
    ),
    Cause.EXIT: _own("its exit code is not 0, or it says that it failed", "Error", "StartError", "ContainerCannotRun"),
    Cause.INIT_FAILED: _own("an init container failed", "InitContainerFailed"),
    Cause.STORAGE: _own(
        "it used more local storage than its limit",
        "StorageExceeded",
        advice="raise the limit of ephemeral-storage or the sizeLimit of the volume",
    ),
    Cause.TIMEOUT: _final(
        "it ran for longer than trial.timeout",
        "Timeout",
        "DeadlineExceeded",
        fault=Fault.TRIAL,
        told=Told.FAILED,
        advice="raise trial.timeout",
    ),
    Cause.NOT_REPORTED: _final(
        "it ended well, but an objective was never reported", "MetricNotReported", fault=Fault.TRIAL, told=Told.FAILED
    ),
    Cause.PARENT_MISSING: _final(
        "the checkpoint that it was to start from is not there",
        fault=Fault.CLUSTER,
        told=Told.FAILED,
        advice="let all trials share one volume or object store, and remove no checkpoints by hand while a study runs",
    ),
    Cause.PARENT_CORRUPT: _final(
        "the checkpoint that it was to start from is torn or was changed",
        fault=Fault.CLUSTER,
        told=Told.FAILED,
        advice="look at the volume or object store that holds the checkpoints",
    ),
    Cause.FAILED_BY_RULE: _final(
        "a rule of retryPolicy with action: fail matched", fault=Fault.TRIAL, told=Told.FAILED
    ),
    Cause.OUT_OF_MEMORY: _final(
        "it needed more memory than its limit",
        "OOMKilled",
        fault=Fault.ASSIGNMENT,
        told=Told.BAD,
        advice="raise the memory limit, or leave it: the search keeps away",
    ),
    Cause.INFEASIBLE: _final("it says that its assignment cannot work", fault=Fault.ASSIGNMENT, told=Told.BAD),
    Cause.INFEASIBLE_BY_RULE: _final(
        "a rule of retryPolicy with action: infeasible matched", fault=Fault.ASSIGNMENT, told=Told.BAD
    ),
    Cause.DIVERGED: _final("its objective became NaN or infinite", "Diverged", fault=Fault.ASSIGNMENT, told=Told.BAD),
}
"""What follows from each cause."""

_HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_CERTAIN = frozenset(
    {Cause.TIMEOUT, Cause.INIT_FAILED, Cause.STORAGE, Cause.CANNOT_START, Cause.UNWANTED, Cause.NO_ROOM}
)
"""What no word of the trial itself outweighs."""

_START_SECONDS = 600.0
"""A registry or a Secret may be late; ten minutes are what the kubelet's own back-off takes to try eight times."""

_BY_REASON = {cause.value: cause for cause in (Cause.UNREACHABLE, Cause.PARENT_MISSING, Cause.PARENT_CORRUPT)}
"""What only the trial itself can say, by the reason in its message."""

_BY_SIGN = {sign: cause for cause, treatment in TREATMENTS.items() for sign in treatment.signs}


def find_cause(attempt: Attempt) -> Cause:
    """Return why an attempt ended that nobody here had stopped, or why it does not begin; EXIT when there is nothing to blame it on."""
    named = _BY_SIGN.get(attempt.reason)
    if attempt.exit_code is None and attempt.reason.startswith("OutOf"):
        named = Cause.NODE_REFUSED
    if attempt.infrastructure or attempt.phase is Phase.LOST:
        known = named is not None and TREATMENTS[named].fault is Fault.CLUSTER
        return named if named is not None and known else Cause.LOST
    said = attempt.report.status if attempt.report else None
    if named is Cause.OUT_OF_MEMORY:
        return named
    if said is ReportStatus.INFEASIBLE:
        return Cause.INFEASIBLE
    if said is ReportStatus.DIVERGED:
        return Cause.DIVERGED
    if named in _CERTAIN or (named is Cause.START_TIMEOUT and attempt.phase is Phase.WAITING):
        return named
    if attempt.report is not None and attempt.report.reason in _BY_REASON:
        return _BY_REASON[attempt.report.reason]
    if said is ReportStatus.STOPPED:
        return Cause.ENDED_FROM_OUTSIDE
    return Cause.EXIT


def start_deadline(attempt: Attempt, start_seconds: float) -> float | None:
    """Return how many seconds a waiting attempt may wait for its container, None for one that may wait for ever.

    Args:
        attempt: Why it waits.
        start_seconds: ``trial.startTimeout``. What its node calls an error is not waited for that long.
    """
    match find_cause(attempt):
        case Cause.START_TIMEOUT:
            return start_seconds
        case Cause.CANNOT_START:
            # These the kubelet itself does not try again.
            return 0.0 if attempt.reason in _HOPELESS else min(_START_SECONDS, start_seconds)
        case _:
            return None
