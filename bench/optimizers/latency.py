"""What a suggestion costs: seconds at 10, 100 and 1,000 observations, a batch of 8, import time and peak memory.

Each engine runs in a fresh process on a 10-dimensional mixed space. *restarted* is the first suggestion of an instance that has
never seen the history, *running* the next one after one more result.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

SIZES = (10, 100, 1000)
_REPEATS = 5

__all__ = ["report"]


def space():
    """Return a mixed space of ten parameters, two of them conditional."""
    from seatrial.search.parameters import Categorical, Condition, Float, Int, Ordinal
    from seatrial.search.space import SearchSpace

    return SearchSpace(
        [
            Float(name="lr", low=1e-5, high=1e-1, log=True),
            Float(name="decay", low=1e-6, high=1e-1, log=True),
            Float(name="dropout", low=0.0, high=0.8),
            Float(name="warmup", low=0.0, high=0.3),
            Int(name="hidden", low=16, high=1024, log=True),
            Int(name="layers", low=1, high=8),
            Ordinal(name="batch", choices=(32, 64, 128, 256)),
            Categorical(name="optimizer", choices=("sgd", "adamw", "lion")),
            Float(name="momentum", low=0.0, high=0.99, when=Condition(parent="optimizer", values=("sgd",))),
            Float(name="beta", low=0.8, high=0.999, when=Condition(parent="optimizer", values=("adamw", "lion"))),
        ]
    )


def measure(name: str) -> dict[str, float]:
    """Measure one engine in this process."""
    import numpy as np
    from engines import build_engine

    from seatrial.search.base import Evaluated, History

    start = time.perf_counter()
    build_engine(name, space(), 0, 2000).ask(1)
    found = {"import and first": time.perf_counter() - start}
    for size in SIZES:
        rng = np.random.default_rng(size)
        points = [space().sample(rng) for _ in range(size + _REPEATS)]
        values = [float(((space().to_unit(a) - 0.3) ** 2).sum() + 0.01 * rng.normal()) for a in points]
        trials = [
            Evaluated(index=i, assignment=a, values=(v,)) for i, (a, v) in enumerate(zip(points, values, strict=True))
        ]
        restarted, running = [], []
        engine = build_engine(name, space(), 0, 2000)
        for i in range(_REPEATS):
            history = History(evaluated=tuple(trials[: size + i]), next_index=size + i)
            fresh = build_engine(name, space(), 0, 2000)
            start = time.perf_counter()
            fresh.algorithm.ask(history, 1)
            restarted.append(time.perf_counter() - start)
            start = time.perf_counter()
            engine.algorithm.ask(history, 1)
            running.append(time.perf_counter() - start)
        found[f"restarted {size}"] = statistics.median(restarted)
        found[f"running {size}"] = statistics.median(running[1:])
        start = time.perf_counter()
        engine.algorithm.ask(history, 8)
        found[f"8 at {size}"] = time.perf_counter() - start
    # Linux counts in KiB, macOS in bytes.
    found["MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return found


def report(engines: Sequence[str]) -> None:
    """Print a Markdown table."""
    columns = ["import and first", *(f"{what} {n}" for n in SIZES for what in ("restarted", "running", "8 at")), "MiB"]
    print("| engine | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    for engine in engines:
        code = f"import sys, json; sys.path[:0] = {sys.path!r}; import latency; print(json.dumps(latency.measure({engine!r})))"
        row = json.loads(
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        )
        cells = [f"{row[c]:.0f}" if c == "MiB" else f"{row[c]:.3f}" for c in columns]
        print(f"| {engine} | " + " | ".join(cells) + " |", flush=True)
