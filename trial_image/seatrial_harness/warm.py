"""A process that has a program's libraries imported and starts each attempt as a fork of itself: ``python -m seatrial_harness.warm train.py``.

The runner starts it with a socket as its standard input. What goes over that socket is told in docs/wire.md. Each attempt is two
processes. Its leader makes a session of its own, notes its process id, waits and notes the exit code, so that the attempt outlives
this process and the runner. Its child runs the program, as if ``python train.py`` had been called, and tells at its end what it
has imported besides, so that the next one need not: torch imports more by its first optimizer than by its name.

Must not run anything of the program itself: neither its script nor the modules beside it.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import warnings
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from seatrial_harness.imports import Wanted, find_imports, list_imported, load_modules
from seatrial_harness.program import end_process, run_program, start_folder

__all__ = ["Child", "Order", "Worker", "main"]

# Their groups get these; the leader outlives them to note how its child ended.
_OUTLIVED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_DESCRIPTORS = 3
# Opened by CUDA and ROCm when a process begins to use a GPU; a fork of it cannot use one any more.
_GPU_DEVICES = frozenset({"/dev/nvidia-uvm", "/dev/kfd"})
_NOT_STARTED = 126
_TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One attempt to start.

    Attributes:
        attempt: Folder of the attempt's files.
        program: ``train.py --epochs 3``, ``-m package.train`` or ``-c text``.
        environment: All of it.
        folder: Working directory.
    """

    attempt: Path
    program: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str

    @staticmethod
    def read(descriptor: int) -> "Order":
        """Read an order from a file.

        Raises:
            ValueError: If it is none.
            KeyError: If a member is missing.
        """
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(0)
            document = json.load(file)
        return Order(
            attempt=Path(document["attempt"]),
            program=tuple(document["program"]),
            environment=dict(document["environment"]),
            folder=document["folder"],
        )


def main() -> None:
    """Import what the program needs, then start attempts until the runner is gone."""
    channel = socket.socket(fileno=os.dup(0))
    _redirect(os.open(os.devnull, os.O_RDONLY), 0)
    program = sys.argv[1:]
    if not sys.flags.safe_path:
        sys.path[0] = start_folder(program)
    if not _load(channel, find_imports(program)):
        return
    _say(channel, {"ready": True})
    child = Worker(channel).serve()
    if child is None:
        return
    known = frozenset(sys.modules)
    try:
        run_program(child.order.program, child.order.environment, child.order.folder)
    except SystemExit as end:
        installed = list_imported(known)
        with contextlib.suppress(OSError):
            os.write(child.tells, "\n".join(installed).encode())
        end_process(end, ["__main__", *(sys.modules.keys() - known - {*installed})])


def _load(channel: socket.socket, wanted: Sequence[Wanted]) -> bool:
    """Import modules; return whether this process can still be forked, and say so if not."""
    for line in load_modules(wanted):
        sys.stderr.write(f"seatrial: not imported beforehand: {line}\n")
    why = _unfit()
    if why:
        _say(channel, {"unfit": why})
        return False
    gc.collect()
    # What is here stays for ever: collections in the children need not touch, and thereby copy, its pages.
    gc.freeze()
    _keep_finalizers()
    return True


def _keep_finalizers() -> None:
    """Let no child finalize at its end what was made here.

    It is not the child's: a temporary folder is still used here. And with torch it is the most of an end: 150 libraries of operators,
    taken down one by one in pages that have to be copied for it.
    """
    # There is no other way to find them; without it they run as they do at any interpreter's end.
    for finalizer in list(getattr(weakref.finalize, "_registry", ())):
        finalizer.atexit = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What a process that is to run a program knows.

    Attributes:
        order: What to run.
        tells: Descriptor of a pipe to the process that it was forked from.
    """

    order: Order
    tells: int


class Worker:
    """Forks an attempt for each order.

    Args:
        channel: To the runner.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._woken, self._wakes = socket.socketpair()
        # What each running attempt tells, by the end of the pipe that is read.
        self._told: dict[int, bytes] = {}

    def serve(self) -> Child | None:
        """Return in each child that is to run a program, and with None when the runner is gone or this process is unfit."""
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _outlive)
        while True:
            ready, _, _ = select.select([self._channel.fileno(), self._woken.fileno(), *self._told], [], [])
            if self._woken.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
                self._tell_ends()
            if not self._learn(ready):
                return None
            if self._channel.fileno() in ready:
                try:
                    content, descriptors, _, _ = socket.recv_fds(self._channel, 1, _DESCRIPTORS)
                except ConnectionError:
                    return None
                if not content:
                    return None
                tells = self._start(descriptors)
                if tells is not None:
                    return Child(order=_lead(descriptors), tells=tells)

    def _start(self, descriptors: Sequence[int]) -> int | None:
        """Fork a leader; return the end of its pipe in it, None in this process."""
        try:
            told, tells = os.pipe()
            leader = _fork()
        except OSError as error:
            _close(descriptors)
            _say(self._channel, {"failed": str(error)})
            return None
        if leader == 0:
            signal.set_wakeup_fd(-1)
            for end in (self._channel, self._woken, self._wakes):
                end.close()
            _close([told, *self._told])
            return tells
        self._told[told] = b""
        # Closed before the leader can be known to have ended: whoever holds the lock then belongs to the attempt.
        _close([*descriptors, tells])
        _say(self._channel, {"started": leader})
        return None

    def _tell_ends(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                _say(self._channel, {"ended": pid})

    def _learn(self, ready: Sequence[int]) -> bool:
        """Import what attempts that have ended had imported; return whether this process can still be forked."""
        fit = True
        for descriptor in [descriptor for descriptor in ready if descriptor in self._told]:
            content = os.read(descriptor, 1 << 16)
            self._told[descriptor] += content
            if not content:
                os.close(descriptor)
                names = self._told.pop(descriptor).decode().split()
                new = [Wanted(module=name) for name in names if name not in sys.modules]
                fit = fit and (not new or _load(self._channel, new))
        return fit


def _lead(descriptors: Sequence[int]) -> Order:
    """Be the leader of an attempt and never return; in its child, return what is to be run."""
    try:
        order_file, lock, output = descriptors
        for number in _OUTLIVED:
            signal.signal(number, _outlive)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)
        order = Order.read(order_file)
        os.close(order_file)
        # Whatever comes from here on reaches the child: by its group, or passed on.
        signal.pthread_sigmask(signal.SIG_BLOCK, _OUTLIVED)
        (order.attempt / "pid").write_bytes(b"%d\n" % os.getpid())
        if (order.attempt / "stop").exists():
            _end(order, _TERMINATED)
        child = _fork()
    except (OSError, ValueError, KeyError) as error:
        os.write(2, f"seatrial: cannot be started: {error}\n".encode())
        os._exit(_NOT_STARTED)
    if child != 0:
        _wait(order, child)
    os.set_inheritable(lock, True)
    for number in _OUTLIVED:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OUTLIVED)
    return order


def _wait(order: Order, child: int) -> NoReturn:
    for number in signal.sigpending() & {*_OUTLIVED}:
        # It may have come before the fork; one that the child has got as well ends it all the same.
        os.kill(child, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OUTLIVED)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    _end(order, 128 - code if code < 0 else code)


def _end(order: Order, code: int) -> NoReturn:
    # No room on the disk: the runner then sees that it is gone, and not how.
    with contextlib.suppress(OSError):
        (order.attempt / "exit").write_bytes(b"%d\n" % code)
    os._exit(0)


def _outlive(_number: int, _frame: object) -> None:
    """Do nothing: a handler, unlike an ignored signal, is not inherited by what the child executes."""


def _fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Of threads that libraries made for themselves: those of BLAS know how to be forked.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _unfit() -> str:
    """Return why this process cannot be forked any more, empty when it can."""
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        return f"importing the program's libraries starts threads ({', '.join(others[:3])})"
    with contextlib.suppress(OSError):
        for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are all that is wanted
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{descriptor}") in _GPU_DEVICES:  # noqa: PTH115 - as above
                    return "importing the program's libraries begins to use a GPU"
    return ""


def _say(channel: socket.socket, message: Mapping[str, object]) -> None:
    # A runner that is gone is seen at the next look for orders.
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps(message).encode() + b"\n")


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _redirect(source: int, target: int) -> None:
    os.dup2(source, target)
    os.close(source)


if __name__ == "__main__":
    main()
