"""The operator as users have it: a process of its own, told everything by its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control_plane.access import Access

__all__ = ["OperatorProcess", "run_operator"]


class OperatorProcess:
    """One running operator."""

    def __init__(self, access: Access, log: Path, **settings: str) -> None:
        named = {f"SEATRIAL_OPERATOR_{name.upper()}": value for name, value in settings.items()}
        defaults = {
            "KUBECONFIG": str(access.kubeconfig),
            "SEATRIAL_OPERATOR_HEALTH_PORT": "0",
            "SEATRIAL_OPERATOR_METRICS_PORT": "0",
            "SEATRIAL_OPERATOR_LOG_LEVEL": "info",
        }
        self.log = log
        with log.open("ab") as sink:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "seatrial.entry.cluster"],
                env={**os.environ, **defaults, **named},
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    def text(self) -> str:
        """Return what it has logged."""
        return self.log.read_text()

    def kill(self) -> None:
        """End it as a lost node would."""
        self.popen.kill()
        self.popen.wait(30)

    def stop(self) -> int:
        """Ask it to end; return its exit status."""
        self.popen.terminate()
        return self.popen.wait(30)


@contextmanager
def run_operator(access: Access, folder: Path, **settings: str) -> Iterator[OperatorProcess]:
    """Run an operator until the end of the block; what it logged is shown where a test fails."""
    number = len(list(folder.glob("operator-*.log")))
    process = OperatorProcess(access, folder / f"operator-{number}.log", **settings)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.kill()
        sys.stdout.write(process.text()[-8000:])
