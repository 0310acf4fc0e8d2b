"""Metrics in what a program prints: ``step=3 val_accuracy=0.93 loss=nan``. docs/wire.md is the contract.

A pair stands between blanks or commas (or the ``]`` that ends a progress bar). ``loss: 0.3``, ``a==1``, ``?x=1`` in an address,
``95%`` and words are no metrics.
"""

import re
from collections.abc import Collection

from seatrial.adapters.metrics.names import CurveTable

__all__ = ["Printed", "parse_pairs"]

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_PAIR = re.compile(
    r"(?<![^\s,])([A-Za-z_][A-Za-z0-9_./:-]{0,119})="
    r"([+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|nan|inf(?:inity)?))(?=[\s,\]]|$)",
    re.IGNORECASE | re.ASCII,
)
_LAST_STEP = 2**53


def parse_pairs(line: str) -> dict[str, float]:
    """Return the ``name=value`` pairs of a line; the last one of a name wins.

    Numbers are read as Python does: ``1e-5``, ``.5``, ``nan``, ``-inf``, in any case.
    """
    if "=" not in line:
        return {}
    pairs = _PAIR.findall(_COLOUR.sub("", line))
    return {name: float(value) for name, value in pairs if "://" not in name}


class Printed:
    """Takes printed lines and fills a table.

    Once a line has told a step, lines that tell none belong to that step. Before, each line with a wanted metric is a step of its
    own, counted from 1.

    Args:
        table: Where the values go.
        wanted: Objectives and constraints.
        unit: What the study calls a step.

    Attributes:
        taken: Number of lines with a wanted metric.
    """

    def __init__(self, table: CurveTable, wanted: Collection[str], unit: str | None) -> None:
        self.table = table
        self.taken = 0
        self._wanted = frozenset(wanted)
        self._units = (unit, "step") if unit else ("step",)
        self._step: int | None = None
        self._count = 0

    def feed(self, lines: list[bytes]) -> None:
        """Take whole lines."""
        for line in lines:
            if b"=" in line:
                # A progress bar rewrites its line: each version counts as one.
                for part in line.decode("utf-8", "replace").split("\r"):
                    self._take(part)

    def restart(self) -> None:
        """Begin with the output of a new attempt."""
        self._step, self._count = None, 0

    def _take(self, line: str) -> None:
        pairs = parse_pairs(line)
        if not pairs:
            return
        self._read_step(pairs)
        if not pairs.keys().isdisjoint(self._wanted):
            self.taken += 1
            self._count += 1
        step = self._count if self._step is None else self._step
        for name, value in pairs.items():
            self.table.add(name, step, value)

    def _read_step(self, pairs: dict[str, float]) -> None:
        for unit in self._units:
            # A metric that the study asks for is a metric even if it is called step.
            if unit in self._wanted or unit not in pairs:
                continue
            value = pairs[unit]
            if value.is_integer() and 0 <= value <= _LAST_STEP:
                self._step = int(value)
                break
        for unit in self._units:
            if unit not in self._wanted:
                pairs.pop(unit, None)
