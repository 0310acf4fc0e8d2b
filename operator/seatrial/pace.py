"""How much of what passes by is worth a write, where trials may end faster than anybody can read.

Pure: the time comes in with each question. What is held back is never the only trace of anything: a pass a little later finds it again
by what the world says, or something newer in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from seatrial.api.conditions import StudyReason, TrialReason, find_condition
from seatrial.api.study import Study
from seatrial.decide.actions import Action, RecordPhase, StudyState
from seatrial.decide.snapshot import StudySnapshot

__all__ = ["Pace"]


@dataclass(slots=True, kw_only=True)
class Pace:
    """What one study's passes hold back, and for how long.

    Attributes:
        young_seconds: An attempt that ends sooner is never on record as running.
        status_seconds: Least time between two writes of the study's status while it runs.
    """

    young_seconds: float = 0.2
    status_seconds: float = 0.2
    _told_at: datetime | None = None

    def hold_back(self, actions: Sequence[Action], study: StudySnapshot) -> tuple[tuple[Action, ...], float | None]:
        """Return the actions but for records that young attempts run, and seconds until the first of these is due."""
        kept: list[Action] = []
        waits: list[float] = []
        for action in actions:
            left = self._youth(action, study) if isinstance(action, RecordPhase) else 0.0
            if left > 0:
                waits.append(left)
            else:
                kept.append(action)
        return tuple(kept), min(waits, default=None)

    def _youth(self, action: RecordPhase, study: StudySnapshot) -> float:
        """Return seconds until a record is worth its write; 0 when it is now."""
        trial = study.find(action.trial)
        if trial is None or trial.live is None or trial.live.started_at is None:
            return 0.0
        if (trial.reason, action.state) != (TrialReason.PENDING, TrialReason.RUNNING):
            return 0.0
        return _left(trial.live.started_at, self.young_seconds, study.now)

    def wait_seconds(self, study: Study, state: StudyState, now: datetime) -> float:
        """Return seconds until the study's status may be written again; 0 when it may, or when more than numbers would change."""
        told, status = self._told_at, study.status
        if told is None or status is None or status.observed_generation != study.metadata.generation:
            return 0.0
        summary = find_condition(status.conditions, "Succeeded")
        if state.reason is not StudyReason.RUNNING or summary is None or summary.reason != state.reason.value:
            return 0.0
        return _left(told, self.status_seconds, now)

    def on_told(self, now: datetime) -> None:
        """Take note that the status was written."""
        self._told_at = now


def _left(since: datetime, seconds: float, now: datetime) -> float:
    """Return how much of a time is left; none where the clock was set back meanwhile."""
    passed = (now - since).total_seconds()
    return max(0.0, seconds - passed) if passed >= 0 else 0.0
