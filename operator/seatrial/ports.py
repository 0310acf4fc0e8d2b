"""What the reconciler needs of the world. A laptop and a cluster each bring their own; both pass the same contract suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial, TrialStatus
from seatrial.decide.attempts import Attempt
from seatrial.decide.curves import Curves
from seatrial.decide.retention import Needed
from seatrial.decide.snapshot import StudySnapshot
from seatrial.decide.suggest import Proposals

__all__ = [
    "CheckpointKeeper",
    "Clock",
    "Degraded",
    "MetricSource",
    "StudyKey",
    "StudyStore",
    "Suggester",
    "TrialRunner",
]


class StudyKey(NamedTuple):
    """Identity of a study."""

    namespace: str
    name: str


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Return the time, UTC, aware."""
        ...


class StudyStore(Protocol):
    """Holds Studies and Trials. Every write is durable when it returns.

    Trials returned by :meth:`read_trials` are the same objects as long as they did not change, so that callers may cache by identity.
    """

    async def read_study(self, key: StudyKey) -> Study | None:
        """Return the study, None when it does not exist (any more)."""
        ...

    async def read_trials(self, key: StudyKey) -> Sequence[Trial]:
        """Return all trials of the study by index."""
        ...

    async def create_trial(self, key: StudyKey, trial: Trial) -> Trial:
        """Create a trial; when its name is taken, return the stored one, whose assignment then counts."""
        ...

    async def update_trial(self, key: StudyKey, trial: Trial, status: TrialStatus) -> Trial:
        """Replace a trial's status and return the trial as stored.

        Raises:
            TransientError: If somebody else changed it since it was read.
        """
        ...

    async def update_study(self, key: StudyKey, status: StudyStatus) -> None:
        """Replace the study's status."""
        ...


class TrialRunner(Protocol):
    """Runs attempts of trials. All calls are idempotent."""

    async def observe(self, study: Study) -> Mapping[str, Attempt]:
        """Return the newest attempt of every trial that has one, by name of the trial.

        An attempt stays visible until :meth:`release` is called for it.
        """
        ...

    async def start(self, study: Study, trial: Trial, number: int, *, recorded_at: datetime | None = None) -> None:
        """Start an attempt, or queue it until the resources it asks for are free. Starting it again does nothing.

        The trial's record exists already. Of one trial never more than one attempt runs.

        Args:
            study: The study.
            trial: The trial.
            number: Of the attempt.
            recorded_at: When the store was asked to create *trial*, which is its answer; None when it is a memory of it.
        """
        ...

    async def confirm(self, study: Study, trial: Trial, number: int) -> None:
        """Make sure that an attempt still is as it was observed, before it is given up; one that is not known is none to be sure of.

        Raises:
            TransientError: If it is not: observe again.
        """
        ...

    async def stop(self, study: Study, trial: Trial, number: int) -> None:
        """Ask an attempt to end: the stop file and SIGTERM now, SIGKILL to all of it after the grace period. Returns at once."""
        ...

    async def release(self, study: Study, trial: Trial, number: int) -> None:
        """Forget an attempt that ended and whose result is stored, and free what it held."""
        ...


class CheckpointKeeper(Protocol):
    """Sees to it that checkpoints that nothing needs are removed, by itself or by the attempts that start later."""

    async def retain(self, study: Study, needed: Needed) -> None:
        """Take what must stay from now on. Returns at once; never raises because something could not be removed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """Why curves are missing, late or not whole: the words of the condition ``MetricsAvailable: False``.

    Attributes:
        reason: CamelCase, ``PrometheusUnreachable``.
        message: What is wrong, what that means for the study, what to do.
    """

    reason: str
    message: str


class MetricSource(Protocol):
    """Reads the curves of running trials."""

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves so far, as the user states the metrics, by name of the trial.

        Args:
            study: The study.
            attempts: Attempts whose curves are wanted. For one that has exited the curves returned are complete.
        """
        ...

    def unread(self) -> Mapping[str, float]:
        """Return trials that have ended and whose values may still come, with seconds until reading again makes sense.

        Nothing is decided about them until then: their end is not settled, and their place is not given to another trial.
        """
        ...

    def degraded(self) -> Degraded | None:
        """Return what was wrong with the newest reading, None when nothing was."""
        ...


class Suggester(Protocol):
    """Asks the algorithm of one study. The same snapshot gets the same answer, wherever it is computed."""

    async def propose(self, snapshot: StudySnapshot, count: int) -> Proposals:
        """Return up to *count* trials to create next.

        Raises:
            TransientError: If there is no answer yet; the study goes on without new trials and asks again.
        """
        ...

    async def recommend(self, snapshot: StudySnapshot) -> int | None:
        """Return the index of the algorithm's choice of the winner, None when it has none.

        Raises:
            TransientError: If there is no answer yet.
        """
        ...
