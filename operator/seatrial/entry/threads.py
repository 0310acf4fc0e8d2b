"""One BLAS thread for Seatrial itself, none of its business for trials.

The models are small: more threads make a suggestion slower while trials use the cores, and change its ninth digit, so that the same
history would no longer give the same suggestion. The libraries read the variables when they are loaded, hence before NumPy.
"""

import os

__all__ = ["limit_threads", "trial_environment"]

_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_before: dict[str, str | None] = {}


def limit_threads() -> None:
    """Let this process compute with one thread."""
    for name in _VARIABLES:
        _before.setdefault(name, os.environ.get(name))
        os.environ[name] = "1"


def trial_environment() -> dict[str, str]:
    """Return the environment as it was before :func:`limit_threads`, for trials."""
    found = dict(os.environ)
    for name, value in _before.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found
