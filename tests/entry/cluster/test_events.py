"""Kubernetes Events: what is told, how often, and that telling never disturbs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from seatrial.adapters.kubernetes.fake.client import FakeClient, Moment
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.port import EVENTS, STUDIES, TRIALS, KubeObject, Resource
from seatrial.adapters.local.memory import SimulatedClock
from seatrial.api.conditions import Condition, TrialReason
from seatrial.decide.actions import (
    Action,
    CreateTrials,
    FinishTrial,
    PassRung,
    RecordPhase,
    RequeueTrial,
    StartAttempt,
    StopAttempt,
)
from seatrial.entry.cluster.events import EventRecorder, Told, Weight, changed_conditions, describe_action
from seatrial.entry.cluster.telemetry import EventOutcome
from seatrial.errors import TransientError
from seatrial.ports import StudyKey

KEY = StudyKey("ml", "digits")
BURST, REFILL_SECONDS, QUEUE = 25, 10.0, 1024


class World:
    """A server in memory and a recorder, on a clock that the test moves."""

    def __init__(self, faults: Callable[..., None] = lambda *_: None) -> None:
        self.clock = SimulatedClock()
        self.server = FakeServer(self.clock)
        self.began = self.clock.now()
        self.outcomes: list[EventOutcome] = []
        self.uids: dict[str, str] = {}
        self.recorder = EventRecorder(
            FakeClient(self.server, faults=faults),
            identify=lambda resource, namespace, name: self.uids.get(name, f"uid-of-{name}"),
            clock=self.clock,
            time=lambda: (self.clock.now() - self.began).total_seconds(),
            observe=self.outcomes.append,
        )

    def flush(self) -> None:
        asyncio.run(self.recorder.flush())

    def events(self) -> list[KubeObject]:
        return self.server.all(EVENTS)

    def count(self, outcome: EventOutcome) -> int:
        return self.outcomes.count(outcome)


def told(
    name: str = "digits-1", reason: str = "BelowMedian", message: str = "0.1", weight: Weight = Weight.NORMAL
) -> Told:
    return Told(resource=TRIALS, name=name, weight=weight, reason=reason, message=message)


def a_finish(outcome: TrialReason, reason: str, message: str = "exit code 1") -> FinishTrial:
    return FinishTrial(trial="digits-1", outcome=outcome, reason=reason, message=message)


def a_condition(kind: str, status: str, reason: str, message: str = "words") -> Condition:
    body = {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    return Condition.model_validate(body)


# ---- what is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param(
            a_finish(TrialReason.FAILED, "Error"),
            (Weight.WARNING, "Failed", "Error: exit code 1"),
            id="a failure warns, with its cause as in the condition",
        ),
        pytest.param(
            StopAttempt(trial="digits-1", attempt=0, reason="BelowMedian", message="0.1 is below 0.5"),
            (Weight.NORMAL, "BelowMedian", "0.1 is below 0.5"),
            id="a stop has the rule's words",
        ),
        pytest.param(
            RequeueTrial(trial="digits-1", attempt=2, reason="Evicted", message="low on memory", infrastructure=True),
            (Weight.WARNING, "Evicted", "attempt 2 ended: low on memory"),
            id="a new attempt says why",
        ),
        pytest.param(
            RecordPhase(
                trial="digits-1",
                state=TrialReason.PENDING,
                reason="Insufficient",
                message="Insufficient: nvidia.com/gpu",
            ),
            (Weight.WARNING, "Insufficient", "Insufficient: nvidia.com/gpu"),
            id="a trial that waits for a GPU says so",
        ),
    ],
)
def test_an_action_is_told_in_the_words_of_its_condition(action: Action, expected: tuple[Weight, str, str]):
    found = describe_action(action)

    assert found is not None
    assert (found.weight, found.reason, found.message) == expected
    assert (found.resource, found.name) == (TRIALS, "digits-1")


@pytest.mark.parametrize(
    "action",
    [
        a_finish(TrialReason.COMPLETED, "Completed", "loss 0.1"),
        a_finish(TrialReason.REUSED, "Reused", "as digits-0"),
        StartAttempt(trial="digits-1", attempt=0, reason="Started", message=""),
        PassRung(trial="digits-1", rung=3, reason="RungPassed", message=""),
        CreateTrials(count=2, reason="SlotsFree", message=""),
        RecordPhase(trial="digits-1", state=TrialReason.RUNNING, reason="Running", message=""),
        RecordPhase(trial="digits-1", state=TrialReason.PENDING, reason="ContainerCreating", message=""),
    ],
    ids=lambda action: f"{type(action).__name__} {action.reason}",
)
def test_what_is_expected_of_every_trial_is_not_told(action: Action):
    assert describe_action(action) is None


def test_a_condition_is_told_when_its_reason_is_new_and_not_when_only_its_words_are():
    before = [a_condition("Succeeded", "Unknown", "Running", "1 of 9")]

    assert changed_conditions("digits", before, [a_condition("Succeeded", "Unknown", "Running", "2 of 9")]) == ()
    (found,) = changed_conditions("digits", before, [a_condition("Succeeded", "True", "MaxTrialsReached", "9 of 9")])
    assert (found.resource, found.name, found.weight) == (STUDIES, "digits", Weight.NORMAL)
    assert (found.reason, found.message) == ("MaxTrialsReached", "9 of 9")


def test_a_condition_that_turns_false_warns_and_one_that_is_well_from_the_beginning_is_no_news():
    well = a_condition("MetricsAvailable", "True", "MetricsRead")
    (found,) = changed_conditions("digits", [well], [a_condition("MetricsAvailable", "False", "PrometheusUnreachable")])

    assert found.weight is Weight.WARNING
    assert changed_conditions("digits", [], [well]) == ()


# ---- how it is written -----------------------------------------------------------------------------------------------


def test_an_event_names_its_object_so_that_describe_finds_it():
    world = World()
    world.recorder.tell(KEY, told())
    world.flush()

    (event,) = world.events()
    assert event["involvedObject"] == {
        "apiVersion": "seatrial.dev/v1alpha1",
        "kind": "Trial",
        "name": "digits-1",
        "namespace": "ml",
        "uid": "uid-of-digits-1",
    }
    assert (event["reason"], event["message"], event["type"], event["count"]) == ("BelowMedian", "0.1", "Normal", 1)
    assert event["metadata"]["namespace"] == "ml"


def test_what_happens_again_raises_the_count_and_shows_the_newest_words():
    world = World()
    for number in range(3):
        world.recorder.tell(KEY, told(message=str(number)))
        world.flush()
        world.clock.advance(60)
    world.recorder.tell(KEY, told(message="3"))
    world.recorder.tell(KEY, told(message="4"))
    world.flush()

    (event,) = world.events()
    assert (event["count"], event["message"]) == (5, "4")
    assert event["firstTimestamp"] == "2030-01-01T00:00:00Z"
    assert event["lastTimestamp"] == "2030-01-01T00:03:00Z"


def test_other_reasons_and_other_objects_have_events_of_their_own():
    world = World()
    for name, reason in (("digits-1", "A"), ("digits-1", "B"), ("digits-2", "A")):
        world.recorder.tell(KEY, told(name, reason))
    world.flush()

    assert len({event["metadata"]["name"] for event in world.events()}) == 3


def test_an_object_that_was_made_anew_under_its_name_has_an_event_of_its_own():
    world = World()
    for uid in ("old", "new"):
        world.uids["digits-1"] = uid
        world.recorder.tell(KEY, told())
        world.flush()
        world.clock.advance(1)

    assert [event["involvedObject"]["uid"] for event in world.events()] == ["old", "new"]
    assert [event["count"] for event in world.events()] == [1, 1]


def test_an_event_that_has_expired_is_written_anew():
    world = World()
    world.recorder.tell(KEY, told())
    world.flush()
    world.server.delete(EVENTS, "ml", world.events()[0]["metadata"]["name"])
    world.clock.advance(3600)
    world.recorder.tell(KEY, told())
    world.flush()

    assert [event["count"] for event in world.events()] == [1]


def test_nothing_is_remembered_of_a_study_that_is_gone_and_all_of_the_others():
    world = World()
    other = StudyKey("ml", "other")
    for _ in range(2):
        world.recorder.tell(KEY, told())
        world.recorder.tell(other, told("other-0"))
        world.flush()
        world.recorder.forget_study(KEY)
        world.clock.advance(1)

    counts = [(event["involvedObject"]["name"], event["count"]) for event in world.events()]
    assert sorted(counts) == [("digits-1", 1), ("digits-1", 1), ("other-0", 2)]


def test_a_study_that_goes_while_its_event_is_found_to_be_gone_costs_nothing():
    world = World(
        lambda moment, call, *_: world.recorder.forget_study(KEY) if moment is Moment.BEFORE and armed else None
    )
    armed = False
    world.recorder.tell(KEY, told())
    world.flush()
    world.server.delete(EVENTS, "ml", world.events()[0]["metadata"]["name"])
    world.clock.advance(1)
    armed = True
    world.recorder.tell(KEY, told())
    world.flush()

    assert [event["count"] for event in world.events()] == [1]
    assert world.count(EventOutcome.FAILED) == 0


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_a_study_may_tell_so_much_at_once_and_then_so_much_in_a_while():
    world = World()
    for number in range(BURST + 5):
        world.recorder.tell(KEY, told(f"digits-{number}"))
    world.flush()
    assert (len(world.events()), world.count(EventOutcome.LIMITED)) == (BURST, 5)

    world.clock.advance(2 * REFILL_SECONDS)
    for number in range(3):
        world.recorder.tell(KEY, told(f"later-{number}"))
    world.flush()
    assert (len(world.events()), world.count(EventOutcome.LIMITED)) == (BURST + 2, 6)


def test_a_talkative_study_silences_neither_another_one_nor_its_own_warnings():
    world = World()
    for number in range(2 * BURST):
        world.recorder.tell(KEY, told(f"digits-{number}"))
    world.recorder.tell(KEY, told("digits-0", "Failed", weight=Weight.WARNING))
    world.recorder.tell(StudyKey("ml", "other"), told("other-0"))
    world.flush()

    assert {"Failed"} <= {event["reason"] for event in world.events()}
    assert {"other-0"} <= {event["involvedObject"]["name"] for event in world.events()}


def test_the_queue_never_holds_more_than_its_limit():
    world = World()
    for number in range(QUEUE + 10):
        world.recorder.tell(StudyKey("ml", f"s{number}"), told(f"s{number}-0"))
    world.flush()

    assert (len(world.events()), world.count(EventOutcome.OVERFLOWED)) == (QUEUE, 10)


def test_events_that_cannot_be_written_are_counted_and_named_once(caplog: pytest.LogCaptureFixture):
    broken = True

    def fault(moment: Moment, verb: str, resource: Resource, name: str) -> None:
        if broken and moment is Moment.BEFORE:
            raise TransientError("no connection")

    world = World(fault)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            world.recorder.tell(KEY, told(f"digits-{number}"))
        world.flush()
        assert (world.count(EventOutcome.FAILED), len(caplog.records)) == (3, 1)

        broken = False
        world.recorder.tell(KEY, told("digits-3"))
        world.flush()
        broken = True
        world.recorder.tell(KEY, told("digits-4"))
        world.flush()

    assert len(world.events()) == 1
    # It was well in between: that is a new story.
    assert len(caplog.records) == 2


def test_what_is_told_is_written_by_the_loop_that_runs():
    async def main() -> int:
        world = World()
        task = asyncio.ensure_future(world.recorder.run())
        await asyncio.sleep(0)
        assert world.events() == []
        world.recorder.tell(KEY, told())
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        return len(world.events())

    assert asyncio.run(main()) == 1


def test_a_long_message_is_cut_as_a_condition_is():
    world = World()
    world.recorder.tell(KEY, told(message="x" * 5000))
    world.flush()

    assert len(world.events()[0]["message"]) == 1024
