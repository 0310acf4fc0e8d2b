"""A kind cluster for tests, made by ``scripts/kind-up`` apart from the one that a person plays with.

It takes half a minute to make, and is removed after the tests unless ``SEATRIAL_KEEP_CLUSTER`` is set: then the next run starts at
once. ``KIND_CLUSTER`` names another cluster to use, which is never removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kind.reader import Reader

__all__ = ["KindCluster", "run_kind_cluster"]

ROOT = Path(__file__).parents[2]
_NAME = "seatrial-test"
_LABEL = "seatrial.dev/test"
_SMALL_IMAGE = "seatrial-test/kubectl:local"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCluster:
    """A cluster that is up.

    Attributes:
        environment: In which kubectl, kind, docker and client libraries find it.
        reader: Gives its objects.
    """

    environment: Mapping[str, str]
    reader: Reader

    def run(self, *command: str, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program in the cluster's environment and the repository's root.

        Raises:
            RuntimeError: If it fails and *check* holds, with what it printed.
        """
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, input=text, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}{done.stdout}")
        return done

    def kubectl(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        """Run kubectl as the cluster's admin and return what it prints."""
        return self.run("kubectl", *arguments, text=text, check=check).stdout

    def apply(self, namespace: str, *objects: object) -> None:
        """Apply objects to a namespace."""
        for each in objects:
            self.kubectl("apply", "-n", namespace, "-f", "-", text=json.dumps(each))

    def get(self, resource: str, name: str = "", *, namespace: str = "", labels: str = "") -> dict[str, Any]:
        """Return an object, or without a name a list, as the API server has it."""
        return self.reader.get(resource, name, namespace=namespace, labels=labels)

    def add_namespace(self, name: str) -> None:
        """Make a namespace for tests that enforces Pod Security's level restricted."""
        labels = {_LABEL: "", "pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.kubectl("create", "-f", "-", text=json.dumps(namespace))
        self.wait_until(
            lambda: bool(self.get("serviceaccounts", namespace=name)["items"]),
            what=f"the service account of {name}",
        )

    def remove_namespaces(self) -> None:
        """Remove the namespaces of tests of a run that ended in the middle, and their volumes."""
        left = [item["metadata"]["name"] for item in self.get("namespaces", labels=_LABEL)["items"]]
        for name in left:
            self.kubectl("delete", "namespace", name, "--timeout=120s")
            # A volume belongs to no namespace, and would stay.
            self.kubectl("delete", "pv", f"checkpoints-{name}", "--ignore-not-found", "--wait=false")

    def remove_checkpoints(self) -> None:
        """Remove what trials saved: the folder lies on this machine and outlives the cluster."""
        for node in self.get("nodes")["items"]:
            folder = ("find", "/var/lib/seatrial/checkpoints", "-mindepth", "1", "-delete")
            self.run("docker", "exec", node["metadata"]["name"], *folder)

    def load(self, image: str) -> None:
        """Load an image from Docker into the nodes, where they do not have it yet."""
        self.run("scripts/kind-load", image)

    def small_image(self) -> str:
        """Return the name of a loaded image that holds kubectl and nothing else."""
        if self.run("docker", "image", "inspect", _SMALL_IMAGE, check=False).returncode:
            self.build_image(_SMALL_IMAGE, "kubectl")
        self.load(_SMALL_IMAGE)
        return _SMALL_IMAGE

    def build_image(self, image: str, program: str) -> None:
        """Make an image that holds one program of the cluster's environment and nothing else, and runs it."""
        archive = (
            'tar -C "$(dirname "$(command -v "$2")")" -c "$2" | docker import --change "ENTRYPOINT [\\"/$2\\"]" - "$1"'
        )
        self.run("bash", "-eo", "pipefail", "-c", archive, "bash", image, program)

    def wait_until(
        self, condition: Callable[[], bool], *, what: str, seconds: float = 90, pause_seconds: float = 0.2
    ) -> None:
        """Return as soon as *condition* holds, which is asked with a pause in between.

        Raises:
            TimeoutError: If it does not within *seconds*; *what* is named.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:g} s for {what}")
            time.sleep(pause_seconds)


def _start(name: str, folder: Path) -> KindCluster:
    command = 'exports=$(scripts/kind-up) && eval "$exports" && env -0'
    environment = os.environ | {"KIND_CLUSTER": name}
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"these tests need a kind cluster, and scripts/kind-up made none:\n{done.stderr.strip()}\n"
            "docs/development.md says what it takes; make test-fast leaves these tests out"
        )
    environment = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)
    return KindCluster(environment=environment, reader=Reader(Path(environment["KUBECONFIG"]), folder))


def _stop(name: str) -> None:
    environment = os.environ | {"KIND_CLUSTER": name}
    done = subprocess.run(["scripts/kind-down"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"scripts/kind-down left something of {name}:\n{done.stderr.strip()}")


@contextmanager
def run_kind_cluster() -> Iterator[KindCluster]:
    """Give a cluster to one test process at a time: its tests take Seatrial away and bring it back.

    Raises:
        RuntimeError: If this machine can make none; says what is missing.
    """
    given, keep = os.environ.get("KIND_CLUSTER"), bool(os.environ.get("SEATRIAL_KEEP_CLUSTER"))
    lock = Path(os.environ.get("SEATRIAL_CACHE", Path.home() / ".cache" / "seatrial")) / "kind" / f"{_NAME}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file, TemporaryDirectory() as folder:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (given or keep):
            _stop(_NAME)  # what a run that was killed left
        cluster = _start(given or _NAME, Path(folder))
        try:
            cluster.remove_namespaces()
            yield cluster
        finally:
            if not given:
                cluster.remove_checkpoints()
            if not (given or keep):
                _stop(_NAME)
