"""A finished study on disk, made once by the real command, for the commands that look at one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = """\
apiVersion: seatrial.dev/v1alpha1
kind: Study
metadata: {name: tiny}
spec:
  objectives: [{metric: loss, goal: minimize}]
  parameters:
    - {name: x, type: ordinal, choices: [1, 2, 3]}
    - {name: word, type: categorical, choices: ["a b", "it's $HOME"]}
  algorithm: {name: grid}
  budget: {maxFailedTrials: 3, parallelTrials: 2}
  trial:
    template:
      spec:
        containers:
          - name: main
            image: example.org/tiny:1
            command: [sh, -c, 'if [ $HP_x = 3 ] && [ "$HP_word" = "a b" ]; then echo too big; exit 3; fi; echo "loss=$HP_x got $1"', sh]
            args: ["word is $(HP_word)"]
"""

Seatrial = Callable[..., "subprocess.CompletedProcess[str]"]


def run_seatrial(
    *arguments: str, folder: Path, text: str | None = None, timeout: float = 60, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does; *changes* are environment variables."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **changes}
    command = [sys.executable, "-m", "seatrial.entry.cli.main", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, input=text, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Return a folder with the study ``tiny`` run to its end, and what the run printed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY)
    return folder, run_seatrial("run", "tiny.yaml", folder=folder)


@pytest.fixture
def place(finished: tuple[Path, subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in the folder of the finished study."""
    monkeypatch.chdir(finished[0])
    monkeypatch.setenv("COLUMNS", "100")
    return finished[0]
