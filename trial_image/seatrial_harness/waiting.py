"""Waits for descriptors, whatever their numbers: ``select.select`` takes none above 1,023, and a process with many libraries may have those."""

import select
from collections.abc import Iterable

__all__ = ["wait_to_read", "wait_to_write"]


def wait_to_read(descriptors: Iterable[int], seconds: float | None = None) -> set[int]:
    """Return those that can be read, or whose other end is gone, as soon as there is one; none when the time is over before."""
    return _wait(descriptors, select.POLLIN, seconds)


def wait_to_write(descriptor: int) -> None:
    """Return when it can be written to, or nobody reads any more."""
    _wait([descriptor], select.POLLOUT, None)


def _wait(descriptors: Iterable[int], event: int, seconds: float | None) -> set[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, event)
    return {descriptor for descriptor, _ in poll.poll(None if seconds is None else seconds * 1000)}
