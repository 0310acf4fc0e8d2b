"""Begins attempts in a container: as forks of a process that has their libraries imported, or as processes of their own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seatrial_harness import wire
from seatrial_harness.directive import Directive
from seatrial_harness.kindling import WarmProcess
from seatrial_harness.relay import Relay, write_all

__all__ = ["PATIENCE_SECONDS", "Run", "Starter", "shared", "strip"]

PATIENCE_SECONDS = 120.0
"""Above this the warm process is taken for stuck."""

_OURS = ("SEATRIAL_", wire.PARAMETER_PREFIX)
# As the runner of a laptop has them; a test holds both equal. Read when a GPU is first used, which no import does.
_LATE = frozenset({"CUDA_VISIBLE_DEVICES"})
# Read when a library is loaded, which has happened before the attempt is known.
_EARLY = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NUMEXPR_", "VECLIB_", "TORCH", "PYTORCH", "CUDA", "CUBLAS", "NCCL", "NVIDIA", "HIP", "ROC", "XLA", "JAX", "TF_", "KERAS", "LD_", "DYLD_", "MALLOC", "PYTHON")  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Run:
    """An attempt that is to begin, or runs.

    Attributes:
        folder: Where its leader notes its end; None for a process of its own.
        leader: Process id of its session's leader; 0 before it has begun.
        kill_at: When it is ended by force.
        why: Who wanted it to end.
    """

    directive: Directive
    environment: Mapping[str, str]
    command: Sequence[str]
    begun: float
    since: float
    relay: Relay
    folder: Path | None = None
    leader: int = 0
    kill_at: float | None = None
    why: str = ""

    def forget_folder(self) -> None:
        """Remove its files."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


class Starter:
    """Keeps the warm process.

    Args:
        patience_seconds: How long an attempt waits for it.

    Attributes:
        warm: The process, once it was needed.
        first: The environment of the first attempt, without what was its own: forks have what is read of it when libraries are loaded.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self.warm: WarmProcess | None = None
        self.first: Mapping[str, str] | None = None
        self._name: tuple[str, ...] = ()
        self._cold_why = ""

    def begin(self, run: Run, now: float) -> None:
        """Begin an attempt, warm if that can be; called again until it has begun."""
        words = run.directive.interpreter
        why = self._cold_why
        if not why and (words == 0 or not run.command[words:]):
            why = "its command runs no Python program"
        if not why:
            why = _difference(self.first or {}, run.environment)
        if run.folder is not None:
            why = self._await(run, now)
        elif not why:
            why = self._begin_warm(run, now)
        if why and run.kill_at is not None:
            # Asked to end while the answer was awaited: nothing has begun, and nothing shall.
            run.forget_folder()
        elif why:
            write_all(1, f"seatrial: started cold: {why}\n".encode())
            self._begin_cold(run)

    def _begin_warm(self, run: Run, now: float) -> str:
        """Order a fork, or wait until it can be ordered; return why that will never be."""
        words = run.directive.interpreter
        interpreter, program = tuple(run.command[:words]), tuple(run.command[words:])
        name = (*interpreter, *program[: 2 if program[0] in {"-m", "-c"} else 1])
        if self.warm is None:
            self._name = name
            try:
                self.warm = WarmProcess(interpreter, name[words:], shared(run.environment))
            except OSError as error:
                self._cold_why = f"no process can be kept ready: {error}"
                return self._cold_why
        if name != self._name:
            return "its command is another one than that of the first trial"
        self._lose_patience(self.warm, run, now)
        if self.warm.broken:
            self._cold_why = self.warm.broken
            self.warm.close()
            return self._cold_why
        if self.warm.ready:
            try:
                room = _find_room()
                if room is None:
                    return "no folder for the files of its start can be written to"
                run.folder = Path(tempfile.mkdtemp(prefix="seatrial-", dir=room))
                self.warm.order(run.folder, program, run.environment, run.relay.sink)
            except OSError as error:
                return str(error)
        return ""

    def _lose_patience(self, warm: WarmProcess, run: Run, now: float) -> None:
        if not warm.broken and warm.started is None and now - run.since > self._patience_seconds:
            warm.close(f"the process that was kept ready has not answered in {self._patience_seconds:g} s")

    def _await(self, run: Run, now: float) -> str:
        """Take the answer to an order; return why there is no fork."""
        if self.warm is None or run.folder is None:
            return ""
        self._lose_patience(self.warm, run, now)
        run.leader = self.warm.started or 0
        if run.leader == 0 and self.warm.broken:
            # It may have handed the order over before it ended.
            leader = self.warm.find_leader(run.folder)
            run.leader = leader or 0
            if leader is not None:
                return ""
        if run.leader != 0:
            run.relay.close_sink()
        return self.warm.failed if run.leader == 0 else ""

    def _begin_cold(self, run: Run) -> None:
        run.forget_folder()
        try:
            process = subprocess.Popen(  # noqa: S603 - words are passed, never interpolated
                run.command,
                env=dict(run.environment),
                stdin=subprocess.DEVNULL,
                stdout=run.relay.sink,
                stderr=run.relay.sink,
                start_new_session=True,
            )
        except (OSError, ValueError, IndexError) as error:
            write_all(run.relay.sink, f"seatrial: cannot be started: {error}\n".encode())
            run.leader = -1
            return
        run.relay.close_sink()
        run.leader = process.pid
        # Whoever ends is waited for in one place.
        process.returncode = 0


def shared(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of an attempt's environment is not its own."""
    return {name: value for name, value in environment.items() if not name.startswith(_OURS)}


def _difference(first: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Return what would be loaded otherwise for an attempt than it was for the first one, empty when nothing."""
    for name in sorted(first.keys() | environment.keys()):
        if name.startswith(_EARLY) and name not in _LATE and first.get(name) != environment.get(name):
            return f"{name}, which is read when libraries are loaded, is not that of the first trial"
    return ""


def strip(environment: Mapping[str, str], first: Directive, *, called_off: bool) -> dict[str, str]:
    """Return what of a container's variables is no attempt's own.

    Args:
        environment: The container's variables, with those of the attempt that it was made for.
        first: The first attempt that begins in it.
        called_off: Whether another one was called off before, without a word of what was its own.
    """
    kept = shared(environment) if called_off else environment
    names = {name for name, _ in first.environment}
    return {name: value for name, value in kept.items() if name not in names}


def _find_room() -> str | None:
    """Return a folder in which files can be made, None without one."""
    for place in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108 - looked at, and named uniquely in it
        if place and os.access(place, os.W_OK | os.X_OK):
            return place
    return None
