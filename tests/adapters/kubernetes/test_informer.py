"""The cache against a server that forgets, a network that fails, and answers that overtake each other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.fake.client import FakeClient, Moment
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.faults import NotFound
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.pods import PodRecord, build_pod_record
from seatrial.adapters.kubernetes.port import PODS, PatchKind, Resource, WatchEvent
from seatrial.adapters.local.memory import SimulatedClock
from seatrial.errors import TransientError
from seatrial.ports import StudyKey

KEY = StudyKey("default", "s")


def a_pod(index: int, study: str = "s") -> dict:
    labels = {names.LABEL_STUDY: study, names.LABEL_TRIAL: f"{study}-{index}", names.LABEL_ATTEMPT: "0"}
    return {"metadata": {"name": f"{study}-{index}-0", "labels": labels}, "spec": {"containers": [{"name": "main"}]}}


class World:
    def __init__(self, faults: Callable[..., None] = lambda *_: None) -> None:
        self.clock = SimulatedClock()
        self.server = FakeServer(self.clock)
        self.pauses: list[float] = []
        self.changes: list[StudyKey] = []
        self.client = FakeClient(self.server, faults=faults)
        self.cache: Informer[PodRecord] = Informer(
            self.client,
            PODS,
            build_pod_record,
            clock=self.clock,
            selector=names.LABEL_TRIAL,
            on_change=self.changes.append,
            pause=self.pause,
            chance=random.Random(0),  # noqa: S311 - no secret
        )

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def __aenter__(self) -> World:
        self.task = asyncio.ensure_future(self.cache.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def settle(self) -> None:
        for _ in range(500):
            if self.cache.synced and self.cache.version == self.server.version:
                return
            if self.task.done():
                self.task.result()
            await asyncio.sleep(0)
        raise AssertionError("the cache does not catch up")

    def create(self, index: int, study: str = "s") -> dict:
        return self.server.create(PODS, "default", a_pod(index, study))

    def names(self, key: StudyKey = KEY) -> list[str]:
        return sorted(self.cache.of(key))


async def test_what_was_there_and_what_comes_and_goes_is_known():
    async with World() as world:
        world.create(0)
        await world.settle()
        world.create(1)
        world.create(2, "other")
        world.server.delete(PODS, "default", "s-0-0")
        await world.settle()

        assert world.names() == ["s-1-0"]
        assert world.cache.studies() == (KEY, StudyKey("default", "other"))
        assert set(world.changes) == {KEY, StudyKey("default", "other")}
        assert world.cache.relists == 1


async def test_what_vanished_while_the_history_was_compacted_is_gone():
    async with World() as world:
        for index in range(3):
            world.create(index)
        await world.settle()
        world.changes.clear()
        world.server.delete(PODS, "default", "s-1-0")
        world.create(3)
        world.server.compact()
        await world.settle()

        assert world.names() == ["s-0-0", "s-2-0", "s-3-0"]
        assert world.cache.relists == 2
        assert KEY in world.changes


async def test_a_study_of_which_all_vanished_unseen_is_told():
    async with World() as world:
        world.create(0)
        await world.settle()
        world.changes.clear()
        world.server.delete(PODS, "default", "s-0-0")
        world.server.compact()
        await world.settle()

        assert world.changes == [KEY]
        assert world.cache.studies() == ()


async def test_a_long_list_is_read_in_parts():
    async with World() as world:
        for index in range(1201):
            world.create(index)
        await world.settle()

        assert len(world.names()) == 1201


async def test_an_own_write_is_visible_at_once_and_an_older_event_does_not_undo_it():
    async with World() as world:
        created = world.create(0)
        await world.settle()
        label = {"metadata": {"labels": {"new": "yes"}, "finalizers": [names.FINALIZER]}}
        written = world.server.patch(PODS, "default", "s-0-0", label, kind=PatchKind.MERGE)

        world.cache.note(written)
        world.cache.note(created)

        assert world.cache.of(KEY)["s-0-0"].held
        await world.settle()
        assert world.cache.of(KEY)["s-0-0"].held


async def test_an_answer_that_comes_after_the_deletion_does_not_bring_the_object_back():
    async with World() as world:
        created = world.create(0)
        await world.settle()
        world.server.delete(PODS, "default", "s-0-0")
        await world.settle()

        assert world.cache.note(created) is None
        assert world.names() == []


async def test_an_own_write_survives_a_list_that_was_on_its_way():
    async with World() as world:
        world.create(0)
        await world.settle()
        page = world.server.list(PODS, None, "", 500, "")
        world.cache.note(world.create(1))

        world.cache._replace({("default", pod["metadata"]["name"]): pod for pod in page.items}, int(page.version))

        assert world.names() == ["s-0-0", "s-1-0"]


async def test_an_object_made_anew_under_an_old_name_takes_its_place():
    async with World() as world:
        first = world.create(0)
        await world.settle()
        world.server.delete(PODS, "default", "s-0-0")
        second = world.create(0)
        await world.settle()

        assert first["metadata"]["uid"] != second["metadata"]["uid"]
        assert world.cache.of(KEY)["s-0-0"].uid == second["metadata"]["uid"]


async def test_nothing_is_synced_before_the_whole_list_was_read():
    calls: list[str] = []

    def fail(moment: Moment, verb: str, resource: Resource, name: str) -> None:
        calls.append(verb)
        if verb == "list" and calls.count("list") < 9:
            raise TransientError("the server is starting", retry_after_seconds=0)

    async with World(fail) as world:
        assert not world.cache.synced
        with pytest.raises(TransientError, match="no list of pods"):
            await world.cache.wait_synced(0.0)

        await world.settle()

        await world.cache.wait_synced(1.0)
        assert world.cache.last_contact == world.clock.now()


async def test_pauses_grow_up_to_half_a_minute():
    def fail(moment: Moment, verb: str, resource: Resource, name: str) -> None:
        raise TransientError("down", retry_after_seconds=3.0)

    async with World(fail) as world:
        for _ in range(200):
            await asyncio.sleep(0)

        # First as the server asks, then longer and longer, spread over half of the time.
        assert world.pauses[0] == 3.0
        assert world.pauses[1] <= 2.0
        assert all(15 <= pause <= 30 for pause in world.pauses[10:])


async def test_the_time_of_the_last_contact_stands_still_when_nothing_comes():
    async with World() as world:
        await world.settle()
        before = world.cache.last_contact
        world.clock.advance(100)
        assert world.cache.last_contact == before

        world.create(0)
        await world.settle()

        assert world.cache.last_contact == world.clock.now()


async def test_what_cannot_be_read_is_left_alone_and_hides_nothing_else(caplog: pytest.LogCaptureFixture):
    async with World() as world:
        broken = a_pod(0)
        broken["metadata"]["labels"][names.LABEL_ATTEMPT] = "first"
        world.server.create(PODS, "default", broken)
        world.create(1)
        await world.settle()

        assert world.names() == ["s-1-0"]
        assert "Cannot read an object" in caplog.text


async def test_the_same_mapping_is_shown_until_something_changes():
    async with World() as world:
        world.create(0)
        world.create(0, "other")
        await world.settle()
        shown = world.cache.of(KEY)
        world.server.delete(PODS, "default", "other-0-0")
        await world.settle()
        assert world.cache.of(KEY) is shown

        world.create(1)
        await world.settle()

        assert world.cache.of(KEY) is not shown
        assert list(shown) == ["s-0-0"]


STEPS = st.lists(st.tuples(st.sampled_from("cdpxsn"), st.integers(0, 4)), max_size=40)


@given(steps=STEPS, seed=st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_whatever_happens_the_cache_ends_as_the_server_is(steps: list[tuple[str, int]], seed: int):
    chance = random.Random(seed)  # noqa: S311 - no secret

    def fail(moment: Moment, verb: str, resource: Resource, name: str) -> None:
        if verb in {"list", "watch"} and chance.random() < 0.1:
            raise TransientError("lost")

    async def main() -> None:
        async with World(fail) as world:
            for step, index in steps:
                await _take(world, step, index)
            await world.settle()
            stored = {pod["metadata"]["name"]: pod["metadata"] for pod in world.server.all(PODS)}
            known = world.cache.of(KEY)
            assert {name: pod.uid for name, pod in known.items()} == {name: m["uid"] for name, m in stored.items()}
            assert {n: pod.held for n, pod in known.items()} == {
                n: bool(m.get("finalizers")) for n, m in stored.items()
            }

    asyncio.run(main())


async def _take(world: World, step: str, index: int) -> None:
    name = f"s-{index}-0"
    try:
        match step:
            case "c" if name not in {pod["metadata"]["name"] for pod in world.server.all(PODS)}:
                world.cache.note(world.create(index))
            case "d":
                world.server.delete(PODS, "default", name)
            case "p":
                held = {"metadata": {"finalizers": [names.FINALIZER]}}
                world.cache.note(world.server.patch(PODS, "default", name, held, kind=PatchKind.MERGE))
            case "n":
                written = world.server.get(PODS, "default", name)
                await asyncio.sleep(0)
                world.cache.note(written)
            case "x":
                world.server.compact()
            case _:
                for _ in range(index):
                    await asyncio.sleep(0)
    except NotFound:
        pass


async def test_what_a_watch_never_told_is_found_after_a_while_all_the_same():
    world = World()

    async def forgetful(*_: object, **__: object) -> AsyncIterator[WatchEvent]:
        await asyncio.sleep(0)
        yield WatchEvent(type="BOOKMARK", object={"metadata": {"resourceVersion": str(world.server.version)}})

    world.client.watch = forgetful
    world.create(0)
    async with world:
        await world.settle()
        world.create(1)
        world.server.delete(PODS, "default", "s-0-0")
        await world.settle()
        assert world.names() == ["s-0-0"]

        world.clock.advance(1200)
        for _ in range(100):
            await asyncio.sleep(0)

    assert world.names() == ["s-1-0"]
    assert world.cache.relists == 2
