"""What one planning pass costs: milliseconds at 100, 1,000 and 10,000 finished trials, with 100 running ones.

Run: ``python bench/planning.py [--sizes 100,1000,10000] [--rules none,asha,median,percentile] [--profile]``.

Columns: *plan* is ``plan_study`` on a snapshot that is there; *pass* a whole ``Reconciler.run`` on the store in memory in which no
trial is asked for and nothing has happened; *report* the same after every running trial has reported one more step; *first* the
first pass of a new process. All are medians but the last, in processor time, so that a busy machine does not count.
"""

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from seatrial.adapters.local.memory import MemoryStore, SimulatedClock
from seatrial.adapters.local.simulated import Script, SimulatedRunner
from seatrial.api.conditions import TrialReason
from seatrial.api.study import Study
from seatrial.decide.actions import FinishTrial, RecordPhase
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.curves import Curve, CurveBuilder, Curves
from seatrial.decide.lifecycle import new_trial, status_finished, status_phase
from seatrial.decide.observation import Seen
from seatrial.decide.planner import plan_study
from seatrial.decide.rules import Standings, rungs
from seatrial.decide.suggest import Proposal
from seatrial.reconcile import Reconciler

RUNNING = 100
STEPS = 81
REPEATS = 15
START = datetime(2030, 1, 1, tzinfo=UTC)


def study(rule: str, finished: int) -> Study:
    """Return a study with room for no more trials than there are."""
    spec: dict[str, object] = {
        "objectives": [{"metric": "accuracy", "goal": "maximize"}],
        "parameters": [
            {"name": "lr", "type": "float", "min": 1e-5, "max": 0.1, "scale": "log"},
            {"name": "hidden", "type": "int", "min": 16, "max": 512},
        ],
        "algorithm": {"name": "random"},
        "budget": {"maxTrials": finished + RUNNING, "parallelTrials": RUNNING},
        "steps": {"unit": "epoch", "max": STEPS},
        "trial": {"template": {"spec": {"containers": [{"name": "main", "command": ["true"]}]}}},
    }
    if rule != "none":
        spec["stopping"] = {"rule": rule}
    return Study.model_validate(
        {"apiVersion": "seatrial.dev/v1alpha1", "kind": "Study", "metadata": {"name": "s"}, "spec": spec}
    )


def curve(index: int, steps: int) -> Curve:
    """Return a rising curve; the later the index, the better, so that no running trial is stopped."""
    builder = CurveBuilder(rungs=(1, 3, 9, 27))
    builder.extend((step, 1 - 1 / (step + 1) + 1e-6 * index) for step in range(1, steps + 1))
    return builder.build()


class Still(SimulatedRunner):
    """A world in which nothing happens: the same attempts and curves at every look, and nothing may be started or ended."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__(clock, lambda *_: Script(duration_seconds=1e9))
        self.attempts: dict[str, Attempt] = {}
        self.curves: dict[str, Curves] = {}

    async def observe(self, study: Study) -> Mapping[str, Attempt]:  # noqa: ARG002
        """Return the same attempts."""
        return self.attempts

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:  # noqa: ARG002
        """Return the same curves."""
        return self.curves


async def world(rule: str, finished: int) -> tuple[Reconciler, Still]:
    """Return a study with finished and running trials, and what reconciles it."""
    store, clock = MemoryStore(), SimulatedClock(START)
    key = store.put_study(study(rule, finished))
    own = await store.read_study(key)
    assert own is not None
    still = Still(clock)
    for index in range(finished + RUNNING):
        proposal = Proposal(
            index=index,
            assignment={"lr": 0.001 + index * 1e-6, "hidden": 64},
            seed=index,
            algorithm="random",
            detail="",
            reuse_of=None,
        )
        trial = await store.create_trial(key, new_trial(own, proposal, START))
        name = trial.metadata.name
        ended = index < finished
        attempt = Attempt(
            trial=name,
            number=0,
            phase=Phase.EXITED if ended else Phase.RUNNING,
            exit_code=0 if ended else None,
            started_at=START,
            finished_at=START + timedelta(seconds=60) if ended else None,
        )
        seen = Seen(attempt=attempt, curves={"accuracy": curve(index, STEPS if ended else 1 + index % (STEPS - 10))})
        if ended:
            finish = FinishTrial(trial=name, outcome=TrialReason.COMPLETED, reason="Completed", message="")
            status = status_finished(trial, finish, own.spec, seen, rungs(own.spec), START)
        else:
            phase = RecordPhase(trial=name, state=TrialReason.RUNNING, reason="Running", message="")
            status = status_phase(trial, phase, seen, START).model_copy(update={"rung": 27})
            still.attempts[name], still.curves[name] = attempt, seen.curves or {}
        await store.update_trial(key, trial, status)
    return Reconciler(key, store=store, runner=still, metrics=still, clock=clock), still


def report_once(still: Still) -> None:
    """Let every running trial tell one more step."""
    steps = {name: found["accuracy"].step or 0 for name, found in still.curves.items()}
    still.curves = {name: {"accuracy": curve(99_999, min(step + 1, STEPS - 1))} for name, step in steps.items()}


async def measure(rule: str, finished: int, *, profile: bool) -> str:
    """Return one row of the table."""
    reconciler, still = await world(rule, finished)
    start = time.process_time()
    await reconciler.run()
    first = time.process_time() - start
    look = await reconciler.run()
    assert look is not None
    assert not look.moved, look.plan.actions[:3]
    standings = Standings()
    plan_study(look.snapshot, standings)
    passes, plans, reports = [], [], []
    for _ in range(REPEATS):
        start = time.process_time()
        plan_study(look.snapshot, standings)
        plans.append(time.process_time() - start)
        start = time.process_time()
        await reconciler.run()
        passes.append(time.process_time() - start)
    if profile:
        with cProfile.Profile() as profiler:
            for _ in range(5):
                await reconciler.run()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(18)
    for _ in range(REPEATS):
        report_once(still)
        start = time.process_time()
        await reconciler.run()
        reports.append(time.process_time() - start)
    numbers = [1000 * statistics.median(times) for times in (plans, passes, reports)] + [1000 * first]
    return f"{rule:12}{finished:>9,}" + "".join(f"{number:>11.1f}" for number in numbers)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1000,10000")
    parser.add_argument("--rules", default="none,asha,median,percentile")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    print(f"{'rule':12}{'finished':>9}{'plan ms':>11}{'pass ms':>11}{'report ms':>11}{'first ms':>11}")
    for rule in options.rules.split(","):
        for size in options.sizes.split(","):
            print(asyncio.run(measure(rule, int(size), profile=options.profile)), flush=True)


if __name__ == "__main__":
    main()
