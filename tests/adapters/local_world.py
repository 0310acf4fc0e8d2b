"""A study directory with a real runner in it, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from adapters.contracts import a_record
from decide.builders import a_study
from seatrial.adapters.local.files import is_locked
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.records import read_pid
from seatrial.adapters.local.resources import Machine
from seatrial.adapters.local.runner import LocalRunner
from seatrial.adapters.metrics.local import LocalMetricSource
from seatrial.api.study import Study
from seatrial.decide.attempts import Attempt

BEHAVIOURS = """
case $HP_kind in
ok) for step in 1 2 3; do
        echo "{\\"step\\": $step, \\"time\\": 0, \\"metrics\\": {\\"loss\\": $((4 - step))}}" >>"$SEATRIAL_OBSERVATIONS_PATH"
    done ;;
fail) echo "it went wrong"; exit 3 ;;
long) exec sleep 1000 ;;
deaf) trap '' TERM; echo deaf; while :; do sleep 1000; done ;;
esac
"""

PYTHON_BEHAVIOURS = """
import json, os, signal, sys, time
kind = os.environ["HP_kind"]
if kind == "ok":
    with open(os.environ["SEATRIAL_OBSERVATIONS_PATH"], "a") as file:
        for step in (1, 2, 3):
            file.write(json.dumps({"step": step, "time": 0, "metrics": {"loss": 4 - step}}) + "\\n")
elif kind == "fail":
    sys.exit("it went wrong") if os.environ.get("WORDS") else sys.exit(3)
elif kind == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
while kind in {"long", "deaf"}:
    time.sleep(1000)
"""

MACHINE = Machine(cores=4, memory_bytes=8 << 30)


def a_local_study(
    *command: str, container: dict[str, object] | None = None, grace: float = 30, reuse: bool = False, **spec: object
) -> Study:
    """Return a study whose trials run a command."""
    written = {"name": "main", "command": list(command) or ["sh", "-c", BEHAVIOURS], **(container or {})}
    pod = {"containers": [written], "terminationGracePeriodSeconds": grace}
    return a_study(trial={"template": {"spec": pod}} | ({"reuse": True} if reuse else {}), **spec)


class LocalWorld:
    """A runner that can die and come back.

    Args:
        root: An empty folder.
        study: What it runs.
        options: Passed to each runner.
    """

    def __init__(self, root: Path, study: Study | None = None, **options: object) -> None:
        self.root = root
        self.study = study or a_local_study()
        self.directory = StudyDirectory(root / "study")
        self.options = {"machine": MACHINE, **options}
        self.metrics = LocalMetricSource(self.directory)
        self.runner = self.make_runner()

    def make_runner(self) -> LocalRunner:
        return LocalRunner(self.directory, self.root, **self.options)

    async def replace_runner(self) -> None:
        """Let another runner take over, as after the death of the first one."""
        await self.runner.close()
        self.runner = self.make_runner()

    async def wait(self) -> None:
        await self.runner.wait(5)

    async def start(self, index: int = 0, number: int = 0, **assignment: object) -> None:
        await self.runner.start(self.study, a_record(index, **assignment), number)

    async def until_deaf(self) -> None:
        """Wait until the first trial ignores SIGTERM: before its trap is set it would end like any other."""
        deadline = time.monotonic() + 20
        while not (self.files().output.exists() and "deaf" in self.output()):
            assert time.monotonic() < deadline, "the trial never became deaf"
            await asyncio.sleep(0.01)

    async def run(self, index: int = 0, **assignment: object) -> Attempt:
        """Start a trial and return how it ended."""
        from adapters.contracts import until_ended

        await self.start(index, **assignment)
        return (await until_ended(self, f"s-{index}"))[f"s-{index}"]

    def output(self, index: int = 0, number: int = 0) -> str:
        return self.files(index, number).output.read_text()

    def files(self, index: int = 0, number: int = 0):
        return self.directory.attempt(f"s-{index}", number)

    def clean(self) -> None:
        """Leave no process behind, not even one that has only just been started."""
        self.runner._starter.close()
        deadline = time.monotonic() + 20
        for folder in (self.directory.root / "attempts").glob("*.*"):
            trial, number = folder.name.rsplit(".", 1)
            files = self.directory.attempt(trial, int(number))
            while is_locked(files.note):
                assert time.monotonic() < deadline, f"{folder} still runs"
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    if pid := read_pid(files):
                        os.killpg(pid, signal.SIGKILL)
                time.sleep(0.005)
