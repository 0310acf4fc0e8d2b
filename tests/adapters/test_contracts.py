"""The suites of contracts, on what is simulated and on what is real."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.contracts import RunnerContract, StoreContract
from adapters.local_world import PYTHON_BEHAVIOURS, LocalWorld, a_local_study
from decide.builders import a_study
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.memory import MemoryStore, SimulatedClock
from seatrial.adapters.local.resources import Machine
from seatrial.adapters.local.simulated import Script, SimulatedRunner
from seatrial.adapters.local.store import DirectoryStore
from seatrial.api.trial import Trial


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()


class TestDirectoryStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path):
        store = DirectoryStore(StudyDirectory(tmp_path / "study"))
        yield store
        store.close()


def _script(trial: Trial, number: int) -> Script:
    losses = ((1.0, 1, {"loss": 3.0}), (2.0, 2, {"loss": 2.0}), (3.0, 3, {"loss": 1.0}))
    match trial.spec.assignment["kind"]:
        case "ok":
            return Script(duration_seconds=3, curve=losses)
        case "fail":
            return Script(duration_seconds=1, exit_code=3)
        case "deaf":
            return Script(duration_seconds=1e6, stop_seconds=1e6, sdk=False)
        case _:
            return Script(duration_seconds=1e6, sdk=False)


class SimulatedWorld:
    def __init__(self, capacity: int | None = None):
        self.study = a_study()
        self.runner = SimulatedRunner(SimulatedClock(), _script, capacity=capacity)
        self.metrics = self.runner

    async def until_deaf(self) -> None:
        """Scripted trials are deaf from their first moment."""

    async def wait(self) -> None:
        await self.runner.wait(10)


class TestSimulatedRunner(RunnerContract):
    @pytest.fixture
    def world(self):
        return SimulatedWorld()

    @pytest.fixture
    def small_world(self):
        return SimulatedWorld(capacity=1)


# How the process that starts trials does it, and what it does where a system lacks that (macOS before Python 3.13, and others).
WAYS = [
    pytest.param((), id="as this system has it"),
    pytest.param(("--fork",), id="without sessions in posix_spawn"),
    pytest.param(("--no-waitid",), id="without waitid"),
    pytest.param(("--fork", "--no-waitid"), id="without both"),
]


@pytest.mark.parametrize("ways", WAYS)
class TestLocalRunner(RunnerContract):
    @pytest.fixture
    def world(self, tmp_path: Path, ways: tuple[str, ...]):
        world = LocalWorld(tmp_path, a_local_study(grace=1.5), warden_options=ways)
        yield world
        world.clean()

    @pytest.fixture
    def small_world(self, tmp_path: Path, ways: tuple[str, ...]):
        study = a_local_study(container={"resources": {"requests": {"cpu": "600m"}}})
        world = LocalWorld(tmp_path, study, machine=Machine(cores=1, memory_bytes=1 << 30), warden_options=ways)
        yield world
        world.clean()


class TestWarmLocalRunner(RunnerContract):
    """Trials are forks of a process that is kept ready."""

    @pytest.fixture
    def world(self, tmp_path: Path):
        world = LocalWorld(tmp_path, a_local_study("python", "-c", PYTHON_BEHAVIOURS, grace=1.5, reuse=True))
        yield world
        world.clean()

    @pytest.fixture
    def small_world(self, tmp_path: Path):
        container = {"resources": {"requests": {"cpu": "600m"}}}
        study = a_local_study("python", "-c", PYTHON_BEHAVIOURS, container=container, reuse=True)
        world = LocalWorld(tmp_path, study, machine=Machine(cores=1, memory_bytes=1 << 30))
        yield world
        world.clean()
