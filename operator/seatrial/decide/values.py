"""How a trial's curves and its final message become numbers: one per objective, one per constraint. The direction is flipped here, once."""

import math
from collections.abc import Mapping, Sequence

from seatrial.api.study import Constraint, Goal, Objective, Summary
from seatrial.decide.attempts import FinalMetric, Report
from seatrial.decide.curves import Curve, Curves, Point

__all__ = [
    "describe_value",
    "minimised",
    "parse_number",
    "read_finals",
    "read_objective",
    "read_values",
    "read_violations",
    "stated",
    "write_number",
]

_PLAIN_BELOW = 1e9
"""Below this a number is shorter, and read more easily, without an exponent."""


def minimised(objective: Objective, value: float) -> float:
    """Turn a value as the user states it into one to minimise."""
    return -value if objective.goal is Goal.MAXIMIZE else value


def stated(objective: Objective, value: float) -> float:
    """Turn a minimised value back into the user's words."""
    return minimised(objective, value)


def read_objective(objective: Objective, curves: Curves, report: Report | None) -> float | None:
    """Return the objective's value as the user states it, None when it was never reported.

    The final message counts where it knows more than the curve: a scrape may have missed the last report, and a message that
    names no step is a program's last word. A last value that is not finite is the value, whatever the summary: such a training
    has diverged, and its earlier values are of no use.
    """
    curve = curves.get(objective.metric) or Curve()
    final = _final(report, objective.metric)
    newest = curve.last
    if final is not None and newest is not None and not _is_later(final, newest):
        final = None
    if final is None and newest is None:
        return None
    last = final.last if final is not None else newest.value if newest is not None else math.nan
    if not math.isfinite(last):
        return last
    match objective.summary:
        case Summary.BEST:
            return _best(objective, curve, final)
        case Summary.MEAN:
            return _mean(objective, curve, final)
        case Summary.LAST:
            return last


def read_finals(curves: Curves, report: Report | None) -> dict[str, float]:
    """Return the last value of every metric, by the same choice between curve and message as :func:`read_objective`."""
    found = {name: curve.points[-1].value for name, curve in curves.items() if curve.points}
    for final in report.metrics if report else ():
        newest = curves[final.name].last if final.name in curves else None
        if newest is None or _is_later(final, newest):
            found[final.name] = final.last
    return found


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


def describe_value(value: float) -> str:
    """Write a value for a column that people read: four significant digits, ``0.9644``; small whole numbers as they are."""
    if not math.isfinite(value):
        return str(write_number(value))
    if value.is_integer() and abs(value) < _PLAIN_BELOW:
        return f"{value + 0.0:.0f}"
    short = f"{value + 0.0:.4g}"
    # No column gains by 1.235e+04.
    return f"{value:.0f}" if "e+" in short and abs(value) < _PLAIN_BELOW else short


def _final(report: Report | None, metric: str) -> FinalMetric | None:
    return next((m for m in report.metrics if m.name == metric), None) if report else None


def _is_later(final: FinalMetric, newest: Point) -> bool:
    return final.last_step is None or final.last_step > newest.step


def _best(objective: Objective, curve: Curve, final: FinalMetric | None) -> float:
    """Return the best of all finite values that curve and message tell of; there is at least one."""
    told = [] if final is None else [final.last, final.low, final.high]
    newest = curve.last
    told += [] if newest is None else [newest.low, newest.high]
    values = [value for value in told if value is not None and math.isfinite(value)]
    return max(values) if objective.goal is Goal.MAXIMIZE else min(values)


def _mean(objective: Objective, curve: Curve, final: FinalMetric | None) -> float:
    """Return the mean of the last reports; a message without steps is no report of its own where there is a curve."""
    values = list(curve.tail)
    if final is not None and (not values or final.last_step is not None):
        values.append(final.last)
    window = values[-objective.window :]
    return math.fsum(window) / len(window) if all(map(math.isfinite, window)) else math.nan
