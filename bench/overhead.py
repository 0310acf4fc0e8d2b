"""What Seatrial costs per trial: 200 trials that end at once, against starting the same commands by a plain pool.

Run it on a quiet machine: ``python bench/overhead.py [--trials 200] [--parallel 4] [--repeats 5]``. Both sides are interleaved in one
process, so that the ratio means something even where the absolute figures do not. On a machine that others use, the ratio of CPU times
is the one to trust.

The layers are measured one on top of the other: the runner alone (once more in the ways in which it starts and reaps processes on a
system without what Linux has for it), and the whole study as ``seatrial run`` runs it, without its screen; for Python once more with
``trial.reuse``, which spares each trial the start of an interpreter and its imports.
The plain pool starts each command as ``subprocess.run`` does, in as many threads as trials run in parallel, and keeps its output in a file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.runner import LocalRunner
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.actions import Action
from seatrial.decide.attempts import Phase
from seatrial.decide.curves import Curves
from seatrial.entry.session import RunOptions, run_study
from seatrial.reconcile import Look

COMMANDS = {
    "sh": ["/bin/sh", "-c", "echo loss=1"],
    "python": [sys.executable, "-c", "print('loss=1')"],
    "python, harness": [sys.executable, "-c", "import seatrial_harness; print('loss=1')"],
    "python, imports numpy": [sys.executable, "-c", "import numpy; print('loss=1')"],
}


def build_study(command: list[str], trials: int, parallel: int, *, reuse: bool = False) -> Study:
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
                "trial": {
                    "reuse": reuse,
                    "template": {"spec": {"containers": [{"name": "main", "command": command}]}},
                },
            },
        }
    )


def build_trial(index: int) -> Trial:
    spec = {"study": "bench", "index": index, "assignment": {"x": 0.5}, "seed": 1, "origin": {"algorithm": "random"}}
    return Trial.model_validate({"metadata": {"name": f"bench-{index}"}, "spec": spec})


def run_plain(folder: Path, command: list[str], trials: int, parallel: int) -> None:
    # Trials are told their share of the cores: the plain pool's processes must not start more threads than they.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

    def run_one(number: int) -> None:
        # Whoever starts two hundred trials wants to read what they said: a file each is the least.
        with (folder / f"{number}.log").open("wb") as output:
            subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=True,
            )

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(run_one, range(trials)))


async def run_runner(root: Path, study: Study, records: list[Trial], ways: Sequence[str] = ()) -> None:
    runner = LocalRunner(StudyDirectory(root), root, warden_options=ways)
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


class Nobody:
    """Watches a run and says nothing."""

    def on_look(self, look: Look, curves: Mapping[str, Curves]) -> None:
        """Take a pass."""

    def on_action(self, action: Action) -> None:
        """Take an action."""

    def on_note(self, text: str) -> None:
        """Take a note."""


def run_whole(root: Path, study: Study, trials: int) -> None:
    outcome = run_study(study, RunOptions(directory=root, workdir=root), Nobody())
    assert outcome.study.status is not None
    assert outcome.study.status.trials.completed == trials, outcome.study.status


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


def measure_all(command: list[str], trials: int, parallel: int, repeats: int, place: Path) -> dict[str, list[Cost]]:
    """Return what each layer cost, by repeat. What they leave in *place* is theirs alone, and stays."""
    study, records = build_study(command, trials, parallel), [build_trial(index) for index in range(trials)]
    layers: dict[str, Callable[[Path], object]] = {
        "plain pool": lambda root: run_plain(root, command, trials, parallel),
        "runner": lambda root: asyncio.run(run_runner(root, study, records)),
        "runner, as on macOS": lambda root: asyncio.run(run_runner(root, study, records, ("--fork", "--no-waitid"))),
        "study": lambda root: run_whole(root, study, trials),
    }
    if command[0] == sys.executable:
        reusing = build_study(command, trials, parallel, reuse=True)
        layers["study, trial.reuse"] = lambda root: run_whole(root, reusing, trials)
    rows: dict[str, list[Cost]] = {layer: [] for layer in layers}
    for _ in range(repeats):
        for layer, work in layers.items():
            root = Path(tempfile.mkdtemp(dir=place))
            rows[layer].append(measure(partial(work, root)))
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--trials", type=int, default=200)
    options.add_argument("--parallel", type=int, default=4)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--commands", nargs="*", default=list(COMMANDS), choices=list(COMMANDS))
    chosen = options.parse_args()
    trials, parallel = chosen.trials, chosen.parallel
    print(f"{trials} trials, {parallel} in parallel, {chosen.repeats} interleaved repeats; medians. In brackets, the")
    print(
        "medians of the ratios to the plain pool of the same repeat. CPU is that of all processes, so are its ratios;"
    )
    print("the wall time is what a person waits, and says little on a machine that others use.")
    # Removed at the end only: some file systems look long for the place of a new file where many were removed just before.
    with tempfile.TemporaryDirectory(prefix="seatrial-bench-") as place:
        for name in chosen.commands:
            print_all(name, measure_all(COMMANDS[name], trials, parallel, chosen.repeats, Path(place)), trials)


def print_all(name: str, rows: dict[str, list[Cost]], trials: int) -> None:
    for layer, taken in rows.items():
        pairs = list(zip(taken, rows["plain pool"], strict=True))
        wall, own, total = (statistics.median(column) / trials * 1e3 for column in zip(*taken, strict=True))
        by_wall = statistics.median(cost.wall / plain.wall for cost, plain in pairs)
        by_cpu = statistics.median(cost.total / plain.total for cost, plain in pairs)
        print(
            f"{name:20} {layer:19} CPU {total:7.2f} ms a trial ({by_cpu:5.2f}), of that this process {own:5.2f} ms; "
            f"wall {wall:7.2f} ms a trial ({by_wall:5.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
