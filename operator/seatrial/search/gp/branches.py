"""Which branch of a conditional space is due for a look.

A model that has seen a few bad points of a branch rarely goes back there, although a branch whose good region is small looks bad at
first. So every few turns the search is confined to the branch that has been seen least, and finds there what promises most.
"""

import numpy as np

from seatrial.search.gp.candidates import Branch
from seatrial.search.gp.encoding import Array, Encoding

__all__ = ["due_branch"]

EVERY = 5
"""Every so many turns one is spent on a neglected branch; no multiple of the number of models, so that all get such turns."""

# Beyond this many values a parameter with children is a range rather than a choice between branches.
_MOST_BRANCHES = 12


def due_branch(encoding: Encoding, X: Array, index: int) -> Branch | None:
    """Return the branch that the suggestion for trial *index* is confined to, None for most trials.

    The parameters with children take turns; of each, the value with the fewest points is due, ties to the earlier value.

    Args:
        encoding: Columns of X.
        X: All evaluated and pending points, shape (n, k).
        index: Of the trial.
    """
    roots = [
        j
        for j, parameter in enumerate(encoding.free)
        if encoding.parents[j] and parameter.when is None and 0 < encoding.levels[j] <= _MOST_BRANCHES
    ]
    if not roots or index % EVERY:
        return None
    column = roots[index // EVERY % len(roots)]
    places = [encoding.place(column, level) for level in range(int(encoding.levels[column]))]
    counts = [int(np.isclose(X[:, column], place).sum()) for place in places]
    return Branch(column=column, place=places[int(np.argmin(counts))])
