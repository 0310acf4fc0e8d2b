"""The ways a script can end: its last line, an exception, SIGTERM. Calls back at each, and stays out of the way otherwise.

Must not know what is written at the end. Does nothing in a forked child.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Protocol

__all__ = ["Exits", "Infeasible", "Listener", "describe_failure", "is_out_of_memory"]


class Infeasible(Exception):  # noqa: N818  (it reads as what it says: raise Infeasible("hidden must divide by heads"))
    """Raise it when an assignment cannot be trained: the search is told, and it is not retried."""


class Listener(Protocol):
    """Who wants to know."""

    def on_stop_signal(self) -> bool | None:
        """React to SIGTERM; return whether the script will end by itself, or None to be asked again right away."""

    def on_failure(self, failure: BaseException) -> None:
        """An exception ends the script."""

    def on_exit(self) -> None:
        """The interpreter ends; called after the other two as well."""


class Exits:
    """Installs and removes the hooks of one process."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._pid = os.getpid()
        self._excepthook = sys.excepthook
        self._previous: Callable[[int, FrameType | None], object] | int | None = None
        self._signal_taken = False

    def install(self) -> None:
        """Hook into the interpreter; SIGTERM only from the main thread, where Python allows it."""
        atexit.register(self._at_exit)
        sys.excepthook = self._on_exception
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._on_signal)
            self._signal_taken = True

    def remove(self) -> None:
        """Give the hooks back, where nobody else has taken them since."""
        atexit.unregister(self._at_exit)
        if sys.excepthook == self._on_exception:
            sys.excepthook = self._excepthook
        in_main_thread = threading.current_thread() is threading.main_thread()
        if self._signal_taken and in_main_thread and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, self._previous if self._previous is not None else signal.SIG_DFL)

    @property
    def _ours(self) -> bool:
        return os.getpid() == self._pid

    def _at_exit(self) -> None:
        if self._ours:
            self._listener.on_exit()

    def _on_exception(self, kind: type[BaseException], failure: BaseException, trace: TracebackType | None) -> None:
        if self._ours:
            self._listener.on_failure(failure)
        if isinstance(failure, Infeasible):
            sys.stderr.write(f"seatrial: infeasible: {failure}\n")
        else:
            self._excepthook(kind, failure, trace)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        goes_on = self._listener.on_stop_signal() if self._ours else False
        if goes_on is None:
            return
        if callable(self._previous):
            self._previous(number, frame)
        elif not goes_on and self._previous is not signal.SIG_IGN:
            self._die(number)

    def _die(self, number: int) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
                stream.flush()
        # The kernel ignores a signal's default action for process 1, which a trial in a container is.
        if os.getpid() == 1:
            os._exit(128 + number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def is_out_of_memory(failure: BaseException) -> bool:
    """Whether the host's or a GPU's memory ran out, as Python, torch or CUDA say it."""
    if isinstance(failure, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(failure).__mro__):
        return True
    text = str(failure).lower()
    return isinstance(failure, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "alloc_failed" in text
    )


def describe_failure(failure: BaseException) -> str:
    """Return type, text and place: ``ValueError: lr is negative (train.py:12)``."""
    kind = type(failure)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    trace = failure.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace is not None else ""
    return f"{name}: {failure}{place}"
