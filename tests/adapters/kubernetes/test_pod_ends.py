"""Ends of Pods in the shapes in which kubelet, scheduler, garbage collector and Kueue write them, and what each comes to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.kubernetes.test_pods import CONFIRMED, a_pod, ended, state
from decide.builders import a_study, running
from seatrial.adapters.kubernetes.pods import build_pod_record, read_attempt
from seatrial.decide.actions import FinishTrial, RequeueTrial
from seatrial.decide.outcome import settle
from seatrial.decide.snapshot import build_limits

NOW = datetime(2026, 1, 1, 13, tzinfo=UTC)
STUDY = a_study(trial={**a_study().spec.trial.to_wire(), "retries": 1})


def target(kind: str, reason: str, message: str) -> dict:
    at = "2026-01-01T12:09:00Z"
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": at}


def disrupted(why: str, words: str = "", kind: str = "DisruptionTarget", **status: object) -> dict:
    return {"conditions": [target(kind, why, words)], **status}


def verdict(pod: dict) -> FinishTrial | RequeueTrial:
    attempt = read_attempt(build_pod_record(pod), NOW)
    trial = running(0, value=None, failures=1)
    return settle(trial, attempt, STUDY.spec, build_limits(STUDY.spec))


LOW = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. Container main was using 5Gi, request is 1Gi, has larger consumption of memory. "
UNREACHABLE = "Taint manager: deleting due to NoExecute taint"
UNKNOWN = {
    "exitCode": 137,
    "reason": "ContainerStatusUnknown",
    "message": "The container could not be located when the pod was terminated",
    "startedAt": None,
    "finishedAt": None,
}


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        pytest.param(
            a_pod(
                {
                    **ended(143),
                    **disrupted(
                        "PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod"
                    ),
                },
                **CONFIRMED,
            ),
            "Preempted",
            id="preempted by the scheduler",
        ),
        pytest.param(
            a_pod(
                {**ended(137), **disrupted("TerminationByKubelet", LOW, phase="Failed", reason="Evicted", message=LOW)}
            ),
            "Evicted",
            id="memory pressure, with the container's end",
        ),
        pytest.param(
            a_pod({"phase": "Failed", "reason": "Evicted", "message": LOW.replace("memory", "ephemeral-storage")}),
            "Evicted",
            id="disk pressure, without it",
        ),
        pytest.param(
            a_pod({"phase": "Failed", "reason": "Evicted", "message": "The node had condition: [DiskPressure]. "}),
            "Evicted",
            id="refused under disk pressure",
        ),
        pytest.param(
            a_pod({"phase": "Failed", "reason": "Preempting", **disrupted("TerminationByKubelet", "critical pod")}),
            "Preempted",
            id="preempted by the kubelet for a critical Pod",
        ),
        pytest.param(
            a_pod({**ended(143), **disrupted("EvictionByEvictionAPI", "Eviction API: evicting")}, **CONFIRMED),
            "NodeDrained",
            id="kubectl drain",
        ),
        pytest.param(
            a_pod(
                {
                    **ended(143),
                    **disrupted(
                        "TerminationByKubelet",
                        "Pod was terminated in response to imminent node shutdown.",
                        reason="Terminated",
                    ),
                }
            ),
            "NodeDrained",
            id="graceful shutdown of the node",
        ),
        pytest.param(
            a_pod({"phase": "Running", **disrupted("DeletionByTaintManager", UNREACHABLE)}, **CONFIRMED),
            "NodeLost",
            id="unreachable taint, and the node never answers",
        ),
        pytest.param(
            a_pod({"phase": "Failed", **disrupted("DeletionByPodGC", "PodGC: node no longer exists")}, **CONFIRMED),
            "NodeLost",
            id="the node object is gone",
        ),
        pytest.param(
            a_pod(state("Failed", terminated=UNKNOWN)), "ContainerStatusUnknown", id="the node does not know the end"
        ),
        pytest.param(
            a_pod({"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "Allocate failed: no GPU"}),
            "NodeRefused",
            id="the device plugin had no GPU",
        ),
        pytest.param(
            a_pod({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu"}),
            "NodeRefused",
            id="the node was full after all",
        ),
        pytest.param(a_pod(ended(143), **CONFIRMED), "Deleted", id="kubectl delete pod"),
        pytest.param(
            a_pod(
                {
                    **ended(143),
                    **disrupted("WorkloadEvicted", "Preempted to accommodate a workload", "TerminationTarget"),
                },
                **CONFIRMED,
            ),
            "StoppedByKueue",
            id="Kueue preempts a workload",
        ),
    ],
)
def test_what_the_cluster_did_costs_no_retry(pod, reason):
    action = verdict(pod)

    assert isinstance(action, RequeueTrial)
    assert (action.reason, action.infrastructure) == (reason, True)


@pytest.mark.parametrize(
    ("pod", "outcome", "reason"),
    [
        pytest.param(a_pod(ended(137, "OOMKilled")), "Infeasible", "OOMKilled", id="over its memory limit"),
        pytest.param(a_pod(ended(3)), "Failed", "Error", id="exit code 3, no retry left"),
        pytest.param(
            a_pod(ended(1, message='{"v": 1, "status": "infeasible", "message": "does not fit"}')),
            "Infeasible",
            "Infeasible",
            id="the script says so",
        ),
        pytest.param(
            a_pod(ended(0, message='{"v": 1, "status": "diverged"}')), "Diverged", "Diverged", id="the loss is NaN"
        ),
        pytest.param(
            a_pod(
                {
                    **ended(137),
                    "reason": "DeadlineExceeded",
                    "message": "Pod was active on the node longer than the specified deadline",
                }
            ),
            "Failed",
            "Timeout",
            id="the kubelet's deadline",
        ),
        pytest.param(
            a_pod(ended(128, "StartError", 'exec: "pyton": executable file not found in $PATH')),
            "Failed",
            "StartError",
            id="a command that does not exist",
        ),
        *[
            pytest.param(
                a_pod(
                    {"phase": "Failed", "reason": "Evicted", "message": message, **disrupted("TerminationByKubelet")}
                ),
                "Failed",
                "StorageExceeded",
                id=name,
            )
            for name, message in [
                ("the Pod's storage", "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "),
                ("the container's storage", 'Container main exceeded its local ephemeral storage limit "1Gi". '),
                ("a volume's size", 'Usage of EmptyDir volume "scratch" exceeds the limit "1Gi". '),
            ]
        ],
    ],
)
def test_what_the_training_did_itself_ends_it(pod, outcome, reason):
    action = verdict(pod)

    assert isinstance(action, FinishTrial)
    assert (action.outcome.value, action.reason) == (outcome, reason)


def test_a_disruption_after_the_end_takes_nothing_away():
    pod = a_pod({**ended(3), **disrupted("EvictionByEvictionAPI")})
    pod["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T12:11:00Z"

    assert verdict(pod).reason == "Error"


def test_the_node_and_the_whole_output_are_known_of_an_attempt_that_failed():
    output = "\n".join(f"line {number} {'x' * 60}" for number in range(30)) + "\nRuntimeError: the last line tells"

    attempt = build_pod_record(a_pod(ended(74, message=output))).attempt

    assert attempt.node == "n"
    assert attempt.output == output
    assert attempt.message.endswith("RuntimeError: the last line tells")


def test_patience_begins_when_the_pod_has_a_place_and_its_init_containers_are_done():
    def at(kind: str, time: str) -> dict:
        return {"type": kind, "status": "True", "lastTransitionTime": time}

    waiting = state("Pending", waiting={"reason": "ImagePullBackOff"})
    conditions = [at("PodScheduled", "2026-01-01T12:00:00Z"), at("Initialized", "2026-01-01T12:30:00Z")]

    placed = build_pod_record(a_pod({**waiting, "conditions": conditions})).attempt
    nowhere = build_pod_record(a_pod(spec={"nodeName": None})).attempt

    assert placed.waits_since == datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    assert nowhere.waits_since is None


def initialising(name: str, **held: dict) -> dict:
    return {"name": name, "state": held}


@pytest.mark.parametrize(
    ("inits", "initialised", "words", "limited"),
    [
        pytest.param([], True, "its node prepares images, volumes, ConfigMaps and Secrets", True, id="none"),
        pytest.param(
            [initialising("fetch", running={"startedAt": "2026-01-01T12:01:00Z"})],
            False,
            "init container fetch runs",
            False,
            id="one that runs may take as long as it takes",
        ),
        pytest.param(
            [initialising("fetch", waiting={"reason": "PodInitializing"})],
            False,
            "its node prepares images, volumes, ConfigMaps and Secrets",
            True,
            id="one that cannot begin either",
        ),
        pytest.param(
            [initialising("proxy", running={"startedAt": "2026-01-01T12:01:00Z"})],
            True,
            "its node prepares images, volumes, ConfigMaps and Secrets",
            True,
            id="a sidecar runs beside the training",
        ),
    ],
)
def test_what_an_attempt_that_has_a_place_waits_for(inits: list, initialised: bool, words: str, limited: bool):
    at = {"lastTransitionTime": "2026-01-01T12:00:00Z"}
    conditions = [
        {"type": "PodScheduled", "status": "True", **at},
        {"type": "Initialized", "status": str(initialised), **at},
    ]
    waiting = state("Pending", waiting={"reason": "PodInitializing"})
    pod = a_pod({**waiting, "initContainerStatuses": inits, "conditions": conditions})

    attempt = build_pod_record(pod).attempt

    assert attempt.message == words
    assert (attempt.waits_since is not None) is limited
