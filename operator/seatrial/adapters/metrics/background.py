"""Work that a reader of metrics waits for a little, but not for long: a slow network must not hold up a study."""

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["Background"]


class Background:
    """Runs one piece of work at a time; what is not done when patience ends goes on behind."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether work goes on behind."""
        return self._task is not None and not self._task.done()

    async def run(self, work: Callable[[], Awaitable[None]] | None, patience_seconds: float) -> bool:
        """Begin new work, or wait on for the one that still goes on; return whether nothing goes on any more.

        Args:
            work: What to do when nothing goes on yet; None to wait only.
            patience_seconds: How long to wait.
        """
        if self._task is None:
            if work is None:
                return True
            self._task = asyncio.ensure_future(_as_coroutine(work))
        done, _ = await asyncio.wait({self._task}, timeout=patience_seconds)
        if not done:
            return False
        task, self._task = self._task, None
        # What went wrong on purpose is no exception here: only a bug comes out of this.
        task.result()
        return True

    async def close(self) -> None:
        """Give up what goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


async def _as_coroutine(work: Callable[[], Awaitable[None]]) -> None:
    await work()
