"""A store in memory, and a clock that is moved by hand. For rehearsals and tests; they pass the same contract suites as the real ones."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial, TrialStatus
from seatrial.errors import TransientError
from seatrial.ports import StudyKey

__all__ = ["MemoryStore", "SimulatedClock"]


class SimulatedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the time, UTC, aware."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds} s")
        self._now += timedelta(seconds=seconds)


class MemoryStore:
    """Studies and trials in dictionaries.

    Attributes:
        writes: Number of writes so far.
    """

    def __init__(self) -> None:
        self._studies: dict[StudyKey, Study] = {}
        self._trials: dict[StudyKey, dict[str, Trial]] = {}
        self._sorted: dict[StudyKey, tuple[Trial, ...]] = {}
        self.writes = 0

    def put_study(self, study: Study) -> StudyKey:
        """Store a study as a user's ``apply`` does: the specification is replaced, the status stays."""
        key = StudyKey(study.metadata.namespace or "default", study.metadata.name)
        old = self._studies.get(key)
        generation = (old.metadata.generation or 0) + (old.spec != study.spec) if old else 1
        metadata = study.metadata.model_copy(
            update={"generation": generation, "uid": study.metadata.uid or study.metadata.name}
        )
        self._studies[key] = study.model_copy(
            update={"metadata": metadata, "status": old.status if old else study.status}
        )
        self._trials.setdefault(key, {})
        return key

    def remove_study(self, key: StudyKey) -> None:
        """Forget a study and its trials."""
        for table in (self._studies, self._trials, self._sorted):
            table.pop(key, None)

    async def read_study(self, key: StudyKey) -> Study | None:
        """Return the study, None when it does not exist."""
        return self._studies.get(key)

    async def read_trials(self, key: StudyKey) -> Sequence[Trial]:
        """Return all trials of the study by index."""
        if key not in self._sorted:
            self._sorted[key] = tuple(sorted(self._trials.get(key, {}).values(), key=lambda trial: trial.spec.index))
        return self._sorted[key]

    async def create_trial(self, key: StudyKey, trial: Trial) -> Trial:
        """Create a trial, or return the stored one of that name."""
        stored = self._trials.setdefault(key, {}).get(trial.metadata.name)
        if stored is not None:
            return stored
        given = {"resource_version": "1", "uid": trial.metadata.uid or f"{key.name}/{trial.metadata.name}"}
        return self._write(key, trial.model_copy(update={"metadata": trial.metadata.model_copy(update=given)}))

    async def update_trial(self, key: StudyKey, trial: Trial, status: TrialStatus) -> Trial:
        """Replace a trial's status."""
        stored = self._trials.get(key, {}).get(trial.metadata.name)
        if stored is None:
            raise TransientError(f"trial {trial.metadata.name} is gone; look again")
        if stored.metadata.resource_version != trial.metadata.resource_version:
            raise TransientError(f"trial {trial.metadata.name} was changed by somebody else; look again")
        version = str(int(stored.metadata.resource_version or 0) + 1)
        metadata = stored.metadata.model_copy(update={"resource_version": version})
        return self._write(key, stored.model_copy(update={"metadata": metadata, "status": status}))

    async def update_study(self, key: StudyKey, status: StudyStatus) -> None:
        """Replace the study's status."""
        if key in self._studies:
            self._studies[key] = self._studies[key].model_copy(update={"status": status})
            self.writes += 1

    def _write(self, key: StudyKey, trial: Trial) -> Trial:
        self._trials[key][trial.metadata.name] = trial
        self._sorted.pop(key, None)
        self.writes += 1
        return trial
