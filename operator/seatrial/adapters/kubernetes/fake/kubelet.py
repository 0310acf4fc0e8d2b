"""Scheduler and kubelet of a cluster with one node, whose containers play scripts in simulated time."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.fake.server import FakeServer, write_time
from seatrial.adapters.kubernetes.faults import Conflict, NotFound
from seatrial.adapters.kubernetes.port import PODS, TRIALS, KubeObject, PatchKind
from seatrial.adapters.local.memory import SimulatedClock
from seatrial.adapters.local.simulated import Script
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.attempts import Attempt, Report
from seatrial.decide.curves import CurveBuilder, Curves

__all__ = ["FakeKubelet", "write_report"]

_NODE = "node-0"
_IDLE_SECONDS = 60.0
"""How long a container that can run other attempts waits for one."""


@dataclass(slots=True)
class _Play:
    """One attempt on the stage.

    Attributes:
        id: By which directives name it; empty for one whose container runs nothing else.
        idle_since: Since when its container waits for another one.
    """

    script: Script
    grace_seconds: float
    started_at: datetime | None = None
    stop_at: datetime | None = None
    ended: bool = False
    id: str = ""
    idle_since: datetime | None = None

    def natural_end(self) -> datetime | None:
        if self.started_at is None or math.isinf(self.script.duration_seconds):
            return None
        return self.started_at + timedelta(seconds=self.script.duration_seconds)

    def end(self) -> datetime | None:
        """When it ends by all that is known now."""
        natural = self.natural_end()
        if self.stop_at is None or natural is None:
            return natural
        return min(natural, self.stop_at + timedelta(seconds=min(self.script.stop_seconds, self.grace_seconds)))

    def cut_short(self) -> bool:
        """Whether it ends because it was told to."""
        end, natural = self.end(), self.natural_end()
        return self.stop_at is not None and end is not None and natural is not None and end < natural

    def told(self, now: datetime) -> list[tuple[int, Mapping[str, float]]]:
        """Return what it has reported until *now*."""
        if self.started_at is None:
            return []
        seconds = (min(now, self.end() or now) - self.started_at).total_seconds()
        return [(step, metrics) for at, step, metrics in self.script.curve if at <= seconds]

    def exit_code(self) -> int:
        """Return its exit code."""
        if not self.cut_short():
            return self.script.exit_code
        if self.script.stop_seconds > self.grace_seconds:
            return 137
        return 0 if self.script.sdk else 143


@dataclass(slots=True)
class FakeKubelet:
    """Runs the Pods of a fake server; also a :class:`~seatrial.ports.MetricSource` of what they report.

    Attributes:
        script: The story of an attempt.
        capacity: Pods that may run at the same time; more of them are unschedulable, in order.
        silent: While True, the node is cut off: nothing that happens on it is told.
        mute: While True, no container is ready: images lack the program that says what runs.
        deaf: While True, it misses changed directives until a Pod is changed for the purpose.
        started: (trial, attempt) of every container that was started, in order.
        peak: Most Pods that ran at the same time.
    """

    server: FakeServer
    clock: SimulatedClock
    script: Callable[[Trial, int], Script]
    capacity: int | None = None
    silent: bool = False
    mute: bool = False
    deaf: bool = False
    started: list[tuple[str, int]] = field(default_factory=list)
    peak: int = 0
    _plays: dict[str, _Play] = field(default_factory=dict)
    _attempts: dict[tuple[str, int], _Play] = field(default_factory=dict)
    _logs: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def step(self) -> None:
        """Bring all Pods to where they are now."""
        if self.silent:
            return
        now = self.clock.now()
        for pod in self.server.peek(PODS):
            play = self._plays.get(pod["metadata"]["uid"])
            if play is not None and play.stop_at is None and _is_told_to_stop(pod, play):
                play.stop_at = now
            end = play.end() if play is not None else None
            if play is not None and not play.ended and end is not None and end <= now:
                self._end(pod, play, end)
            if play is not None and play.idle_since is not None:
                self._go_on(pod, play, now)
            self._confirm(pod)
        self._schedule(now)

    def next_event(self) -> datetime | None:
        """Return when a container reports or ends next, None when nothing is coming."""
        now, times = self.clock.now(), []
        for play in self._plays.values():
            end = play.end()
            if play.idle_since is not None:
                times.append(play.idle_since + timedelta(seconds=_IDLE_SECONDS))
            if play.ended or play.started_at is None or end is None:
                continue
            reports = (play.started_at + timedelta(seconds=at) for at, _, _ in play.script.curve)
            times += [time for time in (*reports, end) if now < time <= end]
        return min(times, default=None)

    def advance(self, timeout_seconds: float) -> None:
        """Let time pass until something happens, at most *timeout_seconds*."""
        self.step()
        upcoming = self.next_event()
        seconds = timeout_seconds
        if upcoming is not None:
            seconds = min(seconds, (upcoming - self.clock.now()).total_seconds())
        self.clock.advance(seconds)
        self.step()

    def evict(self, namespace: str, name: str, reason: str = "PreemptionByScheduler") -> None:
        """Do to a Pod what the scheduler does to make room: a condition, then a deletion."""
        found = self.server.get(PODS, namespace, name)
        self._write(found, {"conditions": [*_conditions(found), self._disruption(reason)]})
        self.server.delete(PODS, namespace, name)

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves so far."""
        found: dict[str, Curves] = {}
        window = max(objective.window for objective in study.spec.objectives)
        for name, attempt in attempts.items():
            play = self._attempts.get((name, attempt.number))
            if play is None:
                continue
            builders: dict[str, CurveBuilder] = {}
            for step, metrics in play.told(self.clock.now()):
                for metric, value in metrics.items():
                    builders.setdefault(metric, CurveBuilder(window=window)).add(step, value)
            found[name] = {metric: builder.build() for metric, builder in builders.items()}
        return found

    def unread(self) -> Mapping[str, float]:
        """Return nothing: every report is there."""
        return {}

    def read_log(self, namespace: str, name: str) -> str:
        """Return what the container of a Pod that can be handed on has printed."""
        return "".join(self._logs.get((namespace, name), ()))

    # ---- scheduling --------------------------------------------------------------------------------------------------

    def _schedule(self, now: datetime) -> None:
        pods = self.server.peek(PODS)
        running = sum(bool(pod["spec"].get("nodeName")) and not _is_over(pod) for pod in pods)
        for pod in pods:
            if pod["spec"].get("nodeName") or _is_over(pod) or pod["metadata"].get("deletionTimestamp"):
                continue
            if pod["spec"].get("schedulingGates") or names.LABEL_TRIAL not in (pod["metadata"].get("labels") or {}):
                # Pods that are of no trial have no story.
                continue
            if self.capacity is not None and running >= self.capacity:
                words = f"0/1 nodes are available: 1 Insufficient {_wanted(pod)}. preemption: 0/1 nodes are available."
                self._condition(pod, "PodScheduled", "False", "Unschedulable", words)
            else:
                self._begin(pod, now)
                running += 1
        self.peak = max(self.peak, running)

    def _begin(self, pod: KubeObject, now: datetime) -> None:
        metadata = pod["metadata"]
        if not self._play(pod, now):
            return
        bound = self.server.patch(
            PODS, metadata["namespace"], metadata["name"], {"spec": {"nodeName": _NODE}}, kind=PatchKind.MERGE
        )
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": write_time(now)}
        others = [held for held in _conditions(bound) if held["type"] != "PodScheduled"]
        self._write(
            bound,
            {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "startTime": write_time(now),
                "conditions": [*others, scheduled],
                "containerStatuses": _running(pod, now, ready=not self.mute),
            },
        )

    def _play(self, pod: KubeObject, now: datetime) -> bool:
        """Begin the attempt that a Pod has; return whether there is one to begin."""
        metadata = pod["metadata"]
        labels = metadata["labels"]
        name, number = labels[names.LABEL_TRIAL], int(labels[names.LABEL_ATTEMPT])
        try:
            trial = Trial.model_validate(_without_noise(self.server.get(TRIALS, metadata["namespace"], name)))
        except NotFound:
            return False
        grace = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
        play = _Play(self.script(trial, number), grace, started_at=now, id=_directive(pod).get("id", ""))
        self._plays[metadata["uid"]] = self._attempts[name, number] = play
        self.started.append((name, number))
        return True

    # ---- containers that run one attempt after another -----------------------------------------------------------------

    def _rest(self, pod: KubeObject, play: _Play, code: int, end: datetime) -> None:
        """Let a container wait for its next attempt, and tell by its log how the last one ended."""
        play.idle_since = end
        metadata, began = pod["metadata"], play.started_at or end
        told = {"id": play.id, "code": code, "begun": began.timestamp(), "finished": end.timestamp()}
        told |= {"message": _message(play, code, end), "why": "stop" if play.cut_short() else ""}
        self._logs.setdefault((metadata["namespace"], metadata["name"]), []).append(
            f"seatrial-slot ended {json.dumps(told)}\n"
        )
        self._write(pod, {"containerStatuses": _running(pod, began, ready=False)})

    def _go_on(self, pod: KubeObject, play: _Play, now: datetime) -> None:
        """Begin what a container that waits was given, or end it."""
        wanted = _directive(pod)
        tired = play.idle_since is not None and now - play.idle_since >= timedelta(seconds=_IDLE_SECONDS)
        if pod["metadata"].get("deletionTimestamp") or (tired and wanted.get("id") == play.id):
            self._terminate(pod, play, play.exit_code(), now)
            play.idle_since = None
        elif wanted.get("id") != play.id and self._hears(pod) and self._play(pod, now):
            play.idle_since = None
            self._write(pod, {"containerStatuses": _running(pod, now, ready=True)})

    def _hears(self, pod: KubeObject) -> bool:
        return not self.deaf or names.ANNOTATION_NUDGED in pod["metadata"]["annotations"]

    # ---- ends --------------------------------------------------------------------------------------------------------

    def _end(self, pod: KubeObject, play: _Play, end: datetime) -> None:
        play.ended = True
        if play.script.lost and not play.cut_short():
            status: KubeObject = {"phase": "Failed", "reason": "Evicted", "containerStatuses": None}
            status["conditions"] = [*_conditions(pod), self._disruption("DeletionByTaintManager")]
            self._write(pod, status)
            return
        code = play.exit_code()
        gentle = code == 0 or _directive(pod).get("stop")
        outside = play.script.infrastructure or pod["metadata"].get("deletionTimestamp")
        if play.id and gentle and not outside:
            self._rest(pod, play, code, end)
        else:
            self._terminate(pod, play, code, end)

    def _terminate(self, pod: KubeObject, play: _Play, code: int, end: datetime) -> None:
        """End the container with its attempt."""
        reason = "Completed" if code == 0 else "Error"
        if play.script.reason and not play.cut_short():
            reason = play.script.reason
        ended = {
            "exitCode": code,
            "reason": reason,
            "startedAt": write_time(play.started_at or end),
            "finishedAt": write_time(end),
            "message": _last_words(pod, play, code) + _message(play, code, end),
        }
        status: KubeObject = {
            "phase": "Succeeded" if code == 0 else "Failed",
            "containerStatuses": [
                {"name": container["name"], "state": {"terminated": ended}} for container in pod["spec"]["containers"]
            ],
        }
        if play.script.infrastructure:
            status["conditions"] = [*_conditions(pod), self._disruption("TerminationByKubelet")]
        self._write(pod, status)

    def _confirm(self, pod: KubeObject) -> None:
        """Tell the server that nothing of a deleted Pod runs any more."""
        metadata = pod["metadata"]
        if not metadata.get("deletionTimestamp") or metadata.get("deletionGracePeriodSeconds") == 0:
            return
        try:
            now = self.server.get(PODS, metadata["namespace"], metadata["name"])
            if _is_over(now):
                self.server.delete(PODS, metadata["namespace"], metadata["name"], uid=metadata["uid"], grace_seconds=0)
        except (NotFound, Conflict):
            return

    def _disruption(self, reason: str) -> dict[str, str]:
        at = write_time(self.clock.now())
        return {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "message": f"disrupted: {reason}",
            "lastTransitionTime": at,
        }

    def _condition(self, pod: KubeObject, kind: str, status: str, reason: str, message: str) -> None:
        written = {"type": kind, "status": status, "reason": reason, "message": message}
        if any(written.items() <= held.items() for held in _conditions(pod)):
            return
        others = [held for held in _conditions(pod) if held["type"] != kind]
        at = {"lastTransitionTime": write_time(self.clock.now())}
        self._write(pod, {"conditions": [*others, written | at]})

    def _write(self, pod: KubeObject, status: KubeObject) -> None:
        metadata = pod["metadata"]
        self.server.patch(
            PODS,
            metadata["namespace"],
            metadata["name"],
            {"status": status},
            kind=PatchKind.MERGE,
            subresource="status",
        )


def _last_words(pod: KubeObject, play: _Play, code: int) -> str:
    """Return how a container's message begins that could run other attempts."""
    if not play.id:
        return ""
    ended = play.idle_since or play.end()
    why = "stop" if _directive(pod).get("stop") and play.cut_short() else "-"
    return f"seatrial-slot {play.id} {code} {ended.timestamp() if ended else 0:.3f} {why}\n"


def _directive(pod: KubeObject) -> KubeObject:
    text = (pod["metadata"].get("annotations") or {}).get(names.ANNOTATION_DIRECTIVE)
    found: KubeObject = json.loads(text) if text else {}
    return found


def _is_told_to_stop(pod: KubeObject, play: _Play) -> bool:
    wanted = _directive(pod)
    return bool(pod["metadata"].get("deletionTimestamp") or (wanted.get("stop") and wanted.get("id") == play.id))


def _running(pod: KubeObject, since: datetime, *, ready: bool) -> list[KubeObject]:
    return [
        {"name": container["name"], "ready": ready, "state": {"running": {"startedAt": write_time(since)}}}
        for container in pod["spec"]["containers"]
    ]


def _is_over(pod: KubeObject) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def _conditions(pod: KubeObject) -> list[dict[str, str]]:
    return list((pod.get("status") or {}).get("conditions") or ())


def _wanted(pod: KubeObject) -> str:
    limits = (pod["spec"]["containers"][0].get("resources") or {}).get("limits") or {}
    return next((name for name in limits if "/" in name), "cpu")


def _without_noise(trial: KubeObject) -> KubeObject:
    return {key: value for key, value in trial.items() if key in {"apiVersion", "kind", "metadata", "spec", "status"}}


def _message(play: _Play, code: int, end: datetime) -> str:
    """Return the termination message that the container leaves."""
    script = play.script
    if script.report is not None and not play.cut_short():
        return write_report(script.report)
    if not script.sdk or code == 137:
        return ""
    finals: dict[str, dict[str, object]] = {}
    told = play.told(end)
    for step, metrics in told:
        finals |= {name: {"last": value, "lastStep": step} for name, value in metrics.items()}
    status = "stopped" if play.cut_short() else "succeeded" if code == 0 else "failed"
    message: dict[str, object] = {"v": 1, "status": status, "metrics": finals}
    if told:
        message["step"] = told[-1][0]
    return json.dumps(message)


def write_report(report: Report) -> str:
    """Return a report as the termination message that says it."""
    message: dict[str, object] = {
        "v": 1,
        "status": report.status.value if report.status is not None else None,
        "reason": report.reason or None,
        "step": report.step,
        "metrics": {final.name: {"last": final.last} for final in report.metrics},
        "message": report.message,
        "stepsTrained": report.steps_trained,
    }
    if report.curve:
        message["curve"] = {"points": [list(point) for point in report.curve]}
    if report.checkpoint is not None:
        saved = report.checkpoint
        message["checkpoint"] = {"step": saved.step, "digest": saved.digest, "path": saved.path}
    return json.dumps({key: value for key, value in message.items() if value is not None})
