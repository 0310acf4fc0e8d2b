"""What process 1 of a container must see to: signals, orphans, and sessions that are to leave nothing. Linux only."""

import contextlib
import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

__all__ = ["adopt_orphans", "catch_signals", "is_alive", "kill_attempt", "kill_session", "listen"]

_SUBREAPER = 36
_GONE_SECONDS = 2.0
_CLEAN_LOOKS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    parent: int
    session: int
    ended: bool


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
    while _kill(lambda pid, processes: processes[pid].session == leader) and time.monotonic() < end:
        time.sleep(0.005)


def kill_attempt(leader: int, kept: int | None) -> None:
    """End all that descends from an attempt, sessions of its own included, and wait until it is gone, though not for ever.

    What its processes leave behind becomes a child of this one, which must have adopted orphans: all other children are ended, too.

    Args:
        leader: Of the attempt's session.
        kept: A child that is left alone, with its session and all that descends from it but the attempt; None for none.
    """
    end, clean = time.monotonic() + _GONE_SECONDS, 0
    # Whoever gets another parent while processes are looked at may be missed once.
    while clean < _CLEAN_LOOKS and time.monotonic() < end:
        clean += 1
        if _kill(lambda pid, processes: _is_of(pid, processes, leader, kept)):
            clean = 0
            time.sleep(0.005)


def _is_of(pid: int, processes: Mapping[int, _Process], leader: int, kept: int | None) -> bool:
    """Tell whether a process is to go with an attempt."""
    me = os.getpid()
    if processes[pid].session == leader:
        return True
    seen = pid
    # Process ids come again while they are looked at: no way up is longer than there are processes.
    for _ in processes:
        if seen == me or seen not in processes:
            return seen == me
        if seen == leader:
            return True
        if processes[seen].session == kept:
            return False
        seen = processes[seen].parent
    return False


def _kill(wanted: Callable[[int, Mapping[int, _Process]], bool]) -> bool:
    """Kill whoever is wanted of those that run now; return whether there was anybody."""
    found, processes = False, _list_processes()
    for pid, process in processes.items():
        if not process.ended and pid != os.getpid() and wanted(pid, processes):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                found = True
    return found


def _list_processes() -> dict[int, _Process]:
    found: dict[int, _Process] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name of a program may hold spaces and brackets; what follows it does not.
                state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                found[int(entry.name)] = _Process(parent=int(parent), session=int(session), ended=state in "ZX")
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
