"""The metric source of a cluster: the one that the study names, and always the termination message at the end.

Charter: chooses and merges; reads nothing itself.
"""

from collections.abc import Callable, Mapping, Sequence

from seatrial.adapters.metrics.finals import merge_report
from seatrial.api.study import MetricsSource, Study, StudySpec
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.curves import Curves
from seatrial.decide.rules import rungs
from seatrial.ports import Degraded, MetricSource

__all__ = ["ClusterMetricSource"]


class ClusterMetricSource:
    """A :class:`~seatrial.ports.MetricSource` for one study.

    Args:
        sources: A source for each word of ``spec.metrics.source`` but ``termination-message``, which needs none.
        find_rungs: Steps whose values must be exact, by specification.
    """

    def __init__(
        self,
        sources: Mapping[MetricsSource, MetricSource],
        *,
        find_rungs: Callable[[StudySpec], Sequence[int]] = rungs,
    ) -> None:
        self._sources, self._find_rungs = sources, find_rungs
        self._chosen: MetricSource | None = None

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves so far; those of attempts that ended are whole, but for those that :meth:`unread` names."""
        self._chosen = self._sources.get(study.spec.metrics.source)
        curves = dict(await self._chosen.read(study, attempts)) if self._chosen else {}
        exact = self._find_rungs(study.spec)
        for name, attempt in attempts.items():
            # A stopped trial writes a first message before its end: only the last one counts.
            if attempt.report is not None and attempt.phase in {Phase.EXITED, Phase.LOST}:
                curves[name] = merge_report(study.spec, curves.get(name, {}), attempt.report, exact)
        return {name: found for name, found in curves.items() if name in attempts}

    def unread(self) -> Mapping[str, float]:
        """Return ended trials whose values may still come from the source that the study names."""
        return self._chosen.unread() if self._chosen else {}

    def degraded(self) -> Degraded | None:
        """Return what was wrong with the source that the study names."""
        return self._chosen.degraded() if self._chosen else None
