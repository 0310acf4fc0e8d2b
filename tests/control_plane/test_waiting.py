"""Pods that a real API server and scheduler let wait: trials and study say what for, until it is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.client import Client
from control_plane.cluster import ControlPlane, wait_until
from control_plane.test_disruptions import PlacedKubelet
from control_plane.test_operator import Cluster

GATE = "kueue.x-k8s.io/admission"


@pytest.fixture
def cluster(control_plane: ControlPlane, api: Client, namespace: str, tmp_path: Path) -> Iterator[Cluster]:
    """A namespace with a node of its own that has one GPU."""
    found = Cluster(control_plane, api, namespace, tmp_path)
    found.kubelet = PlacedKubelet(control_plane.admin, namespace, found.kubelet.ending)
    size = {"cpu": "8", "memory": "8Gi", "pods": "10", "nvidia.com/gpu": "1"}
    assert api.create("/api/v1/nodes", {"metadata": {"name": namespace, "labels": {"of": namespace}}}).is_accepted
    status = {"status": {"capacity": size, "allocatable": size}}
    assert api.merge(f"/api/v1/nodes/{namespace}/status", status).is_accepted
    with found.kubelet:
        yield found
    api.delete(f"/api/v1/nodes/{namespace}")


def says(cluster: Cluster, index: int) -> str:
    """Return the summary of a trial: its reason, and the words."""
    conditions = cluster.trials()[index].get("status", {}).get("conditions", [])
    return next((f"{one['reason']}: {one['message']}" for one in conditions if one["type"] == "Succeeded"), "")


def patch_pod(cluster: Cluster, index: int, part: str, body: dict[str, object]) -> None:
    answer = cluster.api.merge(f"/api/v1/namespaces/{cluster.namespace}/pods/s-{index}-0{part}", body)
    assert answer.is_accepted, answer.message


def test_what_pods_wait_for_is_told_by_trials_and_study_and_no_more_when_it_is_over(cluster: Cluster) -> None:
    cluster.running = True
    container = {"name": "main", "image": "trainer", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    spec = {
        "schedulingGates": [{"name": GATE}],
        "nodeSelector": {"of": cluster.namespace},
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }

    def study_says(words: str) -> bool:
        return words in cluster.condition().get("message", "")

    cluster.apply(budget={"maxTrials": 2, "parallelTrials": 2}, trial={"template": {"spec": spec}})
    with cluster.operator():
        wait_until(
            lambda: study_says(f"2 trials wait: SchedulingGated by {GATE}"), what="the study to tell of the gate"
        )
        wait_until(lambda: len(cluster.trials()) == 2, what="two trials")
        for index in (0, 1):
            wait_until(lambda n=index: says(cluster, n) == f"Pending: SchedulingGated by {GATE}", what="the trial, too")

        # As Kueue does when it admits a workload.
        patch_pod(cluster, 0, "", {"spec": {"schedulingGates": None}})
        wait_until(lambda: says(cluster, 0).startswith("Running"), what="the first trial to run")
        patch_pod(cluster, 1, "", {"spec": {"schedulingGates": None}})
        wait_until(lambda: study_says("1 run, 1 wait: Insufficient nvidia.com/gpu"), what="the study to lack a GPU")
        wait_until(lambda: "1 Insufficient nvidia.com/gpu" in says(cluster, 1), what="the trial to lack a GPU")

        # Its node has a place for it then, and no image.
        cluster.kubelet.left_alone.add("s-1-0")
        cluster.running = False
        wait_until(lambda: says(cluster, 0).startswith("Completed"), what="the first trial to end")
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "trainer"'}}
        state = {"name": "main", "image": "trainer", "imageID": "", "ready": False, "restartCount": 0, "state": waiting}
        wait_until(lambda: bool(cluster.pods()[-1]["spec"].get("nodeName")), what="a place for the second trial")
        patch_pod(cluster, 1, "/status", {"status": {"phase": "Pending", "containerStatuses": [state]}})
        words = 'ImagePullBackOff: container main: Back-off pulling image "trainer"'
        wait_until(lambda: study_says(f"1 trial waits: {words}"), what="the study to tell of the image")
        wait_until(lambda: says(cluster, 1) == f"Pending: {words}", what="the trial to tell of it")

        cluster.kubelet.left_alone.remove("s-1-0")
        cluster.wait("MaxTrialsReached")

    assert [says(cluster, index).partition(":")[0] for index in (0, 1)] == ["Completed"] * 2
    assert cluster.kubelet.most_running == 1
