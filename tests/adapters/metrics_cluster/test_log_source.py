"""Logs of ended trials."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from adapters.metrics_cluster.worlds import HandClock, a_cluster_study, an_ended_attempt, points, running_attempts
from decide.builders import NOON
from seatrial.adapters.metrics.logs import LogSource
from seatrial.api.study import Study
from seatrial.errors import TransientError

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

    source = LogSource(reader=Endless(), clock=HandClock())

    curves = await source.read(STUDY, ENDED)
    trouble = source.degraded()

    assert points(curves["s-0"]["loss"]) == [(1, 0.9)]
    assert trouble is not None
    assert trouble.reason == "LogsTooLong"


async def test_a_log_that_cannot_be_read_is_waited_for_but_not_for_ever():
    clock, logs = HandClock(), Logs([b"loss=0.5\n"], trouble="the kubelet is away")
    source = LogSource(reader=logs, clock=clock, hold_seconds=60)

    with pytest.raises(TransientError, match="the log of s-0 cannot be read: the kubelet is away"):
        await source.read(STUDY, ENDED)
    clock.time = NOON + timedelta(seconds=61)
    curves = await source.read(STUDY, ENDED)
    trouble = source.degraded()

    assert curves == {"s-0": {}}
    assert trouble is not None
    assert trouble.reason == "LogsUnreadable"
