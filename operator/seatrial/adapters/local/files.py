"""Small files that a reader sees whole or not at all, and locks that end with the process that holds them.

Crash safety: a SIGKILL at any instant leaves the old or the new content, perhaps beside a ``.tmp`` file that nobody reads.
A loss of power may take the last second: what must outlive that is synced in the background by a :class:`Syncer`.
"""

import contextlib
import fcntl
import os
import threading
from pathlib import Path

__all__ = ["Syncer", "is_locked", "open_locked", "write_atomically"]

_TEMPORARY = ".tmp"
_SYNC_EVERY_SECONDS = 0.2


def write_atomically(path: Path | str, content: bytes) -> None:
    """Put *content* at *path* by a temporary file and a rename.

    Raises:
        OSError: If the disk is full or the folder is missing.
    """
    temporary = f"{path}{_TEMPORARY}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
    os.replace(temporary, path)  # noqa: PTH105 - a third of the time of Path.replace, twice a trial


def open_locked(path: Path | str) -> int | None:
    """Open *path* and take its lock.

    The lock belongs to the open file and therefore to every process that inherits the descriptor: it is free when the last of
    them is gone, however it went.

    Returns:
        The descriptor, not inherited unless passed on; None when somebody holds the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_locked(path: Path | str) -> bool:
    """Return whether some process holds the lock of *path*; False when there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Syncer:
    """Makes files durable against a loss of power, beside the work instead of in its way."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, path: str) -> None:
        """Sync *path* and its folder soon."""
        with self._lock:
            self._paths.add(path)
        if self._thread is None:
            self._closing.clear()
            self._thread = threading.Thread(target=self._run, name="seatrial-sync", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Sync what is left and end."""
        if self._thread is not None:
            self._closing.set()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        closing = False
        while not closing:
            # Files that are written again meanwhile are synced once, and folders once for all their files.
            closing = self._closing.wait(_SYNC_EVERY_SECONDS)
            with self._lock:
                paths, self._paths = self._paths, set()
            for path in paths:
                _sync(path)
            for folder in {os.path.dirname(path) for path in paths}:  # noqa: PTH120 - they are names
                _sync(folder)


def _sync(path: str) -> None:
    # The file may be replaced or removed meanwhile, and some file systems refuse to sync a folder: nothing to be done about either.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
