"""What Seatrial costs per trial: 200 trials that end at once, against starting the same commands by a plain pool.

Run it on a quiet machine: ``python bench/overhead.py [--trials 200] [--parallel 4] [--repeats 5]``. Both sides are interleaved in one
process, so that the ratio means something even where the absolute figures do not. On a machine that others use, the ratio of CPU times
is the one to trust.

The layers are measured one on top of the other: the runner alone, and the whole study (search, plan, store, metrics). The plain pool
starts each command as ``subprocess.run`` does, in as many threads as trials run in parallel.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from seatrial.adapters.local.clock import SystemClock
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.runner import LocalRunner
from seatrial.adapters.local.store import DirectoryStore
from seatrial.adapters.metrics.local import LocalMetricSource
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.attempts import Phase
from seatrial.reconcile import Reconciler

COMMANDS = {
    "sh": ["/bin/sh", "-c", "echo loss=1"],
    "python": [sys.executable, "-c", "print('loss=1')"],
    "python, harness": [sys.executable, "-c", "import seatrial_harness; print('loss=1')"],
    "python, imports numpy": [sys.executable, "-c", "import numpy; print('loss=1')"],
}


def build_study(command: list[str], trials: int, parallel: int) -> Study:
    return Study.model_validate(
        {
            "apiVersion": "seatrial.dev/v1alpha1",
            "kind": "Study",
            "metadata": {"name": "bench"},
            "spec": {
                "objectives": [{"metric": "loss", "goal": "minimize"}],
                "parameters": [{"name": "x", "type": "float", "min": 0, "max": 1}],
                "algorithm": {"name": "random"},
                "budget": {"maxTrials": trials, "parallelTrials": parallel},
                "trial": {"template": {"spec": {"containers": [{"name": "main", "command": command}]}}},
            },
        }
    )


def build_trial(index: int) -> Trial:
    spec = {"study": "bench", "index": index, "assignment": {"x": 0.5}, "seed": 1, "origin": {"algorithm": "random"}}
    return Trial.model_validate({"metadata": {"name": f"bench-{index}"}, "spec": spec})


def run_plain(command: list[str], trials: int, parallel: int) -> None:
    # Trials are told their share of the cores: the plain pool's processes must not start more threads than they.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

    def run_one(_: int) -> None:
        subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(run_one, range(trials)))


async def run_runner(root: Path, study: Study, records: list[Trial]) -> None:
    runner = LocalRunner(StudyDirectory(root), root)
    waiting, done, total = iter(records), 0, len(records)
    while done < total:
        seen = await runner.observe(study)
        running = 0
        for name, attempt in seen.items():
            if attempt.phase is Phase.EXITED:
                assert attempt.exit_code == 0, attempt
                await runner.release(study, records[int(name.split("-")[1])], 0)
                done += 1
            else:
                running += 1
        for _ in range(study.spec.budget.parallel_trials - running):
            trial = next(waiting, None)
            if trial is not None:
                await runner.start(study, trial, 0)
        if done < total:
            await runner.wait(10)
    await runner.close()


async def run_study(root: Path, study: Study, records: list[Trial]) -> None:
    directory = StudyDirectory(root)
    store = DirectoryStore(directory)
    key = store.put_study(study)
    runner = LocalRunner(directory, root)
    reconciler = Reconciler(key, store=store, runner=runner, metrics=LocalMetricSource(directory), clock=SystemClock())
    while True:
        look = await reconciler.run()
        assert look is not None
        if look.plan.state.reason.terminal and not look.moved:
            break
        if not look.moved:
            await runner.wait(10)
    await runner.close()
    store.close()
    assert len(await store.read_trials(key)) == len(records)


class Cost(NamedTuple):
    """Seconds: on the wall, of CPU in this process, of CPU in all processes."""

    wall: float
    own: float
    total: float


def measure(work: Callable[[], object]) -> Cost:
    wall, own, children = time.perf_counter(), time.process_time(), read_children()
    work()
    spent = time.process_time() - own
    return Cost(time.perf_counter() - wall, spent, spent + read_children() - children)


def read_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_in_folder(run: Callable[[Path, Study, list[Trial]], object], study: Study, trials: int) -> Cost:
    root = Path(tempfile.mkdtemp(prefix="seatrial-bench-"))
    records = [build_trial(index) for index in range(trials)]
    try:
        return measure(lambda: asyncio.run(run(root, study, records)))
    finally:
        shutil.rmtree(root)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--trials", type=int, default=200)
    options.add_argument("--parallel", type=int, default=4)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--commands", nargs="*", default=list(COMMANDS), choices=list(COMMANDS))
    chosen = options.parse_args()
    trials, parallel = chosen.trials, chosen.parallel
    print(
        f"{trials} trials, {parallel} in parallel, {chosen.repeats} interleaved repeats; medians (and medians of the ratios to the plain pool)"
    )
    for name in chosen.commands:
        study = build_study(COMMANDS[name], trials, parallel)
        rows: dict[str, list[Cost]] = {"plain pool": [], "runner": [], "study": []}
        for _ in range(chosen.repeats):
            rows["plain pool"].append(measure(lambda name=name: run_plain(COMMANDS[name], trials, parallel)))
            rows["runner"].append(measure_in_folder(run_runner, study, trials))
            rows["study"].append(measure_in_folder(run_study, study, trials))
        for layer, taken in rows.items():
            pairs = list(zip(taken, rows["plain pool"], strict=True))
            wall, own, total = (statistics.median(column) / trials * 1e3 for column in zip(*taken, strict=True))
            by_wall = statistics.median(cost.wall / plain.wall for cost, plain in pairs)
            by_cpu = statistics.median(cost.total / plain.total for cost, plain in pairs)
            print(
                f"{name:22} {layer:11} {wall:7.2f} ms a trial ({by_wall:5.2f}); "
                f"CPU of all processes {total:7.2f} ms ({by_cpu:5.2f}), of this one {own:5.2f} ms"
            )


if __name__ == "__main__":
    main()
