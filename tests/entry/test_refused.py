"""What is refused before anything runs, because the place where a study would lie is no good: by the real command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from entry.conftest import run_seatrial
from seatrial.entry.session import open_study

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


SAVES = """
import seatrial_harness as seatrial

trial = seatrial.start()
state = trial.load()
for step in trial.steps(2):
    trial.report(step, loss=trial.x, loaded=state["x"] if state else -1)
    trial.save(x=trial.x)
"""


def a_study_that_saves(folder: Path, place: str, *, seed: int = 1) -> None:
    """Write a study whose checkpoints lie at an address, a folder of this machine."""
    (folder / "train.py").write_text(SAVES)
    text = STUDY.replace("NAME", "saves").replace(
        "{name: random}", f"{{name: random, seed: {seed}}}\n  steps: {{max: 2}}"
    )
    where = f'trial: {{checkpoints: {{url: "{place}"}}, template: '
    text = text.replace("trial: {template: ", where).replace('[sh, -c, "touch RAN; echo loss=1"]', "[python, train.py]")
    (folder / "saves.yaml").write_text(text)


@pytest.mark.slow
def test_two_studies_of_one_name_share_an_address_and_none_goes_on_from_the_others_checkpoints(folder: Path) -> None:
    places = []
    for seed, options in ((1, ()), (2, ("--restart",)), (3, ("--directory", "elsewhere"))):
        a_study_that_saves(folder, f"file://{folder}/shared", seed=seed)

        done = run_seatrial("run", "saves.yaml", *options, "--output", "json", folder=folder)

        assert done.returncode == 0, done.stderr
        directory = folder / ("elsewhere" if seed == 3 else ".seatrial/saves")
        opened = open_study(directory)
        for trial in opened.trials:
            metrics = {metric.name: metric.last for metric in trial.status.observation.metrics}
            # The value is that of the trial's own assignment, trained from its first step.
            assert (metrics["loss"], metrics["loaded"]) == (trial.spec.assignment["x"], -1)
            assert trial.status.steps_trained == 2
        places.append(opened.study.metadata.uid)
    assert sorted(path.name for path in (folder / "shared").iterdir()) == sorted(set(places))
    assert len(set(places)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True], ids=["as it was", "its own file torn"])
def test_a_study_that_is_run_again_finds_its_checkpoints(folder: Path, torn: bool) -> None:
    a_study_that_saves(folder, f"file://{folder}/shared")
    assert run_seatrial("run", "saves.yaml", folder=folder).returncode == 0
    first = open_study(folder / ".seatrial" / "saves").study.metadata.uid
    text = (folder / "saves.yaml").read_text()
    (folder / "saves.yaml").write_text(text.replace("maxTrials: 2", "maxTrials: 3"))
    if torn:
        (folder / ".seatrial" / "saves" / "study.json").write_text("{")
        assert run_seatrial("run", "saves.yaml", folder=folder).returncode == 2

    again = run_seatrial("run", "saves.yaml", folder=folder)

    assert again.returncode == 0, again.stderr
    assert open_study(folder / ".seatrial" / "saves").study.metadata.uid == first
    assert sorted(path.name for path in (folder / "shared" / first).iterdir()) == ["saves-0", "saves-1", "saves-2"]


def test_an_address_of_this_machine_that_cannot_be_written_is_refused_before_a_trial_runs(folder: Path) -> None:
    a_study_that_saves(folder, "file:///proc/nowhere")

    done = run_seatrial("run", "saves.yaml", folder=folder)

    assert done.returncode == 2
    assert "/proc/nowhere/saves-" in done.stderr
    assert (
        "no trial could save a checkpoint: make it a folder that can be written, or name another place" in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not list((folder / ".seatrial" / "saves" / "trials").glob("*"))


@pytest.mark.slow
def test_a_study_that_is_complete_is_shown_again_wherever_its_checkpoints_went(folder: Path) -> None:
    a_study_that_saves(folder, f"file://{folder}/store")
    assert run_seatrial("run", "saves.yaml", folder=folder).returncode == 0
    shutil.rmtree(folder / "store")
    (folder / "store").write_text("a file in the way")

    again = run_seatrial("run", "saves.yaml", folder=folder)
    text = (folder / "saves.yaml").read_text()
    (folder / "saves.yaml").write_text(text.replace("maxTrials: 2", "maxTrials: 3"))
    more = run_seatrial("run", "saves.yaml", folder=folder)

    assert again.returncode == 0, again.stderr
    assert "loss" in again.stdout
    assert more.returncode == 2
    assert "no trial could save a checkpoint" in more.stderr


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
