"""Results, retries and exclusions on a real API server: what it stores of messages, and what it takes of affinities."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from control_plane.client import Client
from control_plane.cluster import ControlPlane, wait_until
from control_plane.kubelet import completed
from control_plane.test_operator import Cluster
from seatrial.adapters.kubernetes.names import FINALIZER

MANY = 200


@pytest.fixture
def cluster(control_plane: ControlPlane, api: Client, namespace: str, tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(control_plane, api, namespace, tmp_path)
    with found.kubelet:
        yield found


def _write_end(
    cluster: Cluster, pod: dict[str, Any], ended: dict[str, Any], *, beside: dict[str, Any] | None = None
) -> None:
    """Do what a kubelet does at the end of a Pod's container, and of the second one if *beside* says how that ended."""
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod['metadata']['name']}/status"
    common = {"image": "x", "imageID": "x", "ready": False, "restartCount": 0}
    phase = "Succeeded" if ended["exitCode"] == 0 else "Failed"
    statuses = [
        {"name": container["name"], **common, "state": {"terminated": how}}
        for container, how in zip(pod["spec"]["containers"], filter(None, (ended, beside)), strict=True)
    ]
    body = {"phase": phase, "containerStatuses": statuses}
    answer = cluster.api.merge(path, {"status": body})
    assert answer.is_accepted, answer.message


def _running(cluster: Cluster, count: int) -> list[dict[str, Any]]:
    wait_until(lambda: len(cluster.running_pods()) == count, what=f"{count} running Pods")
    return cluster.pods()


def test_nothing_is_lost_when_two_hundred_pods_end_and_are_deleted_while_the_operator_is_down(cluster: Cluster) -> None:
    cluster.running = True
    cluster.apply(algorithm={"name": "random", "seed": 3}, budget={"maxTrials": MANY, "parallelTrials": MANY})
    with cluster.operator() as operator:
        _running(cluster, MANY)
        operator.kill()

    cluster.running = False
    wait_until(lambda: not cluster.running_pods(), what="the end of all Pods")
    cluster.api.request("DELETE", f"/api/v1/namespaces/{cluster.namespace}/pods")
    left = cluster.pods()
    with cluster.operator():
        cluster.wait("MaxTrialsReached", seconds=180)
        wait_until(lambda: not cluster.pods(), what="the release of all Pods")

    assert len(left) == MANY
    assert all(pod["metadata"]["finalizers"] == [FINALIZER] for pod in left)
    trials = cluster.trials()
    assert [trial["status"].get("attempts", []) for trial in trials] == [[]] * MANY
    assert [trial["status"]["attempt"] for trial in trials] == [0] * MANY
    found = [trial["status"]["observation"]["values"] for trial in trials]
    assert found == [[trial["spec"]["assignment"]["x"]] for trial in trials]
    assert cluster.kubelet.doubled == []


BINARY = bytes(range(256)).decode("latin-1")
MESSAGES = [
    ("", "MetricNotReported"),
    (BINARY, "MetricNotReported"),
    ('{"loss": 0.25, "note": "' + "ä" * 2030 + '"}', ""),
    ('{"loss": 0.25, "note": "' + "x" * 5000, "MetricNotReported"),
    ('{"status": "failed", "message": "\\u001b[2J\\ud800 \\u0000"}', "Error"),
]


def test_messages_of_every_kind_are_stored_by_the_server_and_come_to_an_end(cluster: Cluster) -> None:
    cluster.running = True
    count = len(MESSAGES)
    cluster.apply(budget={"maxTrials": count, "parallelTrials": count, "maxFailedTrials": count})
    with cluster.operator():
        pods = sorted(_running(cluster, count), key=lambda pod: str(pod["metadata"]["name"]))
        for pod, (message, _) in zip(pods, MESSAGES, strict=True):
            _write_end(cluster, pod, completed("loss", 0.5) | {"message": message})
        cluster.wait("MaxTrialsReached")

    for trial, (message, reason) in zip(cluster.trials(), MESSAGES, strict=True):
        condition = trial["status"]["conditions"][0]
        assert condition["message"].startswith(reason), message[:40]
        assert condition["reason"] == ("Failed" if reason else "Completed")


FORGED = '{"v": 1, "status": "succeeded", "metrics": {"loss": {"last": -1000.0}}}'


def test_another_container_of_a_pod_says_nothing_and_an_eviction_before_it_is_read_takes_nothing(
    cluster: Cluster,
) -> None:
    cluster.running = True
    containers = [{"name": name, "image": "x"} for name in ("main", "side")]
    trial = {"container": "main", "template": {"spec": {"containers": containers}}}
    cluster.apply(budget={"maxTrials": 2, "parallelTrials": 2, "maxFailedTrials": 2}, trial=trial)
    with cluster.operator() as operator:
        pods = {pod["metadata"]["name"]: pod for pod in _running(cluster, 2)}
        operator.kill()
    forged = completed("loss", 0) | {"message": FORGED}
    _write_end(cluster, pods["s-0-0"], completed("loss", 0.25), beside=forged)
    # In the second of an eviction it cannot be told what came first.
    crashed = {"exitCode": 1, "reason": "Error", "message": "Traceback", "finishedAt": "2026-01-01T00:00:00Z"}
    _write_end(cluster, pods["s-1-0"], crashed, beside=forged)
    for name in pods:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{cluster.namespace}/pods/{name}/eviction"
        assert cluster.api.request("POST", path, eviction).is_accepted
    assert all(pod["metadata"]["deletionTimestamp"] for pod in cluster.pods())
    # The next operator would wait for the lease to run out.
    cluster.api.delete(f"/apis/coordination.k8s.io/v1/namespaces/{cluster.namespace}/leases/seatrial-operator")
    with cluster.operator():
        cluster.wait("MaxTrialsReached")

    kept, failed = (trial["status"] for trial in cluster.trials())
    assert (kept["conditions"][0]["reason"], kept["observation"]["values"]) == ("Completed", [0.25])
    assert failed["conditions"][0]["reason"] == "Failed"
    assert "Traceback" in failed["conditions"][0]["message"]
    assert "-1000" not in json.dumps([kept, failed])
    assert [status.get("attempts", []) for status in (kept, failed)] == [[], []]


ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"
TERM = {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [TERM]}}}


def test_a_node_with_a_broken_gpu_is_excluded_for_the_whole_study_and_costs_no_retry(cluster: Cluster) -> None:
    cluster.running = True
    container = {"name": "main", "image": "trainer"}
    rules = [{"action": "excludeNode", "onMessage": ["CUDA error: uncorrectable ECC*"]}]
    trial = {"retryPolicy": {"rules": rules}, "template": {"spec": {"containers": [container], "affinity": AFFINITY}}}
    cluster.apply(budget={"maxTrials": 2, "parallelTrials": 1}, trial=trial)
    with cluster.operator():
        (first,) = _running(cluster, 1)
        binding = {"target": {"kind": "Node", "name": "bad-node"}, "metadata": {"name": "s-0-0"}}
        path = f"/api/v1/namespaces/{cluster.namespace}/pods/s-0-0/binding"
        assert cluster.api.request("POST", path, binding).is_accepted
        broken = {"exitCode": 1, "reason": "Error", "message": ECC, "finishedAt": "2026-01-01T00:00:00Z"}
        _write_end(cluster, first, broken)
        wait_until(lambda: "s-0-1" in cluster.running_pods(), what="the second attempt")
        again = next(pod for pod in cluster.pods() if pod["metadata"]["name"] == "s-0-1")
        cluster.running = False
        wait_until(lambda: "s-1-0" in cluster.kubelet.seen, what="the second trial")
        cluster.wait("MaxTrialsReached")

    away = [{"key": "metadata.name", "operator": "NotIn", "values": ["bad-node"]}]
    hostname = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["bad-node"]}
    affinity = again["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert affinity["nodeSelectorTerms"] == [
        {"matchExpressions": [*TERM["matchExpressions"], hostname], "matchFields": away}
    ]
    status = cluster.trials()[0]["status"]
    assert status["excludedNodes"] == ["bad-node"]
    assert [(past["reason"], past["node"]) for past in status["attempts"]] == [("NodeFault", "bad-node")]
    assert status["conditions"][0]["reason"] == "Completed"


def test_a_container_that_cannot_be_created_is_tried_from_the_edited_template(cluster: Cluster) -> None:
    cluster.running = True
    # A real scheduler would write over what the test says of the Pod.
    template = {"spec": {"schedulerName": "played", "containers": [{"name": "main", "image": "trainer"}]}}
    cluster.apply(budget={"maxTrials": 1}, trial={"template": template})
    with cluster.operator():
        _running(cluster, 1)
        path = f"/api/v1/namespaces/{cluster.namespace}/pods/s-0-0/status"
        waiting = {"waiting": {"reason": "InvalidImageName", "message": "couldn't parse image name"}}
        status = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": waiting}
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        body = {"phase": "Pending", "containerStatuses": [status], "conditions": [scheduled]}
        cluster.kubelet.left_alone = {"s-0-0"}
        edited = {"trial": {"template": {"spec": {"containers": [{"name": "main", "image": "mended"}]}}}}
        cluster.edit(edited)
        assert cluster.api.merge(path, {"status": body}).is_accepted
        wait_until(lambda: _attempts(cluster) == ["CannotStart"], what="the end of the attempt")

    trial = cluster.trials()[0]
    assert "InvalidImageName" in json.dumps(trial["status"]["attempts"])
    assert trial["status"]["retryTime"] > trial["metadata"]["creationTimestamp"]


def test_a_container_that_never_begins_is_given_up_and_tried_from_the_edited_template(cluster: Cluster) -> None:
    cluster.running = True
    # A real scheduler would say that there is no node, and for a place there is no limit.
    template = {"spec": {"schedulerName": "played", "containers": [{"name": "main", "image": "trainer"}]}}
    cluster.kubelet.left_alone = {"s-0-0"}
    # A Pod younger than ten seconds is not said to wait at all; then it is said until the end.
    cluster.apply(budget={"maxTrials": 1}, trial={"template": template, "startTimeout": "25s"})
    with cluster.operator():
        wait_until(lambda: "s-0-0" in cluster.kubelet.seen, what="the first attempt")
        waiting = {"waiting": {"reason": "ContainerCreating"}}
        status = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": waiting}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
        body = {"phase": "Pending", "containerStatuses": [status], "conditions": [scheduled]}
        path = f"/api/v1/namespaces/{cluster.namespace}/pods/s-0-0/status"
        assert cluster.api.merge(path, {"status": body}).is_accepted
        waits = cluster.wait("Waiting")
        wait_until(lambda: _attempts(cluster) == ["StartTimeout"], what="the end of the attempt")

    assert "ContainerCreating" in waits["message"]
    trial = cluster.trials()[0]["status"]
    assert "did not begin within trial.startTimeout (25s)" in trial["attempts"][0]["message"]
    assert trial["attempts"][0]["infrastructure"] is True


def _attempts(cluster: Cluster) -> list[str]:
    return [past["reason"] for past in cluster.trials()[0].get("status", {}).get("attempts", [])]
