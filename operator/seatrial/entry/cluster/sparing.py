"""A store that writes Study.status less often while only numbers change: trials that end ten times a second need not be counted aloud.

What a person or a program waits for (a condition, the winner, the end) is written at once. What is held back is never kept: the
study is looked at again when it may be written, and its status is computed anew then.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from seatrial.api.conditions import Condition
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial, TrialStatus
from seatrial.ports import StudyKey, StudyStore

__all__ = ["QUIET_SECONDS", "SparingStore", "is_news"]

QUIET_SECONDS = 2.0
"""Least time between two writes of one study's numbers: a person who watches sees them move."""


def is_news(before: StudyStatus, after: StudyStatus) -> bool:
    """Whether a change is more than numbers and the sentences about them."""
    return _told(before) != _told(after)


def _told(status: StudyStatus) -> tuple[object, ...]:
    # Sentences are left out: that of the summary counts trials.
    return (
        status.observed_generation,
        [_said(condition) for condition in status.conditions],
        status.best,
        status.pareto_front,
        status.start_time,
        status.completion_time,
    )


def _said(condition: Condition) -> tuple[object, ...]:
    return condition.type, condition.status, condition.reason, condition.observed_generation


class SparingStore:
    """A :class:`~seatrial.ports.StudyStore` that limits how often a study's numbers are written.

    Args:
        store: Does everything.
        time: Seconds that never run backwards.
        wake_after: Wants a study to be looked at again after some seconds, when something was held back.
        quiet_seconds: Least time between two writes of numbers.
    """

    def __init__(
        self,
        store: StudyStore,
        *,
        time: Callable[[], float],
        wake_after: Callable[[StudyKey, float], None],
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self._store, self._time, self._wake_after = store, time, wake_after
        self._quiet_seconds = quiet_seconds
        self._written: OrderedDict[StudyKey, float] = OrderedDict()

    async def read_study(self, key: StudyKey) -> Study | None:
        """Return the study, None when it does not exist (any more)."""
        study = await self._store.read_study(key)
        if study is None:
            self._written.pop(key, None)
        return study

    async def read_trials(self, key: StudyKey) -> Sequence[Trial]:
        """Return all trials of the study by index."""
        return await self._store.read_trials(key)

    async def create_trial(self, key: StudyKey, trial: Trial) -> Trial:
        """Create a trial; when its name is taken, return the stored one."""
        return await self._store.create_trial(key, trial)

    async def update_trial(self, key: StudyKey, trial: Trial, status: TrialStatus) -> Trial:
        """Replace a trial's status and return the trial as stored."""
        return await self._store.update_trial(key, trial, status)

    async def update_study(self, key: StudyKey, status: StudyStatus) -> None:
        """Replace the study's status, or let it be computed and written a little later."""
        study = await self._store.read_study(key)
        known = study.status if study is not None else None
        wait = self._written.get(key, float("-inf")) + self._quiet_seconds - self._time()
        if known is not None and wait > 0 and not is_news(known, status):
            self._wake_after(key, wait)
            return
        await self._store.update_study(key, status)
        self._written[key] = now = self._time()
        self._written.move_to_end(key)
        # What is older holds nothing back, and may be of studies that are gone.
        while next(iter(self._written.values())) + self._quiet_seconds < now:
            self._written.popitem(last=False)
