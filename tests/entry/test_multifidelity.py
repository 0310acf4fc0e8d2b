"""Early stopping with real trainings: who is promoted goes on from its checkpoint, and every step is trained once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from entry.conftest import run_seatrial
from seatrial.api.conditions import TrialReason, find_condition
from seatrial.api.trial import Trial, reason_of
from seatrial.entry.session import OpenedStudy, open_study

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_study(folder: Path, study: dict, *, timeout: float = 280) -> tuple[Path, OpenedStudy]:
    """Run a study by the command, and return its directory and its records."""
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    done = run_seatrial("run", "study.yaml", "--directory", "place", folder=folder, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "place", open_study(folder / "place")


def steps_of(place: Path, trial: Trial) -> list[list[int]]:
    """Return the steps that the harness wrote down, one list an attempt: what was really trained."""
    # The number of a trial that waits is already that of an attempt that may never be made.
    files = sorted((place / "attempts").glob(f"{trial.metadata.name}.*/observations.jsonl"))
    reports = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    return [[seen["step"] for seen in attempt if "step" in seen] for attempt in reports]


def small(name: str) -> dict:
    """Return an example with 9 steps instead of 27, rungs at 1 and 3, and 4 trials."""
    study = yaml.safe_load((EXAMPLES / name).read_text())
    study["spec"]["steps"]["max"] = 9
    study["spec"]["budget"] = {"maxTrials": 4, "parallelTrials": 2}
    container = study["spec"]["trial"]["template"]["spec"]["containers"][0]
    container["command"] = ["python", str(EXAMPLES / "digits_mlp.py")]
    return study


@pytest.mark.torch
def test_the_mlp_goes_on_from_its_rungs_and_trains_no_epoch_twice(tmp_path: Path) -> None:
    study = small("digits-asha.yaml")
    # Seven attempts import torch once; what starts anew for each of them is trained in test_lineage.py.
    study["spec"]["trial"]["reuse"] = True

    place, stored = run_study(tmp_path, study)

    trained = {trial.metadata.name: steps_of(place, trial) for trial in stored.trials}
    for trial in stored.trials:
        attempts = trained[trial.metadata.name]
        # 1, then 2 and 3, then 4 to 9: each attempt goes on where the one before paused.
        assert attempts == [[1], [2, 3], [4, 5, 6, 7, 8, 9]][: len(attempts)]
        assert trial.status.steps_trained == sum(map(len, attempts)) == attempts[-1][-1]
        assert trial.status.checkpoint.step == attempts[-1][-1]
    # Four at the first rung; the best of the first three goes on, and the fourth only if it is better still. Of one or two at the second
    # rung nobody is the best third, so the best of them is seen through at the end. Who comes when is up to the machine.
    lengths = sorted(len(attempts) for attempts in trained.values())
    assert lengths in ([1, 1, 1, 3], [1, 1, 2, 3])
    assert stored.study.status.steps_trained == sum(attempts[-1][-1] for attempts in trained.values())
    best = stored.trials[stored.study.status.best.index]
    assert reason_of(best) is TrialReason.COMPLETED
    assert [step for step, _ in best.status.observation.curve] == list(range(1, 10))
    # Who was seen through was the best at the second rung, and the best of all at the first had come there.
    at_one = {t.metadata.name: t.status.observation.curve[0][1] for t in stored.trials}
    at_two = {
        t.metadata.name: dict(t.status.observation.curve)[3] for t in stored.trials if len(trained[t.metadata.name]) > 1
    }
    assert best.metadata.name == min(at_two, key=at_two.__getitem__)
    assert min(at_one, key=at_one.__getitem__) in at_two


WITHOUT = """
import seatrial_harness as seatrial

trial = seatrial.start(x=0.5)
for step in trial.steps(9):
    trial.report(step, loss=trial.x + 1 / step)
"""


@pytest.mark.parametrize("saves", [False, True], ids=["without checkpoints", "with checkpoints"])
def test_a_script_starts_over_without_checkpoints_and_a_condition_says_so(tmp_path: Path, saves: bool) -> None:
    script = WITHOUT + "    trial.save(state=step)\n" if saves else WITHOUT
    script = script.replace("for step", "trial.load()\nfor step") if saves else script
    (tmp_path / "train.py").write_text(script)
    study = small("digits-asha.yaml")
    study["spec"]["objectives"] = [{"metric": "loss", "goal": "minimize"}]
    study["spec"]["parameters"] = [{"name": "x", "type": "float", "min": 0, "max": 1}]
    study["spec"]["budget"] = {"maxTrials": 3, "parallelTrials": 3}
    study["spec"]["trial"]["template"]["spec"]["containers"][0]["command"] = ["python", "train.py"]

    place, stored = run_study(tmp_path, study)

    best = stored.trials[stored.study.status.best.index]
    attempts = steps_of(place, best)
    remark = find_condition(stored.study.status.conditions, "Resumable")
    if saves:
        assert attempts == [[1], [2, 3], [4, 5, 6, 7, 8, 9]]
        assert remark is None or remark.status == "True"
    else:
        assert attempts == [[1], [1, 2, 3], list(range(1, 10))]
        assert (remark.status, remark.reason) == ("False", "CheckpointMissing")
        assert "call trial.save()" in remark.message
    assert best.status.steps_trained == sum(map(len, attempts))
    # Either way the values are those of one training.
    assert [step for step, _ in best.status.observation.curve] == list(range(1, 10))
