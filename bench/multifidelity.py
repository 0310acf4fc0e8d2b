"""Steps to reach what random search finds: early-stopping rules here, in Optuna and in Syne Tune, on trainings that were done once.

    python bench/multifidelity.py [--seeds 20] [--syne PYTHON] [--keep FILE] [--most-trials 1000]

    python -m venv /tmp/syne && /tmp/syne/bin/pip install syne-tune      makes a PYTHON for --syne: /tmp/syne/bin/python

Two tables of real trainings of 81 steps each (bench/fidelity/train_tables.py trains them anew). The target is the median of the lowest loss that 81
random trials report when they are trained in full; everybody trains until a loss at or below it is reported, at whatever step, random search too. What is counted is steps of training: ours go on from checkpoints, the others never resume. Four workers, rungs 1, 3, 9 and 27 (eta 3) for
all unless a row says otherwise; the same table, steps and clock. Ours are whole studies: the reconciler and the planner run them, in a world
in memory. A point of the grid that a peer asks for again costs it nothing; ours are never asked for twice.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# In place of this folder, so that the bench is a package wherever it is called from.
sys.path[0] = str(Path(__file__).parents[1])

from bench.fidelity.ours import OURS, reach  # noqa: E402 - the path comes first
from bench.fidelity.peers import PEERS  # noqa: E402 - the path comes first
from bench.fidelity.tables import TABLES, Table, load  # noqa: E402 - the path comes first
from bench.fidelity.workers import MOST_TRIALS, Outcome, simulate  # noqa: E402 - the path comes first

RANDOM = "random, full"
TRIALS, PARALLEL = 81, 4
# It costs next to nothing, and is what everybody is divided by: of 50 seeds its median was off by a third.
RANDOM_SEEDS = 200
SYNE = ("ASHA", "BOHB")


@dataclass
class Kept:
    """Outcomes that are known, by task, method and seed; new ones are added to a file at once, so that a run can be cut off."""

    path: Path | None
    known: dict[tuple[str, str, int], Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what is there."""
        if self.path is not None and self.path.exists():
            for line in self.path.read_text().splitlines():
                task, method, seed, outcome = json.loads(line)
                self.known[task, method, seed] = outcome

    def add(self, task: str, method: str, seed: int, outcome: Outcome) -> None:
        """Keep one."""
        self.known[task, method, seed] = outcome
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps([task, method, seed, outcome]) + "\n")


def run_syne(
    python: str, table: Table, method: str, seed: int, target: float, most_steps: int, most_trials: int
) -> Outcome:
    """Return what Syne Tune needs."""
    script = Path(__file__).parent / "fidelity" / "syne_asha.py"
    limits = [str(PARALLEL), str(most_steps), str(most_trials)]
    command = [python, str(script), table.name, method, str(seed), repr(target), *limits]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def row(name: str, found: list[Outcome], baseline: float | None) -> float:
    """Print one row and return its median; who did not get there counts as infinitely many."""
    steps = sorted(math.inf if outcome is None else float(outcome) for outcome in found)
    low, middle, high = statistics.quantiles(steps, n=4) if len(steps) > 1 else steps * 3
    times = "" if baseline is None or not math.isfinite(middle) else f"{baseline / middle:.1f}x"
    missed = sum(outcome is None for outcome in found)
    print(f"{name:50} {middle:8.0f} {low:8.0f} {high:8.0f} {times:>7} {missed:7d} {len(found):6d}", flush=True)
    return middle


def runs(table: Table, target: float, syne: str | None, most_trials: int) -> dict[str, Callable[[int], Outcome]]:
    """Return, by name of the row, who runs one seed; *most_trials* ends peers that ask for the same points again and again."""
    most = 2 * TRIALS * table.steps
    limits = {"parallel": PARALLEL, "target": target, "most_steps": most}
    found: dict[str, Callable[[int], Outcome]] = {}
    for method, build in PEERS.items():
        # Random search is the measure: it always gets there.
        more = {**limits, "most_steps": 20 * most} if method == RANDOM else limits
        more = {**more, "most_trials": MOST_TRIALS if method == RANDOM else most_trials}
        found[method] = lambda seed, build=build, more=more: simulate(table, build(table, seed), **more)
    for method in SYNE if syne else ():
        found[f"Syne Tune, {method}"] = lambda seed, method=method: run_syne(
            syne, table, method, seed, target, most, most_trials
        )
    for method in OURS:
        found[f"Seatrial, {method}"] = lambda seed, method=method: reach(table, method, seed, **limits)
    return found


def compare(name: str, seeds: int, syne: str | None, kept: Kept, wanted: str, most_trials: int) -> None:
    """Print the table of one task."""
    table = load(name)
    target = table.best_of(TRIALS)
    print(f"\n{name}: {len(table.losses)} points, {table.steps} steps, target {target:.4g}")
    print(f"{'method':50} {'median':>8} {'quartiles':>17} {'fewer':>7} {'missed':>7} {'seeds':>6}")
    baseline: float | None = None
    for method, run in runs(table, target, syne, most_trials).items():
        if method != RANDOM and wanted not in method:
            continue
        found = []
        for seed in range(RANDOM_SEEDS if method == RANDOM else seeds):
            if (name, method, seed) not in kept.known:
                kept.add(name, method, seed, run(seed))
            found.append(kept.known[name, method, seed])
        middle = row(method, found, baseline)
        baseline = middle if baseline is None else baseline


def main() -> None:
    """Print one table a task."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--syne", metavar="PYTHON", help="a Python that has syne-tune")
    options.add_argument("--tasks", nargs="*", default=list(TABLES))
    options.add_argument("--only", default="", metavar="WORD", help="only rows with this word, beside random search")
    options.add_argument("--keep", type=Path, metavar="FILE", help="where outcomes are kept; a later run goes on")
    options.add_argument(
        "--most-trials",
        type=int,
        default=MOST_TRIALS,
        help="of a peer, repeats included; then it has missed the target",
    )
    chosen = options.parse_args()
    kept = Kept(chosen.keep)
    for name in chosen.tasks:
        compare(name, chosen.seeds, chosen.syne, kept, chosen.only, chosen.most_trials)


if __name__ == "__main__":
    main()
