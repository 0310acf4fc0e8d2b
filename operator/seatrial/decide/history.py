"""What the search may know of a study. Of ten thousand trials only those are read that have changed since the last question."""

from collections.abc import Sequence

from seatrial.api.conditions import TrialReason
from seatrial.decide.changes import changed_places
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot
from seatrial.search.base import Evaluated, History, Pending
from seatrial.search.space import Key, SearchSpace

__all__ = ["HistoryReader", "ResultReader"]


class HistoryReader:
    """Reads histories of one study; what it remembers of trials only makes the next reading faster."""

    def __init__(self) -> None:
        self._trials: tuple[TrialSnapshot, ...] = ()
        self._evaluated: list[Evaluated | None] = []
        self._pending: list[Pending | None] = []

    def read(self, study: StudySnapshot) -> History:
        """Return what the search may know."""
        if len(study.trials) < len(self._trials):
            self._trials, self._evaluated, self._pending = (), [], []
        for place in changed_places(self._trials, study.trials):
            trial = study.trials[place]
            self._evaluated[place : place + 1] = [trial.evaluated()]
            self._pending[place : place + 1] = [_pending(trial)]
        self._trials = study.trials
        return History(
            evaluated=tuple(filter(None, self._evaluated)),
            pending=tuple(filter(None, self._pending)),
            next_index=study.next_index,
        )


def _pending(trial: TrialSnapshot) -> Pending | None:
    if trial.terminal or trial.succeeded:
        return None
    return Pending(
        index=trial.index,
        assignment=trial.assignment,
        until_step=trial.until_step,
        source=trial.source,
        membership=trial.membership,
    )


class ResultReader:
    """Reads which trial of a study has, or will have, the result of an assignment: the first one; remembers like the other reader."""

    def __init__(self) -> None:
        self._trials: tuple[TrialSnapshot, ...] = ()
        self._names: dict[Key, str] = {}

    def read(self, study: StudySnapshot, space: SearchSpace) -> dict[Key, str]:
        """Return names of trials by assignment; what lies behind a lost record is not among them."""
        trials = study.trials[: study.next_index]
        places: Sequence[int] = changed_places(self._trials, trials)
        if len(trials) < len(self._trials) or any(self._is_other(place, trials[place]) for place in places):
            # The next one with that assignment comes first now.
            self._names, places = {}, range(len(trials))
        self._trials = trials
        # A cancelled trial has no result to take over.
        found = [trials[place] for place in places if trials[place].reason is not TrialReason.CANCELLED]
        for key, trial in zip(space.keys_of_trials(trial.assignment for trial in found), found, strict=True):
            self._names.setdefault(key, trial.name)
        return self._names

    def _is_other(self, place: int, trial: TrialSnapshot) -> bool:
        """Whether what was read at a place does not hold any more: its trial was cancelled, or another one is there."""
        if place >= len(self._trials):
            return False
        before = self._trials[place]
        cancelled = trial.reason is TrialReason.CANCELLED or before.reason is TrialReason.CANCELLED
        return cancelled or (trial.name, trial.assignment) != (before.name, before.assignment)
