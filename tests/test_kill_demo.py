"""The script that kills a run again and again and shows that every trial ran once."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "kill-demo"

STUDY = """
apiVersion: seatrial.dev/v1alpha1
kind: Study
metadata: {name: short}
spec:
  objectives: [{metric: loss, goal: minimize}]
  parameters: [{name: x, type: float, min: 0, max: 1}]
  budget: {maxTrials: 4, parallelTrials: 2}
  steps: {unit: step, max: 12}
  trial:
    template:
      spec:
        containers:
          - name: main
            command: [python, train.py]
"""

TRAIN = """
import time
import seatrial_harness as seatrial

trial = seatrial.start()
for step in trial.steps(12):
    time.sleep(0.1)
    trial.report(step, loss=1 / step)
"""


@pytest.fixture(scope="module")
def script() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(SCRIPT), run_name="kill_demo"))


@pytest.mark.slow
def test_a_study_whose_runner_is_killed_shows_what_each_of_its_attempts_has_trained(tmp_path: Path):
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "train.py").write_text(TRAIN)
    command = [sys.executable, str(SCRIPT), str(tmp_path / "study.yaml"), "--kills", "2", "--longest", "1.5"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("short-")]
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row[:2] for row in rows] == [[f"short-{index}", "Completed"] for index in range(4)]
    # Those that ran when their runner died were adopted.
    assert [row[2:] for row in rows] == [["1", "1-12"]] * 4
    assert "kill  2 after" in done.stdout
    assert "violations: 0" in done.stdout


@pytest.mark.parametrize(
    ("runs", "problems"),
    [
        pytest.param([([1, 2, 3], 0, 3)], [], id="one attempt"),
        pytest.param([([1, 2, 3], 0, 3), ([3, 4], 4, 5)], [], id="from its checkpoint on"),
        pytest.param(
            [([1, 1, 2, 2], 0, 3)], ["s-0: attempt 0 reported a step twice"], id="two processes of one attempt"
        ),
        pytest.param([([1, 2], 0, 3), ([3], 2, 5)], ["s-0: attempts 0 and 1 overlapped"], id="two attempts at once"),
        pytest.param(
            [([1, 2], 0, 3), ([4], 4, 5)], ["s-0: attempt 1 left out what comes after step 2"], id="a step left out"
        ),
    ],
)
def test_what_would_show_that_a_trial_did_not_run_once_is_a_problem(script, runs, problems):
    found = [script.Run(number, steps, begun, ended) for number, (steps, begun, ended) in enumerate(runs)]

    assert script.find_problems("s-0", found) == problems
