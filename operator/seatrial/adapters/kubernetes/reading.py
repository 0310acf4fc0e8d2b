"""JSON of an API server, which takes up to 10,000 levels of it where a schema does not look: more than Python reads.

One such object in a list would keep everybody else's from being read. So what lies too deep is cut away, and the object is judged by
the rest, which is still deeper than any rule allows.
"""

import json
import re

__all__ = ["CUT", "DEEPEST", "read_json"]

DEEPEST = 400
"""Levels that are read: what the models refuse as too deep, and half of what Python can read."""

CUT = "(nested too deeply)"
"""Stands where something was cut away."""

_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def read_json(raw: bytes) -> object:
    """Return what *raw* says; what nests deeper than Python reads is cut at :data:`DEEPEST` levels.

    Raises:
        ValueError: If it is no JSON.
    """
    try:
        return json.loads(raw)
    except RecursionError:
        return json.loads(_cut(raw))


def _cut(raw: bytes) -> bytes:
    """Return JSON with :data:`CUT` in place of each list or object below the deepest level."""
    kept, start, depth = bytearray(), 0, 0
    for token in _TOKENS.finditer(raw):
        mark = raw[token.start() : token.start() + 1]
        if mark in b"[{":
            depth += 1
            if depth == DEEPEST + 1:
                kept += raw[start : token.start()] + json.dumps(CUT).encode()
        elif mark in b"]}":
            if depth == DEEPEST + 1:
                start = token.end()
            depth -= 1
    return bytes(kept + raw[start:])
