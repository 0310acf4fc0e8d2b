"""Explore: change what an exploited member trains with.

Source: Jaderberg et al. 2017, "Population based training of neural networks", section 4.1.1, https://arxiv.org/abs/1711.09846:
*perturb* multiplies a hyperparameter by 0.8 or 1.2, *resample* draws it anew from its distribution. The paper's parameters are
positive numbers; the rest is decided here:

=================  ====================================================================================
kind               perturbed
=================  ====================================================================================
float              multiplied; on a linear scale it moves by at least 1 % of its range, so that 0 is left
float with a step  the level nearest to the product, at least the next one
int                the same
ordinal            the next choice up or down
categorical        stays; it changes only when it is resampled
constant           stays
=================  ====================================================================================

A number stays in its range; one that stands at the end of it moves inwards. A conditional parameter whose parent changed is drawn
anew, and so is one that becomes active.
"""

import math
from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from seatrial.search.enumeration import level_of
from seatrial.search.parameters import Categorical, Constant, Float, Ordinal, Parameter, Value
from seatrial.search.space import Assignment, SearchSpace

__all__ = ["Explorer", "explore", "perturb"]

_LEAST_MOVE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Explorer:
    """How hyperparameters change.

    Attributes:
        mutable: Names of the parameters that may change; the others keep the winner's value.
        resample_probability: Probability of each parameter of being drawn anew instead of perturbed.
        down: Factor below 1.
        up: Factor above 1.
    """

    mutable: Set[str]
    resample_probability: float = 0.25
    down: float = 0.8
    up: float = 1.2


def explore(space: SearchSpace, assignment: Assignment, explorer: Explorer, rng: np.random.Generator) -> Assignment:
    """Return what an exploited member trains with.

    Args:
        space: The search space.
        assignment: The winner's.
        explorer: How it changes.
        rng: Source of chance. Every parameter uses three numbers, so that one does not depend on what became of another.
    """
    chance = rng.random((len(space), 3)).tolist()
    chosen: Assignment = {}
    for parameter, (draw, coin, direction) in zip(space, chance, strict=True):
        name, when = parameter.name, parameter.when
        if when is not None and not when.holds(chosen):
            continue
        fresh = parameter.decode(draw)
        if name not in assignment:
            chosen[name] = fresh
        elif name not in explorer.mutable:
            chosen[name] = assignment[name]
        elif coin < explorer.resample_probability or (when and chosen[when.parent] != assignment.get(when.parent)):
            chosen[name] = fresh
        else:
            chosen[name] = perturb(
                parameter, assignment[name], up=direction >= 0.5, factors=(explorer.down, explorer.up)
            )
    return chosen


def perturb(parameter: Parameter, value: Value, *, up: bool, factors: tuple[float, float] = (0.8, 1.2)) -> Value:
    """Return a neighbour of *value*, never *value* itself unless it is a choice without order or has no alternative.

    Args:
        parameter: Kind and range.
        value: One of its values.
        up: Whether the upper factor is meant; at the end of the range it is the other one.
        factors: The lower and the upper factor.
    """
    if isinstance(parameter, Categorical | Constant) or parameter.levels == 1:
        return value
    moved = _moved(parameter, value, up=up, factors=factors)
    # Encoded, since a choice of 0 equals one of False.
    stays = parameter.encode(moved) == parameter.encode(value)
    return _moved(parameter, value, up=not up, factors=factors) if stays else moved


def _moved(parameter: Parameter, value: Value, *, up: bool, factors: tuple[float, float]) -> Value:
    levels = parameter.levels or 1
    if isinstance(parameter, Float) and parameter.levels is None:
        return _moved_float(parameter, float(value), up=up, factors=factors)
    old = level_of(parameter, value)
    if isinstance(parameter, Ordinal):
        return parameter.at(min(max(old + (1 if up else -1), 0), levels - 1))
    target = float(value) * factors[up]
    # A product that is hardly different, that of 0 above all, still says which way to go.
    sign = (1 if up else -1) if target == value else int(math.copysign(1, target - float(value)))
    span = float(parameter.at(levels - 1)) - float(parameter.at(0))
    nearest = round((target - float(parameter.at(0))) / span * (levels - 1))
    new = max(nearest, old + 1) if sign > 0 else min(nearest, old - 1)
    return parameter.at(min(max(new, 0), levels - 1))


def _moved_float(parameter: Float, value: float, *, up: bool, factors: tuple[float, float]) -> float:
    target = value * factors[up]
    least = 0.0 if parameter.log else _LEAST_MOVE * (parameter.high - parameter.low)
    if abs(target - value) < least:
        sign = (1.0 if up else -1.0) if target == value else math.copysign(1.0, target - value)
        target = value + sign * least
    return min(max(target, parameter.low), parameter.high)
