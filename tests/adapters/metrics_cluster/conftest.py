from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.metrics_cluster.faulty_server import FaultyServer
from adapters.metrics_cluster.real_prometheus import RunningTrial, TestPrometheus, a_scraped_trial


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[TestPrometheus]:
    server = TestPrometheus(tmp_path / "prometheus")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def start_trial(tmp_path: Path) -> Iterator[Callable[..., RunningTrial]]:
    """Starts real trials; all of them end with the test."""
    started: list[RunningTrial] = []

    def start(name: str, **more: object) -> RunningTrial:
        started.append(a_scraped_trial(tmp_path / "trials", name, **more))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for trial in started:
        trial.end()


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.close()
