"""One curve over all attempts of a trial that pauses: what is recorded of the earlier ones, then what the present one reports.

Values at rungs that a trial has passed never change, also when it had to train them again. Pure, but for a cache that only saves time.
"""

from collections.abc import Mapping

from seatrial.api.study import StudySpec
from seatrial.api.trial import Observation, Trial
from seatrial.decide.curves import Curve, CurveBuilder, Curves
from seatrial.decide.rules import rungs
from seatrial.decide.values import parse_number

__all__ = ["Continuations", "continue_curve"]


def continue_curve(recorded: Observation, passed: int, live: Curve, builder: CurveBuilder) -> Curve:
    """Return the curve of the first objective, as the user states it.

    Args:
        recorded: What was found until the trial paused last.
        passed: Highest rung from which it went on: up to there the record counts.
        live: What the present attempt reports.
        builder: A new one, which knows rungs and window.
    """
    first = live.points[0].step if live.points else None
    end = max((step for step, _ in recorded.curve), default=0) if first is None else max(passed, first - 1)
    builder.extend((step, parse_number(value)) for step, value in recorded.curve if step <= end)
    builder.extend((point.step, point.value) for point in live.points if point.step > end)
    return builder.build()


class Continuations:
    """Continues the curves of one study's trials; remembers those whose parts are still the same."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Observation, Curve | None, int | None, Curve]] = {}

    def extend(
        self, spec: StudySpec, trials: Mapping[str, Trial], curves: Mapping[str, Curves]
    ) -> Mapping[str, Curves]:
        """Return the curves of live trials; those of trials that have paused before begin where these began.

        Args:
            spec: The study.
            trials: Records by name.
            curves: By name, as the user states the metrics.
        """
        if spec.stopping is None or not spec.stopping.pauses:
            return curves
        metric = spec.objectives[0].metric
        found: dict[str, Curves] = {}
        for name, live in curves.items():
            status = trials[name].status if name in trials else None
            if status is None or status.observation is None or not status.observation.curve:
                found[name] = live
                continue
            whole = self._continue(spec, name, status.observation, status.rung, live.get(metric))
            found[name] = {**live, metric: whole}
        self._known = {name: known for name, known in self._known.items() if name in curves}
        return found

    def _continue(
        self, spec: StudySpec, name: str, recorded: Observation, passed: int | None, live: Curve | None
    ) -> Curve:
        known = self._known.get(name)
        if known is not None and known[0] is recorded and known[1] is live and known[2] == passed:
            return known[3]
        window = max(objective.window for objective in spec.objectives)
        builder = CurveBuilder(rungs=rungs(spec), window=window)
        whole = continue_curve(recorded, passed or 0, live or Curve(), builder)
        self._known[name] = (recorded, live, passed, whole)
        return whole
