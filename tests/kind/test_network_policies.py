"""The chart's NetworkPolicies where they are kept: who is named gets through, nobody else does, and nothing that Seatrial needs is cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from kind.installation import NAMESPACE, RELEASE, Installation, condition, stepwise_study
from kind.policing import keep_network_policies

FRIEND, STRANGER = f"friend-{os.getpid()}", f"stranger-{os.getpid()}"
PLACES = {"metrics": ("seatrial", 9090), "health": ("seatrial", 8080), "prometheus": ("seatrial-prometheus", 9090)}
CONNECT = """
import json, socket, sys
found = []
for name, host, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((host, port), 2).close()
        found.append(name)
    except OSError:
        pass
print(json.dumps(found))
"""


def add_probe(seatrial: Installation, namespace: str, **labels: str) -> None:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "main",
        "image": "seatrial-trial:latest",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "3600"],
        "securityContext": security,
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    metadata = {"name": "probe", "labels": labels}
    seatrial.kind.apply(namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
    seatrial.kind.kubectl("wait", "--for=condition=Ready", "pod/probe", "-n", namespace, "--timeout=90s")


def reached_from(seatrial: Installation, namespace: str) -> set[str]:
    """Return which places answer a Pod of a namespace."""
    places = json.dumps([(name, f"{host}.{NAMESPACE}", port) for name, (host, port) in PLACES.items()])
    told = seatrial.kind.kubectl("exec", "-n", namespace, "probe", "--", "python", "-c", CONNECT, places)
    return set(json.loads(told))


@pytest.fixture(scope="module")
def policed(seatrial: Installation) -> Iterator[Installation]:
    """The release with its NetworkPolicies, which let in a namespace by name."""
    label = "namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name"
    try:
        for namespace in (FRIEND, STRANGER):
            seatrial.kind.add_namespace(namespace)
            add_probe(seatrial, namespace)
        add_probe(seatrial, NAMESPACE, **{"app.kubernetes.io/instance": RELEASE})
        # Otherwise what follows would say nothing.
        assert reached_from(seatrial, STRANGER) == set(PLACES)
        with keep_network_policies(seatrial.kind):
            seatrial.install(
                "networkPolicy.enabled=true",
                f"networkPolicy.metricsFrom[0].{label}={FRIEND}",
                f"networkPolicy.prometheusFrom[0].{label}={FRIEND}",
            )
            seatrial.kind.wait_until(
                lambda: reached_from(seatrial, STRANGER) == set(), what="the policies to be kept", seconds=60
            )
            yield seatrial
    finally:
        seatrial.kind.kubectl("delete", "pod", "probe", "-n", NAMESPACE, "--ignore-not-found", "--wait=false")
        for namespace in (FRIEND, STRANGER):
            seatrial.kind.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
        seatrial.install()


def test_who_is_named_reaches_what_is_meant_for_readers_and_nobody_else_anything(policed: Installation) -> None:
    assert reached_from(policed, FRIEND) == {"metrics", "prometheus"}
    assert reached_from(policed, STRANGER) == set()
    # The release's own Pods: its Prometheus reads the operator's metrics, its test asks for its health.
    assert reached_from(policed, NAMESPACE) == set(PLACES)


@pytest.mark.parametrize(
    ("source", "steps", "reason"), [("prometheus", 20, "ReadFromPrometheus"), ("scrape", 8, "ScrapedByOperator")]
)
def test_curves_come_through_prometheus_and_from_the_pods_themselves(
    policed: Installation, namespace: str, source: str, steps: int, reason: str
) -> None:
    study = stepwise_study("curves", trials=4, parallel=4, steps=steps)
    study["spec"]["metrics"] = {"source": source}
    policed.kind.apply(namespace, study)

    ended = policed.wait_done(namespace, "curves")

    assert condition(ended, "Succeeded")["status"] == "True"
    assert condition(ended, "MetricsAvailable")["reason"] == reason
    # What stopped them was read on the way: a last word would have come too late.
    assert any(condition(trial, "Succeeded")["reason"] == "Stopped" for trial in policed.trials(namespace, "curves"))


def test_the_charts_own_test_passes_under_them(policed: Installation) -> None:
    assert "Phase:          Succeeded" in policed.helm("test", RELEASE, "--timeout", "2m").stdout
