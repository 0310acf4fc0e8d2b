"""Whole studies on the simulated clock."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decide.builders import a_study
from reconcile.simulation import Fuse, World, rough, run_and_crash, trained
from seatrial.adapters.local.simulated import Script
from seatrial.api.conditions import StudyReason, TrialReason, find_condition
from seatrial.api.study import Study
from seatrial.api.trial import Trial, reason_of
from seatrial.decide.actions import PassRung, StopAttempt
from seatrial.errors import TransientError


def with_budget(**budget: object):
    return a_study(budget={"maxTrials": 8, "parallelTrials": 2, **budget})


def test_a_study_runs_all_its_trials_and_names_the_best():
    world = World(with_budget()).run()

    assert world.state() is StudyReason.MAX_TRIALS_REACHED
    assert world.count(TrialReason.COMPLETED) == 8
    values = [values[0] for _, _, values in world.outcome()]
    assert world.status().best.values == [min(values)]
    assert world.status().trials.total == 8
    assert world.runner.peak == 2


def test_a_finished_study_rests_and_goes_on_when_its_budget_grows():
    world = World(with_budget(maxTrials=3)).run()
    first = world.outcome()

    world.study = with_budget(maxTrials=5, parallelTrials=3)
    world.store.put_study(world.study)
    world.run()

    assert world.outcome()[:3] == first
    assert world.status().trials.completed == 5
    assert world.status().completion_time is not None


def test_the_target_ends_the_study_and_cancels_what_runs():
    study = a_study(
        objectives=[{"metric": "loss", "goal": "minimize", "target": 0.2}],
        budget={"maxTrials": 50, "parallelTrials": 3},
    )

    world = World(study).run()

    assert world.state() is StudyReason.TARGET_REACHED
    assert world.status().best.values[0] <= 0.2
    assert world.count(TrialReason.CANCELLED) > 0
    assert world.status().trials.total < 50


def test_too_many_failures_end_the_study():
    world = World(
        with_budget(maxFailedTrials=2), script=lambda trial, number: Script(duration_seconds=1, exit_code=3)
    ).run()

    assert world.state() is StudyReason.MAX_FAILED_TRIALS_EXCEEDED
    assert world.count(TrialReason.FAILED) >= 3


def test_a_study_without_any_result_has_not_succeeded():
    world = World(
        with_budget(maxTrials=3, maxFailedTrials=9), script=lambda t, n: Script(duration_seconds=1, exit_code=3)
    ).run()

    assert world.state() is StudyReason.NO_TRIAL_SUCCEEDED


def test_retries_are_used_up_by_failures_and_not_by_losses():
    def script(trial, number):
        return (
            Script(duration_seconds=1, exit_code=1)
            if number in {1, 3}
            else Script(duration_seconds=1, lost=number < 4)
            if number < 4
            else trained(trial, number)
        )

    study = a_study(budget={"maxTrials": 1}, trial={**a_study().spec.trial.to_wire(), "retries": 2})
    world = World(study, script=script).run()

    (trial,) = world.records()
    assert reason_of(trial) is TrialReason.COMPLETED
    assert [(a.reason, a.infrastructure) for a in trial.status.attempts] == [
        ("Lost", True),
        ("Error", False),
        ("Lost", True),
        ("Error", False),
    ]
    assert trial.status.attempt == 4


def test_a_trial_that_never_reports_is_failed_with_the_name_of_the_metric():
    world = World(with_budget(maxTrials=1), script=lambda t, n: Script(duration_seconds=1)).run()

    (trial,) = world.records()
    assert reason_of(trial) is TrialReason.FAILED
    assert "'loss' was never reported" in trial.status.conditions[0].message


@pytest.mark.parametrize(
    ("known", "newest"),
    [
        pytest.param(
            Script(duration_seconds=1e6), Script(duration_seconds=5, exit_code=2), id="runs on, for all we know"
        ),
        pytest.param(Script(duration_seconds=1, lost=True), Script(duration_seconds=5, exit_code=2), id="is lost"),
    ],
)
def test_an_attempt_of_which_news_is_late_is_judged_by_the_news(
    known: Script, newest: Script, monkeypatch: pytest.MonkeyPatch
):
    study = a_study(budget={"maxTrials": 1}, trial={**a_study().spec.trial.to_wire(), "timeout": "10s"})
    world, heard = World(study, script=lambda *_: newest if heard else known), []

    async def confirm(study: Study, trial: Trial, number: int) -> None:
        if not heard:
            heard.append(number)
            world.runner._plays[trial.metadata.name].script = newest
            raise TransientError("look again")

    monkeypatch.setattr(world.runner, "confirm", confirm)
    world.run()

    (trial,) = world.records()
    assert heard == [0]
    assert trial.status.conditions[0].reason == "Failed"
    assert trial.status.conditions[0].message.startswith("Error: exit code 2")
    assert trial.status.attempts == []


def test_a_trial_whose_values_are_late_keeps_its_place_and_holds_up_no_other_one(monkeypatch: pytest.MonkeyPatch):
    study = a_study(
        budget={"maxTrials": 4, "parallelTrials": 2}, trial={**a_study().spec.trial.to_wire(), "timeout": "30s"}
    )
    curve = [(1.0, 1, {"loss": 0.5})]
    world = World(study, script=lambda *_: Script(duration_seconds=10, curve=curve))

    def late() -> bool:
        return 10 <= (world.clock.now() - world.began).total_seconds() < 60

    monkeypatch.setattr(world.runner, "unread", lambda: {"s-0": 2.0} if late() else {})
    world.run(until=lambda world: world.count(TrialReason.COMPLETED) == 2)

    assert [reason_of(trial).value for trial in world.records()] == ["Running", "Completed", "Completed", "Pending"]
    assert late()
    world.run()
    assert world.count(TrialReason.COMPLETED) == 4
    assert [action for action in world.actions if isinstance(action, StopAttempt)] == []
    assert world.runner.peak == 2


def test_a_timeout_stops_a_trial_that_hangs():
    study = a_study(budget={"maxTrials": 1}, trial={**a_study().spec.trial.to_wire(), "timeout": "10s"})
    world = World(study, script=lambda t, n: Script(duration_seconds=1e9, stop_seconds=99)).run()

    (trial,) = world.records()
    assert reason_of(trial) is TrialReason.FAILED
    assert trial.status.run_seconds == pytest.approx(40)
    assert "spec.trial.timeout (10s)" in trial.status.conditions[0].message


def test_max_duration_ends_the_study():
    world = World(with_budget(maxTrials=1000, maxDuration="1m")).run()

    assert world.state() is StudyReason.MAX_DURATION_REACHED
    assert world.status().trials.total < 20


def test_gpu_hours_end_the_study():
    def script(trial, number):
        return Script(duration_seconds=600, gpus=2, curve=[(1, 1, {"loss": 1.0})])

    world = World(a_study(budget={"maxTrials": 100, "parallelTrials": 2, "maxGPUHours": 1.0}), script=script).run()

    assert world.state() is StudyReason.MAX_GPU_HOURS_REACHED
    assert world.status().gpu_hours == pytest.approx(1.0, abs=0.01)


def test_suspend_lays_trials_down_and_they_go_on_with_the_next_attempt():
    world = World(with_budget())
    world.run(until=lambda w: len(w.runner.started) >= 4)
    world.study = world.study.model_copy(update={"spec": world.study.spec.model_copy(update={"suspend": True})})
    world.store.put_study(world.study)
    world.run(until=lambda w: w.state() is StudyReason.SUSPENDED and not w.runner._plays)
    assert world.count(TrialReason.RUNNING) == 0
    assert "spec.suspend is true" in world.status().conditions[0].message

    world.study = world.study.model_copy(update={"spec": world.study.spec.model_copy(update={"suspend": False})})
    world.store.put_study(world.study)
    world.run()

    assert world.state() is StudyReason.MAX_TRIALS_REACHED
    assert world.count(TrialReason.COMPLETED) == 8
    assert any(trial.status.attempt == 1 for trial in world.records())


def test_asha_stops_the_worse_and_judges_each_rung_once():
    study = a_study(
        stopping={"rule": "asha", "asha": {"eta": 3}},
        steps={"unit": "epoch", "max": 9},
        budget={"maxTrials": 18, "parallelTrials": 3},
    )

    world = World(study).run()

    stopped = world.count(TrialReason.STOPPED)
    assert stopped >= 8
    assert world.count(TrialReason.COMPLETED) == 18 - stopped
    passes = [(a.trial, a.rung) for a in world.actions if isinstance(a, PassRung)]
    assert len(passes) == len(set(passes))
    stops = {a.trial for a in world.actions if isinstance(a, StopAttempt)}
    assert len(stops) == stopped
    full = [trial for trial in world.records() if reason_of(trial) is TrialReason.COMPLETED]
    assert world.status().best.values[0] == min(t.status.observation.values[0] for t in full)


def test_a_finite_space_is_searched_once_and_then_the_study_is_complete():
    study = a_study(
        parameters=[
            {"name": "kind", "type": "categorical", "choices": ["a", "bb", "ccc"]},
            {"name": "x", "type": "int", "min": 0, "max": 1},
        ],
        budget={"parallelTrials": 4},
    )

    world = World(study).run()

    assert world.state() is StudyReason.SEARCH_SPACE_EXHAUSTED
    assert len({tuple(sorted(a.items())) for a, _, _ in world.outcome()}) == 6
    assert world.status().trials.completed == 6


def test_known_good_points_come_first_and_a_repeated_one_takes_over_the_result():
    study = a_study(initialTrials=[{"x": 0.25}, {"x": 0.5}, {"x": 0.25}], budget={"maxTrials": 5, "parallelTrials": 1})

    world = World(study).run()

    assert [a["x"] for a, _, _ in world.outcome()[:3]] == [0.25, 0.5, 0.25]
    third = world.records()[2]
    assert reason_of(third) is TrialReason.REUSED
    assert third.spec.reuse_of == "s-0"
    assert third.status.observation == world.records()[0].status.observation
    assert ("s-2", 0) not in world.runner.started


def test_parallel_trials_above_the_capacity_wait_and_say_why():
    world = World(with_budget(parallelTrials=4), capacity=2)
    world.run(until=lambda w: w.count(TrialReason.RUNNING) == 2)

    waiting = [t for t in world.records() if reason_of(t) is TrialReason.PENDING and t.status.conditions[0].message]
    assert "Insufficient slots" in waiting[0].status.conditions[0].message

    assert world.run().count(TrialReason.COMPLETED) == 8


def test_maximise_is_minimise_of_the_negative():
    def negative(trial, number):
        story = trained(trial, number)
        return Script(
            duration_seconds=story.duration_seconds,
            curve=[(at, step, {"loss": -metrics["loss"]}) for at, step, metrics in story.curve],
        )

    shared = {
        "stopping": {"rule": "median", "median": {"minTrials": 2}},
        "budget": {"maxTrials": 12, "parallelTrials": 3},
    }
    down = World(a_study(**shared)).run().outcome()
    up = World(a_study(objectives=[{"metric": "loss", "goal": "maximize"}], **shared), script=negative).run().outcome()

    assert [(a, s, [-v for v in values]) for a, s, values in up] == down


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["random", "grid", "tpe", "evolution"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_crash_at_any_write_changes_nothing_in_the_outcome(algorithm, before):
    study = a_study(
        parameters=[
            {"name": "x", "type": "float", "min": 0, "max": 1},
            {"name": "kind", "type": "categorical", "choices": ["a", "bb"]},
        ],
        algorithm={"name": algorithm, **({"grid": {"points": 4}} if algorithm == "grid" else {})},
        budget={"maxTrials": 5, "parallelTrials": 1, "maxFailedTrials": 5},
    )
    script = partial(rough, seed=5)
    undisturbed = World(study, script=script)

    for world in run_and_crash(undisturbed, sides=[before]):
        world.run()
        assert world.restarts == 1
        assert world.outcome() == undisturbed.outcome()
        assert world.state() is undisturbed.state()

    assert {state for _, state, _ in undisturbed.outcome()} > {"Completed"}


@pytest.mark.slow
@given(seed=st.integers(0, 10_000), at=st.integers(1, 60), before=st.booleans(), parallel=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_rough_studies_with_a_crash_keep_every_invariant_and_come_to_rest(seed, at, before, parallel):
    study = a_study(
        stopping={"rule": "asha"},
        steps={"max": 9},
        algorithm={"name": "random", "seed": seed},
        budget={"maxTrials": 10, "parallelTrials": parallel, "maxFailedTrials": 10},
        trial={**a_study().spec.trial.to_wire(), "retries": 1, "timeout": "1m"},
    )

    world = World(study, script=partial(rough, seed=seed), fuse=Fuse(at=at, before=before)).run()

    assert world.state().terminal
    assert all(reason_of(trial).terminal for trial in world.records())
    assert not world.runner._plays


def test_a_container_that_never_begins_costs_three_attempts_and_no_other_trial():
    def script(trial: Trial, number: int) -> Script:
        stuck = "ContainerCreating" if trial.spec.index == 1 else ""
        return replace(trained(trial, number), stuck=stuck)

    world = World(a_study(budget={"maxTrials": 4, "parallelTrials": 2, "maxFailedTrials": 3}), script).run()

    states = [reason_of(trial).value for trial in world.records()]
    doomed = world.records()[1].status
    assert states == ["Completed", "Failed", "Completed", "Completed"]
    assert [past.reason for past in doomed.attempts] == ["StartTimeout", "StartTimeout"]
    assert all(past.infrastructure for past in doomed.attempts)
    words = "StartTimeout: its container did not begin within trial.startTimeout (30m): ContainerCreating: its node prepares it; given up after 3 such attempts"
    assert find_condition(doomed.conditions, "Succeeded").message == words
    assert world.runner.trained.count(("s-1", 1)) == 0
    # Three times half an hour, and two pauses between.
    assert 3 * 1800 < (world.clock.now() - world.began).total_seconds() < 3 * 1800 + 200


def test_a_container_that_begins_after_the_first_attempt_was_given_up_trains_as_ever():
    def script(trial: Trial, number: int) -> Script:
        return replace(trained(trial, number), stuck="" if number else "PodInitializing")

    study = a_study(budget={"maxTrials": 1}, trial={**a_study().spec.trial.to_wire(), "startTimeout": "2m"})
    world = World(study, script).run()

    (trial,) = world.records()
    assert reason_of(trial).value == "Completed"
    assert [past.reason for past in trial.status.attempts] == ["StartTimeout"]


def test_waiting_for_a_place_is_never_limited():
    study = a_study(
        budget={"maxTrials": 2, "parallelTrials": 2}, trial={**a_study().spec.trial.to_wire(), "startTimeout": "1s"}
    )

    def script(trial: Trial, number: int) -> Script:
        return replace(trained(trial, number), duration_seconds=7200)

    world = World(study, script, capacity=1).run(passes=6000)

    assert [trial.status.attempts for trial in world.records()] == [[], []]


def test_a_start_is_told_when_its_record_was_asked_for_and_not_when_the_answer_came(monkeypatch: pytest.MonkeyPatch):
    world = World(with_budget(maxTrials=1))
    create, start = world.store.create_trial, world.runner.start
    told = []

    async def create_slowly(*arguments: object) -> Trial:
        created = await create(*arguments)
        world.clock.advance(20)
        return created

    async def note(*arguments: object, recorded_at: datetime | None = None) -> None:
        told.append(world.clock.now() - recorded_at)
        await start(*arguments, recorded_at=recorded_at)

    monkeypatch.setattr(world.store, "create_trial", create_slowly)
    monkeypatch.setattr(world.runner, "start", note)
    world.run()

    assert told == [timedelta(seconds=20)]
