"""Where chance comes from: a generator for each suggestion, made of the study's seed and the index of the trial."""

import numpy as np

__all__ = ["generator"]


def generator(seed: int, index: int, *purpose: int) -> np.random.Generator:
    """Return the random generator of one suggestion.

    Args:
        seed: Of the study, at least 0.
        index: Index of the trial that the suggestion is for, at least 0.
        purpose: Tells apart several generators of one trial, each at least 0.
    """
    return np.random.default_rng([seed, index, *purpose])
