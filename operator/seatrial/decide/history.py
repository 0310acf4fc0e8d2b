"""What the search may know of a study. Of ten thousand trials only those are read that have changed since the last question."""

from seatrial.decide.changes import changed_places
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot
from seatrial.search.base import Evaluated, History, Pending

__all__ = ["HistoryReader"]


class HistoryReader:
    """Reads histories of one study; what it remembers of trials only makes the next reading faster."""

    def __init__(self) -> None:
        self._trials: tuple[TrialSnapshot, ...] = ()
        self._evaluated: list[Evaluated | None] = []

    def read(self, study: StudySnapshot) -> History:
        """Return what the search may know."""
        if len(study.trials) < len(self._trials):
            self._trials, self._evaluated = (), []
        for place in changed_places(self._trials, study.trials):
            self._evaluated[place : place + 1] = [study.trials[place].evaluated()]
        self._trials = study.trials
        pending = tuple(
            Pending(
                index=trial.index,
                assignment=trial.assignment,
                until_step=trial.until_step,
                source=trial.source,
                membership=trial.membership,
            )
            for trial in study.trials
            if not trial.terminal and not trial.succeeded
        )
        return History(
            evaluated=tuple(seen for seen in self._evaluated if seen is not None),
            pending=pending,
            next_index=study.next_index,
        )
