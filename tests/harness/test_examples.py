"""The examples that need no torch, and the twelve lines that become a trial."""

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.scripts import ATrial

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(path: Path, *arguments: str, **env: str) -> str:
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("SEATRIAL_", "HP_"))}
    done = subprocess.run(
        [sys.executable, str(path), *arguments],
        env=clean | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_twelve_lines_become_a_trial_by_at_most_five_changed_ones() -> None:
    before, after = ((EXAMPLES / "adapt" / name).read_text().splitlines() for name in ("before.py", "after.py"))

    written = [line for line in difflib.ndiff(before, after) if line.startswith("+ ")]

    assert len(before) == 12
    assert 1 <= len(written) <= 5


def test_the_adapted_script_finds_the_same_with_and_without_seatrial(trial: ATrial) -> None:
    before, after = (run(EXAMPLES / "adapt" / name) for name in ("before.py", "after.py"))
    env = {
        "PYTHONPATH": str(EXAMPLES / "adapt"),
        "SEATRIAL_MAX_STEP": "30",
        "SEATRIAL_OBJECTIVES": "",
        "SEATRIAL_PARAMETERS": '{"lr": 0.5}',
    }
    ended = trial.with_env(**env).run((EXAMPLES / "adapt/after.py").read_text())

    found = [float(line.split()[-1]) for line in before.splitlines()]
    assert len(found) == 30
    assert [round(float(line.split("=")[-1]), 3) for line in after.splitlines()] == found
    assert [round(seen["metrics"]["val_accuracy"], 3) for seen in ended.observations] == found


def test_the_script_without_the_sdk_prints_pairs_and_takes_its_parameters_as_options() -> None:
    lines = run(
        EXAMPLES / "no_sdk.py", "--lr", "0.5", "--l2", "0.0001", "--batch-size", "64", "--epochs", "3"
    ).splitlines()

    assert [re.sub(r"[\d.]+", "#", line) for line in lines] == ["epoch=# val_loss=# val_accuracy=#"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("model", ["svm", "forest", "knn", "logreg"])
def test_each_model_of_the_conditional_example_can_be_chosen(model: str) -> None:
    lines = run(EXAMPLES / "model_choice.py", HP_model=model, HP_forestTrees="20", HP_logregC="0.1").splitlines()

    assert len(lines) == 5
    assert float(lines[-1].split("=")[-1]) > 0.9


def test_no_image_is_in_two_parts_of_the_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import digits_parts  # type: ignore[import-not-found]

    parts = [digits_parts.load_training(), digits_parts.load_validation(), digits_parts.load_test()]

    assert [len(labels) for _, labels in parts] == [1077, 360, 360]
    assert len(np.unique(np.concatenate([images for images, _ in parts]), axis=0)) == 1797
    assert all(set(labels) == set(range(10)) for _, labels in parts)
