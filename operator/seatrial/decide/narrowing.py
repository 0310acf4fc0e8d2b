"""What becomes of a plan when not all of it may be done now."""

from collections.abc import Mapping
from dataclasses import replace

from seatrial.api.conditions import StudyReason
from seatrial.decide.actions import CreateTrials, Plan, PromoteTrial, StartAttempt, StudyState

__all__ = ["create_nothing", "leave_open", "only_watch", "wake_within"]


def wake_within(plan: Plan, seconds: float | None) -> Plan:
    """Return the plan with a look not later than in so many seconds."""
    waits = [wait for wait in (plan.wake_after_seconds, seconds) if wait is not None]
    return replace(plan, wake_after_seconds=min(waits, default=None))


def create_nothing(plan: Plan, why: str, *, idle: bool) -> Plan:
    """Return the plan without new trials; a study that is *idle* otherwise says what it waits for."""
    state = plan.state
    if state.reason is StudyReason.RUNNING and idle:
        state = StudyState(reason=StudyReason.WAITING, message=why)
    actions = tuple(action for action in plan.actions if not isinstance(action, CreateTrials))
    return replace(plan, actions=actions, state=state)


def leave_open(plan: Plan, unread: Mapping[str, float]) -> Plan:
    """Return the plan without decisions about trials whose values may still come; they are looked at again when it makes sense.

    Args:
        plan: All that there is to do.
        unread: Names of these trials, with seconds until the next reading.
    """
    if not unread:
        return plan
    actions = tuple(action for action in plan.actions if isinstance(action, CreateTrials) or action.trial not in unread)
    return wake_within(replace(plan, actions=actions), min(unread.values()))


def only_watch(plan: Plan, invalid: str) -> Plan:
    """Return the plan without anything that starts: what runs is watched, stopped where it must be, and settled."""
    starts = CreateTrials | StartAttempt | PromoteTrial
    actions = tuple(action for action in plan.actions if not isinstance(action, starts))
    return replace(plan, actions=actions, state=StudyState(reason=StudyReason.INVALID_SPEC, message=invalid))
