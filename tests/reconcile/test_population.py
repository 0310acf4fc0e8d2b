"""Whole populations on the simulated clock: any order, kills, and a restart after every single write give one and the same lineage."""

import math
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decide.builders import a_study
from reconcile.simulation import Fuse, World, chance, run_and_crash
from seatrial.adapters.local.simulated import Script
from seatrial.api.conditions import StudyReason, TrialReason, find_condition
from seatrial.api.trial import reason_of
from seatrial.decide.attempts import FinalMetric, Report, ReportStatus, SavedCheckpoint

MAX_STEP = 9


def a_population(*, retries: int = 1, parallel: int = 4, **pbt: object):
    return a_study(
        parameters=[{"name": "lr", "type": "float", "min": 0.001, "max": 1, "scale": "log"}],
        algorithm={"name": "pbt", "seed": 3, "pbt": {"populationSize": 4, "readyInterval": 3, **pbt}},
        steps={"max": MAX_STEP},
        budget={"parallelTrials": parallel, "maxFailedTrials": 12},
        trial={**a_study().spec.trial.to_wire(), "retries": retries},
    )


def trained(trial, number, *, seed=0, saves=True, slow=()):
    """A training whose weight is its loss. It is saved as the digest, so that only who loads it goes on from it."""
    parent, until = trial.spec.parent, trial.spec.until_step
    weight = float(parent.digest.removeprefix("sha256:")) if parent else 10.0
    first = parent.step + 1 if parent else 1
    gain = 1.0 / (1.0 + abs(math.log10(trial.spec.assignment["lr"]) + 1.0))
    pace = 1.0 + chance(seed, trial.metadata.name, number, "pace") + (1000.0 if trial.metadata.name in slow else 0.0)
    curve = []
    for step in range(first, until + 1):
        weight = round(weight - gain, 9)
        curve.append((pace * (step - first + 1), step, {"loss": weight}))
    saved = SavedCheckpoint(step=until, digest=f"sha256:{weight}", path=f"{number}/step-{until}") if saves else None
    report = Report(
        status=ReportStatus.SUCCEEDED if until == MAX_STEP else ReportStatus.PAUSED,
        step=until,
        metrics=(FinalMetric(name="loss", last=weight, last_step=until),),
        checkpoint=saved,
    )
    return Script(duration_seconds=pace * (until - first + 1) + 0.5, curve=curve, report=report)


def rough(trial, number, *, seed=0):
    """Like that, but some attempts crash, vanish, diverge, or are out of memory."""
    story = trained(trial, number, seed=seed)
    luck = chance(seed, trial.metadata.name, number, "luck")
    half = story.duration_seconds / 2
    early = [point for point in story.curve if point[0] < half]
    if luck < 0.12:
        return Script(duration_seconds=half, curve=early, exit_code=1)
    if luck < 0.24:
        return Script(duration_seconds=half, curve=early, lost=True)
    if luck < 0.32:
        bad = [(at, step, {"loss": math.nan}) for at, step, _ in story.curve]
        return Script(duration_seconds=story.duration_seconds, curve=bad)
    if luck < 0.36:
        return Script(duration_seconds=half, exit_code=137, sdk=False, reason="OOMKilled")
    return story


def lineage(world):
    """Everything that says where weights and hyperparameters came from, by index."""
    return [
        (t.spec.assignment, t.spec.parent, t.spec.until_step, t.spec.membership, reason_of(t).value)
        for t in world.records()
    ]


def values(world):
    return {t.metadata.name: t.status.observation.values for t in world.records() if t.status.observation}


def test_a_population_trains_to_the_last_step_and_the_best_member_there_wins():
    world = World(a_population(), script=trained).run()

    assert world.state() is StudyReason.TRAINING_COMPLETE
    assert [t.spec.until_step for t in world.records()] == [3] * 4 + [6] * 4 + [9] * 4
    last = {t.metadata.name: t.status.observation.values[0] for t in world.records()[8:]}
    assert world.status().best.values == [min(last.values())]
    assert last[world.status().best.trial] == min(last.values())
    assert world.status().progress == "12/12"


def test_the_weights_of_a_winner_are_where_its_taker_goes_on():
    world = World(a_population(), script=trained).run()

    by_name = {t.metadata.name: t for t in world.records()}
    taken = [t for t in world.records() if t.spec.membership.move == "exploit"]
    assert taken
    for trial in taken:
        parent = by_name[trial.spec.parent.trial]
        own = next(
            t
            for t in world.records()
            if t.spec.membership.member == trial.spec.membership.member
            and t.spec.membership.generation == trial.spec.membership.generation - 1
        )
        assert trial.spec.parent.digest == parent.status.checkpoint.digest != own.status.checkpoint.digest
        before, after = parent.status.observation.values[0], trial.status.observation.curve[0][1]
        assert before - 1 <= after < before


@given(
    seed=st.integers(0, 10_000),
    parallel=st.integers(1, 5),
    explore=st.sampled_from(["perturb", "pb2"]),
    selection=st.sampled_from(["truncation", "tournament"]),
)
@settings(max_examples=12, deadline=None)
def test_the_order_in_which_members_finish_changes_no_lineage(seed, parallel, explore, selection):
    def run(parallel, seed):
        study = a_population(parallel=parallel, explore=explore, selection=selection)
        return lineage(World(study, script=partial(trained, seed=seed)).run())

    assert run(parallel, seed) == run(4, 0)


def effects(script, **study):
    world = World(a_population(**study), script=script)
    world.run()
    return lineage(world), values(world)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pbt", "before"),
    [
        pytest.param({}, True, id="before"),
        pytest.param({}, False, id="after"),
        pytest.param({"mode": "asynchronous", "parallel": 2}, True, id="before, asynchronous"),
    ],
)
def test_a_crash_at_any_write_changes_no_lineage(pbt, before):
    calm = World(a_population(**pbt), script=trained)

    for world in run_and_crash(calm, sides=[before]):
        world.run()
        assert world.restarts == 1
        assert (lineage(world), values(world)) == (lineage(calm), values(calm)), world.fuse.at


@pytest.mark.slow
@given(seed=st.integers(0, 10_000), at=st.integers(1, 100), before=st.booleans())
@settings(max_examples=25, deadline=None)
def test_kills_of_members_and_of_the_process_change_no_lineage(seed, at, before):
    script = partial(rough, seed=seed)
    expected = effects(script)

    world = World(a_population(), script=script, fuse=Fuse(at=at, before=before)).run()

    assert (lineage(world), values(world)) == expected


@pytest.mark.slow
@given(seed=st.integers(0, 10_000), mode=st.sampled_from(["synchronous", "asynchronous"]))
@example(seed=1425, mode="asynchronous")  # nobody is left to wait for, and only the algorithm knows it
@settings(max_examples=60, deadline=None)
def test_one_bad_member_never_stops_the_population(seed, mode):
    world = World(a_population(mode=mode), script=partial(rough, seed=seed)).run()

    records = world.records()
    by_name = {t.metadata.name: t for t in records}
    good = {t.metadata.name for t in records if reason_of(t) is TrialReason.COMPLETED}
    for trial in records:
        if trial.spec.parent is None:
            assert trial.spec.membership.generation == 0
            continue
        assert trial.spec.parent.trial in good
        assert by_name[trial.spec.parent.trial].status.checkpoint.digest == trial.spec.parent.digest
    if world.state() is StudyReason.TRAINING_COMPLETE:
        assert any(t.spec.until_step == MAX_STEP for t in records) or mode == "asynchronous"
    else:
        assert world.state() in {StudyReason.POPULATION_LOST, StudyReason.NO_TRIAL_SUCCEEDED}


def test_a_population_that_saves_nothing_fails_by_name_and_trains_nothing_from_scratch():
    world = World(a_population(), script=partial(trained, saves=False)).run()

    assert world.state() is StudyReason.NO_CHECKPOINT
    assert len(world.records()) == 4
    message = find_condition(world.status().conditions, "Succeeded").message
    assert "trial 0 ended well at step 3 and left none" in message
    assert "trial.save(" in message


def test_a_population_of_which_everybody_diverges_is_lost_by_name():
    def diverging(trial, number):
        return Script(duration_seconds=3, curve=[(1, 1, {"loss": math.nan}), (2, 2, {"loss": math.nan})])

    world = World(a_population(), script=diverging).run()

    assert world.state() is StudyReason.POPULATION_LOST
    assert world.count(TrialReason.DIVERGED) == 4


def test_a_straggler_is_stopped_and_its_member_replaced():
    world = World(a_population(), script=partial(trained, slow={"s-1"})).run()

    late = world.records()[1]
    assert reason_of(late) is TrialReason.STOPPED
    assert find_condition(late.status.conditions, "Stopping").reason == "Straggler"
    heir = world.records()[5]
    assert (heir.spec.membership.member, heir.spec.membership.move) == (1, "replace")
    assert heir.spec.parent.trial != "s-1"
    assert world.state() is StudyReason.TRAINING_COMPLETE
    assert (world.clock.now() - world.began).total_seconds() < 120


def test_nobody_is_a_straggler_in_asynchronous_mode():
    world = World(a_population(mode="asynchronous"), script=partial(trained, slow={"s-1"})).run()

    assert reason_of(world.records()[1]) is TrialReason.COMPLETED


def test_a_population_larger_than_the_number_of_slots_shares_them():
    world = World(a_population(parallel=2), script=trained).run()

    assert world.runner.peak == 2
    assert lineage(world) == lineage(World(a_population(), script=trained).run())


def test_more_steps_let_a_population_go_on():
    world = World(a_population(), script=trained).run()

    world.edit(steps=world.study.spec.steps.model_copy(update={"max": 12}))
    world.run()

    assert [t.spec.until_step for t in world.records()[12:]] == [12] * 4
    assert world.state() is StudyReason.TRAINING_COMPLETE


def test_a_schedule_is_replayed_segment_by_segment():
    schedule = [{"untilStep": 3, "parameters": {"lr": 0.1}}, {"untilStep": 9, "parameters": {"lr": 0.01}}]
    study = a_study(
        parameters=[{"name": "lr", "type": "float", "min": 0.001, "max": 1, "scale": "log"}],
        algorithm={"name": "replay", "replay": {"schedule": schedule}},
        steps={"max": MAX_STEP},
        budget={"parallelTrials": 4},
    )

    world = World(study, script=trained).run()

    first, second = world.records()
    assert (first.spec.parent, first.spec.until_step, first.spec.assignment) == (None, 3, {"lr": 0.1})
    assert (second.spec.parent.trial, second.spec.until_step, second.spec.assignment) == ("s-0", 9, {"lr": 0.01})
    assert second.status.observation.values == [pytest.approx(10 - 3 - 6 / 2)]
    assert world.state() is StudyReason.TRAINING_COMPLETE
    assert world.status().best.trial == "s-1"
