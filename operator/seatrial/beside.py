"""Calls that do not depend on each other, side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

__all__ = ["Beside", "run_beside"]

# Calls at a time: more would not be faster, but in the way of other clients of the API server.
_BESIDE = 8


class Beside:
    """Runs calls that do not depend on each other side by side, some at a time; the block ends when all have.

    The first one that fails is raised at the end: what was begun is never left half told.
    """

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._gate = asyncio.Semaphore(_BESIDE)

    async def __aenter__(self) -> "Beside":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, Exception):
            for task in self._tasks:
                task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        failed = next((end for end in ends if end is not None), None)
        if error is None and failed is not None:
            raise failed

    async def run(self, work: Callable[[], Awaitable[None]], *, alone: bool) -> None:
        """Run a call beside the others, or at once when there are none."""
        if alone:
            await work()
        else:
            self._tasks.append(asyncio.create_task(self._pass(work)))

    async def _pass(self, work: Callable[[], Awaitable[None]]) -> None:
        async with self._gate:
            await work()


async def run_beside(works: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Run calls that do not depend on each other side by side, and wait for all."""
    async with Beside() as beside:
        for work in works:
            await beside.run(work, alone=len(works) == 1)
