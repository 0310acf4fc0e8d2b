"""Ports for programs that a test starts and tells where to listen."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator

__all__ = ["closed_port", "find_port"]

# Above those of well-known servers, and below those from which systems give to whoever asks for any: a port that nobody listens on is
# not given to somebody else before the program has it.
_FIRST, _PER_WORKER, _WORKERS = 12_288, 512, 15

# Not from the first one on: the tests may run twice on one machine.
_next = itertools.count(os.getpid())


def find_port() -> int:
    """Return a port that nobody listens on, and that no other test is given meanwhile."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    assert worker < _WORKERS, f"there are ports for {_WORKERS} workers: run pytest with no more"
    first = _FIRST + worker * _PER_WORKER
    for number in itertools.islice(_next, _PER_WORKER):
        port = first + number % _PER_WORKER
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port
    raise AssertionError(f"somebody listens on each of {_PER_WORKER} ports")


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else takes in the block."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])
