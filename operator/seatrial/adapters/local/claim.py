"""One runner for a study directory: the claim on it is a lock that ends with the process."""

import os
import time
from types import TracebackType

from seatrial.adapters.local.files import open_locked
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.errors import UsageError

__all__ = ["Claim"]

# A trial that is being forked holds a copy of the lock until its exec: one moment of patience tells it from a runner.
_PATIENCE_SECONDS = 1.0


class Claim:
    """The right to run the study in a directory, as a context manager.

    Raises:
        UsageError: On entering, if another process has it; names that process.
    """

    def __init__(self, directory: StudyDirectory) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def __enter__(self) -> "Claim":
        try:
            self._directory.root.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._take()
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise UsageError(
                f"{self._directory.root} cannot be used: {error.strerror}; name another directory or make it writable"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self) -> int:
        path, deadline = self._directory.lock, time.monotonic() + _PATIENCE_SECONDS
        while (descriptor := open_locked(path)) is None:
            holder = self.holder()
            if (holder is not None and _lives(holder)) or time.monotonic() > deadline:
                who = f"process {holder}" if holder is not None else "another process"
                raise UsageError(
                    f"{self._directory.root} is in use: {who} runs this study; wait for it or end it (kill {holder or '<pid>'})"
                )
            time.sleep(0.01)
        return descriptor

    def holder(self) -> int | None:
        """Return the process that says it has the claim, None when nothing is said."""
        try:
            return int(self._directory.lock.read_text().strip())
        except (OSError, ValueError):
            return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
