"""Observations of a laptop's trial: JSON lines as docs/wire.md describes them, and anything else that may stand among them."""

import json
import math

from seatrial.adapters.metrics.names import CurveTable

__all__ = ["Observations"]

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LAST_STEP = 2**53


class Observations:
    """Takes lines and fills a table.

    Attributes:
        taken: Number of observations.
        skipped: Number of lines that are none.
    """

    def __init__(self, table: CurveTable) -> None:
        self.table = table
        self.taken = 0
        self.skipped = 0

    def feed(self, lines: list[bytes]) -> None:
        """Take whole lines."""
        for line in lines:
            if not line or line.isspace():
                continue
            if self._take(line):
                self.taken += 1
            else:
                self.skipped += 1

    def _take(self, line: bytes) -> bool:
        try:
            observation = json.loads(line.decode())
            step, metrics = observation["step"], observation["metrics"]
            items = metrics.items()
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            return False
        if type(step) is not int:
            if type(step) is not float or not step.is_integer():
                return False
            step = int(step)
        if not 0 <= step <= _LAST_STEP:
            return False
        for name, written in items:
            value = written if type(written) is float else _number(written)
            if value is not None and name:
                self.table.add(name, step, value)
        return True


def _number(written: object) -> float | None:
    if isinstance(written, str):
        return _WORDS.get(written)
    if isinstance(written, bool) or not isinstance(written, int | float):
        return None
    try:
        return float(written)
    except OverflowError:
        return math.inf if written > 0 else -math.inf
