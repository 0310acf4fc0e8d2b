"""What process 1 of a container must see to: signals, orphans, and sessions that are to leave nothing. Linux only."""

import contextlib
import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

__all__ = ["adopt_orphans", "catch_signals", "is_alive", "kill_session", "listen"]

_SUBREAPER = 36
_GONE_SECONDS = 2.0


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
    """End all processes of a session, whatever group they are in, and wait until they are gone, though not for ever."""
    end = time.monotonic() + _GONE_SECONDS
    # Once is not enough for those that start others meanwhile.
    while _kill_members(leader) and time.monotonic() < end:
        time.sleep(0.005)


def _kill_members(leader: int) -> bool:
    """Kill whoever is in a session now; return whether there was anybody."""
    found = False
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name of a program may hold spaces and brackets; what follows it does not.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] not in "ZX" and int(entry.name) != os.getpid():
                    os.kill(int(entry.name), signal.SIGKILL)
                    found = True
    return found


def listen(port: int) -> socket.socket | None:
    """Return a socket that can be reached by IPv4 and IPv6, as far as there is each; None if the port cannot be had."""
    for family in (socket.AF_INET6, socket.AF_INET):
        with contextlib.suppress(OSError, ValueError):
            both = family == socket.AF_INET6
            found = socket.create_server(("", port), family=family, backlog=64, dualstack_ipv6=both)
            found.setblocking(False)
            return found
    return None
