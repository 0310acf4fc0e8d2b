"""Seatrial on a kind cluster: images built and loaded, the chart installed, studies applied and awaited."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from kind.cluster import ROOT, KindCluster

__all__ = [
    "NAMESPACE",
    "RELEASE",
    "Installation",
    "condition",
    "printing_study",
    "quick_study",
    "reusing_study",
    "slow_study",
    "stepwise_study",
]

NAMESPACE = "seatrial-system"
RELEASE = "seatrial"

Object = dict[str, Any]


def condition(found: Object, name: str) -> Object:
    """Return a condition of an object by its type, empty when it has none of that type."""
    conditions = (found.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == name), {})


def quick_study(name: str, *, trials: int, parallel: int, seconds: float = 1.0) -> Object:
    """Return a study whose trials know nothing of Seatrial: they sleep, then write a number as their last words."""
    words = f'sleep {seconds}; printf \'{{"score": %s}}\' "$HP_x" > /dev/termination-log'
    return _study(name, ["sh", "-c", words], trials=trials, parallel=parallel)


def printing_study(name: str, *, trials: int, parallel: int) -> Object:
    """Return a study whose trials print a number and are done; nothing in it says that this is to be read."""
    study = _study(name, ["sh", "-c", 'echo "score=$HP_x"'], trials=trials, parallel=parallel)
    del study["spec"]["metrics"]
    return study


def slow_study(name: str, *, trials: int = 4, parallel: int = 2) -> Object:
    """Return a study whose trials run until they are told to stop, or until a process that left its number in ``/tmp/end`` is gone."""
    words = (
        'trap "exit 143" TERM; until [ -s /tmp/end ]; do sleep 0.2; done; '
        'while kill -0 "$(cat /tmp/end)"; do sleep 0.1; done; '
        'printf \'{"score": %s}\' "$HP_x" > /dev/termination-log'
    )
    return _study(name, ["sh", "-c", words], trials=trials, parallel=parallel)


def stepwise_study(name: str, *, trials: int, parallel: int, steps: int) -> Object:
    """Return a study whose trials report a step a second to whoever reads their Pods, and half of which go on from each rung."""
    program = (
        "import seatrial_harness as s, time\n"
        "trial = s.start(x=0.5)\n"
        f"for step in trial.steps({steps}):\n"
        "    time.sleep(1)\n"
        "    trial.report(step, score=trial.x * step)\n"
    )
    study = _study(name, ["python", "-c", program], trials=trials, parallel=parallel)
    study["spec"] |= {
        "metrics": {"source": "scrape"},
        "steps": {"unit": "second", "max": steps},
        "stopping": {"rule": "asha", "asha": {"eta": 2, "minStep": 1}},
    }
    return study


def reusing_study(name: str, *, trials: int, parallel: int, seconds: float = 0.2) -> Object:
    """Return a study whose trials report three steps, in Pods that go on from trial to trial."""
    program = (
        "import time\n"
        "import seatrial_harness as s\n"
        "trial = s.start(x=0.5)\n"
        "for step in trial.steps(3):\n"
        f"    time.sleep({seconds})\n"
        "    trial.report(step, score=trial.x * step)\n"
    )
    study = _study(name, ["python", "-c", program], trials=trials, parallel=parallel)
    study["spec"]["steps"] = {"max": 3}
    study["spec"]["trial"]["reuse"] = True
    return study


def _study(name: str, command: list[str], *, trials: int, parallel: int) -> Object:
    container = {
        "name": "trainer",
        "image": "seatrial-trial:latest",
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        # No request of CPU: studies that train have asked for all that a small node has.
        "resources": {"requests": {"memory": "16Mi"}},
    }
    spec = {
        "objectives": [{"metric": "score", "goal": "maximize"}],
        "parameters": [{"name": "x", "type": "float", "min": 0.0, "max": 1.0}],
        "algorithm": {"name": "random", "seed": 5},
        "budget": {"maxTrials": trials, "parallelTrials": parallel},
        "metrics": {"source": "termination-message"},
        "trial": {"template": {"spec": {"terminationGracePeriodSeconds": 5, "containers": [container]}}},
    }
    return {"apiVersion": "seatrial.dev/v1alpha1", "kind": "Study", "metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Seatrial, installed on a cluster."""

    kind: KindCluster

    # ---- the release -------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, kind: KindCluster) -> Installation:
        """Install Seatrial as ``make kind-up`` does: images built and loaded, the chart installed."""
        kind.run("scripts/kind-install")
        return cls(kind=kind)

    def install(self, *values: str) -> None:
        """Install the release, or bring one that is there to the chart's state, and wait until it works."""
        self.kind.run("scripts/kind-install", *(word for value in values for word in ("--set", value)))
        # Helm waits for the new operator alone.
        self.kind.wait_until(lambda: len(self.pods_of("seatrial")) == 1, what="the old operator to go")

    def helm(self, command: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run helm in the release's namespace."""
        return self.kind.run("helm", command, "--namespace", NAMESPACE, *arguments, check=check)

    def scale(self, deployment: str, replicas: int) -> None:
        """Bring a deployment of the release to a number of Pods, and wait until it has them."""
        self.kind.kubectl("-n", NAMESPACE, "scale", f"deployment/{deployment}", f"--replicas={replicas}")
        self.kind.wait_until(
            lambda: len(self.pods_of(deployment)) == replicas, what=f"{deployment} to have {replicas} Pods"
        )
        if replicas:
            self.kind.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{deployment}", "--timeout=120s")

    def pods_of(self, deployment: str) -> list[str]:
        """Return the names of a deployment's Pods."""
        component = {"seatrial": "operator", "seatrial-prometheus": "prometheus"}[deployment]
        found = self.kind.get("pods", namespace=NAMESPACE, labels=f"app.kubernetes.io/component={component}")
        return [pod["metadata"]["name"] for pod in found["items"]]

    def leader(self) -> str:
        """Return who holds the Lease; empty when nobody does."""
        return str(
            self.kind.get("leases", "seatrial-operator", namespace=NAMESPACE)["spec"].get("holderIdentity") or ""
        )

    def kill_operator(self) -> None:
        """End the operator's process by SIGKILL, as a node that runs out of memory does, and wait until it is started again."""
        (name,) = self.pods_of("seatrial")
        pod = self.kind.get("pods", name, namespace=NAMESPACE)
        (before,) = pod["status"]["containerStatuses"]
        container = before["containerID"].removeprefix("containerd://")
        kill = ("ctr", "-n", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container)
        self.kind.run("docker", "exec", pod["spec"]["nodeName"], *kill)

        def restarts() -> int:
            (status,) = self.kind.get("pods", name, namespace=NAMESPACE)["status"]["containerStatuses"]
            return int(status["restartCount"])

        self.kind.wait_until(lambda: restarts() > before["restartCount"], what="the operator to be started again")

    # ---- studies -----------------------------------------------------------------------------------------------------

    def apply_example(self, namespace: str, name: str) -> str:
        """Apply a file of ``examples/`` as it is; return the study's name."""
        path = ROOT / "examples" / f"{name}.yaml"
        self.kind.kubectl("apply", "-n", namespace, "-f", str(path))
        return str(yaml.safe_load(path.read_text())["metadata"]["name"])

    def add_checkpoints(self, namespace: str) -> None:
        """Give a namespace the volume of ``examples/kind/checkpoints.yaml``."""
        for each in yaml.safe_load_all((ROOT / "examples/kind/checkpoints.yaml").read_text()):
            if each["kind"] == "PersistentVolume":
                each["metadata"]["name"] = f"checkpoints-{namespace}"
                each["spec"]["claimRef"]["namespace"] = namespace
            else:
                each["metadata"]["namespace"] = namespace
            self.kind.kubectl("apply", "-f", "-", text=yaml.safe_dump(each))

    def study(self, namespace: str, name: str) -> Object:
        """Return a study as stored."""
        return self.kind.get("studies", name, namespace=namespace)

    def trials(self, namespace: str, study: str) -> list[Object]:
        """Return the trials of a study, by index."""
        found = self.kind.get("trials", namespace=namespace, labels=f"seatrial.dev/study={study}")["items"]
        return sorted(found, key=lambda trial: trial["spec"]["index"])

    def pods(self, namespace: str) -> list[Object]:
        """Return the Pods of a namespace."""
        found: list[Object] = self.kind.get("pods", namespace=namespace)["items"]
        return found

    def running(self, namespace: str) -> list[str]:
        """Return the names of the Pods that run and are not being deleted."""
        return [
            pod["metadata"]["name"]
            for pod in self.pods(namespace)
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def wait_for(
        self, namespace: str, name: str, holds: Callable[[Object], bool], *, what: str, seconds: float = 90
    ) -> Object:
        """Return a study as soon as something holds of it.

        Raises:
            TimeoutError: If it does not in time; the study's status is shown.
        """
        seen: Object = {}

        def has_come() -> bool:
            nonlocal seen
            seen = self.study(namespace, name)
            return holds(seen)

        try:
            self.kind.wait_until(has_come, what=what, seconds=seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; study {name}:\n{yaml.safe_dump(seen.get('status'))}") from error
        return seen

    def wait_done(self, namespace: str, name: str, *, seconds: float = 120) -> Object:
        """Return a study once it has ended."""
        return self.wait_for(
            namespace,
            name,
            lambda study: condition(study, "Succeeded").get("status") in {"True", "False"},
            what=f"study {name} to end",
            seconds=seconds,
        )
