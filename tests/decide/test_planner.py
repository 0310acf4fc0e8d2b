"""Plans, situation by situation; and what holds for every plan."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decide.builders import NOON, a_report, a_snapshot, a_trial, an_attempt, done, running
from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.decide.actions import (
    CreateTrials,
    FinishTrial,
    PassRung,
    RecordPhase,
    RequeueTrial,
    StartAttempt,
    StopAttempt,
    StopReason,
)
from seatrial.decide.attempts import Phase
from seatrial.decide.planner import plan_study
from seatrial.decide.rules import Standings
from seatrial.decide.snapshot import StudySnapshot

ENDED = an_attempt(0, Phase.EXITED, report=a_report(loss=0.5))


def story(snapshot: StudySnapshot) -> list[str]:
    """Return a plan in short: what is done to whom, and why."""
    lines = []
    for action in plan_study(snapshot).actions:
        match action:
            case CreateTrials(count=count):
                lines.append(f"create {count}")
            case FinishTrial(trial=trial, outcome=outcome):
                lines.append(f"finish {trial} {outcome}")
            case StopAttempt(trial=trial, reason=reason):
                lines.append(f"stop {trial} {reason}")
            case StartAttempt(trial=trial, attempt=attempt):
                lines.append(f"start {trial}.{attempt}")
            case RequeueTrial(trial=trial, reason=reason):
                lines.append(f"again {trial} {reason}")
            case RecordPhase(trial=trial, state=state, message=message):
                lines.append(f"record {trial} {state} {message}".strip())
            case PassRung(trial=trial, rung=rung):
                lines.append(f"pass {trial} {rung}")
    return lines


def ended(index: int, value: float | None = 0.5, **changes: object):
    return running(index, value=value, live=an_attempt(index, Phase.EXITED, **changes))


def waiting(index: int, message: str = "no GPU"):
    return a_trial(index, live=an_attempt(index, Phase.WAITING, reason="Insufficient", message=message))


def beginning(index: int, **changes: object):
    return a_trial(index, live=an_attempt(index, Phase.WAITING), **changes)


def pulling(index: int):
    words = "container main: no such image"
    return a_trial(index, live=an_attempt(index, Phase.WAITING, reason="ImagePullBackOff", message=words))


def stopping(index: int, reason: StopReason = StopReason.NOT_PROMOTED, **changes: object):
    changes.setdefault("live", an_attempt(index, Phase.RUNNING))
    return a_trial(index, reason=TrialReason.STOPPING, stop=reason, stop_message="so", **changes)


TWO = {"budget": {"maxTrials": 3, "parallelTrials": 2}}
TARGET = {"objectives": [{"metric": "loss", "goal": "minimize", "target": 0.5}]}
ASHA = {"stopping": {"rule": "asha"}, "steps": {"max": 9}}


@pytest.mark.parametrize(
    ("trials", "more", "expected"),
    [
        pytest.param([], {}, ["create 2"], id="a new study"),
        pytest.param([], {"budget": {"maxTrials": 1, "parallelTrials": 2}}, ["create 1"], id="room for one"),
        pytest.param([running(0), running(1)], {}, [], id="all slots taken"),
        pytest.param([a_trial(0)], {}, ["start s-0.0", "create 1"], id="created, never started: a crash came between"),
        pytest.param([a_trial(0, live=an_attempt(0, Phase.RUNNING))], {}, ["record s-0 Running", "create 1"], id="runs, but is not recorded so"),
        pytest.param([waiting(0)], {}, ["record s-0 Pending Insufficient: no GPU", "create 1"], id="waits, and says why"),
        pytest.param([ended(0), running(1)], {}, ["finish s-0 Completed", "create 1"], id="one ended, the next is asked for at once"),
        pytest.param([ended(0), ended(1), running(2)], TWO, ["finish s-0 Completed", "finish s-1 Completed"], id="the last one runs"),
        pytest.param([ended(0, exit_code=None, infrastructure=True), running(1)], {}, ["again s-0 Lost"], id="tried again: its slot stays its own"),
        pytest.param([a_trial(0, attempt=1), running(1)], {}, ["start s-0.1"], id="the next attempt"),
        pytest.param([a_trial(0), a_trial(1), a_trial(2)], TWO, ["start s-0.0", "start s-1.0"], id="lowest index first, as many as slots"),
        pytest.param([done(0, 0.9), a_trial(1, reuse_of="s-0")], {}, ["finish s-1 Reused", "create 2"], id="a repeat takes over the result"),
        pytest.param([running(0), a_trial(1, reuse_of="s-0")], {}, ["create 1"], id="a repeat waits and takes no slot"),
        pytest.param([ended(0), a_trial(1, reuse_of="s-0")], {}, ["finish s-0 Completed", "finish s-1 Reused", "create 2"], id="a repeat ends with its original"),
        pytest.param([a_trial(0, reason=TrialReason.CANCELLED), a_trial(1, reuse_of="s-0")], {}, ["start s-1.0", "create 1"], id="a repeat of a cancelled trial runs itself"),
        pytest.param([running(0), a_trial(1), running(2)], {"suspend": True}, ["stop s-0 Suspended", "stop s-2 Suspended"], id="suspended"),
        pytest.param([running(0), stopping(1)], {"suspend": True}, ["stop s-0 Suspended"], id="suspended while one is stopped for good"),
        pytest.param([ended(0, exit_code=None, infrastructure=True)], {"suspend": True}, ["again s-0 Lost"], id="suspended: what ended is settled"),
        pytest.param([running(0)], {"interrupted": True}, ["stop s-0 Interrupted"], id="interrupted"),
        pytest.param([ended(0), running(1), a_trial(2)], TARGET, ["finish s-0 Completed", "stop s-1 StudyComplete", "finish s-2 Cancelled"], id="target reached: nothing is started any more"),
        pytest.param([done(0, 0.1), ended(1, None, exit_code=1)], TARGET, ["finish s-1 Failed"], id="no retries: failed, though the target is reached"),
        pytest.param([done(0, 0.1), ended(1, None, exit_code=None, infrastructure=True)], TARGET, ["finish s-1 Cancelled"], id="target reached: nothing is tried again"),
        pytest.param([done(0, 0.1), stopping(1, StopReason.SUSPENDED)], TARGET, ["stop s-1 StudyComplete"], id="laid down before, now for good"),
        pytest.param([done(0, 0.1), stopping(1)], TARGET, [], id="is being stopped already"),
        pytest.param([done(0, 0.1), waiting(1)], TARGET, ["stop s-1 StudyComplete"], id="what waits is ended too"),
        pytest.param([running(0, [(1, math.nan), (2, math.nan)])], {}, ["stop s-0 Diverged", "create 1"], id="NaN twice"),
        pytest.param([running(0, [(1, 0.1), (2, math.inf)])], {}, ["create 1"], id="infinite once"),
        pytest.param([running(0, [(1, 0.1)]), running(1, [(1, 0.9)])], ASHA, ["pass s-0 1", "stop s-1 NotPromoted"], id="judged at a rung"),
        pytest.param([running(0, [(1, 0.1)], rung=1), running(1, [(9, 0.9)])], ASHA, [], id="at its last step nobody is stopped"),
        pytest.param([stopping(0, live=None)], {}, ["finish s-0 Stopped", "create 2"], id="stopped, and its attempt is gone"),
        pytest.param([stopping(0, StopReason.SUSPENDED, live=None)], {"suspend": True}, ["again s-0 Suspended"], id="laid down, and its attempt is gone"),
        pytest.param([a_trial(0, reason=TrialReason.RUNNING)], {}, ["record s-0 Pending its attempt is gone; it is started again", "start s-0.0", "create 1"], id="recorded as running, and its attempt is gone"),
        pytest.param([a_trial(0), a_trial(1)], {"budget": {"maxTrials": 1, "parallelTrials": 1}}, ["start s-0.0"], id="fewer trials than there are: they are run all the same"),
    ],
)  # fmt: skip
def test_a_plan_does_what_the_situation_asks_for(trials, more, expected):
    assert story(a_snapshot(*trials, **more)) == expected


def test_a_hanging_trial_is_stopped_at_its_timeout_and_not_before():
    def at(seconds):
        trial = {"timeout": "2m", "template": {"spec": {"containers": [{"name": "m", "command": ["true"]}]}}}
        return a_snapshot(running(0), running(1), seconds=seconds, trial=trial)

    assert story(at(119)) == []
    assert plan_study(at(119)).wake_after_seconds == 1
    assert story(at(120)) == ["stop s-0 Timeout", "stop s-1 Timeout"]


@pytest.mark.parametrize(
    ("budget", "seconds", "expected"),
    [
        ({}, 60, None),
        ({"maxDuration": "5m"}, 60, 240),
        ({"maxGPUHours": 1.0}, 60, 1740),
        ({"maxGPUHours": 1.0, "maxDuration": "5m"}, 60, 240),
    ],
)
def test_a_plan_names_the_next_deadline(budget, seconds, expected):
    trial = running(0, live=an_attempt(0, Phase.RUNNING, gpus=2.0))

    plan = plan_study(a_snapshot(trial, running(1), seconds=seconds, budget={"parallelTrials": 2, **budget}))

    assert plan.wake_after_seconds == expected


def test_a_complete_study_has_no_deadline():
    plan = plan_study(a_snapshot(done(0, 0.1), budget={"maxTrials": 1, "maxDuration": "5m"}))

    assert (plan.actions, plan.wake_after_seconds) == ((), None)


@pytest.mark.parametrize(
    ("trials", "more", "reason", "message"),
    [
        pytest.param([], {}, StudyReason.RUNNING, "0 of 10 trials are done, 0 are open", id="new"),
        pytest.param([done(0, 0.1), running(1)], {}, StudyReason.RUNNING, "1 of 10 trials are done, 1 are open", id="under way"),
        pytest.param([waiting(0), waiting(1)], {}, StudyReason.WAITING, "2 trials wait: Insufficient: no GPU", id="nothing but waiting"),
        pytest.param([running(0), waiting(1)], {}, StudyReason.RUNNING, "0 of 10 trials are done, 2 are open; 1 run, 1 wait: Insufficient: no GPU", id="one waits"),
        pytest.param([beginning(0), beginning(1)], {}, StudyReason.RUNNING, "0 of 10 trials are done, 2 are open", id="all begin"),
        pytest.param([beginning(0), waiting(1)], {}, StudyReason.RUNNING, "0 of 10 trials are done, 2 are open; 0 run, 1 wait: Insufficient: no GPU", id="one begins and one waits"),
        pytest.param(
            [running(0), waiting(1, "Insufficient nvidia.com/gpu"), waiting(2, "Insufficient nvidia.com/gpu"), pulling(3)], {"budget": {"maxTrials": 10, "parallelTrials": 4}}, StudyReason.RUNNING,
            "0 of 10 trials are done, 4 are open; 1 run, 3 wait: 2 Insufficient nvidia.com/gpu; 1 ImagePullBackOff: container main: no such image", id="some run, others wait for different reasons",
        ),
        pytest.param([running(0)], {"suspend": True}, StudyReason.SUSPENDED, "spec.suspend is true; 1 trial is being ended", id="suspending"),
        pytest.param([a_trial(0)], {"suspend": True}, StudyReason.SUSPENDED, "spec.suspend is true; no trial runs", id="suspended"),
        pytest.param([a_trial(0)], {"interrupted": True}, StudyReason.SUSPENDED, "the run was interrupted; no trial runs", id="interrupted"),
        pytest.param([done(0, 0.1), running(1)], TARGET, StudyReason.RUNNING, "1 trial is being ended: s-0 reached loss=0.1; the target is 0.5", id="ending"),
        pytest.param([done(0, 0.1)], {"budget": {"maxTrials": 1}}, StudyReason.MAX_TRIALS_REACHED, "the only trial of budget.maxTrials is done", id="done"),
        pytest.param([ended(0)], {"budget": {"maxTrials": 1}}, StudyReason.MAX_TRIALS_REACHED, "the only trial of budget.maxTrials is done", id="done by this plan"),
        pytest.param([a_trial(0, reason=TrialReason.DIVERGED)], {"budget": {"maxTrials": 1}}, StudyReason.NO_TRIAL_SUCCEEDED, "the only trial of budget.maxTrials is done, but none of them has a result", id="nothing but NaN"),
        pytest.param([a_trial(0, reason=TrialReason.STOPPED)], {"budget": {"maxTrials": 1}}, StudyReason.NO_TRIAL_SUCCEEDED, "the only trial of budget.maxTrials is done, but none of them has a result", id="stopped without a value"),
    ],
)  # fmt: skip
def test_a_plan_says_how_the_study_stands(trials, more, reason, message):
    state = plan_study(a_snapshot(*trials, **more)).state

    assert (state.reason, state.message) == (reason, message)


def test_an_attempt_that_only_begins_changes_no_record():
    snapshot = a_snapshot(
        beginning(0), beginning(1, message="attempt 0 ended: Evicted"), budget={"maxTrials": 2, "parallelTrials": 2}
    )

    assert plan_study(snapshot).actions == ()


def test_why_a_trial_waits_is_recorded_once_in_its_own_words():
    words = "Insufficient nvidia.com/gpu (0/3 nodes are available)"
    plan = plan_study(a_snapshot(waiting(0, words), pulling(1), budget={"maxTrials": 2, "parallelTrials": 2}))

    assert [action.message for action in plan.actions] == [
        words,
        "ImagePullBackOff: container main: no such image",
    ]
    assert [action.reason for action in plan.actions] == ["Insufficient", "ImagePullBackOff"]


def test_a_reason_to_wait_that_is_longer_than_a_record_is_recorded_once():
    snapshot = a_snapshot(waiting(0, "x" * 5000), budget={"parallelTrials": 1})
    (record,) = plan_study(snapshot).actions
    assert len(record.message) == 1024

    recorded = replace(snapshot.trials[0], message=record.message)

    assert story(replace(snapshot, trials=(recorded,))) == []


# ---- what holds for every plan ---------------------------------------------------------------------------------------


@st.composite
def trials(draw, index: int):
    """Any trial at any point of its story."""
    reason = draw(st.sampled_from(TrialReason))
    values = draw(st.lists(st.sampled_from([0.1, 0.5, 0.9, math.nan, math.inf]), max_size=9))
    curve = list(enumerate(values, 1))
    reuse = f"s-{draw(st.integers(0, index - 1))}" if index and draw(st.booleans()) and not values else None
    trial = a_trial(index, reason=reason, curve=curve, reuse_of=reuse, attempt=draw(st.integers(0, 2)))
    if reason.terminal:
        return trial
    if reason is TrialReason.STOPPING:
        trial = replace(trial, stop=draw(st.sampled_from(StopReason)), stop_message="so")
    phase = draw(st.sampled_from([None, *Phase]))
    if phase is None:
        return trial
    code = draw(st.sampled_from([0, 1, 143])) if phase is Phase.EXITED else None
    live = an_attempt(index, phase, number=trial.attempt, exit_code=code, infrastructure=draw(st.booleans()))
    rung = draw(st.sampled_from([None, 1, 3]))
    return replace(trial, live=live, rung=rung, failures=draw(st.integers(0, 2)))


@st.composite
def snapshots(draw):
    """Any study with any trials."""
    number = draw(st.integers(0, 7))
    budget = {"parallelTrials": draw(st.integers(1, 4))}
    if draw(st.booleans()):
        budget["maxTrials"] = draw(st.integers(1, 9))
    if draw(st.booleans()):
        budget["maxDuration"] = "2m"
    rule = draw(st.sampled_from([None, "asha", "median", "percentile", "patience"]))
    more = {"stopping": {"rule": rule}} if rule else {}
    return a_snapshot(
        *[draw(trials(i)) for i in range(number)],
        seconds=draw(st.sampled_from([60, 200])),
        interrupted=draw(st.booleans()) and draw(st.booleans()),
        suspend=draw(st.booleans()) and draw(st.booleans()),
        budget=budget,
        trial={
            "retries": 1,
            "timeout": "90s",
            "template": {"spec": {"containers": [{"name": "m", "command": ["true"]}]}},
        },
        **more,
    )


def applied(snapshot: StudySnapshot) -> StudySnapshot:
    """Return the world after a plan was applied, the trials that it asks for left out: nothing moves by itself."""
    plan = plan_study(snapshot)
    by_name = {trial.name: trial for trial in snapshot.trials}
    for action in plan.actions:
        if isinstance(action, CreateTrials):
            continue
        trial = by_name[action.trial]
        match action:
            case FinishTrial(outcome=outcome):
                trial = replace(trial, reason=outcome, live=None)
            case StopAttempt(reason=reason, message=message):
                trial = replace(trial, reason=TrialReason.STOPPING, stop=StopReason(reason), stop_message=message)
            case RequeueTrial():
                pending = {"reason": TrialReason.PENDING, "live": None, "stop": None, "attempt": action.attempt + 1}
                trial = replace(trial, message="again", **pending)
            case RecordPhase(state=state, message=message):
                trial = replace(trial, reason=state, message=message)
            case PassRung(rung=rung):
                trial = replace(trial, rung=rung)
            case StartAttempt(attempt=attempt):
                live = an_attempt(trial.index, Phase.RUNNING, attempt, started_at=snapshot.now)
                trial = replace(trial, live=live)
        by_name[action.trial] = trial
    return replace(snapshot, trials=tuple(by_name.values()))


@given(snapshots())
@settings(max_examples=300, deadline=None)
def test_no_plan_goes_above_the_slots_or_the_number_of_trials(snapshot):
    actions = plan_study(snapshot).actions
    holding = {
        t.name for t in snapshot.trials if not t.terminal and t.live and t.live.phase in {Phase.RUNNING, Phase.WAITING}
    }
    starts = [action.trial for action in actions if isinstance(action, StartAttempt)]
    created = sum(action.count for action in actions if isinstance(action, CreateTrials))
    limits = snapshot.limits

    assert not holding & set(starts)
    if starts or created:
        assert len(holding) + len(starts) + created <= limits.parallel
    assert not created or limits.max_trials is None or len(snapshot.trials) + created <= limits.max_trials
    if snapshot.interrupted or snapshot.spec.suspend:
        assert not starts
        assert not created


@pytest.mark.slow
@given(snapshots())
@settings(max_examples=300, deadline=None)
def test_a_plan_keeps_its_order_and_speaks_of_each_trial_without_contradiction(snapshot):
    actions = plan_study(snapshot).actions
    kinds = [type(action) for action in actions]

    assert kinds.count(CreateTrials) <= 1
    assert CreateTrials not in kinds[:-1]
    over = [action.trial for action in actions if isinstance(action, FinishTrial)]
    stopped = [action.trial for action in actions if isinstance(action, StopAttempt)]
    again = [action.trial for action in actions if isinstance(action, RequeueTrial)]
    passed = [action.trial for action in actions if isinstance(action, PassRung)]
    each = [*over, *stopped, *again]
    assert len(each) == len(set(each))
    assert not set(passed) & set(each)
    names = {trial.name for trial in snapshot.trials if trial.terminal}
    assert not names & {action.trial for action in actions if not isinstance(action, CreateTrials)}
    assert all(action.reason for action in actions)


@pytest.mark.slow
@given(snapshots())
@settings(max_examples=300, deadline=None)
def test_planning_comes_to_rest(snapshot):
    for _ in range(12):
        plan = plan_study(snapshot)
        assert plan == plan_study(snapshot)
        if all(isinstance(action, CreateTrials) for action in plan.actions):
            return
        snapshot = applied(snapshot)
    raise AssertionError(f"there is always something to do: {plan.actions}")


@pytest.mark.slow
@given(st.lists(snapshots(), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_what_earlier_plans_have_computed_changes_no_plan(worlds):
    standings = Standings()
    for world in worlds:
        for snapshot in (world, applied(world), applied(applied(world))):
            assert plan_study(snapshot, standings) == plan_study(snapshot)


def test_the_time_alone_changes_nothing_but_deadlines():
    snapshot = a_snapshot(running(0), running(1), budget={"parallelTrials": 2, "maxDuration": "1h"})
    later = replace(snapshot, now=NOON + timedelta(minutes=30))

    assert plan_study(snapshot).actions == plan_study(later).actions == ()


@pytest.mark.parametrize(
    ("goal", "value", "words"),
    [
        ("minimize", math.nan, "loss is nan at step 2"),
        ("minimize", math.inf, "loss is inf at step 2"),
        ("maximize", math.inf, "loss is -inf at step 2"),
    ],
)
def test_a_divergence_is_told_in_the_words_of_a_trial_that_sees_it_itself(goal: str, value: float, words: str):
    study = a_snapshot(running(0, [(1, value), (2, value)]), objectives=[{"metric": "loss", "goal": goal}])

    plan = plan_study(study)

    assert [action.message for action in plan.actions if isinstance(action, StopAttempt)] == [words]
