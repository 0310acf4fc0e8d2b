"""``seatrial run`` as a user types it: real processes, real signals, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from entry.conftest import TINY, run_seatrial

pytestmark = pytest.mark.slow

Finished = tuple[Path, "subprocess.CompletedProcess[str]"]

SLOW = TINY.replace("name: tiny", "name: slow").replace("sh, -c, 'if", "sh, -c, 'echo ready >>ready; sleep 60; if")


def test_a_run_tells_each_trial_and_ends_with_its_winner(finished: Finished) -> None:
    _, result = finished

    assert result.returncode == 0, result.stderr
    assert result.stdout.count(" completed loss ") == 5
    assert "failed: Error: exit code 3" in result.stdout
    assert "too big" in result.stdout
    assert "tiny: The study is complete" in result.stdout
    assert "winner       tiny-" in result.stdout
    assert "seatrial export tiny --best" in result.stdout
    assert "\x1b" not in result.stdout


def test_the_same_command_prints_the_winner_again_and_runs_nothing(finished: Finished) -> None:
    folder, first = finished

    again = run_seatrial("run", "tiny.yaml", folder=folder)

    assert again.returncode == 0
    assert "started" not in again.stdout
    assert first.stdout.endswith(again.stdout[again.stdout.index("tiny: The study") :])


def test_json_output_is_one_document_and_progress_is_elsewhere(finished: Finished) -> None:
    folder, _ = finished

    result = run_seatrial("run", "tiny.yaml", "--output", "json", folder=folder)

    document = json.loads(result.stdout)
    assert result.returncode == 0
    assert (document["study"], document["state"], document["reason"]) == ("tiny", "Succeeded", "SearchSpaceExhausted")
    assert document["trials"]["completed"] == 5
    assert document["best"]["values"] == {"loss": 1.0}
    assert document["best"]["assignment"]["x"] == 1
    assert document["directory"] == ".seatrial/tiny"
    assert document["report"] == "seatrial report tiny"


def test_a_study_from_standard_input_runs_in_the_current_folder(tmp_path: Path) -> None:
    result = run_seatrial("run", "-", "--directory", "here", "--quiet", "--max-trials", "1", folder=tmp_path, text=TINY)

    assert result.returncode == 0, result.stderr
    assert "started" not in result.stdout + result.stderr
    assert "seatrial report here" in result.stdout
    assert (tmp_path / "here" / "study.json").is_file()


def test_a_study_without_any_result_ends_with_code_one(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(TINY.replace("sh, -c, 'if", "sh, -c, 'exit 4; if"))

    result = run_seatrial("run", "bad.yaml", folder=tmp_path)

    assert result.returncode == 1
    assert "The study failed" in result.stdout
    assert "last failure tiny-" in result.stdout
    assert "its output: .seatrial/tiny/attempts/tiny-" in result.stdout


def test_a_wrong_file_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(TINY.replace("minimize", "smaller"))

    result = run_seatrial("run", "bad.yaml", folder=tmp_path)

    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("bad.yaml:5: spec.objectives[0].goal is 'smaller'")
    assert not (tmp_path / ".seatrial").exists()


def test_a_study_with_other_parameters_needs_another_name(finished: Finished, tmp_path: Path) -> None:
    folder, _ = finished
    other = TINY.replace("choices: [1, 2, 3]", "choices: [1, 2]")

    result = run_seatrial("run", "-", folder=folder, text=other)

    assert result.returncode == 2
    assert "spec.parameters differ" in result.stderr
    assert "--restart" in result.stderr


class Running:
    """A run whose two first trials have begun and would go on for a minute."""

    def __init__(self, folder: Path) -> None:
        (folder / "slow.yaml").write_text(SLOW)
        os.mkfifo(folder / "ready")
        command = [sys.executable, "-m", "seatrial.entry.cli.main", "run", "slow.yaml"]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        # Opening the pipe waits for the first trial to open its end.
        with (folder / "ready").open() as pipe:
            pipe.readline()

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal and return exit code and output."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=40)
        return self.process.returncode, out + err


@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGINT, 130, id="Ctrl-C"), pytest.param(signal.SIGTERM, 143, id="SIGTERM")],
)
def test_an_interrupted_run_says_that_the_same_command_goes_on(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    running = Running(tmp_path)

    returned, output = running.end(number)

    assert returned == code
    assert "Ctrl-C again ends them at once" in output
    assert "seatrial run slow.yaml   goes on" in output
    assert "Traceback" not in output


def test_a_second_run_of_the_same_study_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    running = Running(tmp_path)

    second = run_seatrial("run", "slow.yaml", folder=tmp_path)
    shown = run_seatrial("show", "slow", folder=tmp_path)
    running.end(signal.SIGINT)

    assert second.returncode == 3
    assert f"process {running.process.pid} runs this study" in second.stderr
    assert shown.returncode == 0
    assert "it runs at this moment" in shown.stdout


def test_a_run_goes_on_when_nobody_reads_its_progress(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = f"{sys.executable} -m seatrial.entry.cli.main run tiny.yaml 2>errors | true"

    subprocess.run(["bash", "-c", command], cwd=tmp_path, timeout=60, check=True)

    shown = run_seatrial("show", "tiny", "--output", "json", folder=tmp_path)
    assert json.loads(shown.stdout)["reason"] == "SearchSpaceExhausted"
    assert (tmp_path / "errors").read_text() == ""


HOSTILE = """\
import os, signal, sys, time
mode = os.environ["HP_mode"]
if mode == "crash":
    os.abort()
if mode == "hang":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
if mode == "garbage":
    sys.stdout.buffer.write(os.urandom(1 << 20))
    sys.exit()
if mode == "logs":
    for _ in range(120):
        sys.stdout.buffer.write((b"x" * 99 + b"\\n") * 10_000)
    sys.exit(print("loss=0.5"))
import seatrial_harness as seatrial
trial = seatrial.start(mode="good")
losses = {"nan": [(1, float("nan")), (2, float("nan"))], "back": [(1, 3), (5, 2), (2, 1), (3, 0.9)], "good": [(1, 0.7)]}
for step, loss in losses.get(mode) or ((step, 1 + 1 / step) for step in range(1, 20_001)):
    trial.report(step, loss=loss)
"""
MODES = ("crash", "hang", "garbage", "logs", "nan", "back", "points", "good")


def test_trials_that_crash_hang_and_flood_harm_neither_the_study_nor_each_other(tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text(HOSTILE)
    study = yaml.safe_load(TINY)
    study["spec"] |= {
        "parameters": [{"name": "mode", "type": "categorical", "choices": [*MODES]}],
        "budget": {"maxTrials": len(MODES), "parallelTrials": 4, "maxFailedTrials": len(MODES)},
    }
    container = {"name": "main", "image": "i", "command": [sys.executable, "hostile.py"]}
    template = {"spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
    study["spec"]["trial"] = {"timeout": "30s", "template": template}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))

    result = run_seatrial("run", "study.yaml", folder=tmp_path, timeout=240)
    table = run_seatrial("trials", "tiny", "--output", "json", folder=tmp_path)

    assert result.returncode == 0, result.stderr
    ended = {trial["assignment"]["mode"]: trial for trial in json.loads(table.stdout)}
    assert {mode: (trial["state"], trial["values"].get("loss")) for mode, trial in ended.items()} == {
        "crash": ("Failed", None),
        "hang": ("Failed", None),
        "garbage": ("Failed", None),
        "logs": ("Completed", 0.5),
        "nan": ("Diverged", "NaN"),
        "back": ("Completed", 0.9),
        "points": ("Completed", 1.00005),
        "good": ("Completed", 0.7),
    }
    for words in ("SIGABRT", "ran for longer than spec.trial.timeout (30s)", "'loss' was never reported"):
        assert words in result.stdout
    assert "loss is nan at step 2" in result.stdout
    # 114 MiB were written. A log is cut down to 1 MiB whenever it is seen above 64 MiB, which may be in the middle of that, or at its end.
    kept = sum(path.stat().st_size for path in (tmp_path / ".seatrial").rglob("*") if path.is_file())
    assert kept < 70 << 20
