"""Faults of a laptop's disk: before each operation that changes it the runner is killed, or the disk is full, or a file is torn.

Each run is a process of its own; its successor, without a fault, has to bring the study to the end that it has in a run without any.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from faults.disk_plans import DISK_CASES, MODES, DiskPlan
from faults.disk_runner import FREE, REFUSED, RUNS, SECOND_SECONDS, TAKEN

__all__ = ["DiskResult", "count_operations", "disk_plans", "run_disk_plan"]

_SECONDS = SECOND_SECONDS + 120
"""Longer than a runner may wait for a second one: who takes too long is named."""

_KILLS = frozenset({"disk-kill", "disk-torn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskResult:
    """What came of a plan.

    Attributes:
        struck: Whether the operation came at which something was to go wrong: their number differs a little from run to run.
        kills: Runners that ended by SIGKILL.
        violations: What must not be and was.
    """

    struck: bool
    kills: int
    violations: tuple[str, ...]


def disk_plans(seed: int) -> Iterator[DiskPlan]:
    """Yield every operation under every fault, such that a beginning of it is a fair sample: of each study, fault and time of its life."""
    chance, numbers = random.Random(seed), {case: count_operations(case) for case in DISK_CASES}  # noqa: S311 - no secret
    orders = {
        (case, mode): chance.sample(range(1, number + 1), number) for case, number in numbers.items() for mode in MODES
    }
    for turn in range(max(numbers.values())):
        for (case, mode), order in orders.items():
            if turn < len(order):
                yield DiskPlan(case=case, mode=mode, at=order[turn])


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


def run_disk_plan(plan: DiskPlan) -> DiskResult:
    """Carry out a plan.

    Until a runner has taken the directory, a second one is the first, and runs the whole study; from then on it is refused in words that
    name the first as soon as that has said who it is. A full disk holds a study up; only while nothing of it has begun may it be refused.
    """
    wanted, _ = _reference(plan.case)
    with tempfile.TemporaryDirectory(prefix="seatrial-disk-") as name:
        root = Path(name).resolve()
        code, text = _finish(_start(root, plan.case, plan))
        stage = (root / "struck").read_text() if (root / "struck").exists() else ""
        kills, wrong = int(code == -signal.SIGKILL), _judge(plan, root, code, text, stage)
        # At once: what a file holds by half is never one that counts, so that there is nothing to be put aside and forgotten.
        code, text = _finish(_start(root, plan.case, None))
        if code != 0:
            wrong.append(f"its successor ended with {code}: {text[-1500:]}")
        else:
            wrong += _compare(_outcome(root), wanted, root)
        return DiskResult(struck=bool(stage), kills=kills, violations=tuple(wrong))


def _judge(plan: DiskPlan, root: Path, code: int, text: str, stage: str) -> list[str]:
    """Return what was wrong with how the runner took it; *stage* is how far it was when the fault came, empty when none came."""
    if plan.mode == "disk-full" and stage and code == REFUSED:
        return _judge_refusal(root, text)
    wrong = _judge_second(root, stage) if plan.mode == "two-runners" and stage else []
    if code != (-signal.SIGKILL if stage and plan.mode in _KILLS else 0):
        wrong.append(f"{plan.mode} ended the runner with {code}: {text[-1500:]}")
    return wrong


def _judge_refusal(root: Path, text: str) -> list[str]:
    """Return what is wrong with a refusal, for which nothing may have begun: neither by what the runner knew nor by what is there."""
    study, last = root / "study", "".join(text.strip().splitlines()[-1:])
    wrong = []
    if str(study) not in last or os.strerror(errno.ENOSPC) not in last:
        wrong.append(f"a full disk was refused without saying so: {text[-1500:]}")
    if not (root / "refused").exists():
        wrong.append(f"the runner ended as if it had refused: {text[-1500:]}")
    elif (root / "refused").read_text() == RUNS:
        wrong.append(f"a full disk ended a study that ran: {last}")
    begun = [
        path.relative_to(study) for kind in ("trials/*.json*", "open/*", "attempts/*") for path in study.glob(kind)
    ]
    begun = [path for path in begun if path.suffix != ".tmp"]
    ran = (root / "ran").read_text().split() if (root / "ran").exists() else []
    if begun or ran:
        names = ", ".join([*map(str, sorted(begun)), *(f"{name} ran" for name in ran)])
        wrong.append(f"a full disk was refused though trials had begun: {names}")
    return wrong


def _judge_second(root: Path, stage: str) -> list[str]:
    """Return what is wrong with how a second runner was taken."""
    code, text = (root / "second-code").read_text(), (root / "second").read_text()
    if stage == FREE:
        return [] if code == "0" else [f"a second runner that came first ended with {code}: {text[-1500:]!r}"]
    who = "is in use: another process" if stage == TAKEN else "is in use: process"
    if code != str(REFUSED) or who not in text:
        return [f"a second runner was not refused, its exit code is {code}: {text[-1500:]!r}"]
    return []


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
    """Return of the trials index, assignment, state, values, attempts, lineage and checkpoint."""
    found: list[list[object]] = []
    for path in sorted((root / "study" / "trials").glob("*.json")):
        trial = json.loads(path.read_text())
        status = trial["status"]
        values = (status.get("observation") or {}).get("values")
        parent, saved = trial["spec"].get("parent") or {}, status.get("checkpoint") or {}
        state = next(condition["reason"] for condition in status["conditions"] if condition["type"] == "Succeeded")
        told = [trial["spec"]["index"], trial["spec"]["assignment"], state, values]
        attempts = [status.get("attempt", 0), [attempt["reason"] for attempt in status.get("attempts", ())]]
        lineage = [parent.get("trial"), parent.get("step"), saved.get("step"), status.get("stepsTrained")]
        found.append([*told, *attempts, *lineage])
    return sorted(found, key=lambda trial: int(str(trial[0])))


def _start(root: Path, case: str, plan: DiskPlan | None) -> subprocess.Popen[bytes]:
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    text = str(plan) if plan is not None else ""
    with (root / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "faults.disk_runner", str(root), case, text],
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
