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
from typing import Any, NamedTuple

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


class Share(NamedTuple):
    """CPU seconds of a training, and how much of its CPU and of its wall time was spent in calls of the harness."""

    cpu: float
    inside_cpu: float = 0.0
    inside_wall: float = 0.0


class Stopwatch:
    """Adds up the seconds spent inside some methods of an object, on the wall and of CPU."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0

    def watch(self, owner: object, name: str) -> None:
        """Replace one method by the same with a clock."""
        method = getattr(owner, name)

        def timed(*positional: object, **named: object) -> object:
            began, used = time.perf_counter(), time.process_time()
            try:
                return method(*positional, **named)
            finally:
                self.seconds += time.perf_counter() - began
                self.cpu += time.process_time() - used

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

    def train_null(self, path: Path | None) -> Share:
        """Train without the harness."""
        self._script.seatrial = SimpleNamespace(start=lambda **defaults: NullTrial(defaults, path))
        return Share(self._took())

    def train_real(self, *, checkpoints: bool) -> Share:
        """Train with the harness."""
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
        share = Share(cpu, stopwatch.cpu / cpu, stopwatch.seconds / (time.perf_counter() - began))
        self._harness.start().finish()
        return share

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
    print(
        f"27 epochs of digits_mlp.py on one core, medians of {ROUNDS} interleaved rounds. Where others use the machine, whole"
    )
    print("trainings differ by more than the harness costs: then the CPU inside its calls is the figure to trust.")
    print("                                          CPU   against nothing   inside the harness: CPU         wall")
    for column, title in enumerate(
        ("nothing", "reports", "torch.save every epoch", "reports, checkpoints every epoch")
    ):
        cpu, inside_cpu, inside_wall = (
            statistics.median(part) for part in zip(*(row[column] for row in rows), strict=True)
        )
        ratio = statistics.median(row[column].cpu / row[0].cpu for row in rows) - 1
        print(f"  {title:35} {cpu:8.3f} s  {ratio:+12.2%}  {inside_cpu:20.2%}  {inside_wall:14.2%}")


def main() -> None:
    print_report_costs()
    print_import_cost()
    print_training_share()


if __name__ == "__main__":
    main()
