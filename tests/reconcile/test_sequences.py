"""Whole studies in which much happens at once: random order, edits, interruptions, conflicts, lost records."""

from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decide.builders import a_report, a_study
from reconcile.simulation import World, at_once, chance, loss, rough, trained
from seatrial.adapters.local.memory import SimulatedClock
from seatrial.adapters.local.simulated import Script, SimulatedRunner
from seatrial.api.conditions import StudyReason, TrialReason, find_condition
from seatrial.api.study import Budget
from seatrial.api.trial import reason_of
from seatrial.decide.actions import FinishTrial
from seatrial.decide.attempts import ReportStatus
from seatrial.reconcile import Reconciler
from seatrial.search.pareto import dominates

GOLDEN = Path(__file__).parent / "golden"


def with_budget(**budget: object):
    return a_study(budget={"maxTrials": 8, "parallelTrials": 2, "maxFailedTrials": 8, **budget})


def test_an_asha_study_reads_like_its_golden_log():
    study = a_study(
        stopping={"rule": "asha", "asha": {"eta": 3}},
        steps={"unit": "epoch", "max": 9},
        budget={"maxTrials": 9, "parallelTrials": 3},
        trial={**a_study().spec.trial.to_wire(), "retries": 1},
    )

    world = World(study, script=partial(rough, seed=3)).run()

    told = "\n".join([*world.log, f"{world.state()}: best {world.status().best.trial} {world.status().best_value}", ""])
    assert told == (GOLDEN / "asha.log").read_text()


@pytest.mark.parametrize("parallel", [1, 3, 5])
def test_the_order_of_events_changes_no_result_where_the_search_does_not_look(parallel):
    outcomes = [
        World(with_budget(parallelTrials=parallel), script=partial(trained, seed=seed)).run().outcome()
        for seed in range(4)
    ]

    assert outcomes[1:] == outcomes[:-1]
    assert {state for _, state, _ in outcomes[0]} == {"Completed"}


@pytest.mark.slow
@given(st.integers(0, 10_000), st.sampled_from(["median", "percentile", "asha", "patience"]))
@settings(max_examples=15, deadline=None)
def test_rough_studies_under_every_rule_come_to_rest(seed, rule):
    study = a_study(
        stopping={"rule": rule},
        steps={"max": 9},
        budget={"maxTrials": 12, "parallelTrials": 4, "maxFailedTrials": 12},
        trial={**a_study().spec.trial.to_wire(), "retries": 1},
    )

    world = World(study, script=partial(rough, seed=seed)).run()

    assert world.state() in {StudyReason.MAX_TRIALS_REACHED, StudyReason.NO_TRIAL_SUCCEEDED}
    for trial in world.records():
        seen = trial.status.observation
        if reason_of(trial) is TrialReason.COMPLETED:
            assert seen.values == [pytest.approx(loss(trial.spec.assignment) + 1 / 9)]


def test_several_objectives_end_in_a_front_that_nothing_beats():
    def script(trial, number):
        x = float(trial.spec.assignment["x"])
        return Script(duration_seconds=1 + x, curve=[(0.5, 1, {"loss": x**2, "size": (1 - x) ** 2})])

    study = a_study(
        objectives=[{"metric": "loss", "goal": "minimize"}, {"metric": "size", "goal": "minimize"}],
        algorithm={"name": "nsga2", "nsga2": {"populationSize": 6}},
        budget={"maxTrials": 24, "parallelTrials": 3},
    )

    world = World(study, script=script).run()

    everything = [values for _, _, values in world.outcome()]
    best = [point.values for point in world.status().pareto_front]
    assert len(best) > 1
    assert world.status().best.values == best[0]
    assert not any(dominates(other, point) for point in best for other in everything)
    assert all(point in best or any(dominates(other, point) for other in everything) for point in everything)


def test_constraints_keep_the_lowest_from_winning():
    def script(trial, number):
        x = float(trial.spec.assignment["x"])
        return Script(duration_seconds=1, curve=[(0.5, 1, {"loss": x, "ms": 10 * (1 - x)})])

    world = World(a_study(constraints=[{"metric": "ms", "max": 6.0}], budget={"maxTrials": 12}), script=script).run()

    losses = [values[0] for _, _, values in world.outcome()]
    assert min(losses) < 0.4
    assert world.status().best.values == [min(value for value in losses if value >= 0.4)]


# ---- interrupted, restarted ------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(seed=st.integers(0, 10_000), moments=st.lists(st.integers(1, 25), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_an_interrupted_study_lays_all_down_and_goes_on_with_the_next_run(seed, moments):
    world = World(with_budget(parallelTrials=3), script=partial(rough, seed=seed))
    for moment in moments:
        passes = count()
        world.run(until=lambda _, n=moment, passes=passes: next(passes) >= n)
        world.run(interrupted=True)
        assert not world.runner._plays
        assert world.count(TrialReason.RUNNING) == world.count(TrialReason.STOPPING) == 0
        assert world.state() is StudyReason.SUSPENDED or world.state().terminal
        world.restart()

    world.run()

    assert world.state().terminal
    assert all(reason_of(trial).terminal for trial in world.records())
    finished = [action.trial for action in world.actions if isinstance(action, FinishTrial)]
    assert len(finished) == len(set(finished)) == 8


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param({"budget": {"maxTrials": 4, "parallelTrials": 2}}, StudyReason.MAX_TRIALS_REACHED, id="trials"),
        pytest.param(
            {"budget": {"maxTrials": 4, "parallelTrials": 2, "maxDuration": "1h"}},
            StudyReason.MAX_TRIALS_REACHED,
            id="trials, and its duration passes while it rests",
        ),
        pytest.param(
            {
                "parameters": [{"name": "kind", "type": "categorical", "choices": ["a", "bb", "ccc"]}],
                "budget": {"parallelTrials": 2, "maxDuration": "1h"},
            },
            StudyReason.SEARCH_SPACE_EXHAUSTED,
            id="space, and its duration passes while it rests",
        ),
        pytest.param(
            {"budget": {"maxTrials": 99, "parallelTrials": 2, "maxDuration": "30s"}},
            StudyReason.MAX_DURATION_REACHED,
            id="duration",
        ),
        pytest.param(
            {"objectives": [{"metric": "loss", "goal": "minimize", "target": 0.5}], "budget": {"parallelTrials": 2}},
            StudyReason.TARGET_REACHED,
            id="target",
        ),
    ],
)
def test_a_complete_study_that_is_looked_at_again_does_not_change(spec, reason):
    world = World(a_study(**spec)).run()
    assert world.state() is reason
    before, written, records = world.status(), world.store.writes, world.records()

    world.clock.advance(1e6)
    world.restart().run()

    assert (world.status(), world.store.writes, world.records()) == (before, written, records)


# ---- edited while it runs --------------------------------------------------------------------------------------------

EDITS = st.one_of(
    st.integers(1, 20).map(lambda n: ("max_trials", n)),
    st.integers(1, 6).map(lambda n: ("parallel_trials", n)),
    st.booleans().map(lambda on: ("suspend", on)),
)


def edit(world: World, what: str, value: object) -> None:
    if what == "suspend":
        world.edit(suspend=value)
    else:
        world.edit(budget=world.study.spec.budget.model_copy(update={what: value}))


@pytest.mark.slow
@given(seed=st.integers(0, 10_000), edits=st.lists(st.tuples(st.integers(1, 20), EDITS), max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_study_that_is_edited_at_any_moment_keeps_every_invariant(seed, edits):
    study = a_study(
        stopping={"rule": "asha"},
        steps={"max": 9},
        budget={"maxTrials": 8, "parallelTrials": 2, "maxFailedTrials": 20},
        trial={**a_study().spec.trial.to_wire(), "retries": 1},
    )
    world = World(study, script=partial(rough, seed=seed))
    for moment, (what, value) in edits:
        passes = count()
        world.run(until=lambda _, n=moment, passes=passes: next(passes) >= n)
        ended = {t.metadata.name: t for t in world.records() if reason_of(t).terminal}
        edit(world, what, value)
        assert ended.items() <= {t.metadata.name: t for t in world.records()}.items()

    edit(world, "suspend", False)
    edit(world, "max_trials", 21)
    world.run()

    assert world.state().terminal
    assert [reason_of(trial).terminal for trial in world.records()] == [True] * 21
    assert not world.runner._plays


def test_fewer_slots_start_nothing_until_enough_are_free():
    world = World(with_budget(parallelTrials=4))
    world.run(until=lambda w: w.count(TrialReason.RUNNING) == 4)
    started = len(world.runner.started)

    world.edit(budget=Budget(max_trials=8, parallel_trials=1))
    world.run(until=lambda w: len(w.runner._plays) == 1)

    assert len(world.runner.started) == started
    assert world.run().count(TrialReason.COMPLETED) == 8


# ---- a store that others write to ------------------------------------------------------------------------------------


@pytest.mark.slow
@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_conflicts_in_the_store_are_met_by_looking_again(seed):
    study = with_budget(maxTrials=6)
    script = partial(rough, seed=seed)
    undisturbed = World(study, script=script).run().outcome()
    world = World(study, script=script)
    number = count()
    world.store.conflicts = lambda: chance(seed, next(number), "conflict") < 0.25

    world.run()

    assert world.outcome() == undisturbed


def forget(world: World, name: str) -> None:
    """Lose a record, as a torn file or a user's ``kubectl delete trial`` does."""
    del world.store._trials[world.key][name]
    world.store._sorted.clear()


def test_the_record_of_a_finished_trial_that_was_lost_is_made_anew():
    world = World(with_budget(maxTrials=6)).run()
    others = [t for t in world.records() if t.metadata.name != "s-2"]

    forget(world, "s-2")
    world.restart().run_without_order()

    assert [t.spec.index for t in world.records()] == list(range(6))
    assert [t for t in world.records() if t.metadata.name != "s-2"] == others
    assert world.count(TrialReason.COMPLETED) == 6


def test_an_attempt_whose_record_was_lost_is_ended_before_its_name_is_used_again():
    world = World(with_budget(maxTrials=4))
    world.run(until=lambda w: len(w.runner._plays) == 2 and w.count(TrialReason.COMPLETED) == 1)
    lost = min(world.runner._plays)

    forget(world, lost)
    world.run_without_order()

    log = [line.split(" ", 1)[1] for line in world.runner.log]
    first, second = [i for i, line in enumerate(log) if line == f"start {lost}.0"]
    assert first < log.index(f"stop {lost}.0") < log.index(f"release {lost}.0") < second
    assert world.count(TrialReason.COMPLETED) == 4


def test_a_study_that_is_gone_is_left_alone():
    clock = SimulatedClock()
    world = World(with_budget())
    world.store.remove_study(world.key)
    runner = SimulatedRunner(clock, trained)
    reconciler = Reconciler(world.key, store=world.store, runner=runner, metrics=runner, clock=clock)

    assert at_once(reconciler.run()) is None


def test_a_trial_that_says_each_time_that_it_was_stopped_is_given_up():
    def script(trial, number):
        return Script(duration_seconds=1, report=a_report(ReportStatus.STOPPED))

    world = World(with_budget(maxTrials=1), script=script).run()

    (trial,) = world.records()
    assert reason_of(trial) is TrialReason.FAILED
    assert "given up after 21 such attempts" in find_condition(trial.status.conditions, "Succeeded").message


def test_a_trial_that_reaches_the_target_lets_no_other_be_created():
    study = a_study(
        objectives=[{"metric": "loss", "goal": "minimize", "target": 100.0}],
        budget={"maxTrials": 50, "parallelTrials": 1},
    )

    world = World(study).run()

    assert [state for _, state, _ in world.outcome()] == ["Completed"]


def test_gpu_time_of_a_trial_that_is_lost_as_the_study_ends_counts_once():
    def script(trial, number):
        if trial.spec.index == 0:
            return Script(duration_seconds=100, curve=[(1, 1, {"loss": 0.1})], gpus=1)
        return Script(duration_seconds=100, lost=True, gpus=1)

    study = a_study(
        objectives=[{"metric": "loss", "goal": "minimize", "target": 0.2}],
        budget={"maxTrials": 9, "parallelTrials": 2},
    )

    world = World(study, script=script).run()

    assert [trial.status.gpu_seconds for trial in world.records()] == [100, 100]
