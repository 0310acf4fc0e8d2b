"""Kills those that run a study, one after the other, and lets the last one come to its end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from adapters import restless_runner

__all__ = ["run_killed_again_and_again"]

_KILLS = 6
_LONGEST_SECONDS = 60


def run_killed_again_and_again(root: Path, **variables: str) -> int:
    """Run the study of ``restless_runner.py`` in *root*; return how the one ended that was not killed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **variables}
    arguments = [sys.executable, restless_runner.__file__, str(root)]
    chance = random.Random(20)  # noqa: S311 - no secret
    ran = root / "ran"

    def count() -> int:
        return len(ran.read_text().split()) if ran.exists() else 0

    try:
        for _ in range(_KILLS):
            runner = subprocess.Popen(arguments, env=environment)
            # Some die while they start, the others a little after a trial of theirs has begun, at whatever they do then.
            wanted = min(count() + chance.randint(0, 3), restless_runner.TRIALS)
            deadline = time.monotonic() + _LONGEST_SECONDS
            while count() < wanted and runner.poll() is None:
                assert time.monotonic() < deadline, "no trial ran"
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.03))
            runner.kill()
            assert runner.wait() == -signal.SIGKILL, "the study was over before it could be killed"
    finally:
        (root / "go").touch()
    return subprocess.run(arguments, env=environment, check=False, timeout=120).returncode
