"""Exit codes, and the one place where errors become words and codes.

It never hides a bug: an error that is none of Seatrial's own is told with the place of its traceback, and exits 70.
"""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import NoReturn, ParamSpec

from seatrial.errors import Problem, SeatrialError, SpecError, TransientError

__all__ = ["EPILOG", "ExitCode", "error", "finish", "guarded", "mark_warnings", "state_problems"]

P = ParamSpec("P")


class ExitCode(IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BUSY = 3
    BUG = 70
    INTERRUPTED = 130
    TERMINATED = 143


EPILOG = """
\b
Exit codes:
    0  done; for run: the study succeeded
    1  the study ended without success
    2  a wrong file or a wrong call
    3  the place is taken or not ready: try again later
   70  a bug in Seatrial
  130  interrupted by Ctrl-C; the same command goes on
  143  ended by SIGTERM; the same command goes on
"""


def error(text: str) -> None:
    """Print one message for people on standard error."""
    print(text, file=sys.stderr)  # noqa: T201 - the command line prints


def state_problems(problems: SpecError, *, source: str = "") -> list[str]:
    """Return one line for each problem: ``digits.yaml:14: spec.parameters[2].min is 0, but …``."""
    return [_state(p.path, p.message, p.line, source) for p in problems.problems]


def _state(path: str, message: str, line: int | None, source: str) -> str:
    if not path and line is None:
        # It speaks of the file as a whole and names it.
        return message
    place = f"{source}:{line}: " if source and line is not None else f"{source}: " if source else ""
    words = message.removeprefix(f"{source} ") if source else message
    return f"{place}{path} {words}" if path else f"{place}{words}"


def mark_warnings(warnings: Sequence[Problem]) -> list[Problem]:
    """Return warnings as problems whose text says that they are warnings."""
    return [
        Problem(path="", message=f"warning: {warning.path} {warning.message}".replace("  ", " "), line=warning.line)
        for warning in warnings
    ]


def guarded(command: Callable[P, ExitCode]) -> Callable[P, None]:
    """Make a command end the process with its code, and every error end it with words instead of a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        finish(_translate(lambda: command(*args, **kwargs)))

    run.__annotations__ = {**command.__annotations__, "return": None}
    return run


def finish(code: ExitCode) -> NoReturn:
    """Flush what was printed and leave with *code*."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()
    sys.exit(int(code))


def _translate(call: Callable[[], ExitCode]) -> ExitCode:
    try:
        return call()
    except SpecError as err:
        for line in state_problems(err):
            error(line)
        return ExitCode.USAGE
    except TransientError as err:
        error(f"seatrial: {err}")
        return ExitCode.BUSY
    except SeatrialError as err:
        error(f"seatrial: {err}")
        return ExitCode.USAGE
    except KeyboardInterrupt:
        error("\nseatrial: interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough: `seatrial trials digits | head` is no error.
        _silence()
        return ExitCode.DONE
    except Exception:  # noqa: BLE001 - the last line of defence; nothing is hidden, the traceback is kept
        error(_apologise(traceback.format_exc()))
        return ExitCode.BUG


def _silence() -> None:
    """Let the interpreter flush into nothing, or it would complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _apologise(trace: str) -> str:
    last = trace.strip().splitlines()[-1]
    try:
        place = Path(".seatrial/crash.log") if Path(".seatrial").is_dir() else _temporary()
        place.write_text(trace, encoding="utf-8", errors="replace")
    except OSError:
        return f"{trace}\nseatrial: sorry, this is a bug in Seatrial ({last}); please report the lines above"
    return (
        f"seatrial: sorry, this is a bug in Seatrial ({last}); please report it with {place}. Finished trials are safe."
    )


def _temporary() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="seatrial-crash-", suffix=".log")
    os.close(descriptor)
    return Path(name)
