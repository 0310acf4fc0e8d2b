"""The words by which a container tells of its attempts: lines of its log, and its message."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

__all__ = ["build_line", "build_message", "read_message", "write_file"]

_MESSAGE_BYTES = 4096
# JSON leaves these as they are, and readers may take them for ends of lines.
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}


def build_line(word: str, told: Mapping[str, object]) -> bytes:
    """Return ``seatrial-slot <word> {…}`` as one line, whatever is told."""
    text = json.dumps(told, ensure_ascii=False).translate(_LINE_ENDS)
    return f"seatrial-slot {word} {text}\n".encode(errors="replace")


def build_message(name: str, code: int, finished: float, why: str, message: str) -> bytes:
    """Return the container's message: whose end it tells, and that attempt's own message, as much of it as there is room for.

    Args:
        name: Identity of the attempt.
        code: As a shell would tell it.
        finished: Unix seconds.
        why: Who wanted it to end; empty when nobody did.
        message: The attempt's own.
    """
    whole = f"seatrial-slot {name} {code} {finished:.3f} {why or '-'}\n{message}".encode(errors="replace")
    return whole[:_MESSAGE_BYTES].decode(errors="ignore").encode()


def read_message(path: Path) -> str:
    """Return the message of an attempt, empty when there is none."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(_MESSAGE_BYTES).decode(errors="replace")
    return ""


def write_file(path: Path, content: bytes) -> None:
    """Write a file in place, as far as that can be done: one that is mounted by itself cannot be replaced."""
    with contextlib.suppress(OSError):
        path.write_bytes(content)
