"""How often a study's status is written, on a clock that the test moves."""

from __future__ import annotations

import asyncio

import pytest

from decide.builders import a_study
from seatrial.adapters.local.memory import MemoryStore
from seatrial.api.conditions import Condition
from seatrial.api.study import Best, StudyStatus, TrialCounts
from seatrial.entry.cluster.sparing import SparingStore
from seatrial.ports import StudyKey

QUIET = 2.0


class World:
    """A store in memory that counts writes, and a sparing one before it."""

    def __init__(self) -> None:
        self.now = 50.0
        self.stored = MemoryStore()
        self.key = self.stored.put_study(a_study())
        self.woken: list[tuple[StudyKey, float]] = []
        self.sparing = SparingStore(
            self.stored,
            time=lambda: self.now,
            wake_after=lambda key, seconds: self.woken.append((key, seconds)),
            quiet_seconds=QUIET,
        )

    def write(self, status: StudyStatus) -> None:
        asyncio.run(self.sparing.update_study(self.key, status))

    def read(self) -> StudyStatus | None:
        study = asyncio.run(self.sparing.read_study(self.key))
        return study.status if study else None


def a_status(done: int = 0, reason: str = "Running", **fields: object) -> StudyStatus:
    summary = {
        "type": "Succeeded",
        "status": "Unknown",
        "reason": reason,
        "message": f"{done} of 9 trials are done",
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    counts = TrialCounts(total=9, completed=done)
    return StudyStatus(conditions=[Condition.model_validate(summary)], trials=counts, progress=f"{done}/9", **fields)


def test_the_first_status_is_written_at_once():
    world = World()
    world.write(a_status(1))

    assert world.read() == a_status(1)
    assert world.woken == []


def test_numbers_alone_wait_until_the_pause_is_over_and_the_study_is_woken_then():
    world = World()
    world.write(a_status(1))
    world.now += 0.5
    world.write(a_status(2))

    assert world.read() == a_status(1)
    assert world.woken == [(world.key, 1.5)]

    world.now += 1.5
    world.write(a_status(3))
    assert world.read() == a_status(3)


@pytest.mark.parametrize(
    "news",
    [
        pytest.param(a_status(2, reason="Waiting"), id="a condition has another reason"),
        pytest.param(
            a_status(2, best=Best(trial="s-1", index=1, values=[0.1], assignment={"x": 0.5})),
            id="there is a new winner",
        ),
        pytest.param(a_status(2, completion_time="2030-01-01T00:00:09Z"), id="it is complete"),
        pytest.param(a_status(2, observed_generation=2), id="an edit was seen"),
    ],
)
def test_news_are_written_at_once(news: StudyStatus):
    world = World()
    world.write(a_status(1))
    world.write(news)

    assert world.read() == news
    assert world.woken == []


def test_a_write_of_news_begins_a_pause_too():
    world = World()
    world.write(a_status(1))
    world.now += 1.9
    world.write(a_status(2, reason="Waiting"))
    world.now += 1.0
    world.write(a_status(3, reason="Waiting"))

    assert world.read() == a_status(2, reason="Waiting")
    assert world.woken == [(world.key, 1.0)]


def test_a_study_that_was_made_anew_under_its_name_begins_anew():
    world = World()
    world.write(a_status(1))
    world.stored.remove_study(world.key)
    assert world.read() is None
    world.stored.put_study(a_study())
    world.write(a_status(0))

    assert world.read() == a_status(0)


def test_nothing_is_kept_of_studies_that_were_not_written_of_late():
    world = World()
    for number in range(100):
        key = world.stored.put_study(a_study(name=f"s-{number}"))
        asyncio.run(world.sparing.update_study(key, a_status(1)))
        world.now += QUIET / 4

    assert len(world.sparing._written) <= 6
