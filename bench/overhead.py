"""What Seatrial costs per trial: 200 trials that end at once, against starting the same commands by a plain pool.

Run it on a quiet machine: ``python bench/overhead.py [--trials 200] [--parallel 4] [--repeats 5]``. Both sides are interleaved in one
process, so that the ratio means something even where the absolute figures do not.

The layers are measured one on top of the other: the runner alone, and the whole study (search, plan, store, metrics). The plain pool
starts each command as ``subprocess.run`` does, in as many threads as trials run in parallel.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    def run_one(_: int) -> None:
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
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


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall seconds and CPU seconds of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure_in_folder(
    run: Callable[[Path, Study, list[Trial]], object], study: Study, trials: int
) -> tuple[float, float]:
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
        f"{trials} trials, {parallel} in parallel, {chosen.repeats} interleaved repeats; median (ratio: median of the pairs' ratios)"
    )
    for name in chosen.commands:
        study = build_study(COMMANDS[name], trials, parallel)
        rows: dict[str, list[tuple[float, float]]] = {"plain pool": [], "runner": [], "study": []}
        for _ in range(chosen.repeats):
            rows["plain pool"].append(measure(lambda name=name: run_plain(COMMANDS[name], trials, parallel)))
            rows["runner"].append(measure_in_folder(run_runner, study, trials))
            rows["study"].append(measure_in_folder(run_study, study, trials))
        for layer, taken in rows.items():
            ratios = [wall / plain for (wall, _), (plain, _) in zip(taken, rows["plain pool"], strict=True)]
            wall, cpu = (statistics.median(column) / trials * 1e3 for column in zip(*taken, strict=True))
            print(
                f"{name:22} {layer:11} {wall:7.2f} ms a trial, our CPU {cpu:5.2f} ms, ratio {statistics.median(ratios):5.2f}"
            )


if __name__ == "__main__":
    main()
