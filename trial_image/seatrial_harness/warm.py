"""A process that has a program's libraries imported and starts each attempt as a fork of itself: ``python -m seatrial_harness.warm train.py``.

The runner starts it with a socket as its standard input. What goes over that socket is told in docs/wire.md. Each attempt is two
processes. Its leader makes a session of its own, notes its process id, waits and notes the exit code, so that the attempt outlives
this process and the runner. Its child runs the program, as if ``python train.py`` had been called, and tells at its end what it
has imported besides, so that the next one need not: torch imports more by its first optimizer than by its name.

Both are forked before anybody asks for them, while trials train: copying the page tables of libraries takes longer than all else of
a start. Two that get no order end with this process, and are made anew when it has imported more.

Must not run anything of the program itself: neither its script nor the modules beside it.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from seatrial_harness.imports import Wanted, find_imports, list_imported, load_modules
from seatrial_harness.leader import DESCRIPTORS, Order, cannot_start, close, fork, lead, outlive
from seatrial_harness.program import end_process, run_program, start_folder
from seatrial_harness.waiting import wait_to_read

__all__ = ["Child", "Worker", "main"]

# Opened by CUDA and ROCm when a process begins to use a GPU; a fork of it cannot use one any more.
_GPU_DEVICES = frozenset({"/dev/nvidia-uvm", "/dev/kfd"})
_SPARE_AFTER_SECONDS = 0.02
_SPARE_AGAIN_SECONDS = 1.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Spare:
    """A leader and its child that wait for an order.

    Attributes:
        leader: Process id.
        orders: Where it takes its order.
        told: Descriptor of the pipe by which its child tells.
    """

    leader: int
    orders: socket.socket
    told: int

    def close(self) -> None:
        """Let go of it: without an order it ends."""
        self.orders.close()
        os.close(self.told)


class Worker:
    """Has an attempt forked for each order.

    Args:
        channel: To the runner.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._woken, self._wakes = socket.socketpair()
        self._spare: Spare | None = None
        self._pause_seconds = _SPARE_AFTER_SECONDS
        # What each attempt tells, by the end of the pipe that is read, and the leaders of those that have not ended.
        self._told: dict[int, bytes] = {}
        self._leaders: dict[int, int] = {}

    def serve(self) -> Child | None:
        """Return in each child that is to run a program, and with None when the runner is gone or this process is unfit."""
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, outlive)
        while True:
            # Whoever was just started should have the processor first.
            patience = None if self._spare else self._pause_seconds
            ready = wait_to_read([self._channel.fileno(), self._woken.fileno(), *self._told], patience)
            if self._woken.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
                ready |= self._tell_ends()
            if not self._learn(ready):
                return None
            if self._channel.fileno() in ready:
                try:
                    content, descriptors, _, _ = socket.recv_fds(self._channel, 1, DESCRIPTORS)
                except ConnectionError:
                    return None
                if not content:
                    return None
                child = self._start(descriptors)
            elif not ready:
                child = self._prepare()
            else:
                child = None
            if child is not None:
                return child

    def _start(self, descriptors: Sequence[int]) -> Child | None:
        """Give an order to a leader; return only in the child of one that had to be made for it."""
        leader, why = None, "the process that was to lead it has ended"
        try:
            leader = self._hand_over(descriptors)
            if leader is None:
                child = self._fork_spare(descriptors)
                if child is not None:
                    return child
                leader = self._hand_over(descriptors)
        except OSError as error:
            why = str(error)
        # Closed before the leader can be known to have ended: whoever holds the lock then belongs to the attempt.
        close(descriptors)
        _say(self._channel, {"failed": why} if leader is None else {"started": leader})
        return None

    def _hand_over(self, descriptors: Sequence[int]) -> int | None:
        """Give an order to the leader that waits; return its process id, None when there is none that takes it."""
        spare, self._spare = self._spare, None
        if spare is None:
            return None
        try:
            socket.send_fds(spare.orders, [b"!"], descriptors)
        except OSError:
            spare.close()
            return None
        spare.orders.close()
        self._told[spare.told] = b""
        self._leaders[spare.told] = spare.leader
        return spare.leader

    def _prepare(self) -> Child | None:
        """Have a leader ready for the next order; return only in its child, once it has got one."""
        try:
            self._pause_seconds = _SPARE_AFTER_SECONDS
            return self._fork_spare()
        except OSError:
            # Whoever is ordered next hears why.
            self._pause_seconds = _SPARE_AGAIN_SECONDS
            return None

    def _fork_spare(self, foreign: Sequence[int] = ()) -> Child | None:
        """Fork a leader; return only in its child, once there is an order for it.

        Args:
            foreign: Descriptors that are open here and not to be so there.

        Raises:
            OSError: If there is no room for it.
        """
        told, tells = os.pipe()
        os.set_blocking(told, False)
        ours, theirs = socket.socketpair()
        try:
            leader = fork()
        except OSError:
            close([told, tells])
            ours.close()
            theirs.close()
            raise
        if leader == 0:
            signal.set_wakeup_fd(-1)
            for end in (self._channel, self._woken, self._wakes, ours):
                end.close()
            close([told, *self._told, *foreign])
            try:
                return Child(order=lead(theirs, tells), tells=tells)
            except BaseException as error:  # noqa: BLE001 - whatever it is, this is no worker
                cannot_start(error)
        theirs.close()
        os.close(tells)
        self._spare = Spare(leader=leader, orders=ours, told=told)
        return None

    def _tell_ends(self) -> set[int]:
        """Tell of leaders that have ended, and return their pipes, which others may still hold."""
        found: set[int] = set()
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                found |= {told for told, leader in self._leaders.items() if leader == pid}
        for told in found:
            self._tell_end(told)
        return found

    def _tell_end(self, told: int) -> None:
        leader = self._leaders.pop(told, None)
        if leader is not None:
            _say(self._channel, {"ended": leader})

    def _learn(self, ready: Collection[int]) -> bool:
        """Import what attempts that have ended had imported; return whether this process can still be forked."""
        fit = True
        for descriptor in [descriptor for descriptor in self._told if descriptor in ready]:
            # A leader waits for its child, which tells all before its end: what holds the pipe still is what the program left behind.
            if self._read(descriptor) or descriptor not in self._leaders:
                self._tell_end(descriptor)
                os.close(descriptor)
                names = self._told.pop(descriptor).decode().split()
                new = [Wanted(module=name) for name in names if name not in sys.modules]
                if new and self._spare is not None:
                    self._spare.close()
                    self._spare = None
                fit = fit and (not new or _load(self._channel, new))
        return fit

    def _read(self, descriptor: int) -> bool:
        """Take what an attempt has told; return whether nobody can tell more."""
        with contextlib.suppress(BlockingIOError):
            while content := os.read(descriptor, 1 << 16):
                self._told[descriptor] += content
            return True
        return False


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


def _redirect(source: int, target: int) -> None:
    os.dup2(source, target)
    os.close(source)


if __name__ == "__main__":
    main()
