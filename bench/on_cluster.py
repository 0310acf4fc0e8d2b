"""What the operator costs and how fast it is, against a real API server; nodes are simulated.

    python bench/on_cluster.py [--live 200] [--finished 2000] [--seconds 20] [--algorithms random auto] [--profile FILE]

Etcd, kube-apiserver and kube-controller-manager run as processes, the operator as another one; this process plays the kubelets: it
writes the status of each Pod as a node would and lets trials end after a time of their own. Figures: from the moment that a Pod's
end is stored to the creation of the next Pod; calls that write, by verb and kind, as the operator's own metrics count them; resident
memory; from `kubectl apply` to the first Pod. Everything shares the cores of this machine, which is part of what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from control_plane.cluster import ControlPlane, run_control_plane
from seatrial.adapters.kubernetes.client import ApiServerClient
from seatrial.adapters.kubernetes.faults import ApiError, Gone
from seatrial.adapters.kubernetes.port import PODS, STUDIES, KubeObject, PatchKind
from seatrial.errors import TransientError

NAMESPACE = "bench"
WRITES = {"create", "patch", "apply", "delete", "deletecollection"}


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def build_study(name: str, algorithm: str, parallel: int, trials: int) -> KubeObject:
    parameters = [{"name": f"x{number}", "type": "float", "min": 0, "max": 1} for number in range(4)]
    limits = {"nvidia.com/gpu": 1, "cpu": "1", "memory": "1Gi"}
    container = {"name": "trainer", "image": "example.invalid/none:1", "resources": {"limits": limits}}
    return {
        "apiVersion": STUDIES.api_version,
        "kind": STUDIES.kind,
        "metadata": {"name": name},
        "spec": {
            "objectives": [{"metric": "loss", "goal": "minimize"}],
            "parameters": parameters,
            "algorithm": {"name": algorithm, "seed": 7},
            "budget": {"maxTrials": trials, "parallelTrials": parallel},
            "metrics": {"source": "termination-message"},
            # No scheduler is to have an opinion on Pods whose nodes are played.
            "trial": {"template": {"spec": {"schedulerName": "played", "containers": [container]}}},
        },
    }


@dataclass
class Nodes:
    """Plays the kubelets of one namespace.

    Attributes:
        draw: Seconds that a trial runs.
        created: When each Pod was seen, seconds of the monotonic clock.
        ended: When the end of each was stored.
    """

    client: ApiServerClient
    draw: Callable[[], float]
    created: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    peak: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Play, for ever."""
        page = await self.client.list(PODS, NAMESPACE)
        version = page.version
        while True:
            with contextlib.suppress(TransientError, Gone):
                async for event in self.client.watch(PODS, NAMESPACE, version=version):
                    version = event.version
                    if event.type == "ADDED":
                        self.created[event.object["metadata"]["name"]] = time.monotonic()
                        self._begin(self._live(event.object))
                    elif event.type == "MODIFIED" and event.object["metadata"].get("deletionTimestamp"):
                        self._begin(self._remove(event.object))
                    self.news.set()

    def _begin(self, life: Any) -> None:
        task = asyncio.ensure_future(life)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Return when it holds."""
        async with asyncio.timeout(seconds):
            while not holds():
                self.news.clear()
                await self.news.wait()

    async def _live(self, pod: KubeObject) -> None:
        name = pod["metadata"]["name"]
        # As a real start goes: bound, images, running.
        waiting = {"waiting": {"reason": "ContainerCreating"}}
        await self._write(pod, "Pending", waiting)
        await asyncio.sleep(0.2)
        if not await self._write(pod, "Running", {"running": {"startedAt": now_text()}}):
            return
        self.running.add(name)
        self.peak = max(self.peak, len(self.running))
        await asyncio.sleep(self.draw())
        self.running.discard(name)
        message = json.dumps({"loss": random.random()})  # noqa: S311
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "message": message, "finishedAt": now_text()}}
        if await self._write(pod, "Succeeded", state):
            self.ended[name] = time.monotonic()
            self.news.set()

    async def _remove(self, pod: KubeObject) -> None:
        if pod["metadata"].get("deletionGracePeriodSeconds"):
            with contextlib.suppress(ApiError, TransientError):
                await self.client.delete(PODS, NAMESPACE, pod["metadata"]["name"], grace_seconds=0)

    async def _write(self, pod: KubeObject, phase: str, state: KubeObject) -> bool:
        container = {"name": "trainer", "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
        status = {"phase": phase, "containerStatuses": [{**container, "state": state}]}
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        try:
            name = pod["metadata"]["name"]
            await self.client.patch(PODS, NAMESPACE, name, body, kind=PatchKind.MERGE, subresource="status")
        except (ApiError, TransientError):
            return False
        return True


class Running:
    """An operator process, and what it says of itself."""

    def __init__(self, plane: ControlPlane, folder: Path, profile: str | None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        settings = {
            "KUBECONFIG": str(plane.admin.kubeconfig),
            "SEATRIAL_OPERATOR_NAMESPACE": NAMESPACE,
            "SEATRIAL_OPERATOR_LEASE_NAMESPACE": NAMESPACE,
            "SEATRIAL_OPERATOR_HEALTH_PORT": "0",
            "SEATRIAL_OPERATOR_METRICS_PORT": str(self.port),
        }
        profiler = ["-m", "cProfile", "-o", profile] if profile else []
        self.log = folder / "operator.log"
        with self.log.open("wb") as sink:
            self.popen = subprocess.Popen(
                [sys.executable, *profiler, "-m", "seatrial.entry.cluster"],
                env={**os.environ, **settings},
                stdout=sink,
                stderr=sink,
            )

    def read(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of all series of a name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        families = text_string_to_metric_families(text)
        return [(one.labels, one.value) for found in families for one in found.samples if one.name == name]

    def writes(self) -> dict[str, float]:
        """Return the numbers of calls that write, by verb and kind."""
        found: dict[str, float] = {}
        for labels, number in self.read("seatrial_api_requests_total"):
            if labels["verb"] in WRITES and labels["resource"] != "leases":
                call = f"{labels['verb']} {labels['resource']}"
                found[call] = found.get(call, 0) + number
        return found

    def means(self, name: str, label: str) -> str:
        """Return the mean of a histogram in milliseconds, by one or more labels, in words."""
        sums = [(labels, value) for labels, value in self.read(f"{name}_sum") if value]
        counts = self.read(f"{name}_count")
        means = [(labels, value / next(n for other, n in counts if other == labels)) for labels, value in sums]
        return ", ".join(f"{labels[label]} {labels.get('resource', '')} {mean * 1e3:.0f} ms" for labels, mean in means)

    def memory(self) -> tuple[float, float]:
        """Return megabytes (10^6) that are resident: of the operator, and of the processes that it has started."""
        own = psutil.Process(self.popen.pid)
        children = sum(child.memory_info().rss for child in own.children(recursive=True))
        return own.memory_info().rss / 1e6, children / 1e6

    def cpu_seconds(self) -> float:
        """Return what the operator alone has used."""
        used = psutil.Process(self.popen.pid).cpu_times()
        return float(used.user + used.system)

    async def ready(self) -> None:
        """Return when it leads."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    if any(value for _, value in self.read("seatrial_leader")):
                        return
                if self.popen.poll() is not None:
                    raise RuntimeError(self.log.read_text()[-3000:])
                await asyncio.sleep(0.1)


@contextlib.contextmanager
def running_operator(plane: ControlPlane, folder: Path, profile: str | None = None) -> Iterator[Running]:
    running = Running(plane, folder, profile)
    try:
        yield running
    finally:
        running.popen.send_signal(signal.SIGTERM)
        try:
            running.popen.wait(30)
        except subprocess.TimeoutExpired:
            running.popen.kill()


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(values: list[float]) -> str:
    return ", ".join(
        f"{name} {percentile(values, share) * 1e3:.0f} ms" for name, share in (("p50", 0.5), ("p99", 0.99))
    )


async def measure_first(client: ApiServerClient, nodes: Nodes, algorithm: str) -> None:
    """Studies that are applied one after the other: how long until each has a Pod."""
    waits = []
    for number in range(10):
        name = f"first-{algorithm}-{number}"
        began = time.monotonic()
        await client.create(STUDIES, NAMESPACE, build_study(name, algorithm, 1, 1))
        await nodes.until(lambda name=name: f"{name}-0-0" in nodes.created, 60)
        waits.append(nodes.created[f"{name}-0-0"] - began)
        await nodes.until(lambda name=name: f"{name}-0-0" in nodes.ended, 60)
    print(
        f"{algorithm}: Study applied -> first Pod created: {milliseconds(waits)}, first of all {waits[0] * 1e3:.0f} ms"
    )


async def measure_study(
    client: ApiServerClient, nodes: Nodes, operator: Running, algorithm: str, live: int, total: int
) -> None:
    """One study with many trials at once: how soon a slot is filled again, and what that takes."""
    name, before, cpu = f"many-{algorithm}", operator.writes(), operator.cpu_seconds()
    nodes.peak, began = 0, time.monotonic()
    await client.create(STUDIES, NAMESPACE, build_study(name, algorithm, live, total))
    mine = f"{name}-"

    def ends() -> list[float]:
        return sorted(at for pod, at in nodes.ended.items() if pod.startswith(mine))

    def starts() -> list[float]:
        return sorted(at for pod, at in nodes.created.items() if pod.startswith(mine))

    await nodes.until(lambda: len(starts()) >= live, 300)
    print(f"{algorithm}: {live} Pods created within {starts()[live - 1] - began:.1f} s")
    # While all slots are taken: the last ends are followed by nothing.
    await nodes.until(lambda: len(starts()) >= total, 3600)
    memory, working = operator.memory(), starts()[-1] - starts()[live]
    # The n-th end makes place for the n-th Pod after the first ones.
    waits = [max(0.0, start - end) for end, start in zip(ends(), starts()[live:], strict=False)]
    print(
        f"{algorithm}: Pod ended -> next Pod created: {milliseconds(waits)}, longest {max(waits) * 1e3:.0f} ms "
        f"({len(waits)} Pods at {len(waits) / working:.1f} a second; at most {nodes.peak} at once)"
    )
    print(f"{algorithm}: {memory[0]:.0f} MB resident, and {memory[1]:.0f} MB in the process that asks algorithms")
    await nodes.until(lambda: len(ends()) >= total, 3600)
    await asyncio.sleep(5)
    wrote = operator.writes()
    each = {call: (number - before.get(call, 0)) / total for call, number in sorted(wrote.items())}
    print(
        f"{algorithm}: {sum(each.values()):.2f} writes a trial: "
        + ", ".join(f"{call} {number:.2f}" for call, number in each.items() if number)
    )
    print(f"{algorithm}: {(operator.cpu_seconds() - cpu) / total * 1e3:.1f} ms of the operator's CPU a trial")


async def run(options: argparse.Namespace, plane: ControlPlane, folder: Path) -> None:
    configuration = Configuration()
    await load_kube_config(str(plane.admin.kubeconfig), client_configuration=configuration)
    client = ApiServerClient(configuration, agent="kubelets")
    chance = random.Random(7)  # noqa: S311
    pace = {"mean": 0.5}
    nodes = Nodes(client, lambda: chance.uniform(0.5, 1.5) * pace["mean"])
    with running_operator(plane, folder, options.profile) as operator:
        playing = asyncio.ensure_future(nodes.run())
        await operator.ready()
        # Until the process that asks algorithms has imported what it needs.
        await asyncio.sleep(3)
        print(f"at rest: {operator.memory()[0]:.0f} MB resident, and {operator.memory()[1]:.0f} MB for algorithms")
        for algorithm in options.algorithms:
            pace["mean"] = 0.5
            await measure_first(client, nodes, algorithm)
            pace["mean"] = options.seconds
            total = options.finished + options.live if algorithm == "random" else options.fewer
            await measure_study(client, nodes, operator, algorithm, options.live, total)
        passes = operator.read("seatrial_reconcile_duration_seconds_count")
        print("passes: " + ", ".join(f"{number:.0f} {labels['outcome']}" for labels, number in passes))
        for name, label in (("api_request", "verb"), ("decision", "algorithm"), ("reconcile", "outcome")):
            print(f"{name}: {operator.means(f'seatrial_{name}_duration_seconds', label)}")
        actions = operator.read("seatrial_actions_total")
        print("actions: " + ", ".join(f"{number:.0f} {labels['action']}" for labels, number in actions))
        playing.cancel()
        await asyncio.gather(playing, *nodes.tasks, return_exceptions=True)
    await client.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--live", type=int, default=200, help="trials at once")
    options.add_argument("--finished", type=int, default=2000, help="trials that have ended at the end")
    options.add_argument("--fewer", type=int, default=600, help="trials of algorithms other than random")
    options.add_argument("--seconds", type=float, default=20.0, help="mean time that a trial runs")
    options.add_argument("--algorithms", nargs="*", default=["random", "auto"])
    options.add_argument("--profile", help="let the operator write a profile into this file")
    options.add_argument("--log", help="copy the operator's log into this file")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="seatrial-bench-") as name:
        folder = Path(name)
        with run_control_plane(folder) as plane:
            plane.kubectl("create", "namespace", NAMESPACE)
            time.sleep(2)
            asyncio.run(run(chosen, plane, folder))
            log = (folder / "operator.log").read_text().splitlines()
            bad = [line for line in log if '"level":"error"' in line or '"level":"warning"' in line]
            if chosen.log:
                Path(chosen.log).write_text("\n".join(log))
            print(f"{len(log)} log lines, {len(bad)} of them warnings or errors", *bad[:3], sep="\n")


if __name__ == "__main__":
    main()
