"""The metric source of a cluster: the one that the study names, and at the end the termination message, or else what was printed.

Charter: chooses and merges; reads nothing itself.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

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
        printed: Reads what a trial printed, for trials that told nothing in any other way, as on a laptop; None for nobody.
        find_rungs: Steps whose values must be exact, by specification.
    """

    def __init__(
        self,
        sources: Mapping[MetricsSource, MetricSource],
        *,
        printed: MetricSource | None = None,
        find_rungs: Callable[[StudySpec], Sequence[int]] = rungs,
    ) -> None:
        self._sources, self._printed, self._find_rungs = sources, printed, find_rungs
        self._asked: tuple[MetricSource, ...] = ()

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves so far; those of attempts that ended are whole, but for those that :meth:`unread` names."""
        chosen, printed = self._sources.get(study.spec.metrics.source), self._printed
        curves = dict(await chosen.read(study, attempts)) if chosen else {}
        self._asked = (chosen,) if chosen else ()
        if chosen is not None and printed is not None and printed is not chosen:
            silent = _find_silent(study, attempts, curves, chosen.unread())
            for name, told in (await printed.read(study, silent)).items():
                curves[name] = {**told, **curves.get(name, {})}
            # What was wrong with a log is no news of trials that have none to read.
            self._asked = (chosen, printed) if silent else (chosen,)
        exact = self._find_rungs(study.spec)
        for name, attempt in attempts.items():
            # A stopped trial writes a first message before its end: only the last one counts.
            if attempt.report is not None and attempt.phase in {Phase.EXITED, Phase.LOST}:
                curves[name] = merge_report(study.spec, curves.get(name, {}), attempt.report, exact)
        return {name: found for name, found in curves.items() if name in attempts}

    def unread(self) -> Mapping[str, float]:
        """Return ended trials whose values may still come from the source that the study names, or from what they printed."""
        return {name: seconds for source in self._asked for name, seconds in source.unread().items()}

    def degraded(self) -> Degraded | None:
        """Return what was wrong with the source that the study names, or else with what was printed."""
        return next((trouble for source in self._asked if (trouble := source.degraded()) is not None), None)


def _find_silent(
    study: Study, attempts: Mapping[str, Attempt], curves: Mapping[str, Curves], owing: Collection[str]
) -> Mapping[str, Attempt]:
    """Return attempts that ended well and left no message, and of which the source that the study names knows too little, and will not know more."""
    if study.spec.trial.reuse:
        # Where Pods are handed on, one log is that of many trials.
        return {}
    objectives = {objective.metric for objective in study.spec.objectives}
    ended = {n: a for n, a in attempts.items() if a.phase is Phase.EXITED and a.exit_code == 0 and a.report is None}
    return {n: a for n, a in ended.items() if n not in owing and not objectives <= curves.get(n, {}).keys()}
