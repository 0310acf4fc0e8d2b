"""Logs of the operator: one line an event, as JSON for machines or as text for people.

Constant words are the message, what varies are fields. Nothing that looks like a credential is written, and no value is long.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import TextIO

__all__ = ["JsonLines", "LogFormat", "TextLines", "set_up_logs"]

_VALUE_LIMIT = 1000
_TRACE_LIMIT = 8000
_ITEMS_LIMIT = 32
_HIDDEN = "[hidden]"
# Names of fields, whatever they hold.
_SECRET_NAME = re.compile(r"token|passw|secret|authorization|credential|api_?key|private_?key|cookie", re.IGNORECASE)
# Values in a text that says what they are, and addresses with a password.
_SECRET_TEXT = re.compile(
    r"(?P<before>\bBearer\s+|\bBasic\s+"
    r"|(?:token|password|passwd|secret|api[_-]?key|authorization)[\"']?\s*[=:]\s*[\"']?(?!Bearer|Basic))[^\s\"',;&]+",
    re.IGNORECASE,
)
_SECRET_ADDRESS = re.compile(r"(?P<before>://[^\s/:@]*:)[^\s/@]+(?=@)")
# What every record has; all else was given with the event.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# Kopf gives whole objects and its settings along; a study's name is in its messages.
_LEFT_OUT = frozenset({"k8s_skip", "settings", "k8s_ref"})


class LogFormat(StrEnum):
    """How lines are written."""

    JSON = "json"
    TEXT = "text"


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        # The four above are never replaced.
        line |= {name: value for name, value in _fields(record).items() if name not in line}
        if trace := _trace(self, record):
            line["exception"] = trace
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)


class TextLines(logging.Formatter):
    """One line for people: time, level, message, fields as ``name=value``, and a traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        known = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        words = f"{_time(record)} {record.levelname:<7} {_clean(record.getMessage())}"
        lines = f"{words}  {known}".rstrip().replace("\n", "\\n")
        trace = _trace(self, record)
        return f"{lines}\n{trace}" if trace else lines


def set_up_logs(form: LogFormat, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Let everything that is logged in this process be written in one way.

    Args:
        form: How lines are written.
        level: Least level of Seatrial's own events; other libraries speak from WARNING on, or from *level* on if that is higher.
        stream: Where to; standard error by default.

    Raises:
        ValueError: If *level* is no level.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form is LogFormat.JSON else TextLines())
    own = logging.getLogger("seatrial")
    own.setLevel(level.upper())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, own.level))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in vars(record).items():
        if name in _OWN or name in _LEFT_OUT or name.startswith("_"):
            continue
        if is_dataclass(value) and not isinstance(value, type):
            found[name] = type(value).__name__
            found |= {part.name: _plain(part.name, getattr(value, part.name)) for part in fields(value)}
        else:
            found[name] = _plain(name, value)
    if (words := found.pop("message", None)) is not None:
        # An action has a sentence of its own.
        found["detail"] = words
    return found


def _plain(name: str, value: object) -> object:
    """Return a value as JSON may have it: short, and without a secret."""
    if _SECRET_NAME.search(name):
        return _HIDDEN
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # JSON has no NaN.
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(str(key), item) for key, item in list(value.items())[:_ITEMS_LIMIT]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(name, item) for item in list(value)[:_ITEMS_LIMIT]]
    return _clean(str(value))


def _clean(text: str, limit: int = _VALUE_LIMIT) -> str:
    # What is cut off first need not be searched.
    kept = text if len(text) <= limit else f"{text[:limit]}…"
    for pattern in (_SECRET_TEXT, _SECRET_ADDRESS):
        kept = pattern.sub(rf"\g<before>{_HIDDEN}", kept)
    return kept


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    text = formatter.formatException(record.exc_info)
    # The end tells what went wrong.
    return _clean(text if len(text) <= _TRACE_LIMIT else f"…{text[-_TRACE_LIMIT:]}", _TRACE_LIMIT + 1)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
