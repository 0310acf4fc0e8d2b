"""The small files of an attempt: what was started, how it ended, when and why it is to be stopped or killed.

A file that is empty or cut off reads as absent: whoever wrote it died before the fact that it states.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from seatrial.adapters.local.files import write_atomically
from seatrial.adapters.local.layout import AttemptFiles
from seatrial.adapters.local.resources import Share

__all__ = [
    "KillReason",
    "StartRecord",
    "read_exit",
    "read_killed",
    "read_pid",
    "read_start",
    "read_stop",
    "write_exit",
    "write_killed",
    "write_start",
    "write_stop",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecord:
    """What was started.

    Attributes:
        grace_seconds: From SIGTERM to SIGKILL.
        memory_limit_bytes: It is ended as OOMKilled above this.
        notes: What the user should know of how it was started.
        warm: Whether its leader is a fork of a process that was kept ready, and only waits.
    """

    started_at: datetime
    share: Share
    grace_seconds: float
    memory_limit_bytes: int | None = None
    notes: tuple[str, ...] = ()
    warm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KillReason:
    """Why an attempt was killed: CamelCase word and sentence."""

    reason: str
    message: str


def write_start(files: AttemptFiles, record: StartRecord) -> None:
    """Write what is about to be started. Not atomic: nothing runs before it is whole."""
    document = {
        "startedAt": record.started_at.timestamp(),
        "cpus": record.share.cpus,
        "gpus": list(record.share.gpus),
        "graceSeconds": record.grace_seconds,
        "memoryLimitBytes": record.memory_limit_bytes,
        "notes": list(record.notes),
        "warm": record.warm,
    }
    files.start.write_bytes(json.dumps(document).encode())


def read_start(files: AttemptFiles) -> StartRecord | None:
    """Return what was started, None when it was not (or its record is torn)."""
    document = _read_object(files.start)
    try:
        limit = document["memoryLimitBytes"]
        return StartRecord(
            started_at=datetime.fromtimestamp(float(str(document["startedAt"])), UTC),
            share=Share(cpus=float(str(document["cpus"])), gpus=_texts(document["gpus"])),
            grace_seconds=float(str(document["graceSeconds"])),
            memory_limit_bytes=limit if isinstance(limit, int) else None,
            notes=_texts(document["notes"]),
            warm=document.get("warm") is True,
        )
    except (KeyError, ValueError, OverflowError, OSError):
        return None


def write_exit(files: AttemptFiles, code: int) -> None:
    """Write the exit code on behalf of a leader that could not."""
    write_atomically(files.exit, f"{code}\n".encode())


def read_exit(files: AttemptFiles) -> int | None:
    """Return the exit code, None when it is not (wholly) written."""
    return _read_number(files.exit)


def read_pid(files: AttemptFiles) -> int | None:
    """Return the leader's process id, None when it is not (wholly) written."""
    return _read_number(files.pid)


def write_stop(files: AttemptFiles, deadline: float) -> None:
    """Ask the trial to stop; *deadline* (unix time) is when it is killed."""
    write_atomically(files.stop, f"{deadline:.3f}\n".encode())


def read_stop(files: AttemptFiles) -> float | None:
    """Return when a stopping attempt is to be killed (unix time), None when it is not being stopped."""
    try:
        return float(files.stop.read_text())
    except (OSError, ValueError):
        return None


def write_killed(files: AttemptFiles, why: KillReason) -> None:
    """Say why the attempt is about to be killed."""
    write_atomically(files.killed, json.dumps({"reason": why.reason, "message": why.message}).encode())


def read_killed(files: AttemptFiles) -> KillReason | None:
    """Return why the attempt was killed by us, None when it was not."""
    document = _read_object(files.killed)
    reason = document.get("reason")
    return KillReason(reason=str(reason), message=str(document.get("message", ""))) if reason else None


def _read_number(path: Path) -> int | None:
    try:
        text = path.read_text()
        # The line end is written in the same write as the number: without it the number is not whole.
        return int(text) if text.endswith("\n") else None
    except (OSError, ValueError):
        return None


def _read_object(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _texts(items: object) -> tuple[str, ...]:
    return tuple(str(item) for item in items) if isinstance(items, list) else ()
