"""What a population asks of the planner."""

from dataclasses import replace
from datetime import timedelta

import pytest

from decide.builders import NOON, a_snapshot, a_study, a_trial, an_attempt, done, running
from seatrial.api.conditions import TrialReason
from seatrial.decide.actions import CreateTrials, StopAttempt
from seatrial.decide.attempts import Phase
from seatrial.decide.planner import plan_study
from seatrial.decide.population import find_stragglers, next_straggler_seconds, room
from seatrial.search.base import Membership, Move


def a_population(mode: str = "synchronous", **pbt: object):
    return a_study(
        algorithm={"name": "pbt", "pbt": {"populationSize": 4, "readyInterval": 3, "mode": mode, **pbt}},
        steps={"max": 9},
        budget={"parallelTrials": 8},
    )


def member(trial, *, seconds: float = 0.0):
    """Give a trial its place in a population of four, by its index."""
    generation = trial.index // 4
    place = Membership(member=trial.index % 4, generation=generation, move=Move.START)
    return replace(trial, membership=place, until_step=3 * (generation + 1), run_seconds=seconds)


def ended(index: int, seconds: float = 10.0, **changes: object):
    return member(done(index, 1.0, **changes), seconds=seconds)


def open_(index: int):
    return member(running(index))


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        pytest.param([], 4, id="the first generation"),
        pytest.param([open_(0), open_(1)], 2, id="the rest of the first generation"),
        pytest.param([ended(0), ended(1), ended(2), open_(3)], 0, id="one still trains"),
        pytest.param([ended(0), ended(1), ended(2), ended(3)], 4, id="a new generation"),
        pytest.param([*(ended(i) for i in range(5)), open_(5)], 2, id="the rest of the second one"),
        pytest.param([*(ended(i) for i in range(4)), *(open_(i) for i in range(4, 8))], 0, id="all of it trains"),
    ],
)
def test_a_generation_is_made_when_the_one_before_is_over(trials, expected):
    assert room(a_snapshot(*trials, study=a_population())) == expected


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        pytest.param([], 4, id="nobody is born"),
        pytest.param([ended(0), open_(1)], 3, id="one is ready, two are unborn"),
        pytest.param([open_(i) for i in range(4)], 0, id="all train"),
        pytest.param([*(ended(i) for i in range(4)), open_(4)], 3, id="three wait for nobody"),
        pytest.param([*(ended(i) for i in range(8, 11)), open_(11)], 0, id="three have trained to the end"),
        pytest.param([ended(i) for i in range(8, 12)], 4, id="all have: the algorithm is asked and says so"),
    ],
)
def test_in_asynchronous_mode_nobody_waits(trials, expected):
    assert room(a_snapshot(*trials, study=a_population("asynchronous"))) == expected


def test_a_schedule_makes_one_trial_at_a_time():
    replay = {"name": "replay", "replay": {"schedule": [{"untilStep": 3, "parameters": {"x": 0.5}}]}}

    assert room(a_snapshot(algorithm=replay)) == 1
    assert room(a_snapshot(running(0), algorithm=replay)) == 0


def test_other_searches_need_only_slots():
    assert room(a_snapshot(running(0))) is None


def test_a_plan_asks_for_no_trial_that_has_to_wait():
    waiting = a_snapshot(ended(0), ended(1), ended(2), open_(3), study=a_population())
    ready = a_snapshot(*(ended(i) for i in range(4)), study=a_population())

    assert not [action for action in plan_study(waiting).actions if isinstance(action, CreateTrials)]
    assert [a.count for a in plan_study(ready).actions if isinstance(a, CreateTrials)] == [4]


@pytest.mark.parametrize(
    ("times", "seconds", "late"),
    [
        pytest.param([10, 10, 10], 49, False, id="five times the median are not over"),
        pytest.param([10, 10, 10], 50, True, id="five times the median"),
        pytest.param([1, 1, 1], 30, False, id="half a minute is no matter"),
        pytest.param([1, 1, 1], 31, True, id="half a minute beyond the median"),
        pytest.param([10, 100], 274, False, id="half of the population is enough, and the median counts"),
        pytest.param([10, 100], 275, True, id="five times 55 s"),
        pytest.param([10], 10_000, False, id="a quarter of the population is too few"),
    ],
)
def test_a_straggler_by_the_time_of_its_generation(times, seconds, late):
    others = [ended(i, s) for i, s in enumerate(times)]
    snapshot = a_snapshot(*others, open_(len(times)), study=a_population(), seconds=seconds)

    name = f"s-{len(times)}"
    assert (name in find_stragglers(snapshot)) is late
    stops = [action for action in plan_study(snapshot).actions if isinstance(action, StopAttempt)]
    assert [stop.reason for stop in stops] == ["Straggler"] * late


def test_the_planner_is_woken_when_somebody_becomes_a_straggler():
    snapshot = a_snapshot(ended(0), ended(1), ended(2), open_(3), study=a_population(), seconds=20)

    assert next_straggler_seconds(snapshot) == 30
    assert plan_study(snapshot).wake_after_seconds == 30


def test_time_that_an_earlier_attempt_lost_is_not_the_member_s_fault():
    again = replace(
        open_(3),
        attempt=1,
        run_seconds=500.0,
        live=replace(an_attempt(3, Phase.RUNNING, 1), started_at=NOON + timedelta(seconds=990)),
    )

    assert find_stragglers(a_snapshot(ended(0), ended(1), ended(2), again, study=a_population(), seconds=1000)) == {}


def test_who_waits_for_a_place_or_is_stopped_already_is_no_straggler():
    queued = replace(open_(3), live=an_attempt(3, Phase.WAITING), reason=TrialReason.PENDING)

    assert find_stragglers(a_snapshot(ended(0), ended(1), ended(2), queued, study=a_population(), seconds=1e4)) == {}
    assert find_stragglers(a_snapshot(ended(0), ended(1), a_trial(2), study=a_study(), seconds=1e4)) == {}
