"""The side of a container that asks the warm process (:mod:`seatrial_harness.warm`) for forks. What goes over the socket is told in docs/wire.md."""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

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
        ended: Leaders that have ended.
    """

    def __init__(self, interpreter: Sequence[str], name: Sequence[str], environment: Mapping[str, str]) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - words are passed, never interpolated
                [*interpreter, "-m", "seatrial_harness.warm", *name],
                stdin=theirs.fileno(),
                stdout=sys.stdout.fileno(),
                stderr=sys.stderr.fileno(),
                env={"PYTORCH_NVML_BASED_CUDA_CHECK": "1"} | dict(environment),
                start_new_session=True,
            )
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
        """Return the leader of an attempt that was ordered of a process that is gone: 0 while it has not said who it is, None without one."""
        with (folder / "lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with contextlib.suppress(OSError, ValueError):
                    return int((folder / "pid").read_bytes())
                return 0
        return None

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

    def close(self) -> None:
        """End it."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)

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
