"""Curves and shares in one line of text. Pure."""

import math
from collections.abc import Sequence

from seatrial.entry.cli.cells import UNICODE, Signs

__all__ = ["bar", "sparkline"]


def sparkline(values: Sequence[float], width: int, signs: Signs = UNICODE) -> str:
    """Draw *values* from the lowest to the highest sign, in at most *width* cells.

    More values than cells are drawn as the last one of equal stretches, so that the newest value always shows. A value that is
    not finite is drawn as a hole; values that are all equal are drawn in the middle.
    """
    if width <= 0 or not values:
        return ""
    count = len(values)
    if count > width:
        values = [values[(i + 1) * count // width - 1] for i in range(width)]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return signs.hole * len(values)
    low, high = min(finite), max(finite)
    return "".join(_level(value, low, high, signs) for value in values)


def _level(value: float, low: float, high: float, signs: Signs) -> str:
    if not math.isfinite(value):
        return signs.hole
    steps = len(signs.levels) - 1
    # Halves keep the difference finite for the largest floats.
    span = high / 2 - low / 2
    share = (value / 2 - low / 2) / span if span > 0 else 0.5
    return signs.levels[round(min(max(share, 0.0), 1.0) * steps)]


def bar(share: float, width: int, signs: Signs = UNICODE) -> tuple[str, str]:
    """Return the used and the free part of a bar of *width* cells; it is full only when *share* is 1."""
    share = min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    used = width if share >= 1 else min(round(share * width), max(width - 1, 0))
    return signs.full * used, signs.empty * (width - used)
