"""Store and runner of a cluster under the suites that the laptop's pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest

from adapters.contracts import RunnerContract, StoreContract
from adapters.kubernetes.world import Cluster, Memory, a_study_that_reuses, ensure_trial
from decide.builders import a_study
from seatrial.adapters.local.simulated import Script
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial, TrialStatus
from seatrial.decide.attempts import Attempt
from seatrial.ports import StudyKey


def _script(trial: Trial, number: int) -> Script:
    losses = ((1.0, 1, {"loss": 3.0}), (2.0, 2, {"loss": 2.0}), (3.0, 3, {"loss": 1.0}))
    match trial.spec.assignment.get("kind"):
        case "ok":
            return Script(duration_seconds=3, curve=losses)
        case "fail":
            return Script(duration_seconds=1, exit_code=3)
        case "deaf":
            return Script(duration_seconds=1e6, stop_seconds=1e6, sdk=False)
        case _:
            return Script(duration_seconds=1e6, sdk=False)


class SettledStore:
    """A store of which nothing is stale: the caches catch up before every call."""

    def __init__(self) -> None:
        self.cluster = Cluster(_script)
        self.memory = Memory(self.cluster)

    def put_study(self, study: Study) -> StudyKey:
        return self.cluster.put_study(study)

    async def read_study(self, key: StudyKey) -> Study | None:
        await self.memory.settle()
        return await self.memory.store.read_study(key)

    async def read_trials(self, key: StudyKey) -> Sequence[Trial]:
        await self.memory.settle()
        return await self.memory.store.read_trials(key)

    async def create_trial(self, key: StudyKey, trial: Trial) -> Trial:
        await self.memory.settle()
        return await self.memory.store.create_trial(key, trial)

    async def update_trial(self, key: StudyKey, trial: Trial, status: TrialStatus) -> Trial:
        await self.memory.settle()
        return await self.memory.store.update_trial(key, trial, status)

    async def update_study(self, key: StudyKey, status: StudyStatus) -> None:
        await self.memory.settle()
        await self.memory.store.update_study(key, status)


class TestKubernetesStore(StoreContract):
    @pytest.fixture
    def store(self):
        return SettledStore()


class SettledWorld:
    """A runner of which nothing is stale, on a cluster whose trials are stored when they start."""

    def __init__(self, capacity: int | None = None, study: Study | None = None) -> None:
        self.given: dict[tuple[str, int], Trial] = {}
        self.cluster = Cluster(self._play, capacity=capacity)
        self.memory = Memory(self.cluster)
        self.key = self.cluster.put_study(study or a_study())
        self.study = self.cluster.stored(self.key)
        self.runner = self
        self.metrics = self.cluster.kubelet

    def _play(self, trial: Trial, number: int) -> Script:
        # The suite lets one trial behave differently at each attempt, which a stored Trial does not.
        return _script(self.given[trial.metadata.name, number], number)

    async def observe(self, study: Study) -> Mapping[str, Attempt]:
        await self.memory.settle()
        return await self.memory.runner.observe(study)

    async def start(self, study: Study, trial: Trial, number: int, *, recorded_at: datetime | None = None) -> None:
        await self.memory.settle()
        self.given.setdefault((trial.metadata.name, number), trial)
        await self.memory.runner.start(study, ensure_trial(self.cluster, self.key, trial), number)

    async def confirm(self, study: Study, trial: Trial, number: int) -> None:
        await self.memory.settle()
        await self.memory.runner.confirm(study, ensure_trial(self.cluster, self.key, trial), number)

    async def stop(self, study: Study, trial: Trial, number: int) -> None:
        await self.memory.settle()
        await self.memory.runner.stop(study, ensure_trial(self.cluster, self.key, trial), number)

    async def release(self, study: Study, trial: Trial, number: int) -> None:
        await self.memory.settle()
        await self.memory.runner.release(study, ensure_trial(self.cluster, self.key, trial), number)

    async def until_deaf(self) -> None:
        """Scripted trials are deaf from their first moment."""

    async def wait(self) -> None:
        self.cluster.kubelet.advance(10)


class TestKubernetesRunner(RunnerContract):
    @pytest.fixture
    def world(self):
        return SettledWorld()

    @pytest.fixture
    def small_world(self):
        return SettledWorld(capacity=1)


class TestRunnerThatHandsPodsOn(RunnerContract):
    """Attempts that ended well leave their Pods to the next ones."""

    @pytest.fixture
    def world(self):
        return SettledWorld(study=a_study_that_reuses())

    @pytest.fixture
    def small_world(self):
        return SettledWorld(capacity=1, study=a_study_that_reuses())
