"""Several objectives: the Pareto front, and the hypervolume that the study dominated trial by trial."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seatrial.api.conditions import TrialReason
from seatrial.report.progress import finished_order
from seatrial.report.trials import TrialView
from seatrial.search.pareto import hypervolume_2d, pareto_front

__all__ = ["Front", "build_front", "hypervolume"]

# Exact hypervolumes are recomputed when the front changes; in three and more dimensions at most at this many places.
_MOST_VOLUMES = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The trials that no other one beats in all objectives.

    Attributes:
        trials: Indices, best in the first objective first.
        reference: Worst value of each objective among all results, widened by a tenth of the range; minimised.
        volumes: (trials finished, hypervolume up to the reference) at every change of the front, in units of the objectives' product.
    """

    trials: tuple[int, ...] = ()
    reference: tuple[float, ...] = ()
    volumes: tuple[tuple[int, float], ...] = ()


def build_front(trials: Sequence[TrialView]) -> Front:
    """Return the front of all eligible trials: those trained in full, unless there is none.

    Args:
        trials: All trials of the study, at least two objectives each.
    """
    order = finished_order(trials)
    full = any(trial.eligible and trial.state is TrialReason.COMPLETED for trial in order)
    counted = [
        (place, trial)
        for place, trial in enumerate(order, 1)
        if trial.eligible and (trial.state is TrialReason.COMPLETED or not full)
    ]
    if not counted:
        return Front()
    losses = np.array([trial.losses for _, trial in counted])
    front = [counted[i][1] for i in pareto_front(losses)]
    low, high = losses.min(axis=0), losses.max(axis=0)
    reference = tuple(float(worst) for worst in high + 0.1 * np.where(high > low, high - low, 1.0))
    return Front(
        trials=tuple(trial.index for trial in sorted(front, key=lambda trial: (trial.losses, trial.index))),
        reference=reference,
        volumes=_volumes(counted, reference),
    )


def _volumes(counted: Sequence[tuple[int, TrialView]], reference: tuple[float, ...]) -> tuple[tuple[int, float], ...]:
    fronts: list[tuple[int, tuple[tuple[float, ...], ...]]] = []
    now: tuple[tuple[float, ...], ...] = ()
    for place, trial in counted:
        new = trial.losses
        if any(all(a <= b for a, b in zip(old, new, strict=True)) for old in now):
            continue
        now = (*(old for old in now if not all(a <= b for a, b in zip(new, old, strict=True))), new)
        fronts.append((place, now))
    if len(reference) > 2 and len(fronts) > _MOST_VOLUMES:
        kept = {round(i * (len(fronts) - 1) / (_MOST_VOLUMES - 1)) for i in range(_MOST_VOLUMES)}
        fronts = [fronts[i] for i in sorted(kept)]
    return tuple((place, hypervolume(points, reference)) for place, points in fronts)


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume that *points* dominate up to *reference*, all minimised.

    Slices along the last objective; each slab is as thick as the gap to the next point, and its base is the volume of the points
    below it in the other objectives. Exact; exponential in the number of objectives, of which a study has at most four.
    """
    inside = [tuple(point) for point in points if all(a < b for a, b in zip(point, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(point[0] for point in inside)
    if len(reference) == 2:
        return hypervolume_2d(inside, reference)
    inside.sort(key=lambda point: point[-1])
    ends = [*(point[-1] for point in inside[1:]), reference[-1]]
    slabs = (
        (end - point[-1]) * hypervolume([p[:-1] for p in inside[: i + 1]], reference[:-1])
        for i, (point, end) in enumerate(zip(inside, ends, strict=True))
        if end > point[-1]
    )
    return math.fsum(slabs)
