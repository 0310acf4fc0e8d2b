"""Tells when a child ends, at once and without reaping it: until it is reaped, its number cannot become somebody else's."""

import asyncio
import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable

__all__ = ["ExitWatch"]

if sys.platform == "linux":

    class ExitWatch:
        """Watches children by pidfd, or by a thread each where the kernel has none.

        Args:
            on_exit: Called in the event loop with the process id of a child that ended.
        """

        def __init__(self, on_exit: Callable[[int], None]) -> None:
            self._on_exit = on_exit
            self._descriptors: dict[int, int] = {}

        def add(self, pid: int) -> None:
            """Watch a child. Call it in the event loop that is to be told."""
            loop = asyncio.get_running_loop()
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:
                threading.Thread(target=self._wait, args=(pid, loop), daemon=True).start()
                return
            self._descriptors[pid] = descriptor
            loop.add_reader(descriptor, self._ended, pid)

        def close(self) -> None:
            """Watch no longer."""
            for pid in list(self._descriptors):
                self._drop(pid)

        def _ended(self, pid: int) -> None:
            self._drop(pid)
            self._on_exit(pid)

        def _drop(self, pid: int) -> None:
            descriptor = self._descriptors.pop(pid)
            # The loop may be closed already: then it watches nothing any more.
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

        def _wait(self, pid: int, loop: asyncio.AbstractEventLoop) -> None:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._on_exit, pid)

else:

    class ExitWatch:
        """Watches children by kqueue.

        Args:
            on_exit: Called in the event loop with the process id of a child that ended.
        """

        def __init__(self, on_exit: Callable[[int], None]) -> None:
            self._on_exit = on_exit
            self._queue: select.kqueue | None = None

        def add(self, pid: int) -> None:
            """Watch a child. Call it in the event loop that is to be told."""
            loop = asyncio.get_running_loop()
            if self._queue is None:
                self._queue = select.kqueue()
                loop.add_reader(self._queue.fileno(), self._read)
            flags = select.KQ_EV_ADD | select.KQ_EV_ONESHOT
            event = select.kevent(pid, select.KQ_FILTER_PROC, flags, select.KQ_NOTE_EXIT)
            try:
                self._queue.control([event], 0)
            except ProcessLookupError:
                # It has ended already and only waits to be reaped.
                loop.call_soon(self._on_exit, pid)

        def close(self) -> None:
            """Watch no longer."""
            if self._queue is not None:
                with contextlib.suppress(RuntimeError):
                    asyncio.get_running_loop().remove_reader(self._queue.fileno())
                self._queue.close()
                self._queue = None

        def _read(self) -> None:
            if self._queue is not None:
                for event in self._queue.control([], 64, 0):
                    self._on_exit(event.ident)
