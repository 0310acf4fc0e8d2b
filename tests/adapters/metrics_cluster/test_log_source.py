"""Logs of ended trials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from adapters.metrics_cluster.worlds import HandClock, a_cluster_study, an_ended_attempt, points, running_attempts
from decide.builders import NOON
from seatrial.adapters.metrics.logs import LogSource, NoLogError
from seatrial.api.study import Study
from seatrial.decide.attempts import Attempt, Phase
from seatrial.errors import TransientError
from seatrial.ports import Degraded

STUDY = a_cluster_study(metrics={"source": "logs"})
ENDED = {"s-0": an_ended_attempt("s-0", finished=NOON)}


@dataclass
class Logs:
    """Logs in pieces; *trouble* instead, while there is some."""

    pieces: list[bytes] = field(default_factory=list)
    trouble: str = ""
    reads: int = 0

    async def read(self, study: Study, trial: str, number: int) -> AsyncGenerator[bytes, None]:
        self.reads += 1
        if self.trouble:
            raise TransientError(self.trouble)
        for piece in self.pieces:
            yield piece


@dataclass
class Silent(Logs):
    """Logs of a node that does not answer."""

    given_up: int = 0

    async def read(self, study: Study, trial: str, number: int) -> AsyncGenerator[bytes, None]:
        self.reads += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up += 1
        yield b""


async def test_a_log_is_read_once_when_its_trial_has_ended():
    logs = Logs([b"step=1 loss=0.", b"9\nhello\nstep=2 lo", b"ss=0.8\nstep=3 loss=0.7"])
    source = LogSource(reader=logs, clock=HandClock())

    while_running = await source.read(STUDY, running_attempts("s-0"))
    first = await source.read(STUDY, ENDED)
    second = await source.read(STUDY, ENDED)

    assert while_running == {}
    assert points(first["s-0"]["loss"]) == [(1, 0.9), (2, 0.8), (3, 0.7)]
    assert second == first
    assert logs.reads == 1


async def test_a_line_without_end_is_skipped_and_the_next_is_read():
    logs = Logs([b"step=1 loss=0.9\nstep=2 loss=0.8 ", *[b"x" * 10_000] * 50, b" loss=0.1\nstep=3 loss=0.7\n"])

    curves = await LogSource(reader=logs, clock=HandClock()).read(STUDY, ENDED)

    assert points(curves["s-0"]["loss"]) == [(1, 0.9), (3, 0.7)]


@pytest.mark.slow
async def test_an_endless_log_is_read_in_part_and_told():
    class Endless(Logs):
        async def read(self, study: Study, trial: str, number: int) -> AsyncGenerator[bytes, None]:
            yield b"step=1 loss=0.9\n"
            while True:
                yield b"noise\n" * 1_000_000

    source = LogSource(reader=Endless(), clock=HandClock(), patience_seconds=60.0)

    curves = await source.read(STUDY, ENDED)
    trouble = source.degraded()

    assert points(curves["s-0"]["loss"]) == [(1, 0.9)]
    assert trouble is not None
    assert trouble.reason == "LogsTooLong"


async def test_a_log_that_cannot_be_read_is_waited_for_but_not_for_ever():
    clock, logs = HandClock(), Logs([b"loss=0.5\n"], trouble="the kubelet is away")
    source = LogSource(reader=logs, clock=clock, hold_seconds=60)

    assert await source.read(STUDY, ENDED) == {}
    assert source.unread() == {"s-0": 1.0}
    assert source.degraded() == Degraded(
        reason="LogsUnreadable",
        message="the log of s-0 cannot be read: the kubelet is away; it is tried again until 60 s after its trial's end",
    )
    clock.time = NOON + timedelta(seconds=61)
    curves = await source.read(STUDY, ENDED)

    assert curves == {"s-0": {}}
    assert source.unread() == {}
    assert source.degraded() == Degraded(
        reason="LogsUnreadable",
        message="the log of s-0 cannot be read: the kubelet is away; what it printed is not known",
    )


async def test_a_log_that_is_gone_is_not_waited_for():
    class Gone(Logs):
        async def read(self, study: Study, trial: str, number: int) -> AsyncGenerator[bytes, None]:
            self.reads += 1
            raise NoLogError("Pod s-0-0 is gone")
            yield b""

    logs = Gone()
    source = LogSource(reader=logs, clock=HandClock(), hold_seconds=60)

    for _ in range(2):
        assert await source.read(STUDY, ENDED) == {"s-0": {}}
    assert (source.unread(), logs.reads) == ({}, 1)
    assert source.degraded() == Degraded(
        reason="LogsUnreadable",
        message="the log of s-0 cannot be read: Pod s-0-0 is gone; what it printed is not known",
    )


async def test_a_log_is_tried_again_ever_less_often():
    clock, logs, waits = HandClock(), Logs(trouble="the kubelet is away"), []
    source = LogSource(reader=logs, clock=clock, hold_seconds=60)

    for _ in range(6):
        await source.read(STUDY, ENDED)
        await source.read(STUDY, ENDED)
        waits.append(source.unread()["s-0"])
        clock.move(waits[-1])

    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert logs.reads == 6


async def test_a_log_that_can_be_read_at_last_is_whole_and_nothing_is_wrong_any_more():
    clock, logs = HandClock(), Logs([b"loss=0.5\n"], trouble="the kubelet is away")
    source = LogSource(reader=logs, clock=clock)
    await source.read(STUDY, ENDED)
    logs.trouble = ""
    clock.move(1)

    curves = await source.read(STUDY, ENDED)

    assert [point.value for point in curves["s-0"]["loss"].points] == [0.5]
    assert source.unread() == {}
    assert source.degraded() is None


async def test_a_node_that_does_not_answer_holds_up_no_other_log():
    class OneSilent(Silent):
        async def read(self, study: Study, trial: str, number: int) -> AsyncGenerator[bytes, None]:
            if trial == "s-1":
                yield b"loss=0.5\n"
            else:
                async for piece in super().read(study, trial, number):
                    yield piece

    ended = {name: an_ended_attempt(name, finished=NOON) for name in ("s-0", "s-1")}
    logs = OneSilent()
    source = LogSource(reader=logs, clock=HandClock(), patience_seconds=0.01)

    curves = await source.read(STUDY, ended)
    unread = source.unread()
    await source.close()

    assert list(curves) == ["s-1"]
    assert list(unread) == ["s-0"]
    assert logs.given_up == 1


async def test_only_so_many_logs_of_all_studies_are_read_at_a_time():
    gate, logs = asyncio.Semaphore(3), Silent()
    ended = {name: an_ended_attempt(name, finished=NOON) for name in ("s-0", "s-1", "s-2")}
    sources = [LogSource(reader=logs, clock=HandClock(), gate=gate, patience_seconds=0.01) for _ in range(2)]

    begun = []
    for source in sources:
        await source.read(STUDY, ended)
        begun.append(logs.reads)
    for source in sources:
        await source.close()

    # Two of each study, and three in all.
    assert begun == [2, 3]


async def test_a_log_that_takes_too_long_is_named():
    source = LogSource(reader=Silent(), clock=HandClock(), timeout_seconds=0.01)
    await source.read(STUDY, ENDED)
    trouble = source.degraded()
    await source.close()

    assert trouble is not None
    assert "it took longer than 0.01 s" in trouble.message


async def test_what_is_being_read_is_given_up_when_its_trial_is_gone():
    logs = Silent()
    source = LogSource(reader=logs, clock=HandClock(), patience_seconds=0.01)
    await source.read(STUDY, ENDED)

    assert await source.read(STUDY, {}) == {}
    assert source.unread() == {}
    assert logs.given_up == 1


async def test_a_log_that_met_a_bug_is_read_anew_by_the_next_pass():
    class Broken(Logs):
        async def read(self, study: Study, trial: str, number: int) -> AsyncGenerator[bytes, None]:
            self.reads += 1
            if self.reads == 1:
                raise RuntimeError("a bug")
            yield b"step=1 loss=0.9\n"

    source = LogSource(reader=Broken(), clock=HandClock())

    with pytest.raises(RuntimeError, match="a bug"):
        await source.read(STUDY, ENDED)
    curves = await source.read(STUDY, ENDED)

    assert points(curves["s-0"]["loss"]) == [(1, 0.9)]


@pytest.mark.parametrize(
    "ended",
    [
        pytest.param(Attempt(trial="s-0", number=0, phase=Phase.EXITED, exit_code=143), id="it had no Pod yet"),
        pytest.param(
            Attempt(trial="s-0", number=0, phase=Phase.EXITED, exit_code=1, finished_at=NOON),
            id="its init container failed",
        ),
    ],
)
async def test_a_trial_that_never_began_has_no_log_to_wait_for(ended: Attempt):
    logs = Logs(trouble="Pod s-0-0 is gone, and what it printed with it")
    source = LogSource(reader=logs, clock=HandClock())

    assert await source.read(STUDY, {"s-0": ended}) == {}
    assert source.unread() == {}
    assert source.degraded() is None
