"""What others do with a study, told as a run tells of its own: the same lines from the records alone."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass

import pytest
from rich.console import Console

from entry.rehearsal import digits_script, digits_study
from seatrial.adapters.local.memory import MemoryStore, SimulatedClock
from seatrial.adapters.local.simulated import SimulatedRunner
from seatrial.api.study import Study
from seatrial.decide.actions import FinishTrial
from seatrial.entry.cli.kube.looks import Looks, attempt_of_record, rests
from seatrial.entry.cli.observers import PlainObserver
from seatrial.reconcile import Look, Reconciler


@dataclass
class Told:
    """What an observer printed."""

    own: list[str]
    others: list[str]
    looks: list[Look]


def watched(study: Study, *, pods: bool = True, every: int = 1) -> Told:
    """Run a study in memory with two observers: one of the run's own looks, one of those made of the records.

    Args:
        study: What to run.
        pods: Whether the second one sees attempts.
        every: It looks after each so many passes.
    """
    clock, store = SimulatedClock(), MemoryStore()
    key = store.put_study(study)
    runner = SimulatedRunner(clock, digits_script, capacity=3)
    reconciler = Reconciler(key, store=store, runner=runner, metrics=runner, clock=clock)
    outputs = [io.StringIO(), io.StringIO()]
    own, others = (PlainObserver(Console(file=each), now=clock.now) for each in outputs)
    looks, made = Looks(unseen="nobody looked yet"), []

    async def observe() -> Look:
        stored = await store.read_study(key)
        assert stored is not None
        # A cluster counts edits; what was written last speaks of the present one.
        metadata = stored.metadata.model_copy(
            update={"generation": stored.status and stored.status.observed_generation}
        )
        trials = list(await store.read_trials(key))
        attempts = dict(await runner.observe(stored)) if pods else {}
        for trial in trials:
            if trial.metadata.name not in attempts and (told := attempt_of_record(trial)):
                attempts[trial.metadata.name] = told
        curves = await runner.read(stored, attempts) if pods else {}
        return looks.build(stored.model_copy(update={"metadata": metadata}), trials, attempts, curves, clock.now())

    async def run() -> None:
        for number in range(10_000):
            look = await reconciler.run()
            assert look is not None
            own.on_look(look, look.curves)
            over = look.plan.state.reason.terminal and not look.moved
            if number % every == 0 or over:
                made.append(await observe())
                others.on_look(made[-1], made[-1].curves)
            if over:
                return
            if not look.moved:
                await runner.wait(10)

    with own, others:
        asyncio.run(run())
    lines = [output.getvalue().splitlines() for output in outputs]
    return Told(own=lines[0], others=lines[1], looks=made)


def without_time(lines: list[str], word: str) -> list[str]:
    # Trials of the first look run already, for whoever comes later.
    return sorted(line.partition("] ")[2].removesuffix(" (already running)") for line in lines if word in line)


def test_the_records_tell_the_ends_of_trials_as_the_run_does() -> None:
    told = watched(digits_study())

    for word in ("completed", "stopped", "failed", "started", "complete:"):
        assert without_time(told.others, word) == without_time(told.own, word), word
    assert any("(best so far)" in line for line in told.others)


def test_without_pods_the_ends_are_the_same() -> None:
    told = watched(digits_study(), pods=False)

    for word in ("completed", "stopped", "failed"):
        assert without_time(told.others, word) == without_time(told.own, word), word


@pytest.mark.parametrize("every", [2, 7])
def test_who_looks_rarely_is_told_of_every_trial_once(every: int) -> None:
    told = watched(digits_study(), every=every)

    ended = [action.trial for look in told.looks for action in look.plan.actions if isinstance(action, FinishTrial)]
    assert sorted(ended) == sorted(set(ended))
    over_at_first = {trial.name for trial in told.looks[0].snapshot.trials if trial.terminal}
    assert set(ended) | over_at_first == {f"digits-{i}" for i in range(8)}


def test_nothing_rests_before_the_study_is_complete() -> None:
    told = watched(digits_study())

    assert not any(rests(look) for look in told.looks[:-1] if not look.plan.state.reason.terminal)
    assert rests(told.looks[-1])


def test_a_study_that_was_extended_does_not_rest() -> None:
    last = watched(digits_study()).looks[-1]

    metadata = last.study.metadata.model_copy(update={"generation": 2})
    status = last.study.status.model_copy(update={"observed_generation": 1})
    edited = last.study.model_copy(update={"metadata": metadata, "status": status})

    look = Looks(unseen="").build(edited, [], {}, {}, last.snapshot.now)
    assert not rests(look)


def test_a_study_that_nobody_has_looked_at_says_so() -> None:
    look = Looks(unseen="no operator here").build(digits_study(), [], {}, {}, SimulatedClock().now())

    assert look.plan.state.message == "no operator here"
    assert not rests(look)
