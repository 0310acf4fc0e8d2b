"""The operator scrapes real trials, and servers that are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from adapters.metrics_cluster.faulty_server import FaultyServer, Reply
from adapters.metrics_cluster.real_prometheus import RunningTrial
from adapters.metrics_cluster.worlds import HandClock, a_cluster_study, an_ended_attempt, points, running_attempts
from decide.builders import NOON
from harness.ports import closed_port
from seatrial.adapters.metrics.fetching import Fetcher
from seatrial.adapters.metrics.scrape import Pace, ScrapeSource
from seatrial.adapters.metrics.targets import Target
from seatrial.api.study import Study

Start = Callable[..., RunningTrial]


@dataclass
class Addresses:
    """Knows the trials that a test has started."""

    targets: list[Target] = field(default_factory=list)

    def add(self, trial: str, port: int, attempt: int = 0) -> None:
        self.targets.append(Target(trial=trial, attempt=attempt, url=f"http://127.0.0.1:{port}/metrics"))

    def find(self, study: Study) -> list[Target]:
        return self.targets


@asynccontextmanager
async def a_source(clock: HandClock, addresses: Addresses, **pace: float) -> AsyncIterator[ScrapeSource]:
    fetcher = Fetcher()
    settings = Pace(**({"timeout_seconds": 10.0, "patience_seconds": 20.0} | pace))  # type: ignore[arg-type]
    source = ScrapeSource(targets=addresses, fetcher=fetcher, clock=clock, pace=settings)
    try:
        yield source
    finally:
        await source.close()
        await fetcher.close()


SCRAPED = a_cluster_study(metrics={"source": "scrape"})


async def test_curves_grow_scrape_by_scrape_with_exact_rungs(start_trial: Start):
    clock, addresses = HandClock(), Addresses()
    trial = start_trial("s-0")
    addresses.add("s-0", trial.port)
    attempts = running_attempts("s-0")
    async with a_source(clock, addresses) as source:
        await source.read(SCRAPED, attempts)
        for step in range(1, 5):
            trial.report(step, loss=1 / step)
        clock.move(20)
        await source.read(SCRAPED, attempts)
        for step in range(5, 12):
            trial.report(step, loss=1 / step)
        clock.move(20)
        curves = await source.read(SCRAPED, attempts)
        trouble = source.degraded()

    assert points(curves["s-0"]["loss"]) == [(s, 1 / s) for s in (1, 3, 4, 9, 11)]
    assert trouble is None


async def test_what_another_attempt_says_at_the_address_is_not_taken(faulty: FaultyServer):
    clock, addresses = HandClock(), Addresses()
    addresses.add("s-0", int(faulty.url.rpartition(":")[2]))
    whose = "s-9/0"
    faulty.answer = lambda _: Reply(
        body=f'seatrial_trial_step{{of="{whose}"}} 4\nseatrial_trial_metric{{metric="loss"}} 1\n'.encode()
    )
    async with a_source(clock, addresses) as source:
        before = await source.read(SCRAPED, running_attempts("s-0"))
        whose = "s-0/0"
        clock.move(20)
        after = await source.read(SCRAPED, running_attempts("s-0"))

    assert not before.get("s-0")
    assert points(after["s-0"]["loss"]) == [(4, 1)]


async def test_a_trial_is_asked_as_often_as_its_steps_move(faulty: FaultyServer):
    clock, addresses = HandClock(), Addresses()
    addresses.add("s-0", int(faulty.url.rpartition(":")[2]))
    per_second = 4.0

    def answer(_: object) -> Reply:
        step = int((clock.time - NOON).total_seconds() * per_second)
        return Reply(body=f'seatrial_trial_step {step}\nseatrial_trial_metric{{metric="loss"}} 1\n'.encode())

    faulty.answer = answer
    async with a_source(clock, addresses) as source:
        for _ in range(60):
            await source.read(SCRAPED, running_attempts("s-0"))
            clock.move(1)
        fast, per_second = len(faulty.asked), 0.0
        for _ in range(60):
            await source.read(SCRAPED, running_attempts("s-0"))
            clock.move(1)
        slow = len(faulty.asked) - fast

    assert fast == 60
    assert slow < 12


@pytest.mark.slow
async def test_many_trials_together_are_not_asked_faster_than_the_bound(faulty: FaultyServer):
    clock, addresses = HandClock(), Addresses()
    names = [f"s-{i}" for i in range(40)]
    for name in names:
        addresses.add(name, int(faulty.url.rpartition(":")[2]))
    faulty.answer = lambda _: Reply(body=b"seatrial_trial_step 1\n")
    async with a_source(clock, addresses, per_second=10.0) as source:
        for _ in range(10):
            await source.read(SCRAPED, running_attempts(*names))
            clock.move(1)

    assert len(faulty.asked) == 120


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        pytest.param(Reply(status=500), "it answered HTTP 500", id="500"),
        pytest.param(Reply(status=302, headers={"Location": "/x"}), "it answered HTTP 302", id="a redirect"),
        pytest.param(Reply(silent=True), "no answer within 0.5 s", id="silence"),
        pytest.param(Reply(body=b"<html>"), "/metrics has no seatrial_trial_metric yet", id="a page"),
        pytest.param(Reply(body=b"seatrial_trial_step x\n"), "1 lines of /metrics are no metrics", id="rubbish"),
        pytest.param(Reply(body=b"x" * 65536, endless=True), "is longer than 1 MiB and was cut", id="no end"),
        pytest.param(Reply(raw=b"\x00\x01\x02\r\n\r\n"), "the answer is no HTTP", id="no HTTP"),
    ],
)
async def test_a_trial_that_does_not_answer_well_is_named_after_a_while(faulty: FaultyServer, reply: Reply, words: str):
    clock, addresses = HandClock(), Addresses()
    addresses.add("s-0", int(faulty.url.rpartition(":")[2]))
    faulty.answer = lambda _: reply
    async with a_source(clock, addresses, timeout_seconds=reply.timeout_seconds, patience_seconds=60.0) as source:
        await source.read(SCRAPED, running_attempts("s-0"))
        early = source.degraded()
        clock.move(61)
        curves = await source.read(SCRAPED, running_attempts("s-0"))
        late = source.degraded()

    assert curves == {"s-0": {}}
    assert early is None or early.reason == "MetricsUnreadable"
    assert late is not None
    assert late.reason == "TrialsUnreachable"
    assert words in late.message


async def test_nobody_listens_and_others_are_read_all_the_same(start_trial: Start):
    clock, addresses = HandClock(), Addresses()
    trial = start_trial("s-0")
    trial.report(1, loss=0.5)
    addresses.add("s-0", trial.port)
    with closed_port() as port:
        addresses.add("s-1", port)
        async with a_source(clock, addresses) as source:
            await source.read(SCRAPED, running_attempts("s-0", "s-1"))
            clock.move(61)
            curves = await source.read(SCRAPED, running_attempts("s-0", "s-1"))
            trouble = source.degraded()

    assert points(curves["s-0"]["loss"]) == [(1, 0.5)]
    assert trouble is not None
    assert "1 of 2 running trials cannot be scraped, such as s-1" in trouble.message
    assert "connection refused" in trouble.message


async def test_silent_trials_hold_nothing_up(faulty: FaultyServer):
    clock, addresses = HandClock(), Addresses()
    names = [f"s-{i}" for i in range(100)]
    for name in names:
        addresses.add(name, int(faulty.url.rpartition(":")[2]))
    faulty.answer = lambda _: Reply(silent=True)
    async with a_source(clock, addresses, timeout_seconds=60.0, patience_seconds=0.01) as source:
        async with asyncio.timeout(30):
            for _ in range(20):
                curves = await source.read(SCRAPED, running_attempts(*names))

    assert set(curves) == set(names)
    assert len(faulty.asked) <= 32


async def test_only_the_running_attempt_is_asked(faulty: FaultyServer):
    clock, addresses = HandClock(), Addresses()
    addresses.add("s-0", int(faulty.url.rpartition(":")[2]), attempt=0)
    addresses.add("s-1", int(faulty.url.rpartition(":")[2]), attempt=0)
    addresses.add("s-2", int(faulty.url.rpartition(":")[2]), attempt=0)
    attempts = running_attempts("s-0", number=1) | {
        "s-1": an_ended_attempt("s-1", finished=NOON + timedelta(seconds=1))
    }
    async with a_source(clock, addresses) as source:
        await source.read(SCRAPED, attempts)
        due = source.due_at()

    assert faulty.asked == []
    assert due is None


@pytest.mark.slow
async def test_a_trial_that_ended_keeps_the_curve_it_had(start_trial: Start):
    clock, addresses = HandClock(), Addresses()
    trial = start_trial("s-0")
    trial.report(1, loss=0.5)
    addresses.add("s-0", trial.port)
    async with a_source(clock, addresses) as source:
        await source.read(SCRAPED, running_attempts("s-0"))
        addresses.targets.clear()
        curves = await source.read(SCRAPED, {"s-0": an_ended_attempt("s-0", finished=NOON + timedelta(seconds=1))})

    assert points(curves["s-0"]["loss"]) == [(1, 0.5)]
