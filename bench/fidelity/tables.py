"""Trainings that were done once: the validation loss after every step, for every point of a grid.

A table holds whole numbers, 1000 * ln(loss), of which every row after the first number has differences: small, and exact enough. Only
NumPy is needed to read one, so that every peer reads the same.
"""

import gzip
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["TABLES", "Table", "load", "save"]

HERE = Path(__file__).parent
TABLES = ("digits-mlp", "digits-boosting")
_UNIT = 1000.0


@dataclass(frozen=True, kw_only=True)
class Table:
    """One task.

    Attributes:
        parameters: (name, its values in order); a point is one index for each, the last one changing fastest.
        losses: After steps 1 to ``steps``, shape (points, steps).
    """

    name: str
    parameters: tuple[tuple[str, tuple[float, ...]], ...]
    losses: np.ndarray

    @property
    def steps(self) -> int:
        """Steps of a full training."""
        return self.losses.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each parameter."""
        return tuple(len(values) for _, values in self.parameters)

    def row(self, levels: dict[str, int]) -> int:
        """Return the row of a point, given the index of each value."""
        return int(np.ravel_multi_index([int(levels[name]) for name, _ in self.parameters], self.shape))

    def pace(self, row: int) -> float:
        """Return seconds a step: between 0.8 and 1.2, so that trials do not end in step."""
        return 0.8 + 0.4 * ((row * 0x9E3779B1 % 2**32) / 2**32)

    def best_of(self, trials: int) -> float:
        """Return the median of the lowest loss, at any step, of *trials* points that are drawn evenly: exact, since all are known."""
        order = np.sort(self.losses.min(axis=1))
        # P(best of k draws is among the lowest i) = 1 - (1 - i / n)^k.
        share = 1 - 0.5 ** (1 / trials)
        return float(order[max(0, math.ceil(share * len(order)) - 1)])


def save(table: Table) -> None:
    """Write a table beside this file."""
    whole = np.rint(_UNIT * np.log(table.losses)).astype(int)
    rows = [[int(row[0]), *np.diff(row).tolist()] for row in whole]
    body = {"parameters": [[name, list(values)] for name, values in table.parameters], "rows": rows}
    text = json.dumps(body, separators=(",", ":")).encode()
    (HERE / f"{table.name}.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))


def load(name: str) -> Table:
    """Return a table that was trained."""
    body = json.loads(gzip.decompress((HERE / f"{name}.json.gz").read_bytes()))
    losses = np.exp(np.cumsum(np.array(body["rows"]), axis=1) / _UNIT)
    return Table(name=name, parameters=tuple((n, tuple(v)) for n, v in body["parameters"]), losses=losses)
