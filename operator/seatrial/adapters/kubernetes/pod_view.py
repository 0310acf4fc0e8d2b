"""What a Pod, as the API server has it, tells of the attempt that it is. Pure.

=================================================  =========  ===================================================
what the Pod shows                                 phase      reason
=================================================  =========  ===================================================
scheduling gates                                   Waiting    SchedulingGated
unschedulable, for lack of something               Waiting    Insufficient
unschedulable otherwise                            Waiting    Unschedulable
a container waits                                  Waiting    its reason: ContainerCreating, ImagePullBackOff …
what every new Pod waits for, for some seconds     Waiting    none: it begins
the training container runs                        Running
the training container ended                       Exited     its reason, or SIGTERM, SIGKILL when it was deleted
deleted before it began                            Exited     Deleted, or the disruption's reason; exit code 143
failed by its own deadline                         Exited     DeadlineExceeded
evicted for more local storage than its own limit  Exited     StorageExceeded
an init container failed                           Exited     InitContainerFailed
evicted, preempted, refused by its node            Lost       the disruption's or the Pod's reason
ended before the attempt it was handed on to       Lost       the disruption's reason, or NotTaken
its container's end is unknown to its node         Lost       the disruption's reason, or ContainerStatusUnknown
deleted, and its node does not confirm             Lost       the disruption's reason, or NodeLost
=================================================  =========  ===================================================

Only the training container speaks: what init containers, sidecars and others leave as messages or exit codes is not looked at, but for
an init container that failed, since the training never began then.

An end that somebody else brought about (a disruption, a deletion) is marked as infrastructure, unless the container had ended before.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from seatrial.adapters.kubernetes.port import KubeObject
from seatrial.adapters.kubernetes.slot_pods import SlotEnd, directive_id, read_slot, split_message
from seatrial.adapters.metrics.termination import clean_text, parse_report
from seatrial.api.quantity import parse_quantity
from seatrial.decide.attempts import Attempt, Phase, Report, ReportStatus

__all__ = ["PodView", "end_within", "parse_time"]

_TERMINATED_BY_SIGNAL = {137: "SIGKILL", 143: "SIGTERM"}
_INSUFFICIENT = re.compile(r"Insufficient [-./\w]+")
_GPU = re.compile(r"(^|/)gpu(\.shared)?$|/mig-")
_LOG_LINES = 10
_MESSAGE_LIMIT = 1024
# Ends of whole Pods that are the trial's own: everything else that fails a Pod is done to it.
_OWN_ENDS = frozenset({"DeadlineExceeded"})
_OWN_STORAGE = re.compile(
    r"exceeds the total limit of containers|exceeded its local ephemeral storage limit|volume .* exceeds the limit"
)
_UNKNOWN_END = "ContainerStatusUnknown"
_OUT_OF_MEMORY, _KILLED = "OOMKilled", 137
_TIMED_OUT = "it was ended long after its timeout"
_OUTPUT_LIMIT = 800


class PodView:
    """One Pod, looked at."""

    def __init__(self, pod: KubeObject, trial: str, number: int) -> None:
        self._metadata, self._spec = pod["metadata"], pod["spec"]
        self._status = pod.get("status") or {}
        self._trial, self._number = trial, number
        self.phase = str(self._status.get("phase", "Pending"))
        self.container = _training_name(pod)
        self.owner_uid = _owner_uid(self._metadata)
        self.slot = read_slot(pod, self.container, directive_id(self.owner_uid, number))
        self._states = {
            status.get("name"): status.get("state") or {} for status in self._status.get("containerStatuses") or ()
        }
        self._ended = self._states.get(self.container, {}).get("terminated")

    def attempt(self) -> Attempt:
        """Return the attempt, without what only the passing of time shows."""
        if self._ended is not None:
            return self._after_exit(self._ended)
        if self.phase in {"Succeeded", "Failed"}:
            return self._after_failed_pod()
        if self._metadata.get("deletionTimestamp") and not self._spec.get("nodeName"):
            return self._never_began()
        running = self._states.get(self.container, {}).get("running")
        if running is not None:
            return self._build(Phase.RUNNING, started_at=self._began(running))
        reason, message = self._wait()
        return self._build(Phase.WAITING, reason, message)

    def disruption(self) -> tuple[str, str]:
        """Return reason and message of what is done to the Pod; empty when nothing is."""
        found = self._condition("DisruptionTarget")
        if found.get("status") == "True":
            reason = str(found.get("reason") or "DisruptionTarget")
            if reason == "TerminationByKubelet":
                # The Pod's own reason says why: Evicted, Terminated (its node shuts down), Preempting.
                reason = str(self._status.get("reason") or reason)
            return reason, str(found.get("message") or "")
        found = self._condition("TerminationTarget")
        if found.get("status") == "True":
            # Kueue's condition; its reasons (WorkloadEvicted, NotAdmitted …) are Kueue's to change.
            words = ": ".join(filter(None, [str(found.get("reason") or ""), str(found.get("message") or "")]))
            return "StoppedByKueue", words
        return "", ""

    def _exceeded_storage(self) -> bool:
        """Tell whether it was evicted because it used more than its own limit, which is no fault of its node."""
        evicted = self._status.get("reason") == "Evicted"
        return evicted and _OWN_STORAGE.search(str(self._status.get("message") or "")) is not None

    def _build(
        self,
        phase: Phase,
        reason: str = "",
        message: str = "",
        *,
        exit_code: int | None = None,
        report: Report | None = None,
        started_at: datetime | None = None,
        finished_at: datetime | None = None,
        infrastructure: bool = False,
        notes: tuple[str, ...] = (),
        output: str = "",
    ) -> Attempt:
        return Attempt(
            trial=self._trial,
            number=self._number,
            phase=phase,
            reason=reason,
            message=clean_text(message)[:_MESSAGE_LIMIT],
            exit_code=exit_code,
            report=report,
            started_at=started_at,
            finished_at=finished_at,
            gpus=_gpus(self._spec),
            infrastructure=infrastructure,
            notes=notes,
            output=output,
            node=str(self._spec.get("nodeName") or ""),
            waits_since=self._placed_at() if phase is Phase.WAITING else None,
        )

    # ---- ends --------------------------------------------------------------------------------------------------------

    def _after_exit(self, ended: KubeObject) -> Attempt:
        code = int(ended.get("exitCode", 0))
        reason = str(ended.get("reason") or ("Completed" if code == 0 else "Error"))
        text = str(ended.get("message") or "")
        finished = parse_time(ended.get("finishedAt"))
        marked = split_message(text) if self.slot is not None else None
        if marked is not None and self.slot is not None:
            if marked.id != self.slot.id:
                return self._not_taken()
            # How and when its container ended later says nothing of it, but that memory ran out.
            killed_for_memory = reason == _OUT_OF_MEMORY and marked.code == _KILLED
            code, text = marked.code, marked.message
            if not killed_for_memory:
                reason = "Completed" if code == 0 else "Error"
            if marked.finished is not None:
                finished = datetime.fromtimestamp(marked.finished, UTC)
        if reason == _UNKNOWN_END:
            return self._after_unknown_end(ended)
        report, note, output = _read_message(text, code)
        disruption, words = self.disruption()
        whole = _is_whole(report, code)
        from_outside = self._was_ended(finished, disruption, whole=whole) and not (whole and marked is not None)
        if marked is not None and marked.why == "timeout":
            reason, words, from_outside = "DeadlineExceeded", _TIMED_OUT, False
        elif self._status.get("reason") in _OWN_ENDS and code != 0:
            reason, words, from_outside = str(self._status["reason"]), str(self._status.get("message") or ""), False
        elif self._exceeded_storage() and code != 0:
            reason, words, from_outside = "StorageExceeded", str(self._status["message"]), False
        elif from_outside:
            words = words or "the Pod was deleted"
            if reason in {"Error", "Completed"}:
                reason = disruption or _TERMINATED_BY_SIGNAL.get(code, "Deleted")
        else:
            words = ""
        message = ": ".join(filter(None, [f"exit code {code}" if code else "", words, output]))
        return self._build(
            Phase.EXITED,
            reason,
            message,
            exit_code=code,
            report=report,
            started_at=self._began(ended),
            finished_at=finished,
            infrastructure=from_outside,
            notes=(note,) if note else (),
            output="" if report else text,
        )

    def _not_taken(self) -> Attempt:
        """Return the attempt that a Pod was handed on to when it was about to end: it never began."""
        disruption, words = self.disruption()
        return self._build(
            Phase.LOST,
            disruption or "NotTaken",
            words or "the Pod that it was given to ended before it began",
            infrastructure=True,
        )

    def _began(self, state: KubeObject) -> datetime | None:
        """Return when the attempt began: with its container, or when it was given the Pod of another one."""
        handed_at = self.slot.handed_at if self.slot is not None else None
        return handed_at or parse_time(state.get("startedAt"))

    def _after_unknown_end(self, ended: KubeObject) -> Attempt:
        """Return the attempt of a container whose end its node cannot tell: the exit code 137 there is made up."""
        disruption, words = self.disruption()
        return self._build(
            Phase.LOST,
            disruption or _UNKNOWN_END,
            words or str(ended.get("message") or "its node does not know how its container ended"),
            started_at=self._began(ended),
            finished_at=parse_time(ended.get("finishedAt")),
            infrastructure=True,
        )

    def _was_ended(self, finished: datetime | None, disruption: str, *, whole: bool) -> bool:
        """Tell whether the end was brought about from outside: by a disruption, or by a deletion before it.

        Times have whole seconds: of a deletion in the second of the end nobody knows which came first. A *whole* result, one that
        does not say that it was stopped, then counts.
        """
        if disruption:
            since = parse_time(self._condition("DisruptionTarget").get("lastTransitionTime"))
            return finished is None or since is None or finished > since or (finished == since and not whole)
        deadline = parse_time(self._metadata.get("deletionTimestamp"))
        if deadline is None:
            return False
        # The API server keeps the difference: it is the moment of the request.
        asked = deadline - timedelta(seconds=int(self._metadata.get("deletionGracePeriodSeconds") or 0))
        return finished is None or finished > asked or (finished == asked and not whole)

    def _after_failed_pod(self) -> Attempt:
        """Return the attempt of a Pod that is over though its training container did not say how it ended."""
        disruption, words = self.disruption()
        reason, message = str(self._status.get("reason") or ""), str(self._status.get("message") or "")
        began = parse_time(self._states.get(self.container, {}).get("running", {}).get("startedAt"))
        if failed := self._failed_init():
            name, ended = failed
            _, _, output = _read_message(str(ended.get("message") or ""), 1)
            text = f"init container {name} ended with exit code {ended.get('exitCode')}"
            return self._build(
                Phase.EXITED,
                "InitContainerFailed",
                f"{text}: {output}" if output else text,
                exit_code=int(ended.get("exitCode", 1)),
                finished_at=parse_time(ended.get("finishedAt")),
                infrastructure=bool(disruption),
            )
        if self._exceeded_storage():
            return self._build(Phase.EXITED, "StorageExceeded", message, exit_code=137, started_at=began)
        if reason in _OWN_ENDS and not disruption:
            return self._build(Phase.EXITED, reason, message, exit_code=137, started_at=began)
        return self._build(
            Phase.LOST,
            disruption or reason or "Lost",
            words or message or "the Pod failed, and its container left no trace of how it ended",
            started_at=began,
            infrastructure=True,
        )

    def _failed_init(self) -> tuple[str, KubeObject] | None:
        for status in self._status.get("initContainerStatuses") or ():
            ended = (status.get("state") or {}).get("terminated")
            if ended and ended.get("exitCode", 0) != 0:
                return str(status.get("name")), ended
        return None

    def _never_began(self) -> Attempt:
        disruption, words = self.disruption()
        return self._build(
            Phase.EXITED,
            disruption or "Deleted",
            words or "the Pod was deleted before it began",
            exit_code=143,
            infrastructure=True,
        )

    # ---- waiting -----------------------------------------------------------------------------------------------------

    def _wait(self) -> tuple[str, str]:
        """Return why it does not run yet: reason and words."""
        gates = [str(gate.get("name")) for gate in self._spec.get("schedulingGates") or ()]
        if gates:
            return "SchedulingGated", f"SchedulingGated by {', '.join(gates)}"
        scheduled = self._condition("PodScheduled")
        if scheduled.get("status") == "False":
            return _unschedulable(str(scheduled.get("reason") or "Unschedulable"), str(scheduled.get("message") or ""))
        for status in (
            *(self._status.get("initContainerStatuses") or ()),
            *(self._status.get("containerStatuses") or ()),
        ):
            waiting = (status.get("state") or {}).get("waiting") or {}
            reason = str(waiting.get("reason") or "")
            if reason and reason != "PodInitializing":
                words = str(waiting.get("message") or "")
                return (
                    reason,
                    f"container {status.get('name')}: {words}" if words else f"container {status.get('name')}",
                )
        if not self._spec.get("nodeName"):
            return "Pending", "waits for the scheduler"
        if running := self._running_init():
            return "PodInitializing", f"init container {running} runs"
        return "ContainerCreating", "its node prepares images, volumes, ConfigMaps and Secrets"

    def _running_init(self) -> str:
        """Return the name of the init container that the training container waits for; empty when there is none."""
        if self._condition("Initialized").get("status") == "True":
            # Those that run beside the training do not hold it up.
            return ""
        statuses = self._status.get("initContainerStatuses") or ()
        running = (status for status in statuses if "running" in (status.get("state") or {}))
        return next((str(status.get("name")) for status in running), "")

    def _placed_at(self) -> datetime | None:
        """Return since when nothing but its container is missing: when it was placed, and its init containers were done.

        None while it has no place, and while an init container runs, which may take as long as it takes.
        """
        if self._running_init() or self._condition("PodScheduled").get("status") != "True":
            return None
        found = (self._condition(kind) for kind in ("PodScheduled", "Initialized"))
        times = [parse_time(held.get("lastTransitionTime")) for held in found if held.get("status") == "True"]
        return max((time for time in times if time is not None), default=None)

    def _condition(self, kind: str) -> KubeObject:
        found: KubeObject
        for found in self._status.get("conditions") or ():
            if found.get("type") == kind:
                return found
        return {}


def end_within(running: Attempt, end: SlotEnd) -> Attempt:
    """Return an attempt that has ended in a container that goes on, from what it was while it ran."""
    report, note, output = _read_message(end.message, end.code)
    reason, words = "Completed" if end.code == 0 else "Error", ""
    if end.why == "timeout":
        reason, words = "DeadlineExceeded", _TIMED_OUT
    elif end.why == "stop":
        reason = _TERMINATED_BY_SIGNAL.get(end.code, reason)
    message = ": ".join(filter(None, [f"exit code {end.code}" if end.code else "", words, output]))
    begun, finished = (datetime.fromtimestamp(at, UTC) for at in (end.begun, end.finished))
    return replace(
        running,
        phase=Phase.EXITED,
        reason=reason,
        message=clean_text(message)[:_MESSAGE_LIMIT],
        exit_code=end.code,
        report=report,
        # By the clock of its node, as its end is.
        started_at=begun,
        finished_at=finished,
        notes=(note,) if note else (),
        output="" if report else end.message,
        waits_since=None,
    )


def _is_whole(report: Report | None, code: int) -> bool:
    """Tell whether an attempt has told all that it was to tell, not only until it was stopped."""
    return code == 0 and report is not None and report.status not in {ReportStatus.STOPPED, ReportStatus.PAUSED}


def _owner_uid(metadata: KubeObject) -> str:
    owner: KubeObject = next((held for held in metadata.get("ownerReferences") or () if held.get("controller")), {})
    return str(owner.get("uid", ""))


def _unschedulable(reason: str, message: str) -> tuple[str, str]:
    # What follows tells of preemption, which is the scheduler's business.
    message = message.split(" preemption:")[0].strip()
    lacking = list(dict.fromkeys(found.rstrip(".") for found in _INSUFFICIENT.findall(message)))
    if not lacking:
        return reason, message
    return "Insufficient", f"{', '.join(lacking)} ({message.rstrip('.')})"


def _read_message(text: str, code: int) -> tuple[Report | None, str, str]:
    """Return report, a note on what is wrong with it, and the last lines of the output.

    After a failure without a termination message Kubernetes puts the end of the output in its place.
    """
    report, note = parse_report(text.encode(errors="replace"))
    if report is not None or code == 0:
        return report, note, ""
    lines = [line for line in clean_text(text).splitlines() if line.strip()]
    # The end of it is what tells: a traceback has its error in the last line.
    output = "\n".join(lines[-_LOG_LINES:])[-_OUTPUT_LIMIT:]
    # Output is no message, and nothing is wrong with it.
    return None, note if text.lstrip().startswith("{") else "", output


def _training_name(pod: KubeObject) -> str:
    """Return the name of the container that trains: the one that was given the variables."""
    containers = pod["spec"].get("containers") or ()
    for container in containers:
        if any(variable.get("name") == "SEATRIAL_TRIAL" for variable in container.get("env") or ()):
            return str(container.get("name"))
    return str(containers[0].get("name")) if containers else ""


def _gpus(spec: KubeObject) -> float:
    """Return the number of GPUs, whole or parts, that a Pod's containers hold together."""
    total = 0.0
    for container in spec.get("containers") or ():
        limits = (container.get("resources") or {}).get("limits") or {}
        for name, amount in limits.items():
            if _GPU.search(name):
                total += parse_quantity(amount)
    return total


def parse_time(text: object) -> datetime | None:
    """Return a time as the API server writes it; None for none."""
    return datetime.fromisoformat(str(text)) if text else None
