"""The processes of one attempt: found, measured and ended together.

A process id may be somebody else's by the time it is used. An id is trusted while its process is our unreaped child, or while the
leader's command line names the attempt's own folder; group members must be no older than the attempt.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil

from seatrial.api import wire

__all__ = ["has_command", "has_leader", "kill_group", "kill_strays", "measure_group", "signal_group", "signal_orphans"]

# Process start times are rounded to clock ticks, and the clock itself may be set.
_SLACK_SECONDS = 5.0


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signal the group of a leader that is our own unreaped child."""
    # No such process: all of it is gone. No permission: only zombies are left (macOS).
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def kill_group(leader: int) -> None:
    """Kill what is left of the group of a leader that is our own unreaped child."""
    signal_group(leader, signal.SIGKILL)


def has_leader(leader: int | None, folder: Path) -> bool:
    """Return whether *leader* is alive and the leader of the attempt in *folder*, not a process that got its number later."""
    if leader is None:
        return False
    try:
        process = psutil.Process(leader)
        return process.status() != psutil.STATUS_ZOMBIE and str(folder) in process.cmdline()
    except psutil.Error:
        return False


def has_command(leader: int | None) -> bool:
    """Return whether a leader has started its command, beyond the fork."""
    if leader is None:
        return False
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(leader)
        own = process.cmdline()
        for child in process.children():
            with contextlib.suppress(psutil.Error):
                if child.cmdline() != own:
                    return True
    return False


def signal_orphans(leader: int | None, started_at: datetime, number: signal.Signals) -> None:
    """Signal each process of a group whose leader is not our child."""
    for process in _members(leader, started_at):
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def measure_group(leader: int | None, started_at: datetime) -> int:
    """Return the resident memory of a group in bytes; shared pages count for each process."""
    total = 0
    for process in _members(leader, started_at):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def kill_strays(termination: Path, started_at: datetime) -> None:
    """Kill processes that left the group but still carry the attempt's environment.

    Args:
        termination: Where the attempt's termination message goes: no other attempt's process has this in its environment.
        started_at: When the attempt started.
    """
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            old = process.create_time() < started_at.timestamp() - _SLACK_SECONDS
            if not old and process.environ().get(wire.TERMINATION_PATH) == str(termination):
                process.kill()


def _members(leader: int | None, started_at: datetime) -> Iterator[psutil.Process]:
    if leader is None:
        return
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(pid) != leader:
                continue
            process = psutil.Process(pid)
            if process.create_time() >= started_at.timestamp() - _SLACK_SECONDS:
                yield process
