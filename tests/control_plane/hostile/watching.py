"""What an operator process costs and says: memory, files, threads, its queue, and whether its log tells of a bug."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families

from control_plane.access import Access
from control_plane.cluster import wait_until
from control_plane.operating import OperatorProcess, run_operator
from harness.ports import find_port

__all__ = ["Operated", "Sample", "find_bugs", "operate", "slope_per_hour"]

# Kopf's word, as an error, for a call that failed and is made again; the last one it gives up with another word.
_RETRIED = re.compile(r"Request attempt #[0-9/]+ failed; will retry: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An operator at one moment.

    Attributes:
        seconds: Since it was started.
        rss_mb: Resident memory of the process itself, MB.
        thinking_mb: That of the processes that it started.
        files: Open file descriptors, sockets included.
        sockets: Of these, TCP connections.
        threads: Threads.
        queue: Studies that wait for a pass.
        tasks: Tasks of its event loop.
    """

    seconds: float
    rss_mb: float
    thinking_mb: float
    files: int
    sockets: int
    threads: int
    queue: int
    tasks: int


class Operated:
    """A running operator, looked at from outside."""

    def __init__(self, operator: OperatorProcess, port: int) -> None:
        self.operator, self._port = operator, port
        self._process = psutil.Process(operator.popen.pid)

    def sample(self) -> Sample:
        """Look at it.

        Raises:
            RuntimeError: If it has ended.
        """
        if self.operator.popen.poll() is not None:
            raise RuntimeError(f"the operator ended with {self.operator.popen.returncode}")
        process = self._process
        with process.oneshot():
            children = process.children(recursive=True)
            return Sample(
                seconds=time.time() - process.create_time(),
                rss_mb=process.memory_info().rss / 1e6,
                thinking_mb=sum(_rss(child) for child in children) / 1e6,
                files=process.num_fds(),
                sockets=len(process.net_connections("tcp")),
                threads=process.num_threads(),
                queue=int(self.read("seatrial_queue_depth")),
                tasks=int(self.read("seatrial_tasks")),
            )

    def read(self, name: str) -> float:
        """Return the sum of one of its metrics over all labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=30) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return sum(one.value for found in families for one in found.samples if one.name == name)

    def leads(self) -> bool:
        """Whether it works already."""
        try:
            return self.read("seatrial_leader") == 1
        except OSError:
            return False

    def bugs(self) -> list[str]:
        """Return the lines of its log that tell of a bug."""
        return find_bugs(self.operator.log)


def find_bugs(log: Path) -> list[str]:
    """Return the lines that are no JSON (a traceback, a library's cry) or are errors, but for calls that Kopf makes again."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            found.append(line)
            continue
        if entry["level"] in {"error", "critical"} and not _RETRIED.match(entry["message"]):
            found.append(line)
    return found


def slope_per_hour(samples: Sequence[Sample], *, skip: float = 0.3) -> float:
    """Return by how many MB an hour the memory of the process grows: least squares over the last part of the samples."""
    used = samples[int(len(samples) * skip) :]
    mean_x = sum(one.seconds for one in used) / len(used)
    mean_y = sum(one.rss_mb for one in used) / len(used)
    over = sum((one.seconds - mean_x) * (one.rss_mb - mean_y) for one in used)
    under = sum((one.seconds - mean_x) ** 2 for one in used)
    return 3600 * over / under if under else 0.0


@contextmanager
def operate(access: Access, folder: Path, namespace: str, **settings: str) -> Iterator[Operated]:
    """Run an operator of one namespace that shows its metrics."""
    port = find_port()
    own = {"namespace": namespace, "lease_namespace": namespace, "metrics_port": str(port)}
    with run_operator(access, folder, **{**own, **settings}) as operator:
        operated = Operated(operator, port)
        wait_until(operated.leads, what="the operator to lead")
        yield operated


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
