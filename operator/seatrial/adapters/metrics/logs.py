"""What a trial printed, read once when it has ended: ``metrics.source: logs``, and trials that told nothing otherwise. Values and whole curves, but no early stopping."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence, Set
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from seatrial.adapters.metrics.names import CurveTable
from seatrial.adapters.metrics.printed import Printed
from seatrial.api.study import Study, StudySpec
from seatrial.api.wire import OBSERVATION_LIMIT_BYTES
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.curves import Curves
from seatrial.decide.rules import rungs
from seatrial.errors import SeatrialError, TransientError
from seatrial.ports import Clock, Degraded

__all__ = ["LogReader", "LogSource", "NoLogError"]

_MOST_BYTES = 64 << 20
_MOST_PRINTED = 32
# Logs at a time: each may have _MOST_BYTES.
_BESIDE = 2
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0
_UNREADABLE = "LogsUnreadable"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class NoLogError(SeatrialError):
    """There is no log, and there will be none."""


class LogReader(Protocol):
    """Reads what a trial's container printed."""

    def read(self, study: Study, trial: str, number: int) -> AsyncGenerator[bytes, None]:
        """Return the log of an attempt in pieces, from its beginning.

        Raises:
            TransientError: While it cannot be read.
            NoLogError: If it never will be.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """What came of reading one log.

    Attributes:
        cut: Whether it is longer than what was read.
        problem: Why it could not be read; empty when it could.
        gone: Whether it never will be.
    """

    curves: Curves
    cut: bool = False
    problem: str = ""
    gone: bool = False


@dataclass(slots=True)
class _Reading:
    """A log that is being read, or will be again.

    Attributes:
        task: None while it waits for its next time.
        pause_seconds: How long it waited last.
        problem: Why it could not be read last, in words.
    """

    task: asyncio.Task[_Log] | None = None
    due: datetime = _LONG_AGO
    pause_seconds: float = 0.0
    problem: str = ""


class LogSource:
    """A :class:`~seatrial.ports.MetricSource` for one study.

    A log that cannot be read holds up its own trial for a while, and nothing else.

    Args:
        reader: Has the logs.
        clock: The time.
        gate: Lets so many logs of all studies be read at a time.
        timeout_seconds: Time for reading one log.
        patience_seconds: How long one reading of all waits for them; after that they go on behind.
        hold_seconds: How long after its end a log that cannot be read is tried again.
        find_rungs: Steps whose values must be exact, by specification.
    """

    def __init__(
        self,
        *,
        reader: LogReader,
        clock: Clock,
        gate: asyncio.Semaphore | None = None,
        timeout_seconds: float = 30.0,
        patience_seconds: float = 1.0,
        hold_seconds: float = 60.0,
        find_rungs: Callable[[StudySpec], Sequence[int]] = rungs,
    ) -> None:
        self._reader, self._clock, self._find_rungs = reader, clock, find_rungs
        self._timeout, self._patience, self._hold = timeout_seconds, patience_seconds, timedelta(seconds=hold_seconds)
        self._found: dict[tuple[str, int], Curves] = {}
        self._open: dict[tuple[str, int], _Reading] = {}
        self._trouble: Degraded | None = None
        self._gate, self._others = asyncio.Semaphore(_BESIDE), gate or contextlib.nullcontext()

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves of the attempts that ended and whose logs are read."""
        wanted = {
            (name, attempt.number): attempt
            for name, attempt in attempts.items()
            if attempt.phase is Phase.EXITED and _may_have_printed(attempt)
        }
        await self._drop(self._open.keys() - wanted.keys())
        self._found = {key: curves for key, curves in self._found.items() if key in wanted}
        now = self._clock.now()
        for key, attempt in wanted.items():
            if key in self._found:
                continue
            reading = self._open.setdefault(key, _Reading())
            if reading.task is None and reading.due <= now:
                reading.task = asyncio.create_task(self._read_log(study, attempt))
        tasks = [reading.task for reading in self._open.values() if reading.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._patience)
        for key, reading in list(self._open.items()):
            task = reading.task
            if task is not None and task.done():
                # If a bug comes out of it, the log is read anew by the next pass.
                reading.task = None
                self._take(key, wanted[key], reading, task.result())
        return {name: curves for (name, _), curves in self._found.items()}

    def unread(self) -> Mapping[str, float]:
        """Return trials whose logs are being read, or are tried again since they ended not long ago."""
        now = self._clock.now()
        return {
            name: self._patience if reading.task is not None else max(0.0, (reading.due - now).total_seconds())
            for (name, _), reading in self._open.items()
        }

    def degraded(self) -> Degraded | None:
        """Return which log could not be read."""
        problem = next((reading.problem for reading in self._open.values() if reading.problem), "")
        return Degraded(reason=_UNREADABLE, message=problem) if problem else self._trouble

    async def close(self) -> None:
        """Give up what is being read."""
        await self._drop(set(self._open))

    async def _drop(self, keys: Set[tuple[str, int]]) -> None:
        tasks = [reading.task for key in keys if (reading := self._open.pop(key)).task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, key: tuple[str, int], attempt: Attempt, reading: _Reading, log: _Log) -> None:
        """Keep what came of a reading; or have it tried again while its trial's end is young."""
        now, words = self._clock.now(), f"the log of {attempt.trial} cannot be read: {log.problem}"
        young = attempt.finished_at is not None and now - attempt.finished_at < self._hold
        if log.problem and young and not log.gone:
            reading.problem = f"{words}; it is tried again until {self._hold.total_seconds():g} s after its trial's end"
            reading.pause_seconds = min(max(_FIRST_PAUSE_SECONDS, 2 * reading.pause_seconds), _LONGEST_PAUSE_SECONDS)
            reading.due = now + timedelta(seconds=reading.pause_seconds)
            return
        self._trouble = None
        if log.problem:
            self._trouble = Degraded(reason=_UNREADABLE, message=f"{words}; what it printed is not known")
        elif log.cut:
            words = f"the log of {attempt.trial} is longer than {_MOST_BYTES >> 20} MiB; what comes later was not read"
            self._trouble = Degraded(reason="LogsTooLong", message=words)
        del self._open[key]
        self._found[key] = log.curves

    async def _read_log(self, study: Study, attempt: Attempt) -> _Log:
        async with self._gate, self._others:
            try:
                async with asyncio.timeout(self._timeout):
                    curves, cut = await self._parse(study, attempt)
            except TimeoutError:
                return _Log(curves={}, problem=f"it took longer than {self._timeout:g} s")
            except (TransientError, NoLogError) as error:
                return _Log(curves={}, problem=str(error), gone=isinstance(error, NoLogError))
        return _Log(curves=curves, cut=cut)

    async def _parse(self, study: Study, attempt: Attempt) -> tuple[Curves, bool]:
        spec = study.spec
        wanted = {objective.metric for objective in spec.objectives} | {limit.metric for limit in spec.constraints}
        window = max(objective.window for objective in spec.objectives)
        table = CurveTable(wanted, self._find_rungs(spec), window, _MOST_PRINTED)
        printed = Printed(table, wanted, spec.steps.unit if spec.steps else None)
        rest, size, skipping = b"", 0, False
        async with aclosing(self._reader.read(study, attempt.trial, attempt.number)) as pieces:
            async for piece in pieces:
                size += len(piece)
                *lines, rest = (rest + piece).split(b"\n")
                if skipping and lines:
                    lines, skipping = lines[1:], False
                printed.feed([line for line in lines if len(line) <= OBSERVATION_LIMIT_BYTES])
                if len(rest) > OBSERVATION_LIMIT_BYTES:
                    rest, skipping = b"", True
                if size > _MOST_BYTES:
                    break
                await asyncio.sleep(0)
        if rest and not skipping:
            printed.feed([rest])
        return table.build(), size > _MOST_BYTES


def _may_have_printed(attempt: Attempt) -> bool:
    """Whether there can be a log: who had no Pod yet, or only an init container that failed, has printed nothing."""
    return attempt.started_at is not None or attempt.exit_code == 0
