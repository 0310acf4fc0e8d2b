"""An event loop whose time passes at once when there is nothing to do: ten minutes of an outage take as long as what happens in them.

Everything in it runs in one thread and in a fixed order, so that a run can be repeated exactly.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["LoopClock", "VirtualLoop"]

_ROUND_SECONDS = 1e-6
_BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Lets the loop's time pass instead of waiting."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self.loop.on_round()
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits for something, and nothing is planned")
            self.loop.seconds += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop.

    Attributes:
        seconds: Time that has passed.
        rounds: Rounds that it has made.
        on_round: Called in each of them.
    """

    def __init__(self) -> None:
        selector = _Selector()
        self.seconds, self.rounds = 0.0, 0
        self.on_each: Callable[[], None] = lambda: None
        selector.loop = self
        super().__init__(selector)

    def on_round(self) -> None:
        """Count a round."""
        self.rounds += 1
        # A round takes time: a timer of which rounding says that it is not quite due becomes so.
        self.seconds += _ROUND_SECONDS
        self.on_each()

    def time(self) -> float:
        """Return the time that has passed."""
        return self.seconds

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: object) -> asyncio.Future[Any]:  # type: ignore[override]
        """Call it at once: time does not know of threads."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - told to whoever awaits it
            future.set_exception(error)
        return future


class LoopClock:
    """The time of day in a virtual loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """Return the time, UTC, aware."""
        return _BEGIN + timedelta(seconds=self._loop.seconds)
