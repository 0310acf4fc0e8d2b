"""The process that starts trials, and outlives who asked for them; run as a program, by its path.

It is asked over the socket that is its standard input, by one runner, and answers there. It starts each command as the leader of a
session of its own, writes process id and exit code into the note of the attempt, and tells both. When its runner is gone it waits for the
commands that still run, notes how they end, and ends itself. It must not decide anything, keep anything else, or import Seatrial: it
starts in a few milliseconds and is small.

It reaps: therefore only it can signal a group and be sure that the group is not somebody else's by then. It holds the lock of each
attempt until the exit code is noted, so that nobody ever sees the lock free and the code missing.
"""

import contextlib
import errno
import os
import select
import signal
import socket
import struct
import sys

HEADER = struct.Struct("=I")
"""Before each request: the number of bytes that follow, fields separated by NULs."""

ANSWER = struct.Struct("=iii")
"""What it says: one of the words below, the number of a start, and one more number."""

REFUSED, ENDED = 0, 1
"""Words: refused (errno), ended (exit code as a shell tells it). That a command was started is not told: its process id is in the note."""

START, SIGNAL = b"start", b"signal"
"""Requests: (number of the start, which the runner chooses, working directory, number of arguments, arguments, environment) with the
descriptors of the attempt's note, whose lock is held, and of the output; and (number of the start, number of the signal)."""

PID_AT, EXIT_AT, NUMBER_WIDTH = 0, 12, 12
"""Where in the note the process id and the exit code stand, and how wide each is with its line end."""

_RECEIVE_BYTES = 1 << 16
_MOST_DESCRIPTORS = 16
_NONE = -1
# Python ignores these; a command expects them as they are.
_TO_DEFAULT = [signal.SIGPIPE, signal.SIGXFSZ]


class Warden:
    """Starts, signals and reaps.

    Args:
        runner: Who asks.
        forks: Whether commands are started by fork and exec, for systems whose ``posix_spawn`` cannot begin a session.
        waits: Whether an ended child is looked at before it is reaped, where the system can do that.
    """

    def __init__(self, runner: socket.socket, *, forks: bool = False, waits: bool = True) -> None:
        self._runner = runner
        self._forks = forks
        # Not every system, or not every Python on it, has this.
        self._waitid = getattr(os, "waitid", None) if waits else None
        self._connected = True
        self._received = bytearray()
        self._descriptors: list[int] = []
        # By process id the number of the start and the descriptor of the note; by the number of the start the process id.
        self._children: dict[int, tuple[int, int]] = {}
        self._leaders: dict[int, int] = {}
        self._nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until the runner is gone and every command has ended."""
        woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while self._connected or self._children:
            heard = [woken, self._runner.fileno()] if self._connected else [woken]
            ready, _, _ = select.select(heard, [], [])
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, _RECEIVE_BYTES)
                self._reap()
            if self._runner.fileno() in ready:
                self._serve()

    def _serve(self) -> None:
        try:
            content, descriptors, flags, _ = socket.recv_fds(self._runner, _RECEIVE_BYTES, _MOST_DESCRIPTORS)
        except OSError:
            content, descriptors, flags = b"", [], 0
        if flags & socket.MSG_CTRUNC:
            # There is no room for them: the request that came with them is refused when it is whole.
            for descriptor in descriptors:
                os.close(descriptor)
            descriptors = [_NONE, _NONE]
        for descriptor in descriptors:
            if descriptor != _NONE:
                os.set_inheritable(descriptor, False)
        self._descriptors += descriptors
        self._received += content
        if not content:
            # What was asked for only half is never started, and its lock is free from here on.
            self._connected = False
            for descriptor in self._descriptors:
                if descriptor != _NONE:
                    os.close(descriptor)
        while self._connected and len(self._received) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._received)
            if len(self._received) < HEADER.size + length:
                return
            request = bytes(self._received[HEADER.size : HEADER.size + length])
            del self._received[: HEADER.size + length]
            self._answer(request.split(b"\0"))

    def _answer(self, fields: list[bytes]) -> None:
        if fields[0] == START:
            lock, output = self._descriptors[:2]
            del self._descriptors[:2]
            if _NONE in (lock, output):
                self._tell(REFUSED, int(fields[1]), errno.EMFILE)
            else:
                self._start(int(fields[1]), fields[2:], lock, output)
        elif (pid := self._leaders.get(int(fields[1]))) is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, int(fields[2]))

    def _start(self, number: int, fields: list[bytes], lock: int, output: int) -> None:
        directory, count, *rest = fields
        arguments, environment = rest[: int(count)], rest[int(count) :]
        pid = 0
        try:
            os.chdir(directory)
            os.set_inheritable(lock, True)
            pid = self._spawn(arguments, dict(text.split(b"=", 1) for text in environment), output)
            os.set_inheritable(lock, False)
            _note(lock, PID_AT, pid)
        except (OSError, ValueError) as error:
            if pid:
                # Some file systems want room even for what is written over: a command whose process id nobody can note must not run.
                _kill_group(pid)
                os.waitpid(pid, 0)
            os.close(lock)
            # The other one: a name of a variable, or an argument, that no system takes.
            self._tell(REFUSED, number, (error.errno or errno.EIO) if isinstance(error, OSError) else errno.EINVAL)
        else:
            self._children[pid] = number, lock
            self._leaders[number] = pid
        finally:
            os.close(output)

    def _spawn(self, arguments: list[bytes], environment: dict[bytes, bytes], output: int) -> int:
        start = self._fork if self._forks else self._posix_spawn
        try:
            return start(arguments, environment, output)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # A script without a first line that names its program is one for the shell, as execvp has it.
            return start([b"/bin/sh", *arguments], environment, output)

    def _posix_spawn(self, arguments: list[bytes], environment: dict[bytes, bytes], output: int) -> int:
        moves = [(os.POSIX_SPAWN_DUP2, here, there) for here, there in ((self._nothing, 0), (output, 1), (output, 2))]
        try:
            return os.posix_spawn(
                arguments[0],
                arguments,
                environment,
                file_actions=moves,
                setsid=True,
                setsigmask=(),
                setsigdef=_TO_DEFAULT,
            )
        except NotImplementedError:
            self._forks = True
            return self._fork(arguments, environment, output)

    def _fork(self, arguments: list[bytes], environment: dict[bytes, bytes], output: int) -> int:
        told, tells = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                _become(arguments, environment, self._nothing, output)
            except OSError as error:
                os.write(tells, b"%d" % (error.errno or errno.EIO))
            finally:
                os._exit(127)
        os.close(tells)
        # Empty when the pipe was closed by the exec.
        failed = os.read(told, 16)
        os.close(told)
        if failed:
            os.waitpid(pid, 0)
            raise OSError(int(failed), os.strerror(int(failed)))
        return pid

    def _reap(self) -> None:
        while self._children:
            try:
                ended = self._next_ended()
            except ChildProcessError:
                return
            if ended is None:
                return
            pid, status = ended
            number, lock = self._children.pop(pid)
            del self._leaders[number]
            code = os.waitstatus_to_exitcode(status)
            code = 128 - code if code < 0 else code
            with contextlib.suppress(OSError):
                _note(lock, EXIT_AT, code)
            os.close(lock)
            self._tell(ENDED, number, code)

    def _next_ended(self) -> tuple[int, int] | None:
        """End what is left of the group of a child that has ended, and reap it; return its process id and status."""
        if self._waitid is None:
            # The number of a group is not given away while the group has members.
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                _kill_group(pid)
            return (pid, status) if pid else None
        found = self._waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        _kill_group(found.si_pid)
        return os.waitpid(found.si_pid, 0)

    def _tell(self, word: int, number: int, result: int) -> None:
        if self._connected:
            # Nobody listens any more: what has to be known stands in the attempt's files.
            with contextlib.suppress(OSError):
                self._runner.sendall(ANSWER.pack(word, number, result))


def _become(arguments: list[bytes], environment: dict[bytes, bytes], nothing: int, output: int) -> None:
    os.setsid()
    for number in _TO_DEFAULT:
        signal.signal(number, signal.SIG_DFL)
    for here, there in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(here, there)
    os.execve(arguments[0], arguments, environment)  # noqa: S606 - nothing is interpreted


def _kill_group(leader: int) -> None:
    # No such process: all of it is gone. No permission: only zombies are left (macOS).
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _note(lock: int, place: int, number: int) -> None:
    # One write: a number without its line end is not whole.
    os.pwrite(lock, b"%*d\n" % (NUMBER_WIDTH - 1, number), place)


def _pipe() -> tuple[int, int]:
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    os.set_blocking(writes, False)
    return reads, writes


def main() -> None:
    """Serve the runner at standard input."""
    runner = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    options = sys.argv[2:]
    Warden(runner, forks="--fork" in options, waits="--no-waitid" not in options).run()
    # Nothing is left to be tidied up, and the runner may wait for this.
    os._exit(0)


if __name__ == "__main__":
    main()
