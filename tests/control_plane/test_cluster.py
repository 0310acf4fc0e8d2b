"""The control plane itself: what the other tests of this folder rely on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from control_plane.client import STUDIES, Client
from control_plane.cluster import ControlPlane, wait_until


def test_every_program_runs_at_the_version_of_the_api_server(control_plane: ControlPlane) -> None:
    for process in control_plane.processes.values():
        process.check()

    versions = control_plane.kubectl("version").stdout
    assert set(control_plane.processes) == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    assert "Server Version: v1." in versions


def test_a_user_may_do_nothing_until_rbac_says_so(control_plane: ControlPlane, api: Client, namespace: str) -> None:
    path = STUDIES.format(namespace=namespace)
    with control_plane.client(acting="jane", groups=["researchers"]) as jane:
        before = jane.get(path)

        control_plane.kubectl(
            "create", "role", "-n", namespace, "reads", "--verb=get,list", "--resource=studies.seatrial.dev"
        )
        control_plane.kubectl("create", "rolebinding", "-n", namespace, "reads", "--role=reads", "--group=researchers")

        assert before.code == 403
        assert 'User "jane" cannot list resource "studies"' in before.message
        wait_until(lambda: jane.get(path).is_accepted, what="the role to count")
        assert jane.create(path, {}).code == 403


def test_what_an_object_owns_goes_with_it(api: Client, namespace: str) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = api.create(maps, {"metadata": {"name": "owner"}}).body
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    api.create(maps, {"metadata": {"name": "owned", "ownerReferences": [reference]}})

    api.delete(f"{maps}/owner")

    wait_until(lambda: api.get(f"{maps}/owned").code == 404, what="the garbage collector")


def test_a_pod_that_fits_nowhere_is_told_why(api: Client, namespace: str) -> None:
    node = {"metadata": {"name": f"node-{namespace}", "labels": {"of": namespace}}}
    size = {"cpu": "4", "memory": "8Gi", "pods": "20", "nvidia.com/gpu": "1"}
    status = {"status": {"capacity": size, "allocatable": size}}
    assert api.create("/api/v1/nodes", node).is_accepted
    assert api.merge(f"/api/v1/nodes/node-{namespace}/status", status).is_accepted
    pods = f"/api/v1/namespaces/{namespace}/pods"

    def put(name: str) -> None:
        container = {"name": "c", "image": "i", "resources": {"limits": {"nvidia.com/gpu": 1}}}
        # Nodes of others, and taints that come and go, are no part of this.
        spec = {"containers": [container], "nodeSelector": {"of": namespace}, "tolerations": [{"operator": "Exists"}]}
        assert api.create(pods, {"metadata": {"name": name}, "spec": spec}).is_accepted

    put("first")
    # The scheduler may hear of the Pod before it hears of the node: then the Pod waits at first, too.
    wait_until(lambda: "nodeName" in api.get(f"{pods}/first").body["spec"], what="a place for the first Pod")
    put("second")
    second: dict[str, Any] = {}

    def is_told() -> bool:
        second.update(api.get(f"{pods}/second").body)
        return any(one["reason"] == "Unschedulable" for one in second["status"].get("conditions", []))

    wait_until(is_told, what="the scheduler's words about the second Pod")

    assert api.get(f"{pods}/first").body["spec"]["nodeName"] == f"node-{namespace}"
    assert [
        (one["reason"], "Insufficient nvidia.com/gpu" in one["message"]) for one in second["status"]["conditions"]
    ] == [("Unschedulable", True)]
    api.delete(f"/api/v1/nodes/node-{namespace}")


def test_the_api_server_can_go_and_come_back_with_all_it_knew(tmp_path: Path) -> None:
    """Run in a process of its own, which also shows that a control plane can be had outside pytest."""
    program = """
import sys
from pathlib import Path
from control_plane.cluster import run_control_plane
with run_control_plane(Path(sys.argv[1])) as plane:
    plane.kubectl("create", "configmap", "kept")
    plane.stop("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    plane.start_api_server()
    plane.start_controllers()
    print(plane.kubectl("get", "configmap", "kept", "-o", "name").stdout.strip())
    print(*[process.popen.pid for process in plane.processes.values()])
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", program, str(tmp_path)]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    name, pids = done.stdout.splitlines()
    assert name == "configmap/kept"
    for pid in pids.split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
