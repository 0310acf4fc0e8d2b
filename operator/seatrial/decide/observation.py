"""What an attempt found, as it is stored: the last values, a summary of every metric and a thinned curve. Pure."""

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.api.study import Goal, Objective, StudySpec, Summary
from seatrial.api.trial import MetricSummary, Observation
from seatrial.decide.attempts import Attempt, FinalMetric, Report
from seatrial.decide.curves import Curve, CurveBuilder, Curves
from seatrial.decide.values import read_finals, read_values, write_number

__all__ = ["Seen", "build_observation", "last_steps", "thin"]

_METRICS_KEPT = 32
_CURVE_KEPT = 64
_METRIC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./:-]*")  # as seatrial.api.base.MetricName has it
_METRIC_NAME_LIMIT = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a trial's current attempt when its record is written.

    Attributes:
        curves: Of the trial: of one that has paused before they begin where its first attempt began.
        first_step: First step that the attempt itself reported, None when it reported none.
    """

    attempt: Attempt | None = None
    curves: Curves | None = None
    first_step: int | None = None


def build_observation(spec: StudySpec, seen: Seen, rungs: Sequence[int]) -> Observation | None:
    """Return what an attempt found, None when it reported nothing."""
    curves = seen.curves or {}
    report = seen.attempt.report if seen.attempt else None
    values = read_values(spec.objectives, curves, report)
    metrics = _metric_summaries(spec, curves, report)
    if not metrics:
        return None
    curve = curves.get(spec.objectives[0].metric, Curve())
    if not curve.points and report is not None:
        builder = CurveBuilder(rungs=rungs)
        builder.extend(report.curve)
        curve = builder.build()
    return Observation(
        values=[write_number(v) for v in values if v is not None] if None not in values else [],
        step=max(last_steps(seen), default=None),
        metrics=metrics,
        curve=[(step, write_number(value)) for step, value in thin(curve, rungs, spec.objectives[0])],
        source="observations" if curves else "termination-message",
    )


def thin(curve: Curve, rungs: Sequence[int], objective: Objective) -> tuple[tuple[int, float], ...]:
    """Return at most 64 points of a curve: first, last, what decides at rungs, and an even choice of the others.

    At a rung that is the newest point not beyond it and, where the best value counts, the one that was the best by then.
    """
    points = curve.points
    if len(points) <= _CURVE_KEPT:
        return tuple((point.step, point.value) for point in points)
    wanted = dict.fromkeys((0, len(points) - 1))
    places = [bisect_right(points, rung, key=lambda point: point.step) - 1 for rung in rungs]
    wanted |= dict.fromkeys(place for place in places if place >= 0)
    if objective.summary is Summary.BEST:
        upper = objective.goal is Goal.MAXIMIZE
        bests = [points[place].high if upper else points[place].low for place in list(wanted)]
        first = {point.value: i for i, point in reversed(list(enumerate(points)))}
        wanted |= dict.fromkeys(first[best] for best in bests if best in first)
    room = _CURVE_KEPT - len(wanted)
    wanted |= dict.fromkeys(round(i * (len(points) - 1) / (room + 1)) for i in range(1, room + 1))
    return tuple((points[i].step, points[i].value) for i in sorted(list(wanted)[:_CURVE_KEPT]))


def _metric_summaries(spec: StudySpec, curves: Curves, report: Report | None) -> list[MetricSummary]:
    lasts = read_finals(curves, report)
    told = {final.name: final for final in report.metrics} if report else {}
    # Objectives and constraints come first, so that a trial with a hundred metrics keeps those that matter.
    wanted = [o.metric for o in spec.objectives] + [c.metric for c in spec.constraints]
    order = [name for name in dict.fromkeys(wanted) if name in lasts] + [name for name in lasts if name not in wanted]
    # A trial may call its metrics anything; what the record cannot hold is left out.
    order = [name for name in order if _is_metric_name(name)]
    return [_summary(name, lasts[name], curves.get(name), told.get(name)) for name in order[:_METRICS_KEPT]]


def _summary(name: str, last: float, curve: Curve | None, told: FinalMetric | None) -> MetricSummary:
    newest = curve.last if curve else None
    lows = [newest.low if newest else None, told.low if told else None]
    highs = [newest.high if newest else None, told.high if told else None]
    steps = [newest.step if newest else None, told.last_step if told else None]
    return MetricSummary(
        name=name,
        last=write_number(last),
        last_step=max((step for step in steps if step is not None), default=None),
        min=min((low for low in lows if low is not None and math.isfinite(low)), default=None),
        max=max((high for high in highs if high is not None and math.isfinite(high)), default=None),
    )


def _is_metric_name(name: str) -> bool:
    return len(name) <= _METRIC_NAME_LIMIT and _METRIC_NAME.fullmatch(name) is not None


def last_steps(seen: Seen) -> list[int]:
    """Return the last steps that an attempt's curves and its report name."""
    report = seen.attempt.report if seen.attempt else None
    told = [curve.step for curve in (seen.curves or {}).values()] + [report.step if report else None]
    return [step for step in told if step is not None]
