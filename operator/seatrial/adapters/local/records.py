"""The small files of an attempt: what was started, how it ended, when and why it is to be stopped or killed.

What is empty or cut off reads as absent: whoever wrote it died before the fact that it states.

The note of an attempt begins with two numbers of a fixed width, process id and exit code, blank until they are known, each written by one
write that ends its line. What was started follows. The place for both is thus taken before anything runs.
"""

import contextlib
import errno
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from seatrial.adapters.local.files import write_atomically
from seatrial.adapters.local.layout import AttemptFiles
from seatrial.adapters.local.resources import Share
from seatrial.adapters.local.warden import EXIT_AT, NUMBER_WIDTH, PID_AT

__all__ = [
    "KillReason",
    "StartRecord",
    "read_exit",
    "read_exit_time",
    "read_killed",
    "read_pid",
    "read_pid_time",
    "read_start",
    "read_stop",
    "write_exit",
    "write_killed",
    "write_start",
    "write_stop",
]

_NUMBERS_WIDTH = EXIT_AT + NUMBER_WIDTH


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


def write_start(lock: int, record: StartRecord) -> None:
    """Write what is about to be started into a note. Not atomic: nothing runs before it is whole.

    Args:
        lock: Descriptor of the note, whose lock is held.
        record: What is about to be started.
    """
    if os.fstat(lock).st_size:
        # It was to be started before, and could not.
        os.ftruncate(lock, 0)
    lasting = _write_lasting(
        record.share, record.grace_seconds, record.memory_limit_bytes, record.notes, warm=record.warm
    )
    content = b'%*s{"startedAt": %r, %s' % (_NUMBERS_WIDTH, b"", record.started_at.timestamp(), lasting)
    if os.pwrite(lock, content, 0) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@lru_cache(maxsize=64)
def _write_lasting(share: Share, grace: float, limit: int | None, notes: tuple[str, ...], *, warm: bool) -> bytes:
    """Return the rest of the record as JSON, without its beginning: nearly all attempts of a study have the same one."""
    document = {
        "cpus": share.cpus,
        "gpus": list(share.gpus),
        "graceSeconds": grace,
        "memoryLimitBytes": limit,
        "notes": list(notes),
        "warm": warm,
    }
    return json.dumps(document).encode().removeprefix(b"{")


def read_start(files: AttemptFiles) -> StartRecord | None:
    """Return what was started, None when it was not (or its record is torn)."""
    document = _parse_object(_read(files.note)[_NUMBERS_WIDTH:])
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
    descriptor = os.open(files.note, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.pwrite(descriptor, b"%*d\n" % (NUMBER_WIDTH - 1, code), EXIT_AT)
    finally:
        os.close(descriptor)


def read_exit(files: AttemptFiles) -> int | None:
    """Return the exit code, None when it is not (wholly) written."""
    return _read_number(files, EXIT_AT, files.exit)


def read_exit_time(files: AttemptFiles) -> datetime | None:
    """Return when the exit code was written; call it only when there is one."""
    return _written_at(files.exit) or _written_at(files.note)


def read_pid(files: AttemptFiles) -> int | None:
    """Return the leader's process id, None when it is not (wholly) written."""
    return _read_number(files, PID_AT, files.pid)


def read_pid_time(files: AttemptFiles) -> datetime | None:
    """Return when the leader's process id was written; call it only when there is one, and no exit code."""
    return _written_at(files.pid) or _written_at(files.note)


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
    document = _parse_object(_read(files.killed))
    reason = document.get("reason")
    return KillReason(reason=str(reason), message=str(document.get("message", ""))) if reason else None


def _read_number(files: AttemptFiles, place: int, own: Path) -> int | None:
    """Return a number of the note, or the one that a leader wrote itself into a file of its own."""
    found = _parse_number(_read(files.note)[place : place + NUMBER_WIDTH])
    return found if found is not None else _parse_number(_read(own))


def _parse_number(text: bytes) -> int | None:
    # The line end is written in the same write as the number: without it the number is not whole.
    with contextlib.suppress(ValueError):
        return int(text) if text.endswith(b"\n") else None
    return None


def _written_at(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parse_object(content: bytes) -> dict[str, object]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _texts(items: object) -> tuple[str, ...]:
    return tuple(str(item) for item in items) if isinstance(items, list) else ()
