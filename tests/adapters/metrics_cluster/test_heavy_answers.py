"""Answers that are heavy on purpose: what is held of them is bounded, and what becomes of the study has a name."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import TypeVar

import pytest

from adapters.metrics_cluster.faulty_server import Asked, FaultyServer, Reply, matrix
from adapters.metrics_cluster.real_prometheus import eventually
from adapters.metrics_cluster.test_prometheus_faults import a_source, loss_series, of, step_series
from adapters.metrics_cluster.worlds import HandClock, a_cluster_study, points, running_attempts
from decide.builders import NOON
from seatrial.adapters.metrics.fetching import Answer, Fetcher, Unreachable
from seatrial.api.study import Study

pytestmark = pytest.mark.slow

_MIB = 1 << 20
_READ = 8 * _MIB
_SOCKETS = 12 * _MIB
"""What a loopback connection may hold between the two sides."""

Ask = Callable[[str], Study]
T = TypeVar("T")


def by_series(url: str) -> Study:
    """A study whose trials speak as the harness does."""
    return a_cluster_study(url)


def by_expression(url: str) -> Study:
    """A study whose author wrote the expression."""
    settings = {"url": url, "queries": [{"metric": "loss", "query": "rate(http_requests_total[5m])"}]}
    return a_cluster_study(metrics={"source": "prometheus", "prometheus": settings})


def rows(row: str, size: int) -> Reply:
    """A good answer as far as its outside goes, made of *size* bytes of the same row."""
    inside = ",".join([row] * (size // (len(row) + 1)))
    return Reply(body=f'{{"status":"success","data":{{"resultType":"matrix","result":[{inside}]}}}}'.encode())


HEAVY: dict[str, tuple[Callable[[], Reply], str]] = {
    "100 MB of samples": (
        lambda: rows('{"metric":{"trial":"s-0"},"values":[[1,"1"]]}', 100_000_000),
        "more than 8 MiB",
    ),
    "100 MB of blanks": (lambda: Reply(body=b" " * 100_000_000), "more than 8 MiB"),
    "rubbish without end": (lambda: Reply(body=b"\xff\x00" * 32_768, endless=True), "more than 8 MiB"),
    "8 MB of empty lists": (lambda: rows("[]", _READ - 1000), "lists and mappings, and no more than 400,000"),
    "8 MB of mappings": (lambda: rows('{"a":{}}', _READ - 1000), "lists and mappings, and no more than 400,000"),
    "8 MB of brackets in a text": (
        lambda: rows('"' + "[" * 1000 + '"', _READ - 1000),
        "lists and mappings, and no more",
    ),
    "100,000 short series": (
        lambda: matrix(*[({"trial": "s-0"}, [[1, "1"]])] * 100_000),
        "100,000 series, and no more than 20,000 are read",
    ),
    "100,000 series of other trials": (
        lambda: matrix(*[step_series(f"t-{number}", (5, 1)) for number in range(100_000)]),
        "more than 8 MiB",
    ),
}


@pytest.mark.parametrize("study", [by_series, by_expression])
@pytest.mark.parametrize("heavy", sorted(HEAVY))
async def test_a_heavy_answer_is_left_where_it_is_and_named(faulty: FaultyServer, heavy: str, study: Ask):
    make, words = HEAVY[heavy]
    reply = make()
    faulty.answer = lambda _: reply
    clock = HandClock(NOON + timedelta(seconds=20))
    async with a_source(clock, timeout_seconds=60, patience_seconds=60) as source:
        curves, peak = await _traced(lambda: source.read(study(faulty.url), running_attempts("s-0")))
        trouble = source.degraded()

    assert curves == {"s-0": {}}
    assert trouble is not None
    assert trouble.reason == "PrometheusAnswerTooLarge"
    assert words in trouble.message
    assert ("the query of loss brings too much" in trouble.message) == (study is by_expression)
    assert faulty.sent <= len(faulty.asked) * (_READ + _SOCKETS)
    assert len(faulty.asked) <= 4
    # What was read, once as it grows and once as it is handed on.
    assert peak < 3.5 * _READ


async def _traced(call: Callable[[], Awaitable[T]]) -> tuple[T, int]:
    """Return what a call gives, and the most memory that was held meanwhile."""
    tracemalloc.start()
    try:
        return await call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_the_largest_answer_that_is_read_is_no_burden(faulty: FaultyServer):
    samples = [(float(at), at) for at in range(60)]
    others = [step_series(f"t-{number}", *samples[:10]) for number in range(19_000)]
    reply = matrix(*others, step_series("s-0", *samples), loss_series("s-0", *((at, -at) for at, _ in samples)))
    assert 0.75 * _READ < len(reply.body) < _READ
    faulty.answer = lambda _: reply
    async with a_source(HandClock(NOON + timedelta(seconds=60)), timeout_seconds=60, patience_seconds=60) as source:
        curves, peak = await _traced(lambda: source.read(by_series(faulty.url), running_attempts("s-0")))

    assert points(curves["s-0"]["loss"])[-1] == (59, -59.0)
    assert peak < 160 * _MIB


async def test_a_series_that_has_a_label_named_metric_counts_once(faulty: FaultyServer):
    others = [loss_series(f"t-{number}", (5, 1)) for number in range(11_000)]
    reply = matrix(*others, step_series("s-0", (5, 1)), loss_series("s-0", (5, 0.5)))
    faulty.answer = lambda _: reply
    async with a_source(HandClock(NOON + timedelta(seconds=20)), timeout_seconds=60, patience_seconds=60) as source:
        curves = await source.read(by_series(faulty.url), running_attempts("s-0"))

    assert points(curves["s-0"]["loss"]) == [(1, 0.5)]
    assert source.degraded() is None


async def test_an_expression_that_brought_too_much_is_asked_for_again_and_read_when_it_is_mended(faulty: FaultyServer):
    clock, study, attempts = HandClock(NOON + timedelta(seconds=20)), by_expression(faulty.url), running_attempts("s-0")
    wide = matrix(*[({"trial": "s-0", "path": str(number)}, [[1, "1"]]) for number in range(100_000)])
    faulty.answer = lambda _: wide
    async with a_source(clock) as source:
        await source.read(study, attempts)
        trouble = source.degraded()
        faulty.answer = lambda _: matrix((of("s-0"), [[NOON.timestamp() + 30, "0.5"]]))
        clock.move(60)
        curves = await source.read(study, attempts)

    assert trouble is not None
    assert "max by (trial) (…)" in trouble.message
    assert [value for _, value in points(curves["s-0"]["loss"])] == [0.5]
    assert source.degraded() is None


async def test_of_many_servers_without_end_a_few_are_read_at_once():
    with ExitStack() as stack:
        servers = [stack.enter_context(closing(FaultyServer())) for _ in range(4)]
        endless = Reply(body=b" " * (1 << 16), endless=True)
        for server in servers:
            server.answer = lambda _: endless
        fetcher = Fetcher()

        async def ask(server: FaultyServer) -> bool:
            answer = await fetcher.post(server.url, {}, seconds=120, limit_bytes=_READ)
            return answer.cut

        async def ask_all() -> list[bool]:
            return list(await asyncio.gather(*(ask(server) for server in servers for _ in range(12))))

        cut, peak = await _traced(ask_all)
        await fetcher.close()

    assert cut == [True] * 48
    # All of it would be 48 times 8 MiB.
    assert peak < 48 * 2 * _MIB + 4 * 3 * _READ


async def test_who_begins_a_large_answer_and_stops_holds_up_the_others_until_its_time_is_over(faulty: FaultyServer):
    stalled = Reply(body=b" " * (2 * _MIB), headers={"Content-Length": str(100 * _MIB)}, stalls=True)
    good = Reply(body=b" " * (3 * _MIB))
    faulty.answer = lambda asked: stalled if asked.path == "/stalls" else good
    fetcher = Fetcher()

    async def ask(path: str, seconds: float, account: str) -> Answer | str:
        try:
            return await fetcher.get(f"{faulty.url}{path}", seconds=seconds, limit_bytes=_READ, account=account)
        except Unreachable as error:
            return str(error)

    async def have_begun() -> bool:
        return faulty.sent >= 4 * 2 * _MIB

    first = [asyncio.create_task(ask("/stalls", 3, f"team-{number}")) for number in range(4)]
    await eventually(have_begun)
    other = await ask("/good", 60, "team-4")
    told = await asyncio.gather(*first)
    await fetcher.close()

    assert told == ["no answer within 3 s"] * 4
    assert isinstance(other, Answer)
    assert len(other.body) == 3 * _MIB


async def test_a_namespace_whose_answers_stand_still_holds_up_no_other_one(faulty: FaultyServer):
    stalled = Reply(body=b" " * (2 * _MIB), headers={"Content-Length": str(100 * _MIB)}, stalls=True)
    good = Reply(body=b" " * (3 * _MIB))
    faulty.answer = lambda asked: stalled if asked.path == "/stalls" else good
    fetcher = Fetcher()

    async def ask(path: str, account: str) -> Answer:
        return await fetcher.get(f"{faulty.url}{path}", seconds=300, limit_bytes=_READ, account=account)

    async def have_begun() -> bool:
        # One is read to where it stands still, the others wait after their first MiB.
        return faulty.sent >= 9 * _MIB

    stalls = [asyncio.create_task(ask("/stalls", "team-a")) for _ in range(8)]
    await eventually(have_begun)
    other = await ask("/good", "team-b")
    still_stalled = [not task.done() for task in stalls]
    for task in stalls:
        task.cancel()
    await asyncio.gather(*stalls, return_exceptions=True)
    await fetcher.close()

    assert len(other.body) == 3 * _MIB
    assert still_stalled == [True] * 8


async def test_a_minute_of_which_an_expression_brings_too_much_is_left_out_and_the_rest_is_read(faulty: FaultyServer):
    begin = NOON.timestamp()
    wide = matrix(*[({"trial": "s-0", "path": str(number)}, [[1, "1"]]) for number in range(100_000)])

    def answer(asked: Asked) -> Reply:
        start, end = float(asked.form["start"]), float(asked.form["end"])
        if start < begin + 180 and end >= begin + 120:
            return wide
        grid = range(int(start), int(end) + 1, 5)
        return matrix((of("s-0"), [[at, str(at - begin)] for at in grid if at >= begin]))

    faulty.answer = answer
    clock, study, attempts = (
        HandClock(NOON + timedelta(seconds=600)),
        by_expression(faulty.url),
        running_attempts("s-0"),
    )
    troubles: list[str] = []
    async with a_source(clock, timeout_seconds=60, patience_seconds=60) as source:
        for _ in range(12):
            curves = await source.read(study, attempts)
            trouble = source.degraded()
            troubles.append(trouble.message if trouble else "")
            clock.move(60)

    read = {value for _, value in points(curves["s-0"]["loss"])}
    # Questions are about a minute at least: as much more may be missing on each side.
    assert {5.0 * number for number in range(252)} - read <= {5.0 * number for number in range(12, 48)}
    assert read & {5.0 * number for number in range(24, 36)} == set()
    assert "the query of loss brings too much" in troubles[0]
    assert any("is too much to be read; it is left out" in words for words in troubles)
    assert troubles[-1] == ""
