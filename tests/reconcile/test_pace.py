"""What is written less often than it changes, and that nothing is lost by it."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from decide.builders import NOON, a_snapshot, a_study, a_trial, an_attempt, running
from reconcile.simulation import World, chance, rough, run_and_crash
from seatrial.adapters.local.simulated import Script
from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.api.study import Study
from seatrial.api.trial import Trial, reason_of
from seatrial.decide.actions import PassRung, RecordPhase, StudyState
from seatrial.decide.attempts import Phase
from seatrial.decide.snapshot import StudySnapshot
from seatrial.pace import Pace

RUNS = RecordPhase(trial="s-0", state=TrialReason.RUNNING, reason="Running", message="")
RUNNING = StudyState(reason=StudyReason.RUNNING, message="2 of 10 trials run")


def young(seconds: float) -> StudySnapshot:
    """Return a study whose only trial began so many seconds ago, which its record does not say yet."""
    return a_snapshot(a_trial(live=an_attempt(0, Phase.RUNNING)), seconds=seconds)


def a_running_study(generation: int = 1) -> Study:
    """Return a study whose stored status says that it runs."""
    condition = {
        "type": "Succeeded",
        "status": "Unknown",
        "reason": "Running",
        "lastTransitionTime": "2026-01-01T12:00:00Z",
    }
    study = a_study()
    metadata = study.metadata.model_copy(update={"generation": generation})
    written = {**study.to_wire(), "status": {"observedGeneration": 1, "conditions": [condition]}}
    return type(study).model_validate(written).model_copy(update={"metadata": metadata})


def told_at_noon() -> Pace:
    """Return a pace whose study's status was written at noon."""
    pace = Pace()
    pace.on_told(NOON)
    return pace


@pytest.mark.parametrize(
    ("seconds", "kept", "due"),
    [
        pytest.param(0.0, (), 0.2, id="it begins"),
        pytest.param(0.15, (), 0.05, id="it is young"),
        pytest.param(0.2, (RUNS,), None, id="it is not young any more"),
        pytest.param(-5.0, (RUNS,), None, id="the clock was set back"),
    ],
)
def test_that_an_attempt_runs_is_written_when_it_has_run_for_a_moment(
    seconds: float, kept: tuple[RecordPhase, ...], due: float | None
) -> None:
    found, wait = Pace().hold_back([RUNS], young(seconds))

    assert found == kept
    assert wait == (None if due is None else pytest.approx(due))


def test_the_first_record_that_falls_due_is_waited_for() -> None:
    older = an_attempt(1, Phase.RUNNING, started_at=NOON - timedelta(seconds=0.1))
    study = a_snapshot(a_trial(live=an_attempt(0, Phase.RUNNING)), a_trial(1, live=older), seconds=0.05)
    both = [RUNS, RecordPhase(trial="s-1", state=TrialReason.RUNNING, reason="Running", message="")]

    assert Pace().hold_back(both, study) == ((), pytest.approx(0.05))


@pytest.mark.parametrize(
    ("action", "study"),
    [
        pytest.param(PassRung(trial="s-0", rung=3, reason="RungPassed", message=""), young(0.0), id="another action"),
        pytest.param(
            RecordPhase(trial="s-0", state=TrialReason.PENDING, reason="Insufficient", message="no GPU is free"),
            a_snapshot(a_trial(live=an_attempt(0, Phase.WAITING)), seconds=0.0),
            id="why it waits",
        ),
        pytest.param(RUNS, a_snapshot(running(0), seconds=0.0), id="a record that is to be corrected"),
        pytest.param(RUNS, a_snapshot(seconds=0.0), id="a trial that nobody knows"),
    ],
)
def test_everything_else_is_written_at_once(action: RecordPhase | PassRung, study: StudySnapshot) -> None:
    assert Pace().hold_back([action], study) == ((action,), None)


@pytest.mark.parametrize(
    ("pace", "study", "state", "seconds", "wait"),
    [
        pytest.param(told_at_noon(), a_running_study(), RUNNING, 0.05, 0.15, id="only numbers change"),
        pytest.param(told_at_noon(), a_running_study(), RUNNING, 0.2, 0.0, id="the time has come"),
        pytest.param(told_at_noon(), a_running_study(), RUNNING, -60.0, 0.0, id="the clock was set back"),
        pytest.param(Pace(), a_running_study(), RUNNING, 0.05, 0.0, id="this process has written none"),
        pytest.param(told_at_noon(), a_study(), RUNNING, 0.05, 0.0, id="there is none"),
        pytest.param(told_at_noon(), a_running_study(2), RUNNING, 0.05, 0.0, id="the study was edited"),
        *(
            pytest.param(
                told_at_noon(), a_running_study(), StudyState(reason=reason, message=""), 0.05, 0.0, id=reason.value
            )
            for reason in StudyReason
            if reason is not StudyReason.RUNNING
        ),
    ],
)
def test_the_status_waits_only_while_a_study_runs_on(
    pace: Pace, study: Study, state: StudyState, seconds: float, wait: float
) -> None:
    assert pace.wait_seconds(study, state, NOON + timedelta(seconds=seconds)) == pytest.approx(wait)


def hasty(trial: Trial, number: int, *, seed: int) -> Script:
    """Return an attempt that ends within the time for which things are held back, or a little later."""
    took = 0.4 * chance(seed, trial.metadata.name, number)
    lost = chance(seed, trial.metadata.name, number, "luck") < 0.2
    return Script(duration_seconds=took, curve=[(took / 2, 1, {"loss": took})], lost=lost)


def of_hasty_trials() -> Study:
    """Return a study of twelve trials, three at a time."""
    return a_study(budget={"maxTrials": 12, "parallelTrials": 3, "maxFailedTrials": 12})


def test_a_study_whose_writes_are_held_back_ends_as_one_that_writes_everything() -> None:
    worlds = [World(of_hasty_trials(), script=partial(hasty, seed=1), paced=paced).run() for paced in (False, True)]

    every, few = worlds
    assert few.outcome() == every.outcome()
    assert few.status().to_wire()["trials"] == every.status().to_wire()["trials"]
    assert few.status().trials.completed == 12
    assert few.fuse.count < 0.8 * every.fuse.count


@pytest.mark.parametrize("script", [hasty, rough])
@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("records", [3, 5, 8])
def test_a_paced_study_that_is_laid_down_says_how_it_was_left(
    script: Callable[..., Script], interrupted: bool, records: int
) -> None:
    world = World(of_hasty_trials(), script=partial(script, seed=3), paced=True)
    world.run(until=lambda world: len(world.records()) >= records)

    if interrupted:
        world.run(interrupted=True)
    else:
        world.edit(suspend=True).run(until=lambda world: world.is_idle() and world.state() is StudyReason.SUSPENDED)

    states, told = [reason_of(trial) for trial in world.records()], world.status().trials
    assert world.state() is StudyReason.SUSPENDED
    assert (told.total, told.running) == (len(states), 0)
    assert (told.pending, told.completed) == (states.count(TrialReason.PENDING), states.count(TrialReason.COMPLETED))


@pytest.mark.slow
@pytest.mark.parametrize("script", [hasty, rough])
@pytest.mark.parametrize("before", [False, True])
def test_a_crash_at_any_write_of_a_paced_study_loses_nothing(script: Callable[..., Script], before: bool) -> None:
    whole = World(of_hasty_trials(), script=partial(script, seed=2), paced=True)

    for world in run_and_crash(whole, sides=[before], every=3):
        assert world.run().outcome() == whole.outcome()
        assert (world.status().trials, world.restarts) == (whole.status().trials, 1)
