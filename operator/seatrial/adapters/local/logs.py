"""A trial's output: kept small on disk, quoted when it fails."""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from seatrial.adapters.metrics.lines import CUT_MARK

__all__ = ["LogLimits", "read_last_lines", "trim"]


_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[^\S\n]*\r(?!\n)|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """How much output is kept.

    Attributes:
        most_bytes: Above this the middle is cut out.
        head_bytes: What stays of the beginning.
        tail_bytes: What stays of the end.
    """

    most_bytes: int = 64 << 20
    head_bytes: int = 64 << 10
    tail_bytes: int = 1 << 20


def trim(name: Path | str, size: int, limits: LogLimits) -> None:
    """Cut the middle out of a log that outgrew its limit, while its writers go on.

    They append, so that each further write lands at the new end. What is written between the reading of the tail and the cut is lost.

    Args:
        name: The log.
        size: Its bytes when last looked at: a reason to look again, never what is cut by, since the log may have been trimmed since.
        limits: How much stays.
    """
    if size <= limits.most_bytes:
        return
    path = Path(name)
    with contextlib.suppress(OSError), path.open("r+b") as log:
        now = log.seek(0, os.SEEK_END)
        if now <= limits.most_bytes:
            return
        log.seek(now - limits.tail_bytes)
        tail = log.read(limits.most_bytes)
        gone = log.tell() - limits.head_bytes - len(tail)
        log.truncate(limits.head_bytes)
        writer = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(writer, CUT_MARK % gone + tail)
        finally:
            os.close(writer)


def read_last_lines(path: Path, most_bytes: int = 1024) -> str:
    """Return the last whole lines of a log as printable text, at most *most_bytes* of them; empty when there is none."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            start = max(0, size - most_bytes)
            log.seek(start)
            text = log.read(most_bytes).decode("utf-8", "replace")
    except OSError:
        return ""
    if start and "\n" in text.rstrip("\n"):
        text = text.split("\n", 1)[1]
    lines = [line.rstrip() for line in _UNPRINTABLE.sub("", text).splitlines()]
    return "\n".join(line for line in lines if line)
