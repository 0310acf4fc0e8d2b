"""A Prometheus of our own on loopback, and trials for it to scrape. The chart's own relabelling tells who they are."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from harness.ports import find_port

__all__ = ["FILES", "RunningTrial", "TestPrometheus", "a_scraped_trial", "eventually", "pod_labels"]

FILES = Path(__file__).parents[3] / "charts/seatrial/files"
_LONGEST_SECONDS = 40
# Another process may take a port between the choice and its use.
_TRIES = 5


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing; install it: scripts/install-prometheus"
    return found


def _listens(process: subprocess.Popen[Any], port: int) -> bool:
    """Whether it is this process that listens there."""
    try:
        found = psutil.Process(process.pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)


def chart_job(interval: str = "500ms") -> dict[str, Any]:
    """The chart's job, finding Pods in a file instead of in a cluster."""
    job = yaml.safe_load((FILES / "scrape-config.yaml").read_text())[0]
    del job["kubernetes_sd_configs"]
    return {**job, "scrape_interval": interval, "scrape_timeout": interval}


def pod_labels(trial: str, port: int, *, attempt: int = 0, uid: str = "u-1", namespace: str = "lab") -> dict[str, str]:
    """What discovery would say of a trial's Pod."""
    return {
        "__meta_kubernetes_namespace": namespace,
        "__meta_kubernetes_pod_name": f"{trial}-{attempt}",
        "__meta_kubernetes_pod_ip": "127.0.0.1",
        "__meta_kubernetes_pod_phase": "Running",
        "__meta_kubernetes_pod_annotation_prometheus_io_port": str(port),
        "__meta_kubernetes_pod_label_seatrial_dev_study": trial.rpartition("-")[0],
        "__meta_kubernetes_pod_label_seatrial_dev_study_uid": uid,
        "__meta_kubernetes_pod_label_seatrial_dev_trial": trial,
        "__meta_kubernetes_pod_label_seatrial_dev_attempt": str(attempt),
    }


@dataclass
class TestPrometheus:
    """One process; it may be killed and started again over the same data."""

    __test__ = False

    folder: Path
    port: int = field(default_factory=find_port)
    more_flags: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    """Settings of the chart's job that are other here."""
    process: subprocess.Popen[bytes] | None = None
    was_up: bool = False
    """Whether its port is known to others, and has to stay."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        job = chart_job() | self.changes
        job["file_sd_configs"] = [{"files": [str(self.folder / "targets.json")], "refresh_interval": "1s"}]
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
        if not (self.folder / "targets.json").exists():
            self.scrape([])
        for _ in range(_TRIES):
            if self._comes_up():
                self.was_up = True
                return
            self.port = find_port()
        raise AssertionError("prometheus finds no port")

    def _comes_up(self) -> bool:
        """Start the process; return whether it is ready, or else has not got its port."""
        with (self.folder / "log").open("ab") as log:
            before = log.tell()
            self.process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={self.folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    *self.more_flags,
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _LONGEST_SECONDS
        while not self._is_ready():
            if self.process.poll() is not None:
                told = (self.folder / "log").read_bytes()[before:].decode(errors="replace")
                assert "address already in use" in told, told[-2000:]
                assert not self.was_up, told[-2000:]
                return False
            assert time.monotonic() < deadline, "prometheus is not ready"
            time.sleep(0.05)
        return True

    def scrape(self, targets: list[dict[str, str]]) -> None:
        """Replace all targets."""
        text = json.dumps([{"targets": ["127.0.0.1:1"], "labels": labels} for labels in targets])
        (self.folder / "targets.new").write_text(text)
        (self.folder / "targets.new").replace(self.folder / "targets.json")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _is_ready(self) -> bool:
        assert self.process is not None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return int(answer.status) == 200 and _listens(self.process, self.port)
        except (OSError, urllib.error.URLError):
            return False


@dataclass
class RunningTrial:
    """A real trial with the harness; it does a step when told to."""

    port: int
    process: subprocess.Popen[str]

    def report(self, step: int, **metrics: float) -> None:
        """Let it report, and wait until it has."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([step, metrics]) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "told\n"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


_SCRIPT = """
    import json, sys
    import seatrial_harness as seatrial

    trial = seatrial.start()
    print("ready", flush=True)
    for line in sys.stdin:
        step, metrics = json.loads(line)
        trial.report(step, **metrics)
        print("told", flush=True)
"""


def a_scraped_trial(folder: Path, name: str, *, attempt: int = 0, rungs: str = "[1, 3, 9]") -> RunningTrial:
    """Start a trial that serves its metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SEATRIAL_", "HP_")) and k != "RANK"} | {
        "SEATRIAL_STUDY": name.rpartition("-")[0],
        "SEATRIAL_TRIAL": name,
        "SEATRIAL_TRIAL_INDEX": name.rpartition("-")[2],
        "SEATRIAL_ATTEMPT": str(attempt),
        "SEATRIAL_SEED": "1",
        "SEATRIAL_PARAMETERS": "{}",
        "SEATRIAL_OBJECTIVES": '[{"metric": "loss", "goal": "minimize"}]',
        "SEATRIAL_RUNGS": rungs,
        "SEATRIAL_TERMINATION_PATH": str(folder / f"{name}-{attempt}.json"),
    }
    for _ in range(_TRIES):
        port = find_port()
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_SCRIPT)],
            env=env | {"SEATRIAL_METRICS_PORT": str(port)},
            cwd=folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "stderr").open("a"),
        )
        trial = RunningTrial(port, process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # A training whose port is taken goes on without its metrics.
        if _listens(process, port):
            return trial
        trial.end()
    raise AssertionError("the trial finds no port")


async def eventually(look: Any) -> Any:
    """Await *look* until it gives something true; it is asked again and again, but not for ever."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.1)
