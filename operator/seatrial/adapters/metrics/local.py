"""Curves of a laptop's trials: from their observations, or from what they print when there are none.

The attempts of a trial tell one story: a later one goes on from a checkpoint of an earlier one, and what it tells again replaces
what was told before.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.metrics.lines import LineReader
from seatrial.adapters.metrics.names import CurveTable
from seatrial.adapters.metrics.observations import Observations
from seatrial.adapters.metrics.printed import Printed
from seatrial.api.study import Study, StudySpec
from seatrial.api.wire import OBSERVATION_LIMIT_BYTES
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.curves import Curves
from seatrial.decide.rules import rungs

__all__ = ["LocalMetricSource", "TrialStory"]

_CHUNK_BYTES = 256 << 10
_MOST_REPORTED = 256
_MOST_PRINTED = 32


class TrialStory:
    """Everything that one trial has told, read as far as it has been written.

    Args:
        directory: The study's directory.
        study: The study.
        trial: Name of the trial.
        find_rungs: Steps whose values must be exact, by specification.
    """

    def __init__(
        self,
        directory: StudyDirectory,
        study: Study,
        trial: str,
        find_rungs: Callable[[StudySpec], Sequence[int]] = rungs,
    ) -> None:
        spec = study.spec
        wanted = {objective.metric for objective in spec.objectives} | {limit.metric for limit in spec.constraints}
        window = max(objective.window for objective in spec.objectives)
        exact = find_rungs(spec)
        self._directory = directory
        self._trial = trial
        self._observations = Observations(CurveTable(wanted, exact, window, _MOST_REPORTED))
        self._printed = Printed(
            CurveTable(wanted, exact, window, _MOST_PRINTED), wanted, spec.steps.unit if spec.steps else None
        )
        self._reading = _Pair(directory, trial, 0)
        self._number = 0
        self._finished = False
        self._skipped = 0

    def read(self, number: int, *, ended: bool) -> bool:
        """Read on, a bounded piece.

        Args:
            number: Number of the trial's newest attempt.
            ended: Whether that one writes no more.

        Returns:
            Whether there is more to read at once.
        """
        if self._finished and self._number == number:
            return False
        over = ended or self._number < number
        if self._read_piece():
            return True
        if not over:
            return False
        self._finish_attempt()
        if self._number < number:
            self._number += 1
            self._reading = _Pair(self._directory, self._trial, self._number)
            self._printed.restart()
            self._finished = False
            return True
        self._finished = True
        return False

    def is_behind(self, number: int) -> bool:
        """Return whether it still reads an attempt before *number*."""
        return self._number < number

    def build(self) -> Curves:
        """Return the curves so far."""
        return self._observations.table.build() if self._observations.taken else self._printed.table.build()

    def notes(self) -> tuple[str, ...]:
        """Return what was left out, in words."""
        found = []
        skipped = self._observations.skipped + self._skipped + self._reading.observations.skipped
        if skipped:
            found.append(f"{skipped} lines among the observations are none and were skipped")
        dropped = self._observations.table.dropped if self._observations.taken else self._printed.table.dropped
        if dropped:
            found.append(f"metrics beyond the first {_MOST_REPORTED} are not kept, such as {min(dropped)}")
        return tuple(found)

    def _read_piece(self) -> bool:
        lines, more = self._reading.observations.read(_CHUNK_BYTES)
        self._observations.feed(lines)
        if more or self._observations.taken:
            return more
        lines, more = self._reading.output.read(_CHUNK_BYTES)
        self._printed.feed(lines)
        return more

    def _finish_attempt(self) -> None:
        self._observations.feed(self._reading.observations.finish())
        self._skipped += self._reading.observations.skipped
        self._reading.observations.skipped = 0
        if not self._observations.taken:
            self._printed.feed(self._reading.output.finish())


class _Pair:
    """The two files of one attempt that may tell of metrics."""

    def __init__(self, directory: StudyDirectory, trial: str, number: int) -> None:
        files = directory.attempt(trial, number)
        self.observations = LineReader(files.observations_name, OBSERVATION_LIMIT_BYTES)
        self.output = LineReader(files.output_name, OBSERVATION_LIMIT_BYTES)


class LocalMetricSource:
    """The :class:`~seatrial.ports.MetricSource` of a laptop.

    Args:
        directory: The study's directory.
        find_rungs: Steps whose values must be exact, by specification.
    """

    def __init__(self, directory: StudyDirectory, *, find_rungs: Callable[[StudySpec], Sequence[int]] = rungs) -> None:
        self._directory = directory
        self._find_rungs = find_rungs
        self._stories: dict[str, TrialStory] = {}
        self._spec: StudySpec | None = None

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves so far; of attempts that ended all of it, of others at most one bounded piece more than last time."""
        if study.spec is not self._spec and study.spec != self._spec:
            # Windows and rungs may be others now: everything is read again.
            self._stories.clear()
        self._spec = study.spec
        for name in self._stories.keys() - attempts.keys():
            del self._stories[name]
        found: dict[str, Curves] = {}
        for name, attempt in attempts.items():
            if attempt.phase is Phase.WAITING and attempt.number == 0:
                continue
            story = self._stories.get(name)
            if story is None:
                story = self._stories[name] = TrialStory(self._directory, study, name, self._find_rungs)
            ended = attempt.phase in {Phase.EXITED, Phase.LOST}
            while True:
                # One piece of what runs, all of what is over.
                whole = ended or story.is_behind(attempt.number)
                if not story.read(attempt.number, ended=ended) or not whole:
                    break
                await asyncio.sleep(0)
            found[name] = story.build()
        return found

    def unread(self) -> Mapping[str, float]:
        """Return nothing: files can be read at once."""
        return {}

    def degraded(self) -> None:
        """Return None: files are always there."""

    def notes(self, trial: str) -> tuple[str, ...]:
        """Return what was left out of a trial's curves, in words."""
        story = self._stories.get(trial)
        return story.notes() if story else ()
