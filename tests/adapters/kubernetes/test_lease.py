"""Who leads: one at a time, another one soon after, nobody for longer than he may."""

from __future__ import annotations

import asyncio

import pytest

from seatrial.adapters.kubernetes.fake.client import FakeClient
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.lease import LeaderElection, LeaseTimes
from seatrial.adapters.kubernetes.port import LEASES, PatchKind
from seatrial.adapters.local.memory import SimulatedClock
from seatrial.errors import TransientError


class Cut:
    """A network that can be cut."""

    def __init__(self) -> None:
        self.is_cut = False

    def __call__(self, *_: object) -> None:
        if self.is_cut:
            raise TransientError("no route to host")


class World:
    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.server = FakeServer(self.clock)
        self.cuts: dict[str, Cut] = {}

    async def pause(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def candidate(self, name: str) -> LeaderElection:
        self.cuts[name] = Cut()
        client = FakeClient(self.server, faults=self.cuts[name])
        return LeaderElection(
            client, namespace="default", name="seatrial", identity=name, clock=self.clock, pause=self.pause
        )

    def lease(self) -> dict:
        return self.server.get(LEASES, "default", "seatrial")["spec"]


@pytest.fixture
def world():
    return World()


async def test_the_first_one_leads_and_the_lease_says_so(world: World):
    one = world.candidate("one")
    assert not one.leading

    await one.acquire()

    assert one.leading
    assert (world.lease()["holderIdentity"], world.lease()["leaseTransitions"]) == ("one", 0)


async def test_a_second_one_waits_as_long_as_the_first_one_writes(world: World):
    one, two = world.candidate("one"), world.candidate("two")
    await one.acquire()

    for _ in range(30):
        world.clock.advance(2)
        await one._try()
        assert not await two._try()

    assert one.leading
    assert not two.leading
    assert world.lease()["holderIdentity"] == "one"


async def test_another_one_takes_over_when_the_first_one_is_silent_for_the_whole_duration(world: World):
    one, two = world.candidate("one"), world.candidate("two")
    await one.acquire()
    assert not await two._try()

    world.clock.advance(14.9)
    assert not await two._try()
    world.clock.advance(0.1)

    assert await two._try()
    assert not one.leading
    assert (world.lease()["holderIdentity"], world.lease()["leaseTransitions"]) == ("two", 1)


async def test_who_cannot_write_stops_before_anybody_else_may_begin(world: World):
    one, two = world.candidate("one"), world.candidate("two")
    await one.acquire()
    await two._try()
    began = world.clock.now()
    world.cuts["one"].is_cut = True

    assert await one.keep() == "the lease seatrial could not be renewed for 10 s"

    assert not one.leading
    assert 8 <= (world.clock.now() - began).total_seconds() <= 12
    assert not await two._try()


async def test_who_is_followed_while_it_leads_says_by_whom(world: World):
    one = world.candidate("one")
    await one.acquire()
    taken = {"spec": {"holderIdentity": "two", "leaseDurationSeconds": 15}}
    world.server.patch(LEASES, "default", "seatrial", taken, kind=PatchKind.MERGE)

    assert await one.keep() == "the lease seatrial is held by two"

    assert not one.leading


async def test_a_short_outage_costs_nobody_the_lead(world: World):
    one = world.candidate("one")
    await one.acquire()
    world.cuts["one"].is_cut = True
    for _ in range(3):
        world.clock.advance(2)
        assert await one._try()
    world.cuts["one"].is_cut = False
    world.clock.advance(2)

    assert await one._try()
    world.clock.advance(9)
    assert one.leading


async def test_who_comes_back_after_being_taken_for_gone_does_not_lead(world: World):
    one, two = world.candidate("one"), world.candidate("two")
    await one.acquire()
    await two._try()
    world.clock.advance(15)
    await two._try()

    await one.keep()

    assert not one.leading
    assert two.leading


async def test_a_lease_that_was_given_back_is_taken_at_once(world: World):
    one, two = world.candidate("one"), world.candidate("two")
    await one.acquire()
    await two._try()

    await one.release()

    assert not one.leading
    assert await two._try()
    assert world.lease()["holderIdentity"] == "two"


async def test_giving_back_what_somebody_else_holds_by_now_changes_nothing(world: World):
    one, two = world.candidate("one"), world.candidate("two")
    await one.acquire()
    await two._try()
    world.clock.advance(15)
    await two._try()

    await one.release()

    assert world.lease()["holderIdentity"] == "two"


async def test_giving_back_without_a_network_is_no_error(world: World):
    one = world.candidate("one")
    await one.acquire()
    world.cuts["one"].is_cut = True

    await one.release()

    assert not one.leading


async def test_of_many_that_begin_together_one_leads(world: World):
    candidates = [world.candidate(str(number)) for number in range(10)]

    leading = await asyncio.gather(*(candidate._try() for candidate in candidates))

    assert sum(leading) == 1


@pytest.mark.parametrize("times", [(15, 15.0, 2.0), (15, 10.0, 10.0), (5, 10.0, 2.0)])
def test_times_that_would_let_two_lead_are_refused(times: tuple[int, float, float]):
    with pytest.raises(ValueError, match="retry must be less than deadline"):
        LeaseTimes(duration_seconds=times[0], deadline_seconds=times[1], retry_seconds=times[2])
