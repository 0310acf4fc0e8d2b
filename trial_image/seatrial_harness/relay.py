"""Copies the output of one attempt to that of its container, and remembers how it ended."""

import contextlib
import os
import time

from seatrial_harness.waiting import wait_to_read, wait_to_write

__all__ = ["Relay", "write_all"]

_CHUNK = 1 << 16
_TAIL_BYTES, _TAIL_LINES = 2048, 80
"""As much as Kubernetes takes of a log in the place of a termination message."""
_DRAIN_SECONDS = 1.0


class Relay:
    """A pipe from an attempt to a file.

    Attributes:
        source: Descriptor that is read; -1 once it is closed.
        sink: Descriptor for the attempt's processes; -1 once it is closed here.
    """

    def __init__(self, target: int = 1) -> None:
        self.source, self.sink = os.pipe()
        os.set_blocking(self.source, False)
        self._target, self._tail = target, bytearray()

    def copy(self) -> bool:
        """Copy what there is; return False at the end, when nobody can write any more."""
        try:
            content = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return True
        if not content:
            os.close(self.source)
            self.source = -1
            return False
        write_all(self._target, content)
        self._tail += content
        del self._tail[:-_TAIL_BYTES]
        return True

    def close_sink(self) -> None:
        """Leave the writing to the attempt."""
        if self.sink >= 0:
            os.close(self.sink)
            self.sink = -1

    def end_line(self) -> None:
        """Let what is written next begin a line."""
        if self._tail and not self._tail.endswith(b"\n"):
            write_all(self._target, b"\n")
            self._tail += b"\n"

    def finish(self) -> str:
        """Copy what is left, let go of the pipe, and return the last lines."""
        self.close_sink()
        end = time.monotonic() + _DRAIN_SECONDS
        while self.source >= 0 and time.monotonic() < end and wait_to_read([self.source], 0):
            self.copy()
        if self.source >= 0:
            os.close(self.source)
            self.source = -1
        self.end_line()
        lines = self._tail.decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it; nothing happens when nobody reads."""
    left = memoryview(content)
    with contextlib.suppress(BrokenPipeError):
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:
                # Whoever else has this file may have made it one that does not wait.
                wait_to_write(descriptor)
