"""What process 1 of a container must see to: signals, orphans, and sessions that are to leave nothing. Linux only."""

import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

__all__ = ["adopt_orphans", "catch_signals", "is_alive", "kill_session"]

_SUBREAPER = 36


def catch_signals(on_end: Callable[[int, FrameType | None], None]) -> socket.socket:
    """Return a socket that can be read when a signal has come; *on_end* is called for those that ask to end."""
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    # Kept open as long as this process lives.
    signal.set_wakeup_fd(os.dup(wakes.fileno()), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return woken


def adopt_orphans() -> None:
    """Be the parent of processes whose own has ended, as process 1 is anyway."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill_session(leader: int) -> None:
    """End all processes of a session, whatever group they are in."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name of a program may hold spaces and brackets; what follows it does not.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and int(entry.name) != os.getpid():
                    os.kill(int(entry.name), signal.SIGKILL)
