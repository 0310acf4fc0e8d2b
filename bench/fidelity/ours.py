"""Whole studies of Seatrial on a table: the reconciler, the planner, the rules and the search as they run, in a world in memory."""

import asyncio

from bench.fidelity.tables import Table
from bench.fidelity.workers import Outcome

from seatrial.adapters.local.memory import MemoryStore, SimulatedClock
from seatrial.adapters.local.simulated import Script, SimulatedRunner
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.reconcile import Reconciler

__all__ = ["OURS", "reach"]

_PATIENCE_SECONDS = 5.0

OURS: dict[str, tuple[str, dict[str, object] | None]] = {
    "ASHA": ("random", {"rule": "asha", "asha": {"promote": True}}),
    "ASHA, stopping": ("random", {"rule": "asha"}),
    "successive halving": ("random", {"rule": "successiveHalving"}),
    "Hyperband": ("random", {"rule": "hyperband"}),
    "TPE + ASHA": ("tpe", {"rule": "asha", "asha": {"promote": True}}),
    "GP + ASHA": ("gp", {"rule": "asha", "asha": {"promote": True}}),
    "auto + Hyperband": ("auto", {"rule": "hyperband"}),
}


def a_study(table: Table, method: str, seed: int, parallel: int) -> Study:
    """Return the study that anybody would write."""
    algorithm, stopping = OURS[method]
    parameters = [{"name": n, "type": "int", "min": 0, "max": len(v) - 1} for n, v in table.parameters]
    spec = {
        "objectives": [{"metric": "loss", "goal": "minimize"}],
        "parameters": parameters,
        "algorithm": {"name": algorithm, "seed": seed},
        "stopping": stopping,
        "steps": {"max": table.steps},
        "budget": {"maxTrials": 100_000, "parallelTrials": parallel},
        "trial": {"template": {"spec": {"containers": [{"name": "main", "command": ["true"]}]}}},
    }
    head = {"apiVersion": "seatrial.dev/v1alpha1", "kind": "Study", "metadata": {"name": "bench"}}
    return Study.model_validate({**head, "spec": spec})


class Watched(SimulatedRunner):
    """A runner that knows what has been trained so far, also by attempts that are not over."""

    @property
    def steps(self) -> int:
        """Steps that were trained."""
        return len(self.trained) + sum(len(play.told(self._clock.now())) for play in self._plays.values())

    @property
    def best(self) -> float:
        """Lowest of the newest losses of the attempts that are there."""
        now = self._clock.now()
        newest = (told[-1][1]["loss"] for play in self._plays.values() if (told := play.told(now)))
        return min(newest, default=float("inf"))


def reach(table: Table, method: str, seed: int, *, parallel: int, target: float, most_steps: int) -> Outcome:
    """Return how many steps a study trains until a loss at or below *target* is reported; None when it takes more than *most_steps*."""

    def script(trial: Trial, _number: int) -> Script:
        row = table.row({name: int(value) for name, value in trial.spec.assignment.items()})
        pace, losses = table.pace(row), table.losses[row]
        curve = [(pace * step, step, {"loss": float(losses[step - 1])}) for step in range(1, table.steps + 1)]
        return Script(duration_seconds=pace * table.steps + 0.001, curve=curve, saves=True)

    return asyncio.run(_reach(a_study(table, method, seed, parallel), script, target, most_steps))


async def _reach(study: Study, script, target: float, most_steps: int) -> Outcome:
    store, clock = MemoryStore(), SimulatedClock()
    runner = Watched(clock, script)
    key = store.put_study(study)
    reconciler = Reconciler(key, store=store, runner=runner, metrics=runner, clock=clock, observer=lambda _: None)
    while runner.steps < most_steps:
        look = await reconciler.run(interrupted=False)
        assert look is not None
        if runner.best <= target:
            return runner.steps
        if look.plan.state.reason.terminal:
            return None
        if not look.moved:
            await runner.wait(min(look.plan.wake_after_seconds or _PATIENCE_SECONDS, _PATIENCE_SECONDS))
            if runner.best <= target:
                return runner.steps
    return None
