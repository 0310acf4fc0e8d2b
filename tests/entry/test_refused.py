"""What is refused before anything runs, because the place where a study would lie is no good: by the real command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entry.conftest import run_seatrial

STUDY = """
apiVersion: seatrial.dev/v1alpha1
kind: Study
metadata: {name: NAME}
spec:
  objectives: [{metric: loss, goal: minimize}]
  parameters: [{name: x, type: float, min: 0, max: 1}]
  algorithm: {name: random}
  budget: {maxTrials: 2}
  trial: {template: {spec: {containers: [{name: main, command: [sh, -c, "touch RAN; echo loss=1"]}]}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("first", "second"):
        text = STUDY.replace("NAME", name).replace("RAN", str(tmp_path / f"{name}-ran"))
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.mark.slow
def test_two_studies_never_share_a_directory(folder: Path) -> None:
    first = run_seatrial("run", "first.yaml", "--directory", "shared", folder=folder)
    before = sorted(path for path in (folder / "shared").rglob("*"))

    second = run_seatrial("run", "second.yaml", "--directory", "shared", folder=folder)

    assert first.returncode == 0, first.stderr
    assert second.returncode == 2
    assert "shared holds another study; name another --directory, or add --restart" in second.stderr
    assert not (folder / "second-ran").exists()
    assert before == sorted(path for path in (folder / "shared").rglob("*"))
    assert json.loads((folder / "shared" / "study.json").read_text())["metadata"]["name"] == "first"


def test_a_place_for_checkpoints_that_is_no_folder_is_refused_before_a_trial_runs(folder: Path) -> None:
    (folder / "place").mkdir()
    (folder / "place" / "checkpoints").write_text("a file in the way")

    done = run_seatrial("run", "first.yaml", "--directory", "place", folder=folder)

    assert done.returncode == 2
    assert "checkpoints cannot be written: File exists; no trial could save a checkpoint" in done.stderr
    assert "name another --directory, or set spec.trial.checkpoints.url" in done.stderr
    assert not (folder / "first-ran").exists()
    assert list((folder / "place" / "trials").glob("*")) == []


def test_a_file_system_that_takes_nothing_is_refused_before_a_trial_runs(folder: Path) -> None:
    # Nobody can make a folder in /proc, root included.
    done = run_seatrial("run", "first.yaml", "--directory", "/proc/studies", folder=folder)

    assert done.returncode == 2
    assert "/proc/studies cannot be used: " in done.stderr
    assert "name another directory or make it writable" in done.stderr
    assert not (folder / "first-ran").exists()


def test_checkpoints_of_an_earlier_run_are_left_alone_by_the_look_at_their_place(folder: Path) -> None:
    kept = folder / "place" / "checkpoints" / "first-0" / "step-1"
    kept.mkdir(parents=True)

    done = run_seatrial("run", "first.yaml", "--directory", "place", folder=folder)

    assert done.returncode == 0, done.stderr
    assert kept.is_dir()
    assert not (folder / "place" / "checkpoints" / ".writable").exists()
