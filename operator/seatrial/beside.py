"""Calls that do not depend on each other, side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

__all__ = ["MOST_BESIDE", "Beside", "run_beside"]

MOST_BESIDE = 8
"""Calls at a time: more would not be faster, but in the way of other clients of the API server."""


class Beside:
    """Runs calls that do not depend on each other side by side, some at a time; the block ends when all have.

    The first one that fails is raised at the end: what was begun is never left half told.

    Args:
        most: Calls at a time. With one they are run where they are asked for, which is cheaper where none ever waits.
    """

    def __init__(self, most: int = MOST_BESIDE) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._gate = asyncio.Semaphore(most)
        self._at_once = most == 1
        self._failed: Exception | None = None

    async def __aenter__(self) -> "Beside":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, Exception):
            for task in self._tasks:
                task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True) if self._tasks else []
        failed = next((end for end in ends if end is not None), self._failed)
        if error is None and failed is not None:
            raise failed

    async def run(self, work: Callable[[], Awaitable[None]], *, alone: bool) -> None:
        """Run a call beside the others, or at once when there are none."""
        if not alone and not self._at_once:
            self._tasks.append(asyncio.create_task(self._pass(work)))
            return
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised at the end of the block
            self._failed = self._failed or error

    async def _pass(self, work: Callable[[], Awaitable[None]]) -> None:
        async with self._gate:
            await work()


async def run_beside(works: Sequence[Callable[[], Awaitable[None]]], most: int = MOST_BESIDE) -> None:
    """Run calls that do not depend on each other side by side, and wait for all."""
    async with Beside(most) as beside:
        for work in works:
            await beside.run(work, alone=len(works) == 1)
