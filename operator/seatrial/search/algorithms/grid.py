"""Grid search: every combination of values once, in a seeded order that spreads over the space from the first trial on.

A parameter with finitely many values brings them all, unless a resolution thins it out; a float without a step brings as many
evenly spaced values (on its scale, both ends included) as its resolution says. A conditional parameter is combined only with the
values of its parent under which it exists. The order is a seeded permutation computed point by point, so that a grid of a billion
points costs nothing and one that is cut off by the budget is still a fair sample of the whole.
"""

import math
from collections.abc import Set
from dataclasses import dataclass
from itertools import pairwise

from seatrial.search.base import Ask, Exhausted, History, Settings, Suggestion
from seatrial.search.enumeration import Enumeration, permuted
from seatrial.search.parameters import Float, Int, Ordinal, Parameter, Value
from seatrial.search.recommend import recommend_best
from seatrial.search.space import Key, SearchSpace
from seatrial.search.turns import ask_in_turn

__all__ = ["Grid", "build_grid", "grid_size", "grid_space"]

_EXAMPLE_POINTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The grid and the order in which it is walked."""

    space: SearchSpace
    points: Enumeration
    seed: int

    def ask(self, history: History, count: int) -> Ask:
        """Return the next *count* unused points."""
        return ask_in_turn(self.space, history, count, self._suggest)

    def recommend(self, history: History) -> int | None:
        """Return the lowest value."""
        return recommend_best(history)

    def _suggest(self, history: History, used: Set[Key]) -> Suggestion | Exhausted:
        size = self.points.size
        # Trial i takes point i of the order. Only trials that came from elsewhere leave gaps, which are filled in a second round.
        for step in range(size):
            position = (history.next_index + step) % size
            assignment = self.points.at(permuted(position, size, self.seed))
            if self.space.key(assignment) not in used:
                return Suggestion(assignment=assignment, algorithm="grid", detail=f"point {position + 1:,} of {size:,}")
        return Exhausted(message=f"all {size:,} points of the grid have been used")


def build_grid(space: SearchSpace, settings: Settings) -> Grid:
    """Return the algorithm.

    Raises:
        ValueError: If the grid is unbounded, see :func:`grid_space`.
    """
    return Grid(space=space, points=Enumeration(grid_space(space, settings)), seed=settings.seed)


def grid_size(space: SearchSpace, settings: Settings) -> int:
    """Return the exact number of points of the grid.

    Raises:
        ValueError: If the grid is unbounded, see :func:`grid_space`.
    """
    return Enumeration(grid_space(space, settings)).size


def grid_space(space: SearchSpace, settings: Settings) -> SearchSpace:
    """Return the finite space whose assignments are the points of the grid.

    Args:
        space: The search space.
        settings: ``resolutions`` by parameter name, and the number ``points`` for every other float without a step and for ints
            with more values than that.

    Raises:
        ValueError: If a float without a step has neither. The message says how many points the grid would have with five each.
    """
    points = settings.numbers.get("points")
    thin = [_thinned(p, settings.resolutions.get(p.name), int(points) if points else None) for p in space.declared]
    gridded = SearchSpace(thin)
    if endless := [p.name for p in gridded if p.levels is None]:
        example = SearchSpace([p if p.levels is not None else _thinned(p, _EXAMPLE_POINTS, None) for p in thin])
        size = Enumeration(example).size
        raise ValueError(
            f"grid needs a number of points for every float without a step, but {', '.join(endless)} {'have' if endless[1:] else 'has'} none; with "
            f"{_EXAMPLE_POINTS} points each the grid would have {size:,} trials: set algorithm.grid.points: {_EXAMPLE_POINTS}, "
            "algorithm.grid.resolutions, or a step"
        )
    return gridded


def _thinned(parameter: Parameter, resolution: int | None, points: int | None) -> Parameter:
    """Return *parameter* with only the values that the grid uses."""
    if not isinstance(parameter, Float | Int):
        return parameter
    stepped_float = isinstance(parameter, Float) and parameter.levels is not None
    wanted = resolution or (None if stepped_float else points)
    if wanted is None or (parameter.levels is not None and parameter.levels <= wanted):
        return parameter
    return Ordinal(name=parameter.name, choices=_spaced(parameter, wanted), when=parameter.when)


def _spaced(parameter: Float | Int, points: int) -> tuple[Value, ...]:
    """Return *points* values, both ends included, evenly spaced on the parameter's scale; fewer where ints round together."""
    shares = [0.5] if points == 1 else [k / (points - 1) for k in range(points)]
    if parameter.log:
        start, width = math.log(parameter.low), math.log(parameter.high / parameter.low)
        values = [math.exp(start + share * width) for share in shares]
        values = [min(max(value, parameter.low), parameter.high) for value in values]
        values = values if points == 1 else [parameter.low, *values[1:-1], parameter.high]
    elif parameter.levels is None:
        values = [parameter.low + share * (parameter.high - parameter.low) for share in shares]
    else:
        # Half up, so that the middle does not depend on whether its level is even.
        values = [parameter.at(math.floor(share * (parameter.levels - 1) + 0.5)) for share in shares]
    low, high = parameter.low, parameter.high
    # Twelve digits read better, but must not lead out of the range.
    whole: list[Value] = [
        round(v) if isinstance(parameter, Int) else min(max(float(f"{v:.12g}"), low), high) for v in values
    ]
    return (*whole[:1], *(b for a, b in pairwise(whole) if a != b))
