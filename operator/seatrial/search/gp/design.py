"""The first points of a study: the defaults, one for each branch of a conditional space, then an even cover."""

from functools import lru_cache

import numpy as np
from scipy.stats import qmc

from seatrial.search.gp.encoding import Array, Encoding
from seatrial.search.parameters import Categorical, Value
from seatrial.search.space import Assignment, SearchSpace

__all__ = ["branch_defaults", "design_length", "design_point"]

_LEAST_COVER = 2
# A choice of a hundred branches must not use up the budget before any model is asked.
_MOST_BRANCHES = 12


def design_length(encoding: Encoding, wanted: int | None) -> int:
    """Return the number of points before the model takes over.

    *wanted*, or k + 2, at least 6 and at most 12; in any case all branch defaults and two more points.
    """
    length = wanted if wanted is not None else max(6, min(encoding.width + 2, 12))
    return max(length, len(branch_defaults(encoding.space)) + _LEAST_COVER)


def design_point(encoding: Encoding, seed: int, index: int) -> Assignment:
    """Return point *index* of the design: the branch defaults, then the points of a scrambled Sobol sequence."""
    defaults = branch_defaults(encoding.space)
    if index < len(defaults):
        return defaults[index]
    place = index - len(defaults)
    # The points are made by powers of two, so that asking for the next one does not make all of them again.
    cover = _cover(encoding.width, seed, max(16, 1 << place.bit_length()))
    return encoding.decode(encoding.from_cube(cover[place : place + 1])[0])


def branch_defaults(space: SearchSpace) -> tuple[Assignment, ...]:
    """Return the default assignment; then, if a choice at the root activates others, the same one with each other value of it."""
    default = space.default()
    for parameter in space:
        if parameter.when is None and isinstance(parameter, Categorical) and space.children[parameter.name]:
            level = parameter.index(default[parameter.name])
            others: list[Value] = [value for i, value in enumerate(parameter.choices) if i != level]
            return (default, *(space.complete({parameter.name: v}) for v in others[: _MOST_BRANCHES - 1]))
    return (default,)


@lru_cache(maxsize=8)
def _cover(width: int, seed: int, count: int) -> Array:
    return np.asarray(qmc.Sobol(width, scramble=True, rng=np.random.default_rng(seed)).random(count), dtype=float)
