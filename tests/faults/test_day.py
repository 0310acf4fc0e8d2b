"""Some hours of an operator's life, and that what would grow in them is seen. `make day` runs all 24."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults.day import run_day
from seatrial.entry.cluster.worker import StudyWorker

pytestmark = pytest.mark.slow


def test_hours_of_studies_that_come_and_go_and_of_outages_leave_nothing_behind():
    told = run_day(hours=2, seed=7)

    assert told.wrong == []
    assert told.done["created"] > 10
    assert told.done["deleted"] >= 5
    assert sum(count for word, count in told.done.items() if word.startswith("outage")) >= 4
    assert told.trials > 50


def test_a_seed_makes_the_same_hours_in_every_process():
    def run(hash_seed: str) -> str:
        command = [sys.executable, "-m", "faults.day", "--hours", "1", "--seed", "7"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.partition(" s, ")[2]

    first, second = run("1"), run("2")

    assert "mark " in first
    assert first == second


def test_an_operator_that_forgets_no_study_is_found_out(monkeypatch: pytest.MonkeyPatch):
    async def forget_nothing(*_: object) -> None:
        """Keep everything."""

    monkeypatch.setattr(StudyWorker, "_forget", forget_nothing)

    told = run_day(hours=2, seed=7)

    assert any(words.startswith("the operator still thinks of") for words in told.wrong)
