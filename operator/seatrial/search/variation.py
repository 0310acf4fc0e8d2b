"""Small random changes of one value: what evolutionary algorithms and the search for an unused neighbour have in common."""

import numpy as np

from seatrial.search.enumeration import level_of
from seatrial.search.parameters import Categorical, Float, Int, Parameter, Value
from seatrial.search.space import SearchSpace

__all__ = ["free_parameters", "mutate", "reflect"]


def free_parameters(space: SearchSpace) -> tuple[Parameter, ...]:
    """Return the parameters that can take more than one value."""
    return tuple(parameter for parameter in space if parameter.levels != 1)


def reflect(u: float) -> float:
    """Fold a number into [0, 1] as if both ends were mirrors; clipping would pile points up on the ends."""
    return 1.0 - abs(1.0 - abs(u) % 2.0)


def mutate(parameter: Parameter, value: Value, rng: np.random.Generator, *, reach: float = 0.1) -> Value:
    """Return another value of *parameter*, near *value* where nearness means something.

    A choice without order becomes any other choice. Discrete levels move by a normal number of levels, at least one. A continuum
    moves by a normal step in the unit cube.

    Args:
        parameter: A parameter with more than one value.
        value: Where to start.
        rng: Source of chance.
        reach: Standard deviation of a step, as a share of the range.
    """
    if isinstance(parameter, Categorical):
        old = parameter.index(value)
        return parameter.at((old + 1 + int(rng.integers(parameter.levels - 1))) % parameter.levels)
    if isinstance(parameter, Float) and parameter.levels is None:
        return parameter.decode(reflect(parameter.encode(value) + rng.normal(0.0, reach)))
    levels = parameter.levels or 1
    old = level_of(parameter, value)
    if isinstance(parameter, Int) and parameter.log:
        new = level_of(parameter, parameter.decode(reflect(parameter.encode(value) + rng.normal(0.0, reach))))
    else:
        new = round(reflect((old + rng.normal(0.0, reach * levels)) / (levels - 1)) * (levels - 1))
    if new == old:
        up = bool(rng.integers(2)) if 0 < old < levels - 1 else old == 0
        new = old + 1 if up else old - 1
    return parameter.at(new)
