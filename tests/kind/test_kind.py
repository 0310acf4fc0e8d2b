"""The cluster itself: Pods run, end, wait for GPUs, and find each other, as on any cluster."""

from __future__ import annotations

from typing import Any

from kind.cluster import KindCluster


def pod(name: str, image: str, *arguments: str, gpus: int = 0) -> dict[str, Any]:
    limits = {"limits": {"nvidia.com/gpu": gpus}} if gpus else {}
    container = {"name": "main", "image": image, "args": list(arguments), "resources": limits}
    container |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePolicy": "FallbackToLogsOnError"}
    container |= {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    spec |= {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def phase(kind: KindCluster, namespace: str, name: str) -> str:
    found: str = kind.get("pods", name, namespace=namespace)["status"].get("phase", "")
    return found


def test_a_second_kind_up_leaves_the_cluster_as_it_is(kind: KindCluster) -> None:
    before = kind.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.uid}")

    kind.run("scripts/kind-up")

    assert before
    assert kind.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.uid}") == before


def test_a_pod_that_fails_leaves_its_last_words(kind: KindCluster, namespace: str) -> None:
    kind.apply(namespace, pod("short", kind.small_image(), "no-such-command"))

    kind.wait_until(lambda: phase(kind, namespace, "short") == "Failed", what="the Pod to fail")

    (status,) = kind.get("pods", "short", namespace=namespace)["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 1
    assert 'unknown command "no-such-command"' in status["state"]["terminated"]["message"]


def test_pods_get_no_more_gpus_than_there_are(kind: KindCluster, namespace: str) -> None:
    image = kind.small_image()

    for name in ("one", "two", "three"):
        kind.apply(namespace, pod(name, image, "proxy", gpus=1))

    def phases() -> list[str]:
        return [item["status"].get("phase", "") for item in kind.get("pods", namespace=namespace)["items"]]

    kind.wait_until(lambda: sorted(phases()) == ["Pending", "Running", "Running"], what="two Pods of three")
    waiting = next(p for p in kind.get("pods", namespace=namespace)["items"] if p["status"]["phase"] == "Pending")
    (condition,) = waiting["status"]["conditions"]
    assert condition["reason"] == "Unschedulable"
    assert "Insufficient nvidia.com/gpu" in condition["message"]

    running = next(p for p in kind.get("pods", namespace=namespace)["items"] if p["status"]["phase"] == "Running")
    kind.kubectl("delete", "pod", running["metadata"]["name"], "-n", namespace)
    kind.wait_until(lambda: phases() == ["Running", "Running"], what="the third Pod to take over the GPU")


def test_a_pod_finds_a_service_by_its_name(kind: KindCluster, namespace: str) -> None:
    asks = pod("asks", kind.small_image(), "version", "--output=json")
    # Every Pod is told the API server's address; this one gets its name instead.
    name = {"name": "KUBERNETES_SERVICE_HOST", "value": "kubernetes.default.svc.cluster.local"}
    asks["spec"]["containers"][0]["env"] = [name]
    kind.apply(namespace, asks)

    kind.wait_until(lambda: phase(kind, namespace, "asks") in {"Succeeded", "Failed"}, what="the Pod to end")

    assert "serverVersion" in kind.kubectl("logs", "asks", "-n", namespace)
