"""What the harness costs: a report, an import, and its share of a real training. Prints figures; judges nothing.

Usage::

    python bench/harness.py
"""

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples"
REPORTS = 200_000
ROUNDS = 7

_REPORT_LOOP = """
import time, seatrial_harness
trial = seatrial_harness.start()
began = time.perf_counter()
for step in range({reports}):
    trial.report(step, val_accuracy=step / 7)
single = time.perf_counter() - began
began = time.perf_counter()
for step in range({reports}):
    trial.report(step, val_accuracy=step / 7, val_loss=0.25, weights=10)
print(single / {reports} * 1e6, (time.perf_counter() - began) / {reports} * 1e6)
"""


def a_trial(folder: str, **more: str) -> dict[str, str]:
    return {
        "SEATRIAL_TRIAL": "bench-0",
        "SEATRIAL_OBJECTIVES": '[{"metric": "val_accuracy", "goal": "maximize"}]',
        "SEATRIAL_RUNGS": "[1, 3, 9, 27]",
        "SEATRIAL_TERMINATION_PATH": f"{folder}/message.json",
        **more,
    }


def run_python(code: str, **env: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | env, capture_output=True, text=True, check=True
    ).stdout


def print_report_costs() -> None:
    loop = _REPORT_LOOP.format(reports=REPORTS)
    with tempfile.TemporaryDirectory() as folder:
        for name, env in (
            ("observations file", {"SEATRIAL_OBSERVATIONS_PATH": f"{folder}/observations.jsonl"}),
            ("metrics port", {"SEATRIAL_METRICS_PORT": "19177"}),
        ):
            one, three = run_python(loop, **a_trial(folder, **env)).split()
            print(f"report(), {name:18} {float(one):6.2f} us with one metric, {float(three):6.2f} us with three")


def print_import_cost() -> None:
    code = "import time; began = time.perf_counter(); import {}; print((time.perf_counter() - began) * 1e3)"
    for module in ("seatrial_harness", "json, hashlib, tempfile, dataclasses, contextlib"):
        took = min(float(run_python(code.format(module))) for _ in range(5))
        print(f"import {module:50} {took:6.1f} ms (least of 5)")


class NullTrial:
    """A trial that only hands out the defaults; saves by plain ``torch.save``, or not at all."""

    def __init__(self, defaults: dict[str, Any], path: Path | None) -> None:
        self.__dict__.update(defaults)
        self.seed = 0
        self._path = path

    def load(self) -> None:
        """Find nothing."""

    def steps(self, count: int) -> Iterator[int]:
        """Count."""
        return iter(range(1, count + 1))

    def report(self, step: int, **metrics: float) -> None:
        """Say nothing."""

    def save(self, **state: object) -> None:
        """Save as a script without the harness would."""
        if self._path is not None:
            import torch

            torch.save(state, self._path)


class Stopwatch:
    """Adds up the seconds spent inside some methods of an object."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, owner: object, name: str) -> None:
        """Replace one method by the same with a clock."""
        method = getattr(owner, name)

        def timed(*positional: object, **named: object) -> object:
            began = time.perf_counter()
            try:
                return method(*positional, **named)
            finally:
                self.seconds += time.perf_counter() - began

        setattr(owner, name, timed)


class Bench:
    """Trains the MLP of the examples with and without the harness."""

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(EXAMPLES))
        import digits_mlp

        import seatrial_harness

        digits_mlp.torch.set_num_threads(1)
        self._script = digits_mlp
        self._harness = seatrial_harness
        self._folder = folder
        self._number = 0

    def train_null(self, path: Path | None) -> tuple[float, float]:
        """Return CPU seconds of a training without the harness, and 0."""
        self._script.seatrial = SimpleNamespace(start=lambda **defaults: NullTrial(defaults, path))
        return self._took(), 0.0

    def train_real(self, *, checkpoints: bool) -> tuple[float, float]:
        """Return CPU seconds of a training with the harness, and the share of wall time inside its calls."""
        self._number += 1
        folder = f"{self._folder}/{self._number}"
        os.environ.update(a_trial(str(self._folder), SEATRIAL_OBSERVATIONS_PATH=f"{folder}.jsonl"))
        os.environ["SEATRIAL_CHECKPOINT_DIR"] = folder if checkpoints else ""
        stopwatch = Stopwatch()

        def start(**defaults: Any) -> Any:
            trial = self._harness.start(**defaults)
            for name in ("report", "save", "load", "should_stop"):
                stopwatch.watch(trial, name)
            return trial

        self._script.seatrial = SimpleNamespace(start=start)
        began = time.perf_counter()
        cpu = self._took()
        share = stopwatch.seconds / (time.perf_counter() - began)
        self._harness.start().finish()
        return cpu, share

    def _took(self) -> float:
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            self._script.train()
        return time.process_time() - began


def print_training_share() -> None:
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        bench.train_null(None)
        # Interleaved, so that a slow minute of the machine falls on all four.
        rows = [
            (
                bench.train_null(None),
                bench.train_real(checkpoints=False),
                bench.train_null(Path(name) / "state.pt"),
                bench.train_real(checkpoints=True),
            )
            for _ in range(ROUNDS)
        ]
    print(f"27 epochs of digits_mlp.py on one core, medians of {ROUNDS} interleaved rounds:")
    print("                                          CPU        against nothing   wall time inside the harness")
    for column, title in enumerate(
        ("nothing", "reports", "torch.save every epoch", "reports, checkpoints every epoch")
    ):
        cpu = statistics.median(row[column][0] for row in rows)
        ratio = statistics.median(row[column][0] / row[0][0] for row in rows) - 1
        share = statistics.median(row[column][1] for row in rows)
        print(f"  {title:35} {cpu:8.3f} s  {ratio:+12.2%}  {share:20.2%}")


def main() -> None:
    print_report_costs()
    print_import_cost()
    print_training_share()


if __name__ == "__main__":
    main()
