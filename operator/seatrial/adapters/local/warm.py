"""Starts attempts as forks of a process that has the program's libraries imported already (``trial.reuse``).

The process is the harness' (``python -m seatrial_harness.warm``); what goes over the socket to it is told in docs/wire.md. An attempt that
it has started needs neither it nor the runner any more. One that it cannot start, or has not, is given back and starts cold.
Must not decide what is started.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seatrial.adapters.local.launch import Command
from seatrial.adapters.local.layout import AttemptFiles
from seatrial.api import wire
from seatrial.api.programs import PythonProgram, find_python

__all__ = ["WarmListener", "WarmStarter"]

# Above this the process is taken for stuck: it may import a great deal, at its beginning and after the end of a trial.
_PATIENCE_SECONDS = 120.0
_MOST_DEATHS = 3

_OURS = ("SEATRIAL_", wire.PARAMETER_PREFIX)
# Read when a GPU is first used, which no import does.
_LATE = frozenset({"CUDA_VISIBLE_DEVICES"})
# Read when a library is loaded, which has happened before the trial is known.
_EARLY = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NUMEXPR_", "VECLIB_", "TORCH", "PYTORCH", "CUDA", "CUBLAS", "NCCL", "NVIDIA", "HIP", "ROC", "XLA", "JAX", "TF_", "KERAS", "LD_", "DYLD_", "MALLOC", "PYTHON")  # fmt: skip


class WarmListener(Protocol):
    """Who wants to know what became of an attempt that was taken."""

    def on_warm_start(self, files: AttemptFiles) -> None:
        """It runs, or has run."""

    def on_warm_end(self, files: AttemptFiles) -> None:
        """It has ended, or nobody will tell of its end."""

    def on_refusal(self, files: AttemptFiles, command: Command, why: str) -> None:
        """It must be started cold, unless it was started after all when the process died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """An attempt to be started; *lock* is a descriptor of its lock."""

    files: AttemptFiles
    command: Command
    program: PythonProgram
    lock: int


@dataclass(slots=True, kw_only=True)
class _Worker:
    """The process that is kept ready.

    Attributes:
        first: The attempt for which it was started: what it has imported is right for this one's like.
        ready: Whether it takes orders.
        heard: What it said of an answer that is not whole.
    """

    process: subprocess.Popen[bytes]
    channel: socket.socket
    first: _Start
    ready: bool = False
    heard: bytes = b""


class WarmStarter:
    """Keeps one process with the libraries of one program.

    Args:
        log: Where the process writes what it has to say.
        listener: Is told what became of each attempt, in the event loop.
        reached: Told the points at which a crash is interesting.
    """

    def __init__(self, log: Path, listener: WarmListener, reached: Callable[[str], None]) -> None:
        self._log, self._listener, self._reached = log, listener, reached
        self._worker: _Worker | None = None
        self._waiting: deque[_Start] = deque()
        self._asked: _Start | None = None
        self._running: dict[int, AttemptFiles] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._deaths = 0
        self._broken = ""

    def take(self, files: AttemptFiles, command: Command, lock: int) -> str:
        """Take an attempt to be started, as soon as the process is ready; call it in the event loop.

        Args:
            files: Files of the attempt; its start is recorded.
            command: What to run.
            lock: Descriptor of the attempt's lock, which is copied.

        Returns:
            Why it must be started cold, empty when it was taken.
        """
        program = find_python(command.arguments)
        if program is None:
            return "its command runs no Python program directly"
        try:
            start = _Start(files=files, command=command, program=program, lock=os.dup(lock))
        except OSError as error:
            return str(error)
        why = self._broken
        if not why:
            why = self._begin(start) if self._worker is None else _difference(self._worker.first, start)
        if why:
            os.close(start.lock)
            return why
        self._waiting.append(start)
        self._order_next()
        return ""

    def withdraw(self, files: AttemptFiles) -> bool:
        """Give up an attempt; return whether it was not ordered yet, and thus never begins."""
        for start in self._waiting:
            if start.files.folder == files.folder:
                self._waiting.remove(start)
                os.close(start.lock)
                return True
        return False

    def close(self) -> None:
        """End the process; attempts that it has started go on, the others have never begun."""
        for start in self._waiting:
            os.close(start.lock)
        self._waiting.clear()
        self._asked = None
        self._end()

    def _begin(self, start: _Start) -> str:
        """Start the process; return why that cannot be done, empty when it was."""
        ours, theirs = socket.socketpair()
        try:
            with self._log.open("wb") as log:
                process = subprocess.Popen(  # noqa: S603 - arguments are passed, never interpolated
                    [*start.program.interpreter, "-m", "seatrial_harness.warm", *start.program.name],
                    stdin=theirs.fileno(),
                    stdout=log,
                    stderr=log,
                    cwd=start.command.folder,
                    env=_shared(start.command.environment),
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            return f"no process can be kept ready for it: {error}"
        finally:
            theirs.close()
        ours.setblocking(False)
        self._worker = _Worker(process=process, channel=ours, first=start)
        asyncio.get_running_loop().add_reader(ours, self._listen)
        self._set_alarm()
        self._reached("worker begun")
        return ""

    def _order_next(self) -> None:
        worker = self._worker
        if worker is None or not worker.ready or self._asked is not None or not self._waiting:
            return
        start = self._asked = self._waiting.popleft()
        self._reached("before the order")
        try:
            _order(worker.channel, start)
        except OSError as error:
            self._give_up(f"takes no orders ({error})")
            return
        self._reached("order sent")
        self._set_alarm()

    def _listen(self) -> None:
        worker = self._worker
        if worker is None:
            return
        try:
            heard = worker.channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self._give_up("has ended")
            return
        *lines, worker.heard = (worker.heard + heard).split(b"\n")
        for line in lines:
            self._hear(worker, json.loads(line))
        self._order_next()

    def _hear(self, worker: _Worker, answer: Mapping[str, object]) -> None:
        if "ended" in answer:
            files = self._running.pop(_read_leader(answer["ended"]), None)
            if files is not None:
                self._listener.on_warm_end(files)
            return
        self._silence_alarm()
        if "unfit" in answer:
            self._broken = f"no process can be kept ready for it: {answer['unfit']}"
            self._give_up("")
        elif "ready" in answer:
            worker.ready = True
        elif self._asked is not None:
            start, self._asked = self._asked, None
            if "started" in answer:
                self._reached("warm start told")
                self._running[_read_leader(answer["started"])] = start.files
                self._listener.on_warm_start(start.files)
            else:
                self._listener.on_refusal(start.files, start.command, str(answer.get("failed")))

    def _give_up(self, how: str) -> None:
        """End the process and give back what it has not started."""
        why = self._broken or f"the process that was kept ready {how}; its log is {self._log}"
        self._deaths += 1
        if self._deaths >= _MOST_DEATHS or (self._worker is not None and not self._worker.ready):
            self._broken = why
        left = [*([self._asked] if self._asked else []), *self._waiting]
        for start in self._waiting:
            os.close(start.lock)
        self._waiting.clear()
        self._asked = None
        self._end()
        for start in left:
            self._listener.on_refusal(start.files, start.command, why)

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        self._silence_alarm()
        # The loop may be closed already: then it watches nothing any more.
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(worker.channel)
        worker.channel.close()
        worker.process.kill()
        worker.process.wait()
        running, self._running = self._running, {}
        for files in running.values():
            self._listener.on_warm_end(files)

    def _set_alarm(self) -> None:
        self._silence_alarm()
        words = f"has not answered within {_PATIENCE_SECONDS:g} s"
        self._alarm = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._give_up, words)

    def _silence_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


def _read_leader(told: object) -> int:
    return told if isinstance(told, int) else 0


def _order(channel: socket.socket, start: _Start) -> None:
    """Send an order; the descriptor of the lock is closed whatever happens."""
    document = {
        "attempt": str(start.files.folder),
        "program": start.program.program,
        "environment": dict(start.command.environment),
        "folder": str(start.command.folder),
    }
    # A file without a name: an environment may be long, and is nobody's business.
    with os.fdopen(start.lock), tempfile.TemporaryFile() as order, start.files.output.open("ab") as output:
        order.write(json.dumps(document).encode())
        order.flush()
        socket.send_fds(channel, [b"!"], [order.fileno(), start.lock, output.fileno()])


def _difference(first: _Start, start: _Start) -> str:
    """Return what would be loaded otherwise for *start* than it was for *first*, empty when nothing."""
    if (first.program.interpreter, first.program.name, first.command.folder) != (
        start.program.interpreter,
        start.program.name,
        start.command.folder,
    ):
        return "its command is another one than that of the first trial"
    there, here = first.command.environment, start.command.environment
    for name in sorted(here.keys() | there.keys()):
        if name.startswith(_EARLY) and name not in _LATE and here.get(name) != there.get(name):
            return f"{name}, which is read when libraries are loaded, is not that of the first trial"
    return ""


def _shared(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of an attempt's environment is not its own."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    # An import that asks torch whether there is a GPU must not begin to use it: a fork could not any more.
    return {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"} | kept
