"""Faults of a laptop's disk: before each operation that changes it the runner is killed, or the disk is full, or a file is torn.

Operations are counted where Python itself tells of them (audit events), so none is left out and no code knows of it. Each run is a
process of its own; its successor, without a fault, has to bring the study to the end that it has in a run without any.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["DISK_CASES", "DiskMode", "DiskPlan", "count_operations", "disk_plans", "run_disk_plan"]

DiskMode = str
MODES = ("disk-kill", "disk-torn", "disk-full", "two-runners")
DISK_CASES = ("grid", "random")
_TRIALS = 4
_FULL_OPERATIONS = 6
# Before the directory is claimed, a full disk is a refusal with words, and a second runner is the first one.
_CLAIMED = 3
_SECONDS = 120
_CHANGING = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"})
_TEXT = re.compile(r"(?P<case>[a-z]+):(?P<mode>[a-z-]+)@(?P<at>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPlan:
    """A fault at one operation.

    Attributes:
        mode: disk-kill, disk-torn, disk-full (for some operations) or two-runners (the second comes at this operation).
        at: Number of the operation, from 1.
    """

    case: str
    mode: DiskMode
    at: int

    def __str__(self) -> str:
        return f"{self.case}:{self.mode}@{self.at}"

    @classmethod
    def read(cls, text: str) -> DiskPlan:
        """Return the plan that a text names.

        Raises:
            ValueError: If it names none.
        """
        found = _TEXT.fullmatch(text)
        if found is None or found["mode"] not in MODES:
            raise ValueError(f"{text!r} is no plan, but must be like random:disk-full@17")
        return cls(case=found["case"], mode=found["mode"], at=int(found["at"]))


def disk_plans(seed: int) -> Iterator[DiskPlan]:
    """Yield every operation under every fault, such that a beginning of it is a fair sample."""
    stride = 7
    for turn in range(stride):
        for case in DISK_CASES:
            for mode in MODES:
                for at in range(1 + (seed + turn * 3) % stride, count_operations(case) + 1, stride):
                    yield DiskPlan(case=case, mode=mode, at=at)


@cache
def _reference(case: str) -> tuple[list[object], int]:
    with tempfile.TemporaryDirectory(prefix="seatrial-disk-") as name:
        root = Path(name)
        code, text = _finish(_start(root, case, None))
        if code != 0:
            raise AssertionError(f"{case} goes wrong by itself: {text}")
        return _outcome(root), int((root / "operations").read_text())


def count_operations(case: str) -> int:
    """Return how many operations change the disk when nothing goes wrong."""
    return _reference(case)[1]


def run_disk_plan(plan: DiskPlan) -> tuple[int, tuple[str, ...]]:
    """Carry out a plan; return how often the runner was killed, and what must not be and was."""
    wanted, _ = _reference(plan.case)
    with tempfile.TemporaryDirectory(prefix="seatrial-disk-") as name:
        root, wrong = Path(name), []
        code, text = _finish(_start(root, plan.case, plan))
        if plan.mode == "two-runners":
            second = (root / "second").read_text() if (root / "second").exists() else ""
            if "process" not in second and _CLAIMED < plan.at <= _reference(plan.case)[1] - 3:
                wrong.append(f"a second runner was not refused: {second[-500:]!r}")
        elif plan.mode == "disk-full" and code != 0 and plan.at > _CLAIMED:
            wrong.append(f"a full disk ended the runner with {code}: {text[-1500:]}")
        for _ in range(3):
            code, text = _finish(_start(root, plan.case, None))
            # A torn file of a trial is put aside and named; the same command again goes on.
            if code == 0 or "was put aside" not in text:
                break
        if code != 0:
            wrong.append(f"its successor ended with {code}: {text[-1500:]}")
        else:
            wrong += _compare(_outcome(root), wanted, root)
        return int(plan.mode in {"disk-kill", "disk-torn"}), tuple(wrong)


def _compare(found: list[object], wanted: list[object], root: Path) -> list[str]:
    wrong = [f"trials are {found}, but without a fault {wanted}"] if found != wanted else []
    ran = Counter((root / "ran").read_text().split())
    twice = sorted(name for name, times in ran.items() if times > 1)
    if twice:
        wrong.append(f"attempts ran twice: {', '.join(twice)}")
    left = sorted(path.name for path in (root / "study" / "open").iterdir())
    if left:
        wrong.append(f"marks are left: {', '.join(left)}")
    return wrong


def _outcome(root: Path) -> list[object]:
    """Return index, assignment, state and values of the trials."""
    found = []
    for path in sorted((root / "study" / "trials").glob("*.json")):
        trial = json.loads(path.read_text())
        status = trial["status"]
        values = (status.get("observation") or {}).get("values")
        found.append([trial["spec"]["index"], trial["spec"]["assignment"], status["conditions"][0]["reason"], values])
    return sorted(found, key=lambda trial: int(str(trial[0])))


def _start(root: Path, case: str, plan: DiskPlan | None) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    text = str(plan) if plan is not None else ""
    with (root / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "faults.disk", str(root), case, text],
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )


def _finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    log = Path(str(process.args[3])) / "log"  # type: ignore[index]
    try:
        code = process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return -1, f"it does not end within {_SECONDS} s: {log.read_text()}"
    return code, log.read_text()


# ---- the runner's side -------------------------------------------------------------------------------------------------------------


class _Saboteur:
    """Counts what changes the study's folder, and strikes."""

    def __init__(self, root: Path, plan: DiskPlan | None) -> None:
        self.root, self.plan, self.count, self.busy = str(root / "study"), plan, 0, False
        self._full_until = 0

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """Take an audit event before what it tells of happens."""
        if self.busy or not (event in _CHANGING or (event == "open" and _writes(arguments))):
            return
        path = os.fspath(arguments[0]) if isinstance(arguments[0], str | os.PathLike) else ""
        if not str(path).startswith(self.root):
            return
        self.count += 1
        if self.plan is None:
            return
        if self.count == self.plan.at:
            self._strike(str(path), event)
        if self.plan.mode == "disk-full" and self.plan.at <= self.count < self.plan.at + _FULL_OPERATIONS:
            # Opening what is there takes no room.
            grows = event == "os.mkdir" or (event == "open" and _creates(arguments))
            if grows:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _strike(self, path: str, event: str) -> None:
        self.busy = True
        mode = self.plan.mode if self.plan is not None else ""
        if mode == "disk-torn" and event == "open":
            # What would be written is there by half: the file exists and is empty, or cut.
            with suppress(OSError):
                Path(path).write_bytes(b'{"apiVersion": "sea')
        if mode in {"disk-kill", "disk-torn"}:
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "two-runners":
            root = Path(self.root).parent
            with (root / "second").open("wb") as log:
                subprocess.run(
                    [sys.executable, "-m", "faults.disk", str(root), self.plan.case if self.plan else "", ""],
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    check=False,
                    timeout=_SECONDS,
                )
        self.busy = False


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _creates(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & os.O_CREAT)


async def _run(root: Path, case: str) -> None:
    from adapters.local_world import MACHINE, a_local_study
    from seatrial.adapters.local.claim import Claim
    from seatrial.adapters.local.clock import SystemClock
    from seatrial.adapters.local.layout import StudyDirectory
    from seatrial.adapters.local.runner import LocalRunner
    from seatrial.adapters.local.store import DirectoryStore
    from seatrial.adapters.metrics.local import LocalMetricSource
    from seatrial.errors import TransientError
    from seatrial.reconcile import Reconciler

    program = 'echo "$SEATRIAL_TRIAL.$SEATRIAL_ATTEMPT" >>ran; echo "loss=$HP_x"'
    spec: dict[str, object] = {"budget": {"maxTrials": _TRIALS, "parallelTrials": 2}, "algorithm": {"name": case}}
    if case == "grid":
        spec["parameters"] = [{"name": "x", "type": "float", "min": 0, "max": 1, "step": 0.25}]
    directory = StudyDirectory(root / "study")
    with Claim(directory):
        store = DirectoryStore(directory)
        key = store.put_study(a_local_study("sh", "-c", program, **spec))
        runner = LocalRunner(directory, root, machine=MACHINE)
        reconciler = Reconciler(
            key, store=store, runner=runner, metrics=LocalMetricSource(directory), clock=SystemClock(), keeper=runner
        )
        while True:
            try:
                look = await reconciler.run()
            except TransientError:
                await asyncio.sleep(0.01)
                continue
            assert look is not None
            held = any(trial.live is not None for trial in look.snapshot.trials)
            if look.plan.state.reason.terminal and not look.moved and not held:
                break
            if not look.moved:
                await runner.wait(1)
        await runner.close()
        store.close()


def _main(root: Path, case: str, text: str) -> None:
    from seatrial.errors import UsageError

    saboteur = _Saboteur(root, DiskPlan.read(text) if text else None)
    sys.addaudithook(saboteur.hear)
    try:
        asyncio.run(_run(root, case))
    except UsageError as error:
        sys.stdout.write(f"{error}\n")
        raise SystemExit(2) from error
    (root / "operations").write_text(str(saboteur.count))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *sys.argv[2:4])
    time.sleep(0)
