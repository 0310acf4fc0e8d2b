"""The two processes of an attempt that is forked from a warm one: a leader, and its child, which runs the program.

Both wait for their order first, and end without one. The leader makes a session of its own, notes its process id, waits for its child
and notes the exit code, so that the attempt outlives whoever forked it. What is noted is told in docs/wire.md.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from seatrial_harness.waiting import wait_to_read

__all__ = ["DESCRIPTORS", "Order", "cannot_start", "close", "fork", "lead", "outlive"]

DESCRIPTORS = 3
"""Of an order: its text, the attempt's lock, its output."""

# Their groups get these; the leader outlives them to note how its child ended.
_OUTLIVED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
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


def lead(orders: socket.socket, tells: int) -> Order:
    """Be the leader of an attempt and never return; in its child, return what is to be run.

    Args:
        orders: Where the order comes from.
        tells: Descriptor of the pipe whose last end that is closed means that the attempt has ended.

    Raises:
        OSError: If there is no room for the child.
    """
    for number in _OUTLIVED:
        signal.signal(number, outlive)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    # Whatever comes from here on reaches the child: by its group, or passed on.
    signal.pthread_sigmask(signal.SIG_BLOCK, _OUTLIVED)
    ours, theirs = socket.socketpair()
    child = fork()
    if child != 0:
        theirs.close()
        # A child that is gone before there is an order makes room for two others.
        if ours.fileno() in wait_to_read([orders.fileno(), ours.fileno()]):
            os._exit(_NOT_STARTED)
        _pass_on(_await_order(orders), ours, child, tells)
    for end in (orders, ours):
        end.close()
    return _follow(theirs)


def _pass_on(descriptors: Sequence[int], follower: socket.socket, child: int, tells: int) -> NoReturn:
    """Note that an attempt begins, let the child of its leader run it, and wait for its end.

    Args:
        descriptors: The order.
        follower: To the child.
        child: Its process id.
        tells: As for :func:`lead`.
    """
    order_file, lock, output = descriptors
    try:
        order = _take(descriptors)
        (order.attempt / "pid").write_bytes(b"%d\n" % os.getpid())
        if (order.attempt / "stop").exists():
            _end(order, _TERMINATED, [lock, tells])
        socket.send_fds(follower, [b"!"], descriptors)
    except (OSError, ValueError, KeyError) as error:
        cannot_start(error)
    close([order_file, output])
    _wait(order, child, [lock, tells])


def _follow(orders: socket.socket) -> Order:
    """Be the child of a leader: wait for what is to be run."""
    descriptors = _await_order(orders)
    orders.close()
    order = _take(descriptors)
    order_file, lock, output = descriptors
    close([order_file, output])
    os.set_inheritable(lock, True)
    for number in _OUTLIVED:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OUTLIVED)
    return order


def _await_order(orders: socket.socket) -> list[int]:
    """Return the descriptors of an order: its text, the lock and the output; end when whoever gives orders is gone."""
    try:
        content, descriptors, _, _ = socket.recv_fds(orders, 1, DESCRIPTORS)
    except OSError:
        content, descriptors = b"", []
    if not content or len(descriptors) < DESCRIPTORS:
        os._exit(0)
    return descriptors


def _take(descriptors: Sequence[int]) -> Order:
    """Let this process write to the output of an order from now on, and read the order."""
    order_file, _, output = descriptors
    for stream in (1, 2):
        os.dup2(output, stream)
    return Order.read(order_file)


def cannot_start(error: BaseException) -> NoReturn:
    """End this process, which was to lead or run an attempt, and say why."""
    with contextlib.suppress(OSError):
        os.write(2, f"seatrial: cannot be started: {error}\n".encode())
    os._exit(_NOT_STARTED)


def _wait(order: Order, child: int, held: Sequence[int]) -> NoReturn:
    for number in signal.sigpending() & {*_OUTLIVED}:
        # It may have come before there was an order; one that the child has got as well ends it all the same.
        os.kill(child, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OUTLIVED)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    _end(order, 128 - code if code < 0 else code, held)


def _end(order: Order, code: int, held: Sequence[int]) -> NoReturn:
    # No room on the disk: the runner then sees that it is gone, and not how.
    with contextlib.suppress(OSError):
        (order.attempt / "exit").write_bytes(b"%d\n" % code)
    # Let go of now: giving back the memory of this process takes as long as a start, and is nobody's concern.
    close(held)
    os._exit(0)


def outlive(_number: int, _frame: object) -> None:
    """Do nothing: a handler, unlike an ignored signal, is not inherited by what the child executes."""


def fork() -> int:
    """Fork this process, with nothing left to be written twice."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Of threads that libraries made for themselves: those of BLAS know how to be forked.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def close(descriptors: Sequence[int]) -> None:
    """Close descriptors, those that are closed already left alone."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
