"""How a trial's curves and its final message become numbers: one per objective, one per constraint. The direction is flipped here, once."""

import math
from collections.abc import Mapping, Sequence

from seatrial.api.study import Constraint, Goal, Objective, Summary
from seatrial.decide.attempts import FinalMetric, Report
from seatrial.decide.curves import Curve, Curves

__all__ = ["minimised", "parse_number", "read_objective", "read_values", "read_violations", "stated", "write_number"]


def minimised(objective: Objective, value: float) -> float:
    """Turn a value as the user states it into one to minimise."""
    return -value if objective.goal is Goal.MAXIMIZE else value


def stated(objective: Objective, value: float) -> float:
    """Turn a minimised value back into the user's words."""
    return minimised(objective, value)


def read_objective(objective: Objective, curves: Curves, report: Report | None) -> float | None:
    """Return the objective's value as the user states it, None when it was never reported.

    The final message counts where it knows a later step than the curve: a scrape may have missed the last report.
    """
    curve = curves.get(objective.metric)
    final = _final(report, objective.metric)
    if curve is None or curve.last is None:
        return None if final is None else _of_message(objective, final)
    if final is not None and (final.last_step is None or final.last_step > (curve.step or 0)):
        return _of_message(objective, final)
    return _of_curve(objective, curve)


def read_values(objectives: Sequence[Objective], curves: Curves, report: Report | None) -> tuple[float | None, ...]:
    """Return each objective's value as the user states it, None for those never reported."""
    return tuple(read_objective(objective, curves, report) for objective in objectives)


def read_violations(constraints: Sequence[Constraint], finals: Mapping[str, float]) -> tuple[float, ...]:
    """Return by how much each constraint is violated, at most 0 when it is kept.

    A metric that was not reported or is not finite counts as a violation of 1: nothing shows that the limit is kept.
    """
    found = []
    for constraint in constraints:
        value = finals.get(constraint.metric, math.nan)
        if not math.isfinite(value):
            found.append(1.0)
            continue
        over = value - constraint.max if constraint.max is not None else -math.inf
        under = constraint.min - value if constraint.min is not None else -math.inf
        found.append(max(over, under))
    return tuple(found)


def parse_number(value: float | str) -> float:
    """Read a number of the wire, on which NaN and infinities are strings."""
    return float(value)


def write_number(value: float) -> float | str:
    """Write a number for the wire, on which NaN and infinities are strings."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _final(report: Report | None, metric: str) -> FinalMetric | None:
    return next((m for m in report.metrics if m.name == metric), None) if report else None


def _of_message(objective: Objective, final: FinalMetric) -> float:
    if objective.summary is Summary.BEST:
        best = final.high if objective.goal is Goal.MAXIMIZE else final.low
        return final.last if best is None else best
    return final.last


def _of_curve(objective: Objective, curve: Curve) -> float:
    last = curve.points[-1]
    if objective.summary is Summary.BEST:
        best = last.high if objective.goal is Goal.MAXIMIZE else last.low
        return best if math.isfinite(best) else math.nan
    if objective.summary is Summary.MEAN:
        window = curve.tail[-objective.window :]
        return math.fsum(window) / len(window) if all(map(math.isfinite, window)) and window else math.nan
    return last.value
