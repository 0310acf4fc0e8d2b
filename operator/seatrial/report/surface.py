"""The objective over two parameters: a smooth mean of the trials nearby, and nothing where there are none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seatrial.report.axes import Axis
from seatrial.report.trials import TrialView

__all__ = ["Surface", "build_surface"]

_RESOLUTION = 34
_MOST_TRIALS = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Mean objective over a grid of two parameters.

    Attributes:
        x: Places along the first parameter's own scale.
        y: Places along the second parameter's own scale.
        z: As the user states the objective, ``z[row of y][column of x]``; NaN where no trial is near.
    """

    across: Axis
    up: Axis
    x: tuple[float, ...]
    y: tuple[float, ...]
    z: NDArray[np.float64]


def build_surface(across: Axis, up: Axis, trials: Sequence[TrialView], *, maximised: bool) -> Surface | None:
    """Return the Nadaraya-Watson kernel mean of the first objective, None with fewer than 6 trials that have both parameters.

    The Gaussian kernel's width follows Scott's rule for two dimensions, ``n ** (-1/6)`` times the spread of the trials on the
    parameter's scale. Values beyond the poorest 5 % are clipped, so that one bad trial does not paint the map.

    Args:
        across: First parameter, a number.
        up: Second parameter, a number.
        trials: Those with a result.
        maximised: Whether large values are good.
    """
    rows = [
        (a, b, trial.values[0])
        for trial in trials[:_MOST_TRIALS]
        if (a := across.unit(trial.assignment.get(across.name))) is not None
        and (b := up.unit(trial.assignment.get(up.name))) is not None
        and trial.values[0] is not None
    ]
    if len(rows) < 6:
        return None
    seen = np.array(rows, dtype=np.float64)
    seen[:, 2] = np.clip(seen[:, 2], -1e300, 1e300)
    low, high = np.quantile(seen[:, 2], [0.05, 0.95])
    values = np.maximum(seen[:, 2], low) if maximised else np.minimum(seen[:, 2], high)
    grid = (np.arange(_RESOLUTION) + 0.5) / _RESOLUTION
    widths = np.clip(seen[:, :2].std(axis=0) * len(seen) ** (-1 / 6), 0.04, 0.14)
    near_x = np.exp(-0.5 * ((grid[:, None] - seen[None, :, 0]) / widths[0]) ** 2)
    near_y = np.exp(-0.5 * ((grid[:, None] - seen[None, :, 1]) / widths[1]) ** 2)
    mass = near_y @ near_x.T
    # Less than half a trial in reach: the mean would be that of trials far away.
    z = np.where(mass > 0.5, (near_y @ (near_x * values).T) / np.maximum(mass, 1e-12), np.nan)
    return Surface(across=across, up=up, x=_places(across, grid), y=_places(up, grid), z=z)


def _places(axis: Axis, units: NDArray[np.float64]) -> tuple[float, ...]:
    low, high = axis.range()
    if axis.log:
        return tuple(float(place) for place in low * (high / low) ** units)
    return tuple(float(place) for place in low + units * (high - low))
