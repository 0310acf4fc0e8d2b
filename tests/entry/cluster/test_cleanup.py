"""Uninstalling: no Pod is held by an operator that is gone, and nobody holds new ones meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.fake.client import FakeClient, Moment
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.lease import LeaderElection
from seatrial.adapters.kubernetes.port import LEASES, PODS, PatchKind, Resource
from seatrial.adapters.local.memory import SimulatedClock
from seatrial.entry.cluster.cleanup import HOLDER, tidy_up

OTHERS = "example.com/keep"


class World:
    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.server = FakeServer(self.clock)
        self.pauses: list[float] = []

    def put_pod(self, namespace: str, name: str, *finalizers: str, trial: bool = True) -> None:
        labels = {names.LABEL_TRIAL: name} if trial else {}
        metadata = {"name": name, "labels": labels, "finalizers": list(finalizers)}
        body = {"metadata": metadata, "spec": {"containers": [{"name": "main", "image": "none"}]}}
        self.server.create(PODS, namespace, body)

    def finalizers(self, namespace: str, name: str) -> list[str]:
        return self.server.get(PODS, namespace, name)["metadata"].get("finalizers") or []

    def candidate(self, name: str) -> LeaderElection:
        return LeaderElection(
            FakeClient(self.server), namespace="ops", name="lease", identity=name, clock=self.clock, pause=self.pause
        )

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)

    def tidy(self, namespace: str | None = None, client: FakeClient | None = None) -> int:
        client = client or FakeClient(self.server)
        return asyncio.run(
            tidy_up(client, namespace=namespace, lease_namespace="ops", lease_name="lease", pause=self.pause)
        )


@pytest.fixture
def world() -> World:
    return World()


def test_pods_of_all_namespaces_lose_our_finalizer_and_no_other(world: World) -> None:
    world.put_pod("a", "one", OTHERS, names.FINALIZER)
    world.put_pod("b", "two", names.FINALIZER)
    world.put_pod("b", "three")

    freed = world.tidy()

    assert freed == 2
    assert world.finalizers("a", "one") == [OTHERS]
    assert world.finalizers("b", "two") == []


def test_an_operator_of_one_namespace_touches_no_other(world: World) -> None:
    world.put_pod("a", "one", names.FINALIZER)
    world.put_pod("b", "two", names.FINALIZER)

    freed = world.tidy("a")

    assert freed == 1
    assert world.finalizers("b", "two") == [names.FINALIZER]


def test_a_pod_that_is_being_deleted_goes(world: World) -> None:
    world.put_pod("a", "one", names.FINALIZER)
    world.server.delete(PODS, "a", "one")

    world.tidy()

    assert world.server.all(PODS) == []


def test_more_pods_than_one_page_holds_are_all_freed(world: World) -> None:
    for number in range(501):
        world.put_pod("a", f"pod-{number}", names.FINALIZER)

    assert world.tidy() == 501


def test_a_leader_loses_the_lease_before_any_pod_is_freed_for_good(world: World) -> None:
    leader = world.candidate("leader")
    asyncio.run(leader.acquire())
    world.put_pod("a", "one", names.FINALIZER)

    world.tidy()

    # By then even a leader that is cut off has stopped by itself.
    assert world.pauses[0] >= 10.0
    assert world.server.get(LEASES, "ops", "lease")["spec"]["holderIdentity"] == HOLDER
    asyncio.run(leader.keep())
    assert not leader.leading


def test_an_operator_that_is_installed_again_leads_half_a_minute_later(world: World) -> None:
    asyncio.run(world.candidate("old").acquire())
    world.tidy()
    began = world.clock.now()

    asyncio.run(world.candidate("new").acquire())

    assert (world.clock.now() - began).total_seconds() <= 34


def test_without_a_leader_nothing_is_waited_for(world: World) -> None:
    world.put_pod("a", "one", names.FINALIZER)

    assert world.tidy() == 1
    assert world.pauses == []


def test_finalizers_that_change_meanwhile_are_looked_at_again(world: World) -> None:
    world.put_pod("a", "one", OTHERS, names.FINALIZER)
    changes = [{"op": "remove", "path": "/metadata/finalizers/0"}]

    def meddle(moment: Moment, verb: str, resource: Resource, name: str) -> None:
        if moment is Moment.BEFORE and verb == "patch" and resource is PODS and changes:
            world.server.patch(PODS, "a", "one", [changes.pop()], kind=PatchKind.JSON)

    freed = world.tidy(client=FakeClient(world.server, faults=meddle))

    assert freed == 1
    assert world.finalizers("a", "one") == []


def test_a_second_run_does_nothing(world: World) -> None:
    world.put_pod("a", "one", names.FINALIZER)
    world.tidy()

    assert world.tidy() == 0
