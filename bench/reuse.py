"""What a warm hand-over saves: the wait before the first step of a trial, and what many short trials cost above their own time.

    python bench/reuse.py exploit [--repeats 5] [--cold 5]                warm and cold: from the record of a trial to its first step
    python bench/reuse.py short [--trials 1000] [--parallel 8] [--cold 80]   one-second trials: the wall time above the floor

*exploit* runs population-based training of the digits CNN (examples/digits_cnn.py, with torch) in turns with and without ``trial.reuse``.
Of each trial of a later generation it tells the time from the moment at which its record begins to be written (the decision) to the
beginning of its first step: weights of the parent loaded, hyperparameters put into the optimizer, training set read.

*short* runs trials that import torch and the harness, sleep for a second and report a number. The floor is one second for each round of
parallel trials. The time counts from the first look at the study, the import of the process that is kept ready included.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from seatrial.adapters.local.clock import SystemClock
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.runner import LocalRunner
from seatrial.adapters.local.store import DirectoryStore
from seatrial.adapters.metrics.local import LocalMetricSource
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.pace import Pace
from seatrial.ports import StudyKey
from seatrial.reconcile import Reconciler

EXAMPLES = Path(__file__).parents[1] / "examples"
BREATH_SECONDS = 0.005
FIRST_STEP = re.compile(r"first step at ([0-9.]+)")

# The example as it is; only the moment of the first step is told.
TOLD = """
import sys, time
import digits_cnn, torch
from seatrial_harness import Trial

steps = Trial.steps

def told(self, count=None):
    for number, step in enumerate(steps(self, count)):
        if number == 0:
            print(f"first step at {time.time():.6f}", flush=True)
        yield step

Trial.steps = told
torch.set_num_threads(1)
digits_cnn.train()
"""

SHORT = """
import time
import seatrial_harness as seatrial
import torch

trial = seatrial.start(x=0.5)
time.sleep(1)
trial.report(1, loss=torch.tensor(trial.x).square())
"""


class TimedStore(DirectoryStore):
    """Notes when the record of each trial began to be written."""

    def __init__(self, directory: StudyDirectory) -> None:
        super().__init__(directory)
        self.decided: dict[str, float] = {}

    async def create_trial(self, key: StudyKey, trial: Trial) -> Trial:
        """Create a trial, and note the time."""
        self.decided.setdefault(trial.metadata.name, time.time())
        return await super().create_trial(key, trial)


def build_study(script: str, *, reuse: bool, **spec: object) -> Study:
    container = {"name": "main", "command": ["python", script]}
    written = {
        "objectives": [{"metric": "val_loss" if "algorithm" in spec else "loss", "goal": "minimize"}],
        "parameters": [{"name": "x", "type": "float", "min": 0, "max": 1}],
        "trial": {"reuse": reuse, "template": {"spec": {"containers": [container]}}},
        **spec,
    }
    document = {"apiVersion": "seatrial.dev/v1alpha1", "kind": "Study", "metadata": {"name": "bench"}, "spec": written}
    return Study.model_validate(document)


def exploit_study(*, reuse: bool) -> Study:
    return build_study(
        "told.py",
        reuse=reuse,
        parameters=[
            {"name": "lr", "type": "float", "min": 1e-4, "max": 3e-2, "scale": "log"},
            {"name": "dropout", "type": "float", "min": 0, "max": 0.7},
        ],
        algorithm={"name": "pbt", "seed": 1, "pbt": {"populationSize": 4, "readyInterval": 1}},
        steps={"unit": "epoch", "max": 4},
        budget={"parallelTrials": 2},
    )


async def run_study(root: Path, study: Study) -> TimedStore:
    directory = StudyDirectory(root / "study")
    store = TimedStore(directory)
    key = store.put_study(study)
    runner = LocalRunner(directory, root)
    # As `seatrial run` goes about it, but for the store.
    reconciler = Reconciler(
        key,
        store=store,
        runner=runner,
        metrics=LocalMetricSource(directory),
        clock=SystemClock(),
        keeper=runner,
        pace=Pace(),
    )
    while True:
        look = await reconciler.run()
        assert look is not None
        if look.plan.state.reason.terminal and not look.moved:
            break
        longest = BREATH_SECONDS if look.moved else 1.0
        await runner.wait(min(look.plan.wake_after_seconds or longest, longest))
    await runner.close()
    store.close()
    ended = {trial.status.conditions[-1].reason for trial in await store.read_trials(key)}
    assert ended == {"Completed"}, ended
    return store


def run_in_folder(study: Study, script: str) -> tuple[float, dict[str, float]]:
    """Return the wall time, and by trial the seconds from the decision to the first step where the script tells that."""
    root = Path(tempfile.mkdtemp(prefix="seatrial-bench-"))
    try:
        (root / "told.py").write_text(script)
        for name in ("digits_cnn.py", "digits_parts.py"):
            shutil.copy(EXAMPLES / name, root)
        began = time.perf_counter()
        store = asyncio.run(run_study(root, study))
        wall = time.perf_counter() - began
        waits = {}
        for name, decided in store.decided.items():
            told = FIRST_STEP.search((root / "study" / "attempts" / name / "0" / "output.log").read_text())
            if told:
                waits[name] = float(told[1]) - decided
        return wall, waits
    finally:
        shutil.rmtree(root)


def measure_exploits(repeats: dict[str, int]) -> None:
    waits: dict[str, list[float]] = {"warm": [], "cold": []}
    walls: dict[str, list[float]] = {"warm": [], "cold": []}
    for turn in range(max(repeats.values())):
        for kind in (kind for kind in waits if turn < repeats[kind]):
            wall, by_trial = run_in_folder(exploit_study(reuse=kind == "warm"), TOLD)
            # Those of the first generation begin without weights, and teach the warm process what to import.
            later = [seconds for name, seconds in by_trial.items() if int(name.split("-")[1]) >= 4]
            assert len(later) == 12, by_trial
            waits[kind] += later
            walls[kind].append(wall)
            print(f"{kind}: {wall:.1f} s; " + " ".join(f"{seconds:.2f}" for seconds in by_trial.values()), flush=True)
    for kind, taken in waits.items():
        if not taken:
            continue
        shares = statistics.quantiles(taken, n=10)
        print(
            f"{kind}: from the decision to the first step, {len(taken)} trials of later generations: median {statistics.median(taken):.2f} s, "
            f"from {min(taken):.2f} to {max(taken):.2f} s, nine of ten below {shares[-1]:.2f} s; a study {statistics.median(walls[kind]):.1f} s"
        )


def measure_short(kind: str, trials: int, parallel: int) -> None:
    study = build_study(
        "told.py",
        reuse=kind == "warm",
        algorithm={"name": "random", "seed": 1},
        objectives=[{"metric": "loss", "goal": "minimize"}],
        budget={"maxTrials": trials, "parallelTrials": parallel},
    )
    floor = float(-(-trials // parallel))
    wall, _ = run_in_folder(study, SHORT)
    print(
        f"{kind}: {trials} one-second trials, {parallel} in parallel: {wall:.1f} s, floor {floor:.0f} s, {100 * (wall / floor - 1):+.1f} %",
        flush=True,
    )


def main() -> None:
    options = argparse.ArgumentParser(description=textwrap.dedent(__doc__ or "").split("\n")[0])
    kinds = options.add_subparsers(dest="what", required=True)
    exploit, short = kinds.add_parser("exploit"), kinds.add_parser("short")
    exploit.add_argument("--repeats", type=int, default=5)
    exploit.add_argument("--cold", type=int, default=5, help="repeats without reuse")
    short.add_argument("--trials", type=int, default=1000)
    short.add_argument("--parallel", type=int, default=8)
    short.add_argument("--cold", type=int, default=80, help="trials of the run without reuse, 0 for none")
    chosen = options.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; Python {sys.version.split()[0]}", flush=True)
    if chosen.what == "exploit":
        measure_exploits({"warm": chosen.repeats, "cold": chosen.cold})
        print(f"load {os.getloadavg()[0]:.1f} at the end")
        return
    measure_short("warm", chosen.trials, chosen.parallel)
    if chosen.cold:
        measure_short("cold", chosen.cold, chosen.parallel)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
