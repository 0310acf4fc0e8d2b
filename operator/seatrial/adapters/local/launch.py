"""Starts process groups through a warden, which sees to it that how they end is known, whoever is still there to ask.

The warden (:mod:`seatrial.adapters.local.warden`) is one small process for all attempts of a runner. It outlives the runner's SIGKILL.
When it is killed itself, its attempts go on as if their runner had changed.
"""

import array
import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from seatrial.adapters.local import warden
from seatrial.adapters.local.layout import AttemptFiles

__all__ = ["Child", "Command", "Launcher", "find_program"]

# Without an answer for so long there is none: the next attempt has another warden.
_ANSWER_SECONDS = 30
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
    """The leader of an attempt, as long as its warden lives.

    Attributes:
        code: Exit code as a shell tells it, once it has ended.
        ended_at: When that was told.
    """

    pid: int
    code: int | None = None
    ended_at: datetime | None = None
    _launcher: "Launcher" = field(repr=False)

    def signal(self, number: signal.Signals) -> None:
        """Signal its whole group; nothing happens when it has ended."""
        if self.code is None:
            self._launcher.signal(self.pid, number)


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
        on_news: Called in the event loop when children have ended.
        on_loss: Called with the children of a warden that is gone: how they end is not known from here any more.
        options: Further arguments of the warden.
    """

    def __init__(
        self,
        root: Path,
        *,
        on_news: Callable[[], None],
        on_loss: Callable[[Sequence[Child]], None],
        options: Sequence[str] = (),
    ) -> None:
        self._root = root
        self._on_news, self._on_loss = on_news, on_loss
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._children: dict[int, Child] = {}

    def spawn(self, files: AttemptFiles, command: Command, lock: int, reached: Callable[[str], None]) -> Child:
        """Start a command in a session of its own, its output going to the attempt's log.

        Args:
            files: Files of the attempt; the folder exists.
            command: What to run.
            lock: Descriptor of the attempt's note, inherited by all its processes, and held by the warden until its end is noted.
            reached: Told the points at which a crash is interesting.

        Raises:
            OSError: If the process cannot be started (too many processes, too long an environment, no warden).
        """
        request = _request(command)
        output = os.open(files.output_name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            connection = self._open()
            reached("before the process")
            try:
                _send(connection, request, [lock, output])
            except (BrokenPipeError, ConnectionResetError):
                # The warden was gone already: nobody has seen the request.
                self._lose()
                connection = self._open()
                _send(connection, request, [lock, output])
            started = self._await_start(connection)
        except OSError:
            self._lose()
            raise
        finally:
            os.close(output)
        if isinstance(started, int):
            raise OSError(started, os.strerror(started))
        return started

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Signal the group of a child."""
        if self._socket is None:
            return
        try:
            _send(self._socket, b"\0".join([warden.SIGNAL, b"%d" % pid, b"%d" % number]))
        except OSError:
            self._lose()

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
            self._lose()

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
        for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            here.setsockopt(socket.SOL_SOCKET, limit, struct.pack("@ll", _ANSWER_SECONDS, 0))
        self._socket = here
        asyncio.get_running_loop().add_reader(here, self.read)
        return here

    def _await_start(self, connection: socket.socket) -> Child | int:
        """Return what was just asked for, or the number of the error why it was refused."""
        while True:
            content = connection.recv(_RECEIVE_BYTES)
            if not content:
                raise ConnectionError("the process that starts trials was ended; the next trial starts another one")
            self._received += content
            if (found := self._take()) is not None:
                return found

    def _take(self) -> Child | int | None:
        """Note what was said; return how the newest start went if it was told."""
        found: Child | int | None = None
        ended = False
        whole = len(self._received) - len(self._received) % warden.ANSWER.size
        for word, first, second in warden.ANSWER.iter_unpack(bytes(self._received[:whole])):
            if word == warden.STARTED:
                found = self._children[first] = Child(pid=first, _launcher=self)
            elif word == warden.REFUSED:
                found = first
            elif (child := self._children.pop(first, None)) is not None:
                child.code, child.ended_at, ended = second, datetime.now(UTC), True
        del self._received[:whole]
        if ended:
            self._on_news()
        return found

    def _disconnect(self) -> None:
        if self._socket is not None:
            # The loop may be closed already: then it watches nothing any more.
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self._received.clear()

    def _lose(self) -> None:
        children = list(self._children.values())
        self._children.clear()
        self._disconnect()
        if self._process is not None:
            self._process.poll()
            self._process.returncode = self._process.returncode or 0
            self._process = None
        self._on_loss(children)


def _request(command: Command) -> bytes:
    environment = [f"{name}={value}" for name, value in command.environment.items()]
    count = str(len(command.arguments))
    fields = [str(command.folder), count, *command.arguments, *environment]
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
