"""The processes of one attempt that another runner started: found, measured and ended together.

A process id may be somebody else's by the time it is used. An id is trusted while the leader's environment names the attempt's own
files, or it is as old as the note of its id, or it holds the attempt's lock; group members must be no older than the attempt, or hold
its lock: forks of a warm process were made before anybody knew for which attempt.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil

from seatrial.api import wire

__all__ = ["has_leader", "kill_strays", "measure_group", "signal_orphans"]

# Process start times are rounded to clock ticks, and the clock itself may be set.
_SLACK_SECONDS = 5.0


def has_leader(leader: int, termination: Path, noted_at: datetime | None, lock: Path) -> bool:
    """Return whether *leader* is alive and leads an attempt, not a process that got its number later.

    Args:
        leader: Its process id.
        termination: Where the attempt's termination message goes: no other attempt's process has this in its environment.
        noted_at: When its process id was noted, for processes whose environment cannot be read or was overwritten.
        lock: The attempt's lock, for those that noted their id late: on a busy machine seconds after they began.
    """
    try:
        process = psutil.Process(leader)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        with contextlib.suppress(psutil.AccessDenied):
            if process.environ().get(wire.TERMINATION_PATH) == str(termination):
                return True
        young = noted_at is not None and abs(process.create_time() - noted_at.timestamp()) < _SLACK_SECONDS
        return young or _holds(process, lock)
    except psutil.Error:
        return False


def signal_orphans(leader: int | None, started_at: datetime, number: signal.Signals, lock: Path) -> None:
    """Signal each process of a group whose leader is not our child."""
    for process in _members(leader, started_at, lock):
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def measure_group(leader: int | None, started_at: datetime, lock: Path, *, without_leader: bool = False) -> int:
    """Return the resident memory of a group in bytes; shared pages count for each process.

    Args:
        leader: Process id of the leader.
        started_at: When the attempt started.
        lock: The attempt's lock.
        without_leader: Whether the leader only waits and seems to be as large as what it was forked from.
    """
    total = 0
    for process in _members(leader, started_at, lock):
        with contextlib.suppress(psutil.Error):
            if not (without_leader and process.pid == leader):
                total += process.memory_info().rss
    return total


def kill_strays(termination: Path, started_at: datetime, lock: Path | None = None) -> None:
    """Kill processes that left the group but still carry the attempt's environment.

    Args:
        termination: Where the attempt's termination message goes: no other attempt's process has this in its environment.
        started_at: When the attempt started.
        lock: The attempt's lock, where its processes are forks that show the environment of another one: those that hold it are killed.
    """
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid():
                continue
            young = process.create_time() >= started_at.timestamp() - _SLACK_SECONDS
            found = young and process.environ().get(wire.TERMINATION_PATH) == str(termination)
            if found or (lock is not None and _holds(process, lock)):
                process.kill()


def _holds(process: psutil.Process, path: Path) -> bool:
    # What a process has open is named without links, the study's folder as the user named it.
    there = str(path.resolve())
    return any(file.path == there for file in process.open_files())


def _members(leader: int | None, started_at: datetime, lock: Path) -> Iterator[psutil.Process]:
    if leader is None:
        return
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(pid) != leader:
                continue
            process = psutil.Process(pid)
            if process.create_time() >= started_at.timestamp() - _SLACK_SECONDS or _holds(process, lock):
                yield process
