"""Unquoted YAML scalars as kubectl resolves them: YAML 1.1 with the numbers of Go.

Charter: one scalar's text in, its value out. The table of tests/api/test_yaml_text.py was printed by kubectl's own library.
"""

import re

from seatrial.api.base import Value

__all__ = ["as_sent", "is_null", "resolve"]

_BOOLEANS = {
    spelling: truth
    for truth, words in ((True, "y yes true on"), (False, "n no false off"))
    for word in words.split()
    for spelling in (word, word.capitalize(), word.upper())
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_NOT_FINITE = re.compile(r"^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")
_INTEGER = re.compile(r"^([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([1-9][0-9]*|0))$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INT64, _UINT64 = 1 << 63, 1 << 64


def is_null(raw: str) -> bool:
    """Whether *raw* is a way to write null."""
    return raw in _NULLS


def resolve(raw: str) -> Value | None:
    """Return the value of an unquoted scalar; None for null and for NaN and infinities."""
    if raw in _NULLS or _NOT_FINITE.match(raw):
        return None
    if raw in _BOOLEANS:
        return _BOOLEANS[raw]
    if raw[0] not in "+-.0123456789":
        return raw
    # Underscores may group digits, except in a number that starts with its point.
    plain = raw if raw[0] == "." else raw.replace("_", "")
    if (whole := _parse_integer(plain)) is not None:
        return whole
    if _FLOAT.match(plain):
        number = float(plain)
        # Go's parser refuses 1e400: it stays text.
        return raw if abs(number) == float("inf") else as_sent(number)
    return raw


def _parse_integer(plain: str) -> Value | None:
    match = _INTEGER.match(plain)
    if match is None or len(plain) > 70:
        return None
    sign, *digits = match.groups()
    for text, base in zip(digits, (16, 2, 8, 10), strict=True):
        if text is not None:
            number = int(text, base) * (-1 if sign == "-" else 1)
            if -_INT64 <= number < _INT64:
                return number
            return float(number) if number < _UINT64 and number > 0 else None
    return None


def as_sent(number: float) -> Value:
    """Return *number* as it is after the way through JSON: whole numbers lose their point, 60.0 becomes 60."""
    return int(number) if number.is_integer() and abs(number) < _INT64 else number
