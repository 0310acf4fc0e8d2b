"""What one suggestion costs: seconds at 10, 100 and 1,000 observations, import time and peak memory, for every algorithm.

Run: ``python bench/suggestions.py [name …] [--sizes 10,100,1000]``. Each algorithm runs in a fresh process.

Columns: *first* is a suggestion by an instance that has never seen the history (after a restart); *next* one by an instance that
saw all but the newest observation. Both are medians of a few repetitions; imports are timed apart.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

REPEATS = 5


def study(size: int, dimensions: int = 10):
    """Return a mixed space with a condition and a history of *size* observations in it."""
    import numpy as np

    from seatrial.search.base import Evaluated, History
    from seatrial.search.parameters import Categorical, Condition, Float, Int
    from seatrial.search.space import SearchSpace

    space = SearchSpace(
        [
            Float(name="lr", low=1e-5, high=1e-1, log=True),
            Int(name="hidden", low=16, high=512, log=True),
            Categorical(name="optimizer", choices=("sgd", "adamw")),
            Float(name="momentum", low=0.0, high=0.99, when=Condition(parent="optimizer", values=("sgd",))),
            *[Float(name=f"x{i}", low=0.0, high=1.0) for i in range(dimensions - 4)],
        ]
    )
    rng = np.random.default_rng(0)
    trials = []
    for index in range(size):
        assignment = space.sample(rng)
        u = space.to_unit(assignment)
        trials.append(Evaluated(index=index, assignment=assignment, values=(float(((u - 0.3) ** 2).sum()),)))
    return space, History(evaluated=tuple(trials), next_index=size)


def measure(name: str, sizes: Sequence[int]) -> dict[str, float]:
    """Measure one algorithm in this process."""
    from seatrial.search.algorithms import ALGORITHMS
    from seatrial.search.base import History, Settings

    settings = Settings(numbers={"points": 5.0} if name == "grid" else {}, max_trials=10_000)
    space, history = study(10)
    start = time.perf_counter()
    ALGORITHMS[name](space, settings)
    found = {"import": time.perf_counter() - start}
    ALGORITHMS[name](space, settings).ask(study(40)[1], 1)  # lazy imports and first-call costs
    for size in sizes:
        space, history = study(size)
        before = History(evaluated=history.evaluated[:-1], next_index=size - 1)
        first, following = [], []
        for _ in range(REPEATS if size < 1000 else 3):
            algorithm = ALGORITHMS[name](space, settings)
            start = time.perf_counter()
            algorithm.ask(history, 1)
            first.append(time.perf_counter() - start)
            algorithm = ALGORITHMS[name](space, settings)
            algorithm.ask(before, 1)
            start = time.perf_counter()
            algorithm.ask(history, 1)
            following.append(time.perf_counter() - start)
        found[f"first {size}"] = statistics.median(first)
        found[f"next {size}"] = statistics.median(following)
    # Linux counts in KiB, macOS in bytes.
    found["peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sizes", default="10,100,1000")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    if options.measure:
        print(json.dumps(measure(options.names[0], sizes)))
        return
    start = time.perf_counter()
    from seatrial.search.algorithms import ALGORITHMS, TRAITS

    print(f"reading the table: {1000 * (time.perf_counter() - start):.0f} ms\n")
    columns = ["import", *[f"{when} {size}" for size in sizes for when in ("first", "next")]]
    print(f"{'algorithm':10} " + " ".join(f"{column + ' ms':>14}" for column in columns) + f" {'peak MiB':>9}")
    for name in options.names or [name for name in ALGORITHMS if not TRAITS[name].continues]:
        command = [sys.executable, __file__, name, "--measure", "--sizes", options.sizes]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{name:10} " + " ".join(f"{1000 * row[column]:14.1f}" for column in columns) + f" {row['peak MiB']:9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
