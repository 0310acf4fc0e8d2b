"""Search quality of our algorithms beside others: run, resume, print.

    python bench/optimizers/run.py --engines auto,tpe --tasks all --seeds 0-4 [--batch 8] [--budget 100] [--limit SECONDS]
    python bench/optimizers/run.py --tables [--markdown]
    python bench/optimizers/run.py --latency

Runs are appended to ``bench/results/optimizers/ENGINE.jsonl``; what is there is not run again. Seeds are the outer loop, so that a run that is cut
off leaves a balanced set.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import latency  # noqa: E402 - threads are limited before NumPy is loaded
import tables  # noqa: E402
from engines import build_engine  # noqa: E402
from suite import Run, Suite, default_suite, search_space  # noqa: E402

RESULTS = Path(__file__).resolve().parents[1] / "results" / "optimizers"
CHECKPOINTS = (25, 50, 100)


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


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Path, default=default_suite())
    parser.add_argument("--engines", default="auto")
    parser.add_argument("--tasks", default="all", help="all, or beginnings of task names, comma-separated")
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which no run is started")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tables", action="store_true")
    parser.add_argument(
        "--compare", default="", help="engines in the tables, comma-separated; default: all complete ones"
    )
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--latency", action="store_true")
    options = parser.parse_args()
    if options.latency:
        latency.report(options.engines.split(","))
        return
    if options.suite is None:
        raise SystemExit("no suite: name one with --suite or SEATRIAL_BENCH_SUITE")
    suite = Suite(options.suite)
    if options.tables:
        runs = own_runs(options.results)
        tables.report(suite, runs, options)
    else:
        run_all(suite, options)


if __name__ == "__main__":
    main()
