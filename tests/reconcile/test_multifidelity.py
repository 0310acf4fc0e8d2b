"""Whole studies in which trials pause at rungs, on the simulated clock: whatever happens, no step is trained twice."""

from dataclasses import dataclass, replace
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decide.builders import a_study
from reconcile.simulation import Fuse, World, chance, loss, rough, run_and_crash, trained
from seatrial.adapters.local.simulated import Script
from seatrial.api.conditions import StudyReason, TrialReason, find_condition
from seatrial.api.study import Budget
from seatrial.api.trial import reason_of
from seatrial.decide.actions import PauseTrial, PromoteTrial, StartAttempt
from seatrial.search.algorithms import ALGORITHMS
from seatrial.search.base import Algorithm, Ask, History, Settings
from seatrial.search.space import SearchSpace

RULES = {
    "asha": {"rule": "asha", "asha": {"promote": True}},
    "successiveHalving": {"rule": "successiveHalving"},
    "hyperband": {"rule": "hyperband"},
}


def a_paused_study(
    rule: str = "asha", *, algorithm: str = "random", retries: int = 0, steps: int = 9, **budget: object
):
    return a_study(
        stopping=RULES[rule],
        steps={"unit": "epoch", "max": steps},
        algorithm={"name": algorithm},
        budget={"maxTrials": 9, "parallelTrials": 3, "maxFailedTrials": 99, **budget},
        trial={**a_study().spec.trial.to_wire(), "retries": retries},
    )


def saving(trial, number, *, story=trained, **more) -> Script:
    """A trial that saves a checkpoint at every step."""
    return replace(story(trial, number, **more), saves=True)


def killed(trial, number, *, seed: int) -> Script:
    """A trial of which two attempts in five vanish or crash somewhere, and which goes on from its checkpoint."""
    story = saving(trial, number, seed=seed)
    luck = chance(seed, trial.metadata.name, number, "kill")
    if luck > 0.4:
        return story
    return replace(
        story, duration_seconds=story.duration_seconds * luck * 2, lost=luck < 0.3, exit_code=int(luck >= 0.3)
    )


def hold_invariants(world: World) -> None:
    """What holds of every study that has ended."""
    trials = world.records()
    assert world.status().trials.paused == 0
    trained_steps = world.runner.trained
    assert len(trained_steps) == len(set(trained_steps)), "a step was trained twice"
    assert world.status().steps_trained == len(trained_steps)
    for trial in trials:
        assert trial.status.steps_trained == sum(name == trial.metadata.name for name, _ in trained_steps)
        if reason_of(trial) is TrialReason.COMPLETED:
            assert trial.status.observation.values == [pytest.approx(loss(trial.spec.assignment) + 1 / 9)]


# ---- one study, told ---------------------------------------------------------------------------------------------------------


def test_nine_trials_need_21_steps_instead_of_81():
    world = World(a_paused_study(), script=saving).run()

    assert world.state() is StudyReason.MAX_TRIALS_REACHED
    assert (world.count(TrialReason.COMPLETED), world.count(TrialReason.STOPPED)) == (1, 8)
    # 9 trials of 1 step, 3 of them 2 more, 1 of those 6 more.
    assert world.status().steps_trained == 9 * 1 + 3 * 2 + 1 * 6
    hold_invariants(world)


@pytest.mark.parametrize(
    ("rule", "number", "steps"),
    [
        pytest.param("successiveHalving", 9, 9 + 3 * 2 + 6, id="one cohort"),
        pytest.param("successiveHalving", 18, 2 * 21, id="two cohorts"),
        pytest.param("successiveHalving", 11, 21 + 2 + 2 + 6, id="and a small one: 2, 1, 1"),
        # Brackets of 9, 5 and 3 trials: 9 + 3*2 + 6; 5*3 + 1*6; 3*9.
        pytest.param("hyperband", 17, 21 + 21 + 27, id="a round of Hyperband"),
        pytest.param("hyperband", 3, 3 + 2 + 6, id="the beginning of one"),
    ],
)
def test_the_steps_of_synchronous_rules_are_those_of_the_paper(rule, number, steps):
    world = World(a_paused_study(rule, maxTrials=number), script=saving).run()

    assert world.status().steps_trained == steps
    hold_invariants(world)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("number", [1, 2, 4, 10, 14])
def test_a_study_of_any_size_ends_with_a_trial_that_was_trained_in_full(rule, number):
    world = World(a_paused_study(rule, maxTrials=number), script=saving).run()

    assert world.count(TrialReason.COMPLETED) >= 1
    assert reason_of(world.records()[world.status().best.index]) is TrialReason.COMPLETED
    hold_invariants(world)


def test_free_slots_go_to_promotions_before_new_trials():
    world = World(a_paused_study(maxTrials=30, parallelTrials=1), script=saving).run()

    # With one slot, the third trial at a rung lets the best of the three go on at once.
    promoted = [action for action in world.actions if isinstance(action, PromoteTrial)]
    began = [a.trial for a in world.actions if isinstance(a, StartAttempt) and a.reason == "Promoted"]
    assert [action.trial for action in promoted] == began
    before_first = world.log[: next(i for i, line in enumerate(world.log) if "PromoteTrial" in line)]
    assert sum("PauseTrial" in line for line in before_first) == 3


def test_a_paused_trial_holds_nothing_and_says_where_it_waits():
    world = World(a_paused_study(), script=saving)
    world.run(until=lambda w: any(isinstance(action, PauseTrial) for action in w.actions))

    name = next(action.trial for action in world.actions if isinstance(action, PauseTrial))
    trial = next(trial for trial in world.records() if trial.metadata.name == name)
    assert name not in world.runner._plays
    assert reason_of(trial) is TrialReason.PAUSED
    assert (trial.status.attempt, trial.status.progress) == (1, "1/9")
    assert [(past.reason, past.infrastructure) for past in trial.status.attempts] == [("Paused", True)]
    assert trial.status.checkpoint.step == 1
    assert find_condition(trial.status.conditions, "Succeeded").message.startswith("at step 1: loss=")
    assert find_condition(trial.status.conditions, "Resumable").status == "True"
    assert world.status().trials.paused == 1
    assert world.status().best.trial == name


def test_a_trial_that_was_not_promoted_keeps_its_result_and_hears_why():
    world = World(a_paused_study(), script=saving).run()

    last = max(
        (t for t in world.records() if reason_of(t) is TrialReason.STOPPED),
        key=lambda t: t.status.observation.values[0],
    )
    message = find_condition(last.status.conditions, "Succeeded").message
    assert message.startswith("NotPromoted: at step 1: ")
    assert message.endswith("is number 9 of 9, and only the best 3 go on (eta 3)")


# ---- scripts without checkpoints ---------------------------------------------------------------------------------------------


def test_without_checkpoints_a_promoted_trial_trains_again_and_the_records_say_so():
    world = World(a_paused_study(), script=trained).run()

    assert world.count(TrialReason.COMPLETED) == 1
    remark = find_condition(world.status().conditions, "Resumable")
    assert (remark.status, remark.reason) == ("False", "CheckpointMissing")
    assert "call trial.save()" in remark.message
    winner = world.records()[world.status().best.index]
    assert "it has no checkpoint" in find_condition(winner.status.conditions, "Resumable").message
    # 1, then 1 to 3, then 1 to 9.
    assert winner.status.steps_trained == 1 + 3 + 9
    assert [point[0] for point in winner.status.observation.curve] == list(range(1, 10))


# ---- the story does not depend on who looks, when, and how often it dies -----------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_a_crash_at_any_write_changes_nothing(rule):
    script = partial(saving, seed=3)
    calm = World(a_paused_study(rule, maxTrials=10), script=script)

    for world in run_and_crash(calm):
        world.run()

        assert world.restarts == 1
        assert world.outcome() == calm.outcome()
        assert world.status().steps_trained == calm.status().steps_trained
        hold_invariants(world)


@pytest.mark.slow
@given(st.integers(0, 10_000), st.sampled_from(list(RULES)), st.integers(1, 20), st.integers(1, 5))
# Two attempts in a row are lost after they saved: what the first one trained counts once.
@example(3, "asha", 1, 1)
@settings(max_examples=40, deadline=None)
def test_kills_cost_no_step_and_no_result(seed, rule, number, parallel):
    study = a_paused_study(rule, maxTrials=number, parallelTrials=parallel, retries=30)

    world = World(study, script=partial(killed, seed=seed)).run()

    assert world.count(TrialReason.FAILED) == 0
    assert world.count(TrialReason.COMPLETED) >= 1
    hold_invariants(world)


@pytest.mark.slow
@given(st.integers(0, 10_000), st.sampled_from(list(RULES)), st.integers(1, 20), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_rough_studies_come_to_rest_with_every_trial_over(seed, rule, number, parallel):
    study = a_paused_study(rule, maxTrials=number, parallelTrials=parallel, retries=1)

    world = World(study, script=partial(saving, story=rough, seed=seed)).run()

    assert world.state() in {StudyReason.MAX_TRIALS_REACHED, StudyReason.NO_TRIAL_SUCCEEDED}
    assert all(reason_of(trial).terminal for trial in world.records())
    assert len(world.runner.trained) == len(set(world.runner.trained))


@pytest.mark.slow
@given(st.integers(0, 10_000), st.sampled_from(list(RULES)), st.data())
@settings(max_examples=25, deadline=None)
def test_kills_and_a_restart_at_any_write_give_the_same_study(seed, rule, data):
    study = a_paused_study(rule, maxTrials=12, algorithm="tpe", retries=30)
    script = partial(killed, seed=seed)
    calm = World(study, script=script).run()
    fuse = Fuse(at=data.draw(st.integers(1, calm.fuse.count)), before=data.draw(st.booleans()))

    world = World(study, script=script, fuse=fuse).run()

    assert world.outcome() == calm.outcome()
    hold_invariants(world)


def test_the_order_of_events_changes_no_result_of_synchronous_rules():
    outcomes = [
        World(a_paused_study("hyperband", maxTrials=17), script=partial(saving, seed=seed)).run().outcome()
        for seed in range(4)
    ]

    assert outcomes[1:] == outcomes[:-1]


# ---- what users do meanwhile -------------------------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.sampled_from(list(RULES)), st.integers(1, 25))
@settings(max_examples=20, deadline=None)
def test_suspending_and_going_on_costs_nothing(seed, rule, after):
    script = partial(saving, seed=seed)
    world = World(a_paused_study(rule), script=script)
    world.run(until=lambda w: len(w.actions) >= after)
    world.edit(suspend=True).run(until=lambda w: not w.runner._plays)

    world.edit(suspend=False).run()

    assert world.count(TrialReason.COMPLETED) >= 1
    hold_invariants(world)


def test_an_interrupted_study_goes_on_with_the_next_run():
    world = World(a_paused_study(), script=saving)
    world.run(until=lambda w: any(isinstance(action, PromoteTrial) for action in w.actions))
    world.run(interrupted=True)

    world.restart().run()

    assert world.status().steps_trained == 21
    hold_invariants(world)


def test_a_study_whose_budget_grows_goes_on():
    world = World(a_paused_study(maxTrials=5), script=saving).run()
    world.edit(budget=Budget(max_trials=14, parallel_trials=2)).run()

    assert world.status().trials.total == 14
    assert world.count(TrialReason.COMPLETED) >= 2
    hold_invariants(world)


def test_paused_trials_go_on_to_the_end_when_the_rule_is_taken_away():
    world = World(a_paused_study(maxTrials=4), script=saving)
    world.run(until=lambda w: w.count(TrialReason.PAUSED) >= 2)

    world.edit(stopping=None).run()

    assert world.count(TrialReason.COMPLETED) == 4
    assert world.status().steps_trained == 36
    hold_invariants(world)


def test_the_target_ends_the_study_at_a_rung_and_what_was_found_there_counts():
    study = a_study(
        stopping=RULES["asha"],
        steps={"max": 9},
        objectives=[{"metric": "loss", "goal": "minimize", "target": 0.5}],
        budget={"maxTrials": 99, "parallelTrials": 3},
    )

    world = World(study, script=saving).run()

    assert world.state() is StudyReason.TARGET_REACHED
    assert world.status().best.values[0] <= 0.5
    best = world.records()[world.status().best.index]
    assert reason_of(best) is TrialReason.STOPPED
    assert "paused at step 3" in find_condition(best.status.conditions, "Succeeded").message
    assert world.status().trials.paused == 0


def test_the_end_of_time_leaves_no_trial_paused_and_no_result_lost():
    study = a_paused_study(maxTrials=500, maxDuration="40s")

    world = World(study, script=saving).run()

    assert world.state() is StudyReason.MAX_DURATION_REACHED
    assert world.status().trials.paused == 0
    promoted = {action.trial for action in world.actions if isinstance(action, PromoteTrial)}
    for trial in world.records():
        if trial.metadata.name in promoted:
            assert reason_of(trial) in {TrialReason.STOPPED, TrialReason.COMPLETED}
            assert trial.status.observation.values


def test_a_search_space_that_is_used_up_ends_the_study():
    study = a_study(
        parameters=[{"name": "x", "type": "ordinal", "choices": [0.1, 0.2, 0.3, 0.4]}],
        algorithm={"name": "grid"},
        stopping=RULES["successiveHalving"],
        steps={"max": 9},
        budget={"parallelTrials": 2},
    )

    world = World(study, script=saving).run()

    assert world.state() is StudyReason.SEARCH_SPACE_EXHAUSTED
    assert (world.count(TrialReason.COMPLETED), world.count(TrialReason.STOPPED)) == (1, 3)


@pytest.mark.parametrize("algorithm", ["auto", "tpe", "gp", "cmaes", "evolution"])
def test_every_search_asks_while_the_rule_decides(algorithm):
    world = World(a_paused_study(algorithm=algorithm, maxTrials=14), script=saving).run()

    assert world.status().trials.total == 14
    assert world.count(TrialReason.COMPLETED) >= 1
    hold_invariants(world)


def test_what_the_search_knows_of_a_trial_is_not_forgotten_while_it_goes_on_from_a_rung(monkeypatch):
    told: list[History] = []

    @dataclass(frozen=True)
    class Listener:
        inner: Algorithm

        def ask(self, history: History, count: int) -> Ask:
            told.append(history)
            return self.inner.ask(history, count)

        def recommend(self, history: History) -> int | None:
            return self.inner.recommend(history)

    def build_listener(space: SearchSpace, settings: Settings) -> Listener:
        return Listener(ALGORITHMS["tpe"](space, settings))

    monkeypatch.setattr("seatrial.search.build.ALGORITHMS", {**ALGORITHMS, "tpe": build_listener})
    world = World(a_paused_study(algorithm="tpe", maxTrials=30), script=saving).run()
    rungs = {trial.metadata.name: trial.status.rung for trial in world.records()}

    assert {rung for rung in rungs.values() if rung} == {1, 3}
    known: dict[int, int] = {}
    for history in told:
        steps = {trial.index: trial.step for trial in history.evaluated}
        assert not steps.keys() & {trial.index for trial in history.pending}
        assert all(steps.get(index, 0) >= step for index, step in known.items())
        assert all(trial.stopped == (trial.step < 9) for trial in history.evaluated)
        known = steps


def test_repeats_of_a_paused_trial_wait_for_its_end_and_hold_nobody_up():
    study = a_study(
        parameters=[{"name": "x", "type": "float", "min": 0, "max": 1}],
        initialTrials=[{"x": 0.5}, {"x": 0.5}, {"x": 0.9}],
        stopping=RULES["asha"],
        steps={"max": 9},
        budget={"maxTrials": 3, "parallelTrials": 3},
    )

    world = World(study, script=saving).run()

    assert [state for _, state, _ in world.outcome()] == ["Completed", "Reused", "Stopped"]


def test_a_script_that_never_asks_is_trained_in_full_and_measures_the_others():
    def stubborn(trial, number):
        return trained(trial, number) if trial.spec.index % 2 else saving(trial, number)

    world = World(a_paused_study(), script=stubborn).run()

    assert all(reason_of(trial).terminal for trial in world.records())


def test_a_timeout_of_a_promoted_trial_fails_it_and_the_next_best_is_seen_through():
    def script(trial, number):
        story = saving(trial, number)
        best = trial.metadata.name == "s-5"
        return replace(story, curve=story.curve[:3], duration_seconds=1e6) if best and number == 2 else story

    study = a_paused_study()
    study = a_study(**{**study.spec.to_wire(), "trial": {**study.spec.trial.to_wire(), "timeout": "60s"}})

    world = World(study, script=script).run()

    assert reason_of(world.records()[5]) is TrialReason.FAILED
    assert world.count(TrialReason.COMPLETED) == 1
