"""A keyed queue: each key is worked on by one worker at a time, and wanting it twice is wanting it once.

The shape is client-go's work queue: what is added while it is being worked on is worked on again afterwards; what failed comes back
after a pause that grows; what asks to be woken comes back at that time, or earlier if something happens.
"""

import asyncio
import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["WorkQueue"]

K = TypeVar("K")


class WorkQueue(Generic[K]):
    """A queue of keys for any number of workers of one event loop.

    Args:
        time: Seconds that never run backwards; the event loop's time by default.
        first_pause_seconds: Pause after the first failure of a key; it doubles with each further one.
        longest_pause_seconds: Longest pause.
    """

    def __init__(
        self,
        *,
        time: Callable[[], float] | None = None,
        first_pause_seconds: float = 1.0,
        longest_pause_seconds: float = 60.0,
    ) -> None:
        self._time = time or (lambda: asyncio.get_running_loop().time())
        self._first_pause, self._longest_pause = first_pause_seconds, longest_pause_seconds
        self._ready: deque[K] = deque()
        self._wanted: set[K] = set()
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._number = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Number of keys that could be worked on now."""
        return len(self._ready)

    def add(self, key: K) -> None:
        """Want a key to be worked on as soon as possible."""
        if key in self._wanted:
            return
        self._wanted.add(key)
        self._due.pop(key, None)
        if key not in self._busy:
            self._ready.append(key)
        self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Want a key to be worked on after a while; of several such wishes the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        at = self._time() + seconds
        if key in self._wanted or self._due.get(key, float("inf")) <= at:
            return
        self._due[key] = at
        heapq.heappush(self._later, (at, next(self._number), key))
        self._changed.set()

    async def get(self) -> K:
        """Return the next key, which then is being worked on until :meth:`done` or :meth:`fail`."""
        while True:
            self._promote()
            if self._ready:
                key = self._ready.popleft()
                self._wanted.discard(key)
                self._busy.add(key)
                return key
            self._changed.clear()
            timeout = max(0.0, self._later[0][0] - self._time()) if self._later else None
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes in the round in which the wait ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._changed.wait()

    def done(self, key: K) -> None:
        """Say that a key was worked on; its failures are forgotten."""
        self._failures.pop(key, None)
        self._release(key)

    def fail(self, key: K, *, retry_after_seconds: float = 0.0) -> float:
        """Say that work on a key failed; it comes back after a pause.

        Args:
            key: The key.
            retry_after_seconds: Shortest pause that makes sense.

        Returns:
            The pause, seconds.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = min(self._first_pause * 2.0 ** min(failures, 30), self._longest_pause)
        pause = max(pause, retry_after_seconds)
        self._release(key)
        self.add_after(key, pause)
        return pause

    def forget(self, key: K) -> None:
        """Drop what is planned for a key that is gone; work that is under way goes on."""
        self._due.pop(key, None)
        self._failures.pop(key, None)
        if key in self._wanted:
            self._wanted.discard(key)
            if key in self._ready:
                self._ready.remove(key)

    def _release(self, key: K) -> None:
        self._busy.discard(key)
        if key in self._wanted:
            self._ready.append(key)
            self._changed.set()

    def _promote(self) -> None:
        now = self._time()
        while self._later and self._later[0][0] <= now:
            at, _, key = heapq.heappop(self._later)
            # A wish that was overtaken by an earlier one, or dropped, is no longer in the table.
            if self._due.get(key) == at:
                del self._due[key]
                self.add(key)
