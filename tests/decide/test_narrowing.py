"""Plans of which not everything may be done now."""

import pytest

from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.decide.actions import Action, CreateTrials, FinishTrial, Plan, PromoteTrial, StartAttempt, StudyState
from seatrial.decide.narrowing import create_nothing, leave_open, only_watch, wake_within

WHY = {"reason": "Any", "message": "whatever it is"}
CREATE = CreateTrials(count=2, **WHY)
START = StartAttempt(trial="s-1", attempt=1, **WHY)
PROMOTE = PromoteTrial(trial="s-2", rung=1, **WHY)
FINISH = FinishTrial(trial="s-0", outcome=TrialReason.COMPLETED, **WHY)


def a_plan(*actions: Action, wake: float | None = None, reason: StudyReason = StudyReason.RUNNING) -> Plan:
    return Plan(actions=actions, state=StudyState(reason=reason, message="as planned"), wake_after_seconds=wake)


@pytest.mark.parametrize(
    ("planned", "wanted", "due"),
    [(None, None, None), (None, 3.0, 3.0), (5.0, None, 5.0), (5.0, 3.0, 3.0), (2.0, 3.0, 2.0)],
)
def test_the_earlier_of_two_looks_counts(planned: float | None, wanted: float | None, due: float | None) -> None:
    assert wake_within(a_plan(wake=planned), wanted).wake_after_seconds == due


def test_a_study_that_may_create_nothing_goes_on_with_what_it_has() -> None:
    plan = create_nothing(a_plan(FINISH, CREATE, START), "no quota", idle=False)
    assert plan.actions == (FINISH, START)
    assert plan.state.message == "as planned"


def test_a_study_that_may_create_nothing_and_has_nothing_says_what_it_waits_for() -> None:
    plan = create_nothing(a_plan(CREATE), "no quota", idle=True)
    assert plan.state == StudyState(reason=StudyReason.WAITING, message="no quota")


def test_a_study_that_has_ended_waits_for_nothing() -> None:
    ended = a_plan(reason=StudyReason.MAX_TRIALS_REACHED)
    assert create_nothing(ended, "no quota", idle=True).state == ended.state


def test_only_trials_whose_values_may_still_come_are_left_open() -> None:
    plan = leave_open(a_plan(FINISH, CREATE, START, wake=60.0), {"s-0": 4.0, "s-7": 2.0})
    assert plan.actions == (CREATE, START)
    assert plan.wake_after_seconds == 2.0


def test_a_plan_is_whole_when_all_values_are_there() -> None:
    plan = a_plan(FINISH, CREATE)
    assert leave_open(plan, {}) is plan


def test_nothing_starts_in_a_study_that_became_invalid() -> None:
    plan = only_watch(a_plan(FINISH, CREATE, START, PROMOTE), "spec.budget: too small")
    assert plan.actions == (FINISH,)
    assert plan.state == StudyState(reason=StudyReason.INVALID_SPEC, message="spec.budget: too small")
