"""Starts process groups through a warden, which sees to it that how they end is known, whoever is still there to ask.

The warden (:mod:`seatrial.adapters.local.warden`) is one small process for all attempts of a runner. It outlives the runner's SIGKILL.
When it is killed itself, its attempts go on as if their runner had changed.
"""

import array
import asyncio
import contextlib
import errno
import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from seatrial.adapters.local import warden
from seatrial.adapters.local.layout import AttemptFiles

__all__ = ["HANG_SECONDS", "Child", "Command", "Launcher", "find_program"]

HANG_SECONDS = 30
"""A warden that takes no request for so long, or starts nothing, hangs: the next attempt has another one."""

_RECEIVE_BYTES = 1 << 12
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is run.

    Attributes:
        arguments: Program first, by its path.
        environment: All of it, nothing is inherited.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path


@dataclass(slots=True, kw_only=True, eq=False)
class Child:
    """The leader of an attempt, from the moment its warden is asked for it and as long as that one lives.

    Attributes:
        number: Of its start.
        asked_at: When the warden was asked for it (monotonic clock).
        code: Exit code as a shell tells it, once it has ended.
        ended_at: When that was told.
        refused: Why it could not be started, a number of the system's, once that was told.
    """

    number: int
    asked_at: float
    code: int | None = None
    ended_at: datetime | None = None
    refused: int | None = None
    _launcher: "Launcher" = field(repr=False)

    def signal(self, number: signal.Signals) -> None:
        """Signal its whole group; nothing happens when it has ended."""
        if self.code is None:
            self._launcher.signal(self, number)

    @property
    def is_overdue(self) -> bool:
        """Whether its warden hangs if it has not started it yet."""
        return time.monotonic() - self.asked_at >= HANG_SECONDS

    def let_go(self) -> None:
        """Let its warden be as if it were gone."""
        self._launcher.lose()


def find_program(name: str, environment: Mapping[str, str], folder: Path) -> str | None:
    """Return the path of a program as ``execvp`` would find it in *folder*, None when there is none that can be run."""
    if "/" in name:
        path = name if name.startswith("/") else str(folder / name)
        return path if os.path.isfile(path) and os.access(path, os.X_OK) else None  # noqa: PTH113 - looked for at each start
    return shutil.which(name, path=environment.get("PATH", os.defpath))


class Launcher:
    """Asks the warden; starts it with the first attempt, and anew when it is gone.

    Args:
        root: The study's directory; stands in the warden's command line, for people who look for it.
        on_news: Called in the event loop when children have ended or could not be started.
        on_loss: Called with the children of a warden that is gone, or hangs: how they end is not known from here any more. Of one that hangs
            also with its process id, which is nobody else's as long as this process lives.
        options: Further arguments of the warden.
    """

    def __init__(
        self,
        root: Path,
        *,
        on_news: Callable[[], None],
        on_loss: Callable[[Sequence[Child], int | None], None],
        options: Sequence[str] = (),
    ) -> None:
        self._root = root
        self._on_news, self._on_loss = on_news, on_loss
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._children: dict[int, Child] = {}
        self._numbers = itertools.count()

    def spawn(self, files: AttemptFiles, command: Command, lock: int, reached: Callable[[str], None]) -> Child:
        """Have a command started in a session of its own, its output going to the attempt's log; whether it could be is told later.

        Args:
            files: Files of the attempt; the folder exists.
            command: What to run.
            lock: Descriptor of the attempt's note, inherited by all its processes, and held by the warden until its end is noted.
            reached: Told the points at which a crash is interesting.

        Raises:
            OSError: If nobody can be asked for it.
        """
        # What is not taken from the warden may be in its way, and what it says may be that it is gone.
        self.read()
        child = Child(number=next(self._numbers), asked_at=time.monotonic(), _launcher=self)
        request = _request(child.number, command)
        output = os.open(files.output_name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            connection = self._open()
            reached("before the process")
            try:
                _send(connection, request, [lock, output])
            except (BrokenPipeError, ConnectionResetError):
                # The warden was gone already: nobody has seen the request.
                self.lose()
                connection = self._open()
                _send(connection, request, [lock, output])
        except OSError:
            self.lose()
            raise
        finally:
            os.close(output)
        self._children[child.number] = child
        return child

    def signal(self, child: Child, number: signal.Signals) -> None:
        """Signal the group of a child."""
        if self._socket is None:
            return
        try:
            _send(self._socket, b"\0".join([warden.SIGNAL, b"%d" % child.number, b"%d" % number]))
        except OSError:
            self.lose()

    def read(self) -> None:
        """Take what the warden has said."""
        if self._socket is None:
            return
        try:
            while content := self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT):
                self._received += content
        except BlockingIOError:
            content = b"more may come"
        except OSError:
            content = b""
        self._take()
        if not content:
            self.lose()

    def close(self) -> None:
        """Let go of the warden; it stays as long as its children do."""
        alone = not any(child.code is None for child in self._children.values())
        self._disconnect()
        if self._process is not None:
            if alone:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_SECONDS)
            # It looks after itself from here on: the destructor of Popen must not complain.
            self._process.returncode = self._process.returncode or 0
            self._process = None

    def _open(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-S", warden.__file__, str(self._root), *self._options],
                stdin=there.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", HANG_SECONDS, 0))
        self._socket = here
        asyncio.get_running_loop().add_reader(here, self.read)
        return here

    def _take(self) -> None:
        """Note what was said."""
        whole = len(self._received) - len(self._received) % warden.ANSWER.size
        told = list(warden.ANSWER.iter_unpack(bytes(self._received[:whole])))
        del self._received[:whole]
        for word, number, result in told:
            child = self._children.pop(number, None)
            if child is None:
                continue
            if word == warden.REFUSED:
                child.refused = result
            else:
                child.code, child.ended_at = result, datetime.now(UTC)
        if told:
            self._on_news()

    def _disconnect(self) -> None:
        if self._socket is not None:
            # The loop may be closed already: then it watches nothing any more.
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self._received.clear()

    def lose(self) -> None:
        """Have nothing more to do with the warden: the next command is started by another one."""
        children = list(self._children.values())
        self._children.clear()
        self._disconnect()
        process, self._process = self._process, None
        alive = process is not None and process.poll() is None
        if process is not None:
            # It is not waited for: the destructor of Popen must not complain.
            process.returncode = process.returncode or 0
        self._on_loss(children, process.pid if process is not None and alive else None)


def _request(number: int, command: Command) -> bytes:
    environment = [f"{name}={value}" for name, value in command.environment.items()]
    count = str(len(command.arguments))
    fields = [str(number), str(command.folder), count, *command.arguments, *environment]
    # Looked at and encoded once, not field by field: there are a hundred.
    content = "\0".join(fields)
    if content.count("\0") != len(fields) - 1:
        raise OSError(errno.EINVAL, "a NUL byte is in its arguments or its environment")
    return warden.START + b"\0" + os.fsencode(content)


def _send(connection: socket.socket, request: bytes, descriptors: Sequence[int] = ()) -> None:
    content = warden.HEADER.pack(len(request)) + request
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    sent = connection.sendmsg([content], rights)
    if sent < len(content):
        connection.sendall(memoryview(content)[sent:])
