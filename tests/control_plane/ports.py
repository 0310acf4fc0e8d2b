"""Ports that are free, and stay so until whoever they were chosen for has come up."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

__all__ = ["free_port", "free_ports"]


def free_port() -> int:
    """Return a port that nobody listens on, below those that outgoing connections take at any moment."""
    (port,) = free_ports(1)
    return port


def free_ports(number: int) -> list[int]:
    """Return as many, all different."""
    chance = random.SystemRandom()
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < number:
            port = chance.randrange(20_000, 32_000)
            tried = held.enter_context(socket.socket())
            with suppress(OSError):
                tried.bind(("", port))
                found.append(port)
    return found
