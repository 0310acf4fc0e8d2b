"""``metrics.source: logs``: what a trial printed, read once when it has ended. Final values and whole curves, but no early stopping."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Protocol

from seatrial.adapters.metrics.names import CurveTable
from seatrial.adapters.metrics.printed import Printed
from seatrial.api.study import Study, StudySpec
from seatrial.api.wire import OBSERVATION_LIMIT_BYTES
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.curves import Curves
from seatrial.decide.rules import rungs
from seatrial.errors import TransientError
from seatrial.ports import Clock, Degraded

__all__ = ["LogReader", "LogSource"]

_MOST_BYTES = 64 << 20
_MOST_PRINTED = 32


class LogReader(Protocol):
    """Reads what a trial's container printed."""

    def read(self, study: Study, trial: str, number: int) -> AsyncGenerator[bytes, None]:
        """Return the log of an attempt in pieces, from its beginning.

        Raises:
            TransientError: While it cannot be read.
        """
        ...


class LogSource:
    """A :class:`~seatrial.ports.MetricSource` for one study.

    Args:
        reader: Has the logs.
        clock: The time.
        timeout_seconds: Time for reading one log.
        hold_seconds: How long after its end a log that cannot be read is waited for.
        find_rungs: Steps whose values must be exact, by specification.
    """

    def __init__(
        self,
        *,
        reader: LogReader,
        clock: Clock,
        timeout_seconds: float = 30.0,
        hold_seconds: float = 60.0,
        find_rungs: Callable[[StudySpec], Sequence[int]] = rungs,
    ) -> None:
        self._reader, self._clock, self._find_rungs = reader, clock, find_rungs
        self._timeout, self._hold = timeout_seconds, timedelta(seconds=hold_seconds)
        self._found: dict[tuple[str, int], Curves] = {}
        self._trouble: Degraded | None = None

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves of the attempts that ended.

        Raises:
            TransientError: If a log cannot be read although its trial has just ended. Not raised any more some time after.
        """
        wanted = {
            (name, attempt.number): attempt for name, attempt in attempts.items() if attempt.phase is Phase.EXITED
        }
        self._found = {key: curves for key, curves in self._found.items() if key in wanted}
        for key, attempt in wanted.items():
            if key not in self._found:
                self._found[key] = await self._read_once(study, attempt)
        return {name: curves for (name, _), curves in self._found.items()}

    def degraded(self) -> Degraded | None:
        """Return which log could not be read."""
        return self._trouble

    async def _read_once(self, study: Study, attempt: Attempt) -> Curves:
        try:
            async with asyncio.timeout(self._timeout):
                curves, cut = await self._parse(study, attempt)
        except (TimeoutError, TransientError) as error:
            why = str(error) or f"it took longer than {self._timeout:g} s"
            message = f"the log of {attempt.trial} cannot be read: {why}"
            if attempt.finished_at is not None and self._clock.now() - attempt.finished_at < self._hold:
                raise TransientError(message) from error
            self._trouble = Degraded(reason="LogsUnreadable", message=message)
            return {}
        if cut:
            message = (
                f"the log of {attempt.trial} is longer than {_MOST_BYTES >> 20} MiB; what comes later was not read"
            )
            self._trouble = Degraded(reason="LogsTooLong", message=message)
        else:
            self._trouble = None
        return curves

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
