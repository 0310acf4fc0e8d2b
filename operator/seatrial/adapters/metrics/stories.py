"""The scraped trials of one study: made when wanted, forgotten when over, begun anew when the study's rules change."""

from collections.abc import Callable, Mapping, Sequence

from seatrial.adapters.metrics.names import CurveTable
from seatrial.adapters.metrics.scraped import MOST_METRICS, Scrape, ScrapedTrial
from seatrial.api.study import Study, StudySpec
from seatrial.decide.attempts import Attempt
from seatrial.decide.curves import Curves

__all__ = ["Stories"]


class Stories:
    """Curves of the trials that a study asks for.

    Args:
        find_rungs: Steps whose values must be exact, by specification.
    """

    def __init__(self, find_rungs: Callable[[StudySpec], Sequence[int]]) -> None:
        self._find_rungs = find_rungs
        self._spec: StudySpec | None = None
        self._trials: dict[str, ScrapedTrial] = {}
        self._make: Callable[[], CurveTable] | None = None

    def prepare(self, study: Study, attempts: Mapping[str, Attempt]) -> bool:
        """Make room for the trials that are asked for, and forget others.

        Returns:
            Whether everything was forgotten: other rungs and windows need other curves.
        """
        spec = study.spec
        edited = self._spec is not None and spec is not self._spec and spec != self._spec
        if self._make is None or edited:
            self._make = _table_maker(spec, tuple(self._find_rungs(spec)))
            self._trials.clear()
        self._spec = spec
        for name in self._trials.keys() - attempts.keys():
            del self._trials[name]
        for name in attempts:
            if name not in self._trials:
                self._trials[name] = ScrapedTrial(self._make)
        return edited

    def take(self, trial: str, attempt: int, scrape: Scrape) -> None:
        """Take the next scrape of a trial; one of a trial that nobody asks for is dropped."""
        story = self._trials.get(trial)
        if story is not None:
            story.take(attempt, scrape)

    def step_of(self, trial: str) -> int | None:
        """Return a trial's newest step."""
        story = self._trials.get(trial)
        return story.step if story else None

    def build(self) -> dict[str, Curves]:
        """Return the curves by name of the trial."""
        return {name: story.build() for name, story in self._trials.items()}


def _table_maker(spec: StudySpec, exact: Sequence[int]) -> Callable[[], CurveTable]:
    wanted = {objective.metric for objective in spec.objectives} | {limit.metric for limit in spec.constraints}
    window = max(objective.window for objective in spec.objectives)
    return lambda: CurveTable(wanted, exact, window, MOST_METRICS)
