"""The termination message laid over the curves of an attempt that ended: the trial's last word wins. Pure."""

import math
from collections.abc import Collection
from dataclasses import replace

from seatrial.api.study import StudySpec
from seatrial.decide.attempts import FinalMetric, Report
from seatrial.decide.curves import Curve, CurveBuilder, Curves, Point

__all__ = ["merge_report"]


def merge_report(spec: StudySpec, curves: Curves, report: Report, rungs: Collection[int]) -> Curves:
    """Return the curves with what the message knows.

    Scrapes miss the reports between them and the last ones; the message has the first objective's curve, thinned but exact at
    rungs, and of every metric the last value, the smallest and the largest. Where both name a step the message counts, and
    what was scraped beyond the message's last step is of a training that was done again. Sums for a running mean are of
    the points that are known.

    Args:
        spec: Rungs and windows are for its objectives.
        curves: As scraped, as the user states the metrics.
        report: The message. A value without a step stays out of the curves: it stands for itself.
        rungs: Steps whose values must be exact.
    """
    window = max(objective.window for objective in spec.objectives)
    finals = {final.name: final for final in report.metrics}
    first = spec.objectives[0].metric
    merged = dict(curves)
    for name in dict.fromkeys([*curves, *finals, first]):
        told = dict(report.curve) if name == first else {}
        final = finals.get(name)
        if final is not None and final.last_step is not None:
            told |= _extremes(final)
            told[final.last_step] = final.last
        if told:
            merged[name] = _merge(curves.get(name, Curve()), told, final, CurveBuilder(rungs=rungs, window=window))
    return merged


def _merge(scraped: Curve, told: dict[int, float], final: FinalMetric | None, builder: CurveBuilder) -> Curve:
    end = max(told)
    known = {point.step: point.value for point in scraped.points if point.step <= end}
    builder.extend(sorted((known | told).items()))
    curve = builder.build()
    last = curve.points[-1]
    seen = scraped.at(end)
    # What a thinned curve has lost of the extremes is still known in these.
    lows = [last.low, seen.low if seen else math.inf, *_finite(final.low if final else None)]
    highs = [last.high, seen.high if seen else -math.inf, *_finite(final.high if final else None)]
    widened: Point = replace(last, low=min(lows), high=max(highs))
    return replace(curve, points=(*curve.points[:-1], widened))


def _extremes(final: FinalMetric) -> dict[int, float]:
    """Return where the smallest and the largest value were reported, as far as that is known."""
    found = ((final.low_step, final.low), (final.high_step, final.high))
    last = final.last_step or 0
    return {step: value for step, value in found if step is not None and value is not None and step <= last}


def _finite(value: float | None) -> list[float]:
    return [value] if value is not None and math.isfinite(value) else []
