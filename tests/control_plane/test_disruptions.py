"""What a real API server, scheduler and taint manager do to trial Pods, in their own words: each has its cause, and costs no retry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.kubernetes.test_documented_causes import ROWS
from control_plane.client import Client
from control_plane.cluster import ControlPlane, wait_until
from control_plane.kubelet import Kubelet
from control_plane.test_operator import Cluster

Pod = dict[str, Any]

_NOT_READY = {"key": "node.kubernetes.io/not-ready", "operator": "Exists"}
_UNREACHABLE = "node.kubernetes.io/unreachable"


class PlacedKubelet(Kubelet):
    """A kubelet that knows a Pod only when the scheduler has given it a node."""

    def _step(self, path: str, pod: Pod) -> bool:
        return bool(pod["spec"].get("nodeName")) and super()._step(path, pod)


@pytest.fixture
def cluster(control_plane: ControlPlane, api: Client, namespace: str, tmp_path: Path) -> Iterator[Cluster]:
    """A namespace with four nodes of its own, each with room for one trial."""
    found = Cluster(control_plane, api, namespace, tmp_path)
    found.kubelet = PlacedKubelet(control_plane.admin, namespace, found.kubelet.ending)
    size = {"cpu": "1", "memory": "1Gi", "pods": "10"}
    nodes = [f"{namespace}-{number}" for number in range(4)]
    for name in nodes:
        labels = {"of": namespace, "kubernetes.io/hostname": name}
        assert api.create("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}}).is_accepted
        status = {"capacity": size, "allocatable": size}
        assert api.merge(f"/api/v1/nodes/{name}/status", {"status": status}).is_accepted
    with found.kubelet:
        yield found
    for name in nodes:
        api.delete(f"/api/v1/nodes/{name}")
    api.delete(f"/apis/scheduling.k8s.io/v1/priorityclasses/{namespace}")


def a_pod(cluster: Cluster, name: str) -> Pod:
    return next(pod for pod in cluster.pods() if pod["metadata"]["name"] == name)


def drain(cluster: Cluster, pod: Pod) -> None:
    """Ask for its eviction, as ``kubectl drain`` does."""
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    answer = cluster.api.request("POST", f"/api/v1/namespaces/{cluster.namespace}/pods/{name}/eviction", body)
    assert answer.is_accepted, answer.message


def lose_the_node(cluster: Cluster, pod: Pod) -> None:
    """Say of its node what the controllers say of one that is silent."""
    taint = {"key": _UNREACHABLE, "effect": "NoExecute"}
    # Closed, too: a Pod that tolerates the taint for no time would be placed there again, and lost again.
    spec = {"taints": [taint], "unschedulable": True}
    answer = cluster.api.merge(f"/api/v1/nodes/{pod['spec']['nodeName']}", {"spec": spec})
    assert answer.is_accepted, answer.message


def take_its_place(cluster: Cluster, pod: Pod) -> None:
    """Let a Pod of higher priority want its node."""
    api, name = cluster.api, cluster.namespace
    body = {"metadata": {"name": name}, "value": 1000}
    assert api.create("/apis/scheduling.k8s.io/v1/priorityclasses", body).is_accepted
    spec = {
        "priorityClassName": name,
        "nodeSelector": {"kubernetes.io/hostname": pod["spec"]["nodeName"]},
        "tolerations": [_NOT_READY],
        "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}],
    }
    cluster.kubelet.left_alone.add("urgent")

    def wanted() -> bool:
        # The class is known some moments after it was made.
        return api.create(f"/api/v1/namespaces/{name}/pods", {"metadata": {"name": "urgent"}, "spec": spec}).is_accepted

    wait_until(wanted, what="the class of priority")


def delete(cluster: Cluster, pod: Pod) -> None:
    """Delete it by hand."""
    answer = cluster.api.delete(f"/api/v1/namespaces/{cluster.namespace}/pods/{pod['metadata']['name']}")
    assert answer.is_accepted, answer.message


WAYS: list[tuple[Callable[[Cluster, Pod], None], str, str]] = [
    (drain, "NodeDrained", "Eviction API: evicting"),
    (lose_the_node, "NodeLost", "Taint manager: deleting due to NoExecute taint"),
    (take_its_place, "Preempted", "default-scheduler: preempting to accommodate a higher priority pod"),
    (delete, "Deleted", "the Pod was deleted"),
]
"""What happens to a Pod, the reason of docs/retries.md for it, and the cluster's own words."""


def _attempts(cluster: Cluster) -> list[list[dict[str, Any]]]:
    return [trial.get("status", {}).get("attempts", []) for trial in cluster.trials()]


def test_what_the_cluster_does_to_pods_is_told_by_its_cause_and_costs_no_retry(cluster: Cluster) -> None:
    cluster.running = True
    container = {"name": "main", "image": "trainer", "resources": {"requests": {"cpu": "1"}}}
    gone_soon = {"key": _UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
    spec = {"containers": [container], "nodeSelector": {"of": cluster.namespace}}
    template = {"spec": spec | {"tolerations": [_NOT_READY, gone_soon]}}
    count = len(WAYS)
    cluster.apply(budget={"maxTrials": count, "parallelTrials": count}, trial={"retries": 0, "template": template})
    with cluster.operator():
        wait_until(lambda: len(cluster.running_pods()) == count, what="a place for every trial")
        for index, (befall, _, _) in enumerate(WAYS):
            befall(cluster, a_pod(cluster, f"s-{index}-0"))
        wait_until(lambda: all(len(past) == 1 for past in _attempts(cluster)), what="the end of every attempt")
        # Room again where it was taken. The lost node stays closed, for who deletes Pods from it would hear later than the scheduler
        # that it is well: the others have room for all in turn.
        cluster.api.delete(f"/api/v1/namespaces/{cluster.namespace}/pods/urgent", gracePeriodSeconds="0")
        cluster.running = False
        cluster.wait("MaxTrialsReached")
        trials = cluster.trials()

    told = [(past["reason"], past["infrastructure"], past["message"]) for (past,) in _attempts(cluster)]
    assert [(reason, infrastructure) for reason, infrastructure, _ in told] == [(reason, True) for _, reason, _ in WAYS]
    assert all(message.startswith(ROWS[reason].what) for reason, _, message in told)
    assert [words in message for (_, _, words), (_, _, message) in zip(WAYS, told, strict=True)] == [True] * count
    # No retry was granted, and all came to their end.
    assert [trial["status"]["attempt"] for trial in trials] == [1] * count
    found = [trial["status"]["observation"]["values"] for trial in trials]
    assert found == [[trial["spec"]["assignment"]["x"]] for trial in trials]
    assert cluster.kubelet.doubled == []
