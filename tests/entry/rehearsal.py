"""A study rehearsed in memory, look by look, for tests of what a person is shown. All times and values are scripted."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from decide.builders import a_study
from seatrial.adapters.local.memory import MemoryStore, SimulatedClock
from seatrial.adapters.local.simulated import Script, SimulatedRunner
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.reconcile import Look, Reconciler

__all__ = ["digits_script", "digits_study", "rehearse", "rehearsed_trials"]

_RATES = (0.03, 0.1, 0.001, 0.8, 0.0006, 0.0001, 0.0087, 0.0005)


def digits_study(**spec: object) -> Study:
    """Return a study of eight known assignments, stopped early by ASHA."""
    body: dict[str, object] = {
        "objectives": [{"metric": "val_accuracy", "goal": "maximize"}],
        "parameters": [
            {"name": "lr", "type": "float", "min": 1e-4, "max": 1, "scale": "log"},
            {"name": "hidden", "type": "int", "min": 8, "max": 128},
            {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adamw"]},
        ],
        "initialTrials": [
            {"lr": lr, "hidden": 16 + 8 * i, "optimizer": "sgd" if i % 2 else "adamw"} for i, lr in enumerate(_RATES)
        ],
        "stopping": {"rule": "asha", "asha": {"eta": 3, "minStep": 1}},
        "steps": {"unit": "epoch", "max": 9},
        "budget": {"maxTrials": 8, "parallelTrials": 4, "maxDuration": "2h"},
    }
    return a_study("digits", **{**body, **spec})


def digits_script(trial: Trial, number: int) -> Script:
    """Return the story of a trial: nine epochs of two seconds; number 3 crashes before it reports anything."""
    lr = float(trial.spec.assignment["lr"])
    top = 0.98 - 0.1 * abs(math.log10(lr) + 2)
    crashes = trial.spec.index == 3
    epochs = range(1, 1 if crashes else 10)
    curve = tuple((2.0 * epoch, epoch, {"val_accuracy": top * (1 - math.exp(-epoch / 2))}) for epoch in epochs)
    return Script(duration_seconds=1.5 if crashes else 19, curve=curve, exit_code=1 if crashes else 0)


def rehearse(
    study: Study, script: Callable[[Trial, int], Script] = digits_script, *, capacity: int | None = 3
) -> list[Look]:
    """Return every look of a whole run."""
    return _play(study, script, capacity)[0]


def rehearsed_trials(study: Study, script: Callable[[Trial, int], Script] = digits_script) -> tuple[Study, list[Trial]]:
    """Return the study with its last status, and its trials as they are stored when it is over."""
    looks, trials = _play(study, script, None)
    return looks[-1].study, trials


def _play(study: Study, script: Callable[[Trial, int], Script], capacity: int | None) -> tuple[list[Look], list[Trial]]:
    clock, store = SimulatedClock(), MemoryStore()
    key = store.put_study(study)
    runner = SimulatedRunner(clock, script, capacity=capacity)
    reconciler = Reconciler(key, store=store, runner=runner, metrics=runner, clock=clock)

    async def run() -> tuple[list[Look], list[Trial]]:
        looks = []
        while True:
            look = await reconciler.run()
            assert look is not None
            looks.append(look)
            if look.plan.state.reason.terminal and not look.moved:
                return looks, list(await store.read_trials(key))
            if not look.moved:
                await runner.wait(10)

    return asyncio.run(run())
