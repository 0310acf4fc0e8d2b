"""The side of a container that asks the warm process (:mod:`seatrial_harness.warm`) for forks. What goes over the socket is told in docs/wire.md."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from seatrial_harness.relay import Relay

__all__ = ["WarmProcess"]


class WarmProcess:
    """A process with the libraries of one program, and what it said.

    Args:
        interpreter: Python and its flags.
        name: What is run, without its arguments: ``train.py``, ``-m package.train``.
        environment: Of the process.

    Attributes:
        ready: Whether it takes orders.
        broken: Why it takes none any more; empty while it may.
        started: Leader of the attempt that was ordered last, once it has one.
        failed: Why it has none.
        ended: Leaders that have ended, of attempts since the last order.
        talk: What it prints itself.
    """

    def __init__(self, interpreter: Sequence[str], name: Sequence[str], environment: Mapping[str, str]) -> None:
        self.channel, theirs = socket.socketpair()
        self.talk = Relay()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - words are passed, never interpolated
                [*interpreter, "-m", "seatrial_harness.warm", *name],
                stdin=theirs.fileno(),
                stdout=self.talk.sink,
                stderr=self.talk.sink,
                env={"PYTORCH_NVML_BASED_CUDA_CHECK": "1"} | dict(environment),
                start_new_session=True,
            )
        self.talk.close_sink()
        self.channel.setblocking(False)
        self.ready, self.broken = False, ""
        self.started: int | None = None
        self.failed = ""
        self.ended: set[int] = set()
        self._heard = b""

    def order(self, folder: Path, program: Sequence[str], environment: Mapping[str, str], output: int) -> None:
        """Have an attempt begun.

        Args:
            folder: Where its process id and exit code are noted.
            program: ``train.py --epochs 3``.
            environment: All of it.
            output: Descriptor that it writes to.

        Raises:
            OSError: If the process does not take it.
        """
        self.started, self.failed = None, ""
        # Those are over, and process ids come again.
        self.ended.clear()
        document = {
            "attempt": str(folder),
            "program": list(program),
            "environment": dict(environment),
            "folder": str(Path.cwd()),
        }
        with tempfile.TemporaryFile(dir=folder) as order, (folder / "lock").open("wb") as lock:
            # Whoever holds it belongs to the attempt: it goes with the order, and with nothing else.
            fcntl.flock(lock, fcntl.LOCK_EX)
            order.write(json.dumps(document).encode())
            order.flush()
            socket.send_fds(self.channel, [b"!"], [order.fileno(), lock.fileno(), output])

    @staticmethod
    def find_leader(folder: Path) -> int | None:
        """Return the leader of an attempt that was ordered of a process that is gone: 0 while it has not said who it is, None if it never began."""
        with (folder / "lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read_number(folder / "pid") or 0
        # Nobody has it: it never began, or has ended already.
        return _read_number(folder / "pid")

    def listen(self) -> None:
        """Take what it has said."""
        try:
            heard = self.channel.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self.broken = self.broken or "the process that was kept ready has ended"
            self.failed = self.failed or self.broken
            return
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def close(self, why: str = "it is not needed any more") -> None:
        """End it."""
        self.broken = self.broken or why
        self.failed = self.failed or self.broken
        self.channel.close()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _take(self, answer: Mapping[str, object]) -> None:
        if isinstance(answer.get("ended"), int):
            self.ended.add(int(str(answer["ended"])))
        elif "unfit" in answer:
            self.broken = self.failed = str(answer["unfit"])
        elif "ready" in answer:
            self.ready = True
        elif isinstance(answer.get("started"), int):
            self.started = int(str(answer["started"]))
        else:
            self.failed = str(answer.get("failed") or "it was not started")


def _read_number(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_bytes())
    return None
