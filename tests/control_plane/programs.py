"""The programs of a control plane, and processes that never outlive their tests."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Process", "find_program", "prepare_programs"]

_ROOT = Path(__file__).parents[2]
_STOP_SECONDS = 10
_PR_SET_PDEATHSIG = 1


def prepare_programs() -> None:
    """Build what is missing or stale; progress goes to stderr.

    Raises:
        RuntimeError: If a program can neither be found nor built; the script's last lines say what to install.
    """
    done = subprocess.run([_ROOT / "scripts" / "cluster-tools", "control-plane"], check=False)
    if done.returncode:
        raise RuntimeError("scripts/cluster-tools control-plane failed; its output says what to do")


def find_program(name: str) -> Path:
    """Return the path of *name*: in KUBEBUILDER_ASSETS, else in the cache."""
    given = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nowhere")) / name
    cache = Path(os.environ.get("SEATRIAL_CACHE", Path.home() / ".cache" / "seatrial"))
    return given if os.access(given, os.X_OK) else cache / "bin" / name


def _die_with_the_parent() -> None:
    """Run in the child before its program: Linux kills it when the tests are killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A running program whose output goes to a file."""

    popen: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, name: str, flags: Sequence[str], *, folder: Path) -> Process:
        """Start *name*; what it prints goes to ``<folder>/<name>.log``."""
        log = folder / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [find_program(name), *flags],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_the_parent,
            )
        return cls(popen=popen, log=log)

    def check(self) -> None:
        """Raise if the program has ended.

        Raises:
            RuntimeError: With the last lines of its output.
        """
        if self.popen.poll() is not None:
            last = self.log.read_text(errors="replace").splitlines()[-15:]
            raise RuntimeError(
                f"{self.log.stem} ended with {self.popen.returncode}; {self.log} ends:\n" + "\n".join(last)
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the program, by force where it takes its time."""
        self.popen.send_signal(how)
        try:
            self.popen.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
