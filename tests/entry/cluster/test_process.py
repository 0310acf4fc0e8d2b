"""The operator process over a cluster in memory: it leads, it tells when it is unwell, it ends when it must."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from adapters.kubernetes.contract import a_study_object
from seatrial.adapters.kubernetes.fake.client import FakeClient, Faults, Moment
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.lease import LeaseTimes
from seatrial.adapters.kubernetes.port import LEASES, STUDIES, PatchKind, Resource
from seatrial.adapters.local.clock import SystemClock
from seatrial.entry.cluster.process import Lost, Operator
from seatrial.entry.cluster.settings import OperatorSettings
from seatrial.errors import TransientError
from seatrial.ports import StudyKey


def settings(identity: str = "one", **changes: object) -> OperatorSettings:
    return OperatorSettings(identity=identity, health_port=0, metrics_port=0, workers=2, **changes)


class Place:
    """A cluster and whoever operates on it."""

    def __init__(self) -> None:
        self.server = FakeServer(SystemClock())
        self.tasks: list[asyncio.Task[None]] = []

    def operator(self, identity: str = "one", faults: Faults = lambda *_: None) -> Operator:
        client = FakeClient(self.server, faults=faults)
        return Operator(settings(identity), client, clock=SystemClock(), watch_with_kopf=False)

    def run(self, operator: Operator) -> asyncio.Task[None]:
        task = asyncio.ensure_future(operator.run())
        self.tasks.append(task)
        return task

    def put(self, name: str = "s") -> None:
        self.server.create(STUDIES, "default", a_study_object(name))

    def conditions(self, name: str = "s") -> dict[str, str]:
        status = self.server.get(STUDIES, "default", name).get("status") or {}
        return {condition["type"]: condition["reason"] for condition in status.get("conditions", ())}

    def holder(self) -> str:
        leases = self.server.peek(LEASES)
        return str(leases[0]["spec"]["holderIdentity"]) if leases else ""


async def until(holds: Callable[[], bool]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - whatever may bring it about
            await asyncio.sleep(0.01)


def play(body: Callable[[Place], Awaitable[None]]) -> None:
    async def main() -> None:
        place = Place()
        try:
            await body(place)
        finally:
            for task in place.tasks:
                task.cancel()
            await asyncio.gather(*place.tasks, return_exceptions=True)

    asyncio.run(main())


async def ask(operator: Operator, path: str) -> tuple[int, list[str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{operator.health.port}/{path}") as got,
    ):
        body = json.loads(await got.text())
        assert body["status"] == ("ok" if got.status == 200 else "unwell")
        return got.status, body["reasons"]


def test_it_leads_works_and_ends_when_asked():
    async def body(place: Place) -> None:
        operator = place.operator()
        task = place.run(operator)
        place.put()
        await until(lambda: "Succeeded" in place.conditions())
        assert place.holder() == "one"
        assert await ask(operator, "healthz") == (200, [])
        assert await ask(operator, "readyz") == (200, [])

        operator.stop()
        await task

        assert place.holder() == ""
        with pytest.raises(aiohttp.ClientError):
            await ask(operator, "healthz")

    play(body)


def test_who_stands_by_is_well_and_does_nothing():
    async def body(place: Place) -> None:
        first, second = place.operator("one"), place.operator("two")
        place.run(first)
        await until(lambda: place.holder() == "one")
        task = place.run(second)
        await until(lambda: second.health.port > 0)
        place.put()
        await until(lambda: "Succeeded" in place.conditions())
        assert await ask(second, "healthz") == (200, [])
        assert len(second.queue) == 0

        second.stop()
        await task

        assert place.holder() == "one"

    play(body)


def test_a_stale_loop_makes_it_unwell_and_says_which():
    async def body(place: Place) -> None:
        operator = place.operator()
        place.run(operator)
        await until(lambda: place.holder() == "one" and operator.health.port > 0)

        operator.freshness.expect("worker 0", 0.001)
        await until(lambda: bool(operator.troubles()))

        status, (reason,) = await ask(operator, "healthz")
        assert status == 503
        assert reason.startswith("worker 0 has shown no life for")

    play(body)


def test_a_pass_that_does_not_end_makes_it_unwell_until_it_does(monkeypatch: pytest.MonkeyPatch):
    # Besides the minute that an algorithm may think.
    monkeypatch.setattr("seatrial.entry.cluster.process._PASS_SECONDS", -59.9)

    async def body(place: Place) -> None:
        operator, go_on = place.operator(), asyncio.Event()
        work = operator._worker.work

        async def hang(key: StudyKey):
            await go_on.wait()
            return await work(key)

        operator._worker.work = hang
        place.run(operator)
        place.put()
        await until(lambda: bool(operator.troubles()))

        status, (reason,) = await ask(operator, "healthz")
        assert status == 503
        assert re.match(r"worker \d has shown no life for", reason)

        go_on.set()
        await until(lambda: "Succeeded" in place.conditions() and not operator.troubles())

    play(body)


def test_a_candidate_that_looks_at_the_lease_no_more_is_unwell(monkeypatch: pytest.MonkeyPatch):
    bound = 60.0
    monkeypatch.setattr("seatrial.entry.cluster.process._LEASE_SECONDS", bound)

    async def body(place: Place) -> None:
        leader, candidate = place.operator("one"), place.operator("two")
        place.run(leader)
        await until(lambda: place.holder() == "one")
        candidate._lease._times = LeaseTimes(retry_seconds=0.05)
        look, hangs = candidate._lease._try, asyncio.Event()
        # Passes by looks, so that a busy machine makes nobody seem unwell.
        seconds = 0.0
        candidate.freshness._time = lambda: seconds

        async def look_and_hang() -> bool:
            nonlocal seconds
            if seconds > 1.2 * bound:
                hangs.set()
                await asyncio.Event().wait()
            seconds += bound / 4
            return await look()

        candidate._lease._try = look_and_hang
        place.run(candidate)
        # As long as it looks it is well, however long that lasts.
        await hangs.wait()
        assert await ask(candidate, "healthz") == (200, [])
        seconds += 1.2 * bound

        status, (reason,) = await ask(candidate, "healthz")
        assert status == 503
        assert reason.startswith("lease has shown no life for")

    play(body)


def test_a_cache_that_hears_nothing_makes_it_unwell(monkeypatch: pytest.MonkeyPatch):
    def deaf(moment: Moment, verb: str, resource: Resource, name: str) -> None:
        if verb in {"list", "watch"} and resource.plural == "pods":
            raise TransientError("no pods today", retry_after_seconds=0.1)

    async def body(place: Place) -> None:
        operator = place.operator(faults=deaf)
        place.run(operator)
        await until(lambda: place.holder() == "one" and operator.health.port > 0)
        monkeypatch.setattr("seatrial.entry.cluster.process._SILENCE_SECONDS", 0.05)
        await until(lambda: any("pods" in trouble for trouble in operator.troubles()))

        status, reasons = await ask(operator, "healthz")

        assert status == 503
        assert any(reason.startswith("nothing was heard of pods for") for reason in reasons)
        assert (await ask(operator, "readyz"))[1][-1] == "the list of pods is not read yet"

    play(body)


def test_one_studys_bug_is_no_other_studys_trouble():
    async def body(place: Place) -> None:
        operator = place.operator()
        work, failed = operator._worker.work, []

        async def sabotage(key: StudyKey):
            if key.name == "bad":
                failed.append(key)
                raise AssertionError("a bug")
            return await work(key)

        operator._worker.work = sabotage
        task = place.run(operator)
        place.put("bad")
        place.put("good")

        await until(lambda: "Succeeded" in place.conditions("good") and bool(failed))

        assert place.conditions("bad") == {}
        assert not task.done()

    play(body)


def test_a_loop_that_ends_takes_the_process_along():
    async def body(place: Place) -> None:
        operator = place.operator()

        async def broken() -> None:
            raise AssertionError("a bug")

        operator._caches.pods.run = broken
        with pytest.raises(Lost, match="a cache failed: AssertionError"):
            await place.run(operator)
        assert place.holder() == ""

    play(body)


@pytest.mark.slow
def test_who_loses_the_lease_ends(monkeypatch: pytest.MonkeyPatch):
    async def body(place: Place) -> None:
        operator = place.operator()
        task = place.run(operator)
        await until(lambda: place.holder() == "one")
        taken = {"spec": {"holderIdentity": "two", "leaseDurationSeconds": 15}}
        place.server.patch(LEASES, "default", "seatrial-operator", taken, kind=PatchKind.MERGE)

        with pytest.raises(Lost, match="is held by two"):
            await task
        assert place.holder() == "two"

    play(body)


def test_a_study_that_kopf_cannot_read_ends_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("seatrial.entry.cluster.process._KOPF_PAUSE_SECONDS", 0.01)
    lives = 0

    async def run_kopf(_: Operator) -> None:
        nonlocal lives
        lives += 1
        if lives < 3:
            raise RecursionError("maximum recursion depth exceeded")
        await asyncio.Event().wait()

    monkeypatch.setattr(Operator, "_run_kopf", run_kopf)

    async def body(place: Place) -> None:
        operator = Operator(settings(), FakeClient(place.server), clock=SystemClock())
        task = place.run(operator)
        place.put()
        await until(lambda: lives == 3 and "Succeeded" in place.conditions())
        assert not task.done()

        operator.stop()
        await task

    play(body)
