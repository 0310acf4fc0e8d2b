"""Assignments as rows of numbers, many at a time, and which parameters are active in a row.

Duty: encode, decode, snap to the grid of the possible values, fill what is inactive. It knows no model.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seatrial.search.enumeration import level_of
from seatrial.search.parameters import Categorical, Condition, Int, Parameter, Value
from seatrial.search.space import Assignment, SearchSpace
from seatrial.search.variation import free_parameters

__all__ = ["INACTIVE_CODE", "Array", "Encoding", "Mask"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

INACTIVE_CODE = -1.0
_MIDDLE = 0.5


@dataclass(frozen=True)
class Encoding:
    """The columns of X: one for each free parameter, in the space's order."""

    space: SearchSpace

    @cached_property
    def free(self) -> tuple[Parameter, ...]:
        """Parameters with a column."""
        return free_parameters(self.space)

    @property
    def width(self) -> int:
        """Number of columns, k."""
        return len(self.free)

    @cached_property
    def column(self) -> Mapping[str, int]:
        """Column by parameter name."""
        return {parameter.name: i for i, parameter in enumerate(self.free)}

    @cached_property
    def categorical(self) -> Mask:
        """Which columns are choices without order, shape (k,)."""
        return np.array([isinstance(p, Categorical) for p in self.free], dtype=bool)

    @cached_property
    def continuous(self) -> Mask:
        """Which columns are numbers without a grid, shape (k,)."""
        return np.array([p.levels is None for p in self.free], dtype=bool)

    @cached_property
    def levels(self) -> NDArray[np.int64]:
        """Number of values of each column, 0 for a continuum, shape (k,)."""
        # Nothing looks at ranges beyond 2^53 level by level, where a float could not tell neighbours apart either.
        return np.array([min(p.levels or 0, 2**53) for p in self.free], dtype=np.int64)

    @cached_property
    def defaults(self) -> Array:
        """The row of all defaults (the middle where none is given), as if all parameters were active, shape (k,)."""
        return np.array(
            [self._number(p, p.default) if p.default is not None else self._middle(p) for p in self.free], dtype=float
        )

    @cached_property
    def centre(self) -> Array:
        """Defaults of the numbers in [0, 1] without snapping: exactly 0.5 where none is given, shape (k,)."""
        given = [p.encode(p.default) if p.default is not None else _MIDDLE for p in self.free]
        return np.array(given, dtype=float)

    # ---- assignments -------------------------------------------------------------------------------------------------

    def encode(self, assignments: Iterable[Assignment]) -> Array:
        """Return the rows of *assignments*, shape (q, k)."""
        rows = [
            [self._number(p, assignment[p.name]) if p.name in assignment else self._absent(p) for p in self.free]
            for assignment in assignments
        ]
        return np.array(rows, dtype=float).reshape(len(rows), self.width)

    def decode(self, row: Array) -> Assignment:
        """Return the assignment of one row, shape (k,)."""
        values: Assignment = {p.name: p.decode(_MIDDLE) for p in self.space if p.levels == 1}
        for parameter, x in zip(self.free, row, strict=True):
            if isinstance(parameter, Categorical):
                values[parameter.name] = parameter.at(max(int(x), 0))
            else:
                values[parameter.name] = parameter.decode(float(x))
        return self.space.prune(values)

    def _number(self, parameter: Parameter, value: Value) -> float:
        return float(parameter.index(value)) if isinstance(parameter, Categorical) else parameter.encode(value)

    def _middle(self, parameter: Parameter) -> float:
        return self._number(parameter, parameter.decode(_MIDDLE))

    def _absent(self, parameter: Parameter) -> float:
        return INACTIVE_CODE if isinstance(parameter, Categorical) else _MIDDLE

    # ---- rows --------------------------------------------------------------------------------------------------------

    def from_cube(self, U: Array) -> Array:
        """Return canonical rows for points of the unit cube, both of shape (q, k)."""
        return self.canonical(self.anywhere(U))

    def anywhere(self, U: Array) -> Array:
        """Return rows for points of the unit cube as if all parameters were active, numbers not snapped, shape (q, k)."""
        return np.where(self.categorical, np.minimum(np.floor(U * self.levels), self.levels - 1), U)

    def canonical(self, X: Array) -> Array:
        """Return *X* with numbers snapped to their grids and inactive columns filled, shape (q, k)."""
        X = X.copy()
        for j, parameter in enumerate(self.free):
            if not isinstance(parameter, Categorical):
                X[:, j] = _snap(parameter, X[:, j])
        active = self.active(X)
        absent = np.where(self.categorical, INACTIVE_CODE, _MIDDLE)
        return np.where(active, X, absent)

    def active(self, X: Array) -> Mask:
        """Return which parameters are active in each row, shape (q, k).

        A child of a continuum counts as inactive: its parent hits a single value with probability 0.
        """
        everywhere = np.ones(len(X), dtype=bool)
        active: dict[str, Mask] = {}
        for parameter in self.space:
            on = everywhere
            if parameter.when is not None:
                on = active[parameter.when.parent] & self._holds(parameter.when, X)
            active[parameter.name] = on
        return np.array([active[p.name] for p in self.free], dtype=bool).reshape(self.width, len(X)).T

    @cached_property
    def conditional(self) -> Mask:
        """Which columns belong to parameters with a condition, shape (k,)."""
        return np.array([p.when is not None for p in self.free], dtype=bool)

    @cached_property
    def parents(self) -> Mask:
        """Which columns other parameters depend on, shape (k,)."""
        return np.array([bool(self.space.children[p.name]) for p in self.free], dtype=bool)

    def level(self, column: int, x: float) -> int:
        """Return the level that a number in a discrete column stands for."""
        return int(_level(self.free[column], np.array([x]))[0])

    def place(self, column: int, level: int) -> float:
        """Return the number that stands for a level of a discrete column."""
        parameter = self.free[column]
        return float(level) if isinstance(parameter, Categorical) else parameter.encode(parameter.at(level))

    def _holds(self, condition: Condition, X: Array) -> Mask:
        parent = self.space.by_name[condition.parent]
        if parent.levels is None:
            return np.zeros(len(X), dtype=bool)
        wanted = [level_of(parent, value) for value in condition.values if parent.contains(value)]
        if parent.name not in self.column:
            return np.full(len(X), bool(wanted))
        return np.isin(_level(parent, X[:, self.column[parent.name]]), wanted)


def _snap(parameter: Parameter, x: Array) -> Array:
    """Return the encoded places of the values that *x* decodes to."""
    x = np.clip(x, 0.0, 1.0)
    if parameter.levels is None:
        return x
    if isinstance(parameter, Int) and parameter.log:
        low, width = _log_range(parameter)
        return np.asarray((np.log(_level(parameter, x) + float(parameter.low)) - low) / width)
    return (_level(parameter, x) + 0.5) / parameter.levels


def _level(parameter: Parameter, x: Array) -> Array:
    """Return the level that each number of a column stands for."""
    levels = parameter.levels or 1
    if isinstance(parameter, Categorical):
        return x
    if isinstance(parameter, Int) and parameter.log:
        low, width = _log_range(parameter)
        value = np.clip(np.round(np.exp(low + x * width)), parameter.low, parameter.high)
        return np.asarray(value - parameter.low)
    return np.minimum(np.floor(np.clip(x, 0.0, 1.0) * levels), levels - 1)


def _log_range(parameter: Int) -> tuple[float, float]:
    low = math.log(parameter.low - 0.5)
    return low, math.log(parameter.high + 0.5) - low
