"""Run optimisers on tasks, one JSON line a run, and resume where it ended."""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from engines import build_engine
from suite import CHECKPOINTS, Run, Suite, search_space

__all__ = ["optimise", "own_runs", "run_all", "seeds_of"]


def optimise(suite: Suite, engine: str, task_name: str, *, batch: int, seed: int, budget: int) -> Run:
    """Run one optimiser on one task; batches are completed beyond the budget."""
    task = suite.task(task_name, seed)
    optimiser = build_engine(engine, search_space(task.space), seed, budget)
    true: list[float] = []
    observed: list[float] = []
    chosen: list[float] = []
    seconds = 0.0
    while len(true) < budget:
        start = time.perf_counter()
        assignments = optimiser.ask(batch)
        seconds += time.perf_counter() - start
        if not assignments:
            break
        results = []
        for assignment in assignments:
            noisy, exact = task.observe(assignment, len(true))
            true.append(float(exact))
            observed.append(float(noisy))
            results.append((assignment, float(noisy)))
        start = time.perf_counter()
        optimiser.tell(results)
        seconds += time.perf_counter() - start
        if any(len(true) - batch < n <= len(true) for n in CHECKPOINTS):
            winner = optimiser.recommend()
            chosen.append(true[winner] if winner is not None else true[min(range(len(true)), key=observed.__getitem__)])
    return Run(
        engine=engine, task=task_name, batch=batch, seed=seed, budget=budget, true=tuple(true),
        observed=tuple(observed), seconds=round(seconds, 3), chosen=tuple(chosen),
    )  # fmt: skip


def own_runs(folder: Path) -> list[Run]:
    """Return the runs in *folder*."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    raw = [json.loads(line) for line in lines]
    return [Run(**{k: tuple(v) if isinstance(v, list) else v for k, v in run.items()}) for run in raw]


def seeds_of(text: str) -> range:
    """Return the seeds of ``3`` or ``0-4``."""
    low, _, high = text.partition("-")
    return range(int(low), int(high or low) + 1)


def run_all(suite: Suite, options: argparse.Namespace) -> None:
    """Run what is missing."""
    tasks = [t for t in suite.names if any(t.startswith(p) for p in options.tasks.replace("all", "").split(","))]
    folder = options.results
    folder.mkdir(parents=True, exist_ok=True)
    done = {run.identity for run in own_runs(folder)}
    begin = time.perf_counter()
    for seed in seeds_of(options.seeds):
        for task in tasks:
            for engine in options.engines.split(","):
                if (engine, task, options.batch, seed, options.budget) in done:
                    continue
                if time.perf_counter() - begin > options.limit:
                    print("time is up before", engine, task, "seed", seed)
                    return
                run = optimise(suite, engine, task, batch=options.batch, seed=seed, budget=options.budget)
                with (folder / f"{engine.replace(':', '-')}.jsonl").open("a") as out:
                    out.write(json.dumps(asdict(run)) + "\n")
                print(
                    f"{time.perf_counter() - begin:6.0f} s  {engine} {task} batch {options.batch} seed {seed}: best {min(run.true):.5g}, {run.seconds:.1f} s",
                    flush=True,
                )
