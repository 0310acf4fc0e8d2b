"""The sweep as a program: carries out plans, prints what fails, and writes the table of docs/reliability.md.

scripts/faults                          all tiers side by side: memory whole, for 20 minutes a real API server and a laptop's disk
scripts/faults --minutes 0              these whole, too: every operation under every fault, however long it takes (hours)
scripts/faults --tier memory            only there
scripts/faults --replay random:lost-reply@9+0s#1 --tier real
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, zip_longest
from pathlib import Path

from control_plane.cluster import run_control_plane
from faults import table
from faults.cases import CASES
from faults.disk import disk_plans, run_disk_plan
from faults.disk_plans import DiskPlan
from faults.plans import LASTING, Mode, Plan
from faults.real import make_namespace, run_real_stage
from faults.simulated import count_writes, run_plan
from faults.sweep import every_write, long_outages, sample, storms
from faults.table import Figures, Row

__all__ = ["main"]

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "reliability.md"
_TIERS = ("memory", "real", "disk")
_CHUNK, _BATCH = 4, 64
_STORMS = {"memory": 32, "real": 1}
_REAL_WRITES = {"grid": 45, "random": 50, "auto": 40, "pbt": 60, "asha": 60}
"""About so many writes there are: each real run has its own number of them.

Not the studies whose Pods are handed on: how their attempts end stands in logs, which an API server without kubelets does not have.
"""

AnyPlan = Plan | DiskPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """What came of one plan: how many kills there were, what was wrong, and whether the fault came at all."""

    kills: int
    violations: tuple[str, ...]
    struck: bool = True


def _memory_plans(seed: int) -> Iterator[Plan]:
    """Yield storms, long outages, and every write of every study under every fault."""
    yield from _weave([storms(case, _STORMS["memory"], seed=seed) for case in CASES])
    modes = [mode for mode in Mode if mode is not Mode.KILLED]
    lasting = [mode for mode in modes if mode in LASTING and mode is not Mode.DROPPED]
    yield from _weave(
        [long_outages(case, count_writes(case), mode, 1, seed=seed) for case in CASES for mode in lasting]
    )
    yield from _weave([every_write(case, count_writes(case), mode, seed=seed) for case in CASES for mode in modes])


def _real_plans(seed: int) -> Iterator[Plan]:
    """Yield plans for a real server such that a beginning of them is a fair sample, with a storm every now and then."""
    modes = [mode for mode in Mode if mode not in {Mode.KILLED, Mode.DROPPED}]
    for turn in range(100):
        found = [
            sample(case, _REAL_WRITES[case] * 2 // 3, mode, 1, seed=seed + turn)
            for number, mode in enumerate(modes)
            # Each mode meets each study within five turns.
            for case in [[*_REAL_WRITES][(number + turn) % len(_REAL_WRITES)]]
        ]
        case = [*_REAL_WRITES][turn % len(_REAL_WRITES)]
        yield from chain(storms(case, _STORMS["real"], seed=seed + turn), _weave(found))


def _weave(streams: Sequence[Iterator[Plan]]) -> Iterator[Plan]:
    for turn in zip_longest(*streams):
        yield from (plan for plan in turn if plan is not None)


class _Until:
    """Gives plans until the time is over; 0 minutes are no limit.

    Attributes:
        cut: Whether there were more plans than time.
    """

    def __init__(self, plans: Iterable[AnyPlan], minutes: float) -> None:
        self._plans, self._minutes, self.cut = plans, minutes, False

    def __iter__(self) -> Iterator[AnyPlan]:
        end = time.monotonic() + self._minutes * 60 if self._minutes else float("inf")
        for plan in self._plans:
            if time.monotonic() > end:
                self.cut = True
                return
            yield plan


def _try(run: Callable[[AnyPlan], _Done], plan: AnyPlan) -> tuple[AnyPlan, _Done, float]:
    began = time.monotonic()
    try:
        done = run(plan)
    except Exception as error:  # noqa: BLE001 - a run that breaks is a violation, not the end of the sweep
        done = _Done(kills=0, violations=(f"{type(error).__name__}: {error}",))
    return plan, done, time.monotonic() - began


def _count(tier: str, results: Iterable[tuple[AnyPlan, _Done, float]]) -> list[Row]:
    """Count what came of plans; print what fails, and how it is repeated."""
    rows: dict[tuple[str, str], Row] = {}
    for plan, done, seconds in results:
        if not done.struck and not done.violations:
            continue
        row = rows.setdefault((str(plan.mode), plan.case), Row(tier=tier, mode=str(plan.mode), case=plan.case))
        row.add(kills=done.kills, failed=bool(done.violations), seconds=seconds)
        if done.violations:
            row.failures.append(str(plan))
            _say(f"FAILED {tier} {plan}: {'; '.join(done.violations)[:2000]}")
            _say(f"  again: scripts/faults --tier {tier} --replay '{plan}'")
    return list(rows.values())


def _sweep_memory(plans: Iterator[AnyPlan], given: argparse.Namespace) -> list[Row]:
    run = partial(_try, _run_memory)
    with ProcessPoolExecutor(given.workers, initializer=logging.disable, initargs=(logging.CRITICAL,)) as pool:
        batches = iter(lambda: list(islice(plans, given.workers * _BATCH)), [])
        return _count("memory", chain.from_iterable(pool.map(run, batch, chunksize=_CHUNK) for batch in batches))


def _sweep_disk(plans: Iterator[AnyPlan], given: argparse.Namespace) -> list[Row]:
    # Each run is a process of its own, which waits for its trials half of the time.
    with ThreadPoolExecutor(given.workers) as pool:
        batches = iter(lambda: list(islice(plans, 2 * given.workers)), [])
        return _count("disk", chain.from_iterable(pool.map(partial(_try, _run_disk), batch) for batch in batches))


def _run_memory(plan: AnyPlan) -> _Done:
    assert isinstance(plan, Plan)
    result = run_plan(plan)
    return _Done(struck=result.struck, kills=result.kills, violations=result.violations)


def _run_disk(plan: AnyPlan) -> _Done:
    assert isinstance(plan, DiskPlan)
    result = run_disk_plan(plan)
    return _Done(struck=result.struck, kills=result.kills, violations=result.violations)


@contextmanager
def _real_runner() -> Iterator[Callable[[AnyPlan], _Done]]:
    with tempfile.TemporaryDirectory(prefix="seatrial-faults-") as name:
        folder = Path(name)
        with run_control_plane(folder / "plane") as plane, plane.client() as api:
            make_namespace(api, "faults")
            with run_real_stage(plane, "faults", folder) as stage:

                def run(plan: AnyPlan) -> _Done:
                    assert isinstance(plan, Plan)
                    result = stage.run_plan(plan)
                    return _Done(struck=result.struck, kills=result.kills, violations=result.violations)

                yield run


def _sweep(tier: str, given: argparse.Namespace) -> Figures:
    if tier == "memory":
        plans = _Until(_memory_plans(given.seed), given.memory_minutes)
        rows = _sweep_memory(iter(plans), given)
    elif tier == "disk":
        plans = _Until(disk_plans(given.seed), given.minutes)
        rows = _sweep_disk(iter(plans), given)
    else:
        plans = _Until(_real_plans(given.seed), given.minutes)
        with _real_runner() as run:
            rows = _count(tier, (_try(run, plan) for plan in plans))
    return Figures(seed=given.seed, cut=plans.cut, rows=rows)


def _replay(tier: str, text: str) -> int:
    if tier == "disk":
        done = _run_disk(DiskPlan.read(text))
    elif tier == "memory":
        done = _run_memory(Plan.read(text))
    else:
        with _real_runner() as run:
            done = run(Plan.read(text))
    _say("\n".join(done.violations) or f"{text} holds")
    return bool(done.violations)


def _sweep_one(tier: str, given: argparse.Namespace) -> bool:
    """Sweep one tier and keep its figures; return whether anything was violated."""
    _say(f"{tier}: seed {given.seed}")
    path = given.results / f"{tier}.json"
    # Figures of an earlier sweep must not stand for one that does not end.
    path.unlink(missing_ok=True)
    figures = _sweep(tier, given)
    figures.save(path)
    rows = figures.rows
    runs, kills, bad = (sum(getattr(row, name) for row in rows) for name in ("runs", "kills", "failed"))
    _say(f"{tier}: {runs} runs, {kills} kills, {bad} with violations, {sum(row.seconds for row in rows) / 60:.1f} min")
    return bad > 0


def _sweep_all(given: argparse.Namespace) -> bool:
    """Sweep all tiers side by side, each in a process of its own: one computes while others wait."""
    same = [f"--{name}={getattr(given, name)}" for name in ("minutes", "seed", "workers", "results")]
    same += [f"--memory-minutes={given.memory_minutes}"]
    for tier in _TIERS:
        # One that dies before it can do so itself must leave none.
        (given.results / f"{tier}.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "faults.campaign", *same]
    sweeps = [subprocess.Popen([*command, "--tier", tier]) for tier in _TIERS]
    codes = [sweep.wait() for sweep in sweeps]
    # One that was killed has a code below 0.
    return any(codes)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sweep; return 1 when anything was violated, or a table was to be written of which a tier is missing."""
    parser = argparse.ArgumentParser(
        prog="scripts/faults", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20, help="for a real server and for a disk; 0: no limit")
    parser.add_argument(
        "--memory-minutes", type=float, default=0, help="the same for memory; 0, the default: all of it"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes for memory, and for a disk; one a core"
    )
    parser.add_argument("--tier", choices=_TIERS, help="only this one")
    parser.add_argument("--replay", metavar="PLAN", help="one plan, as a failure names it")
    parser.add_argument("--results", type=Path, default=_ROOT / "dist" / "faults", help="where figures are kept")
    parser.add_argument("--write", action="store_true", help="write the table of docs/reliability.md from the figures")
    given = parser.parse_args(arguments)
    if given.replay:
        return _replay(given.tier or "memory", given.replay)
    given.results.mkdir(parents=True, exist_ok=True)
    failed = _sweep_one(given.tier, given) if given.tier else _sweep_all(given)
    if given.write:
        try:
            table.write(_PAGE, given.results, seed=given.seed)
        except table.IncompleteError as error:
            _say(f"{_PAGE.name} stays as it was: {error}")
            return 1
    return failed


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    raise SystemExit(main())
