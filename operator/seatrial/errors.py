"""The exceptions of Seatrial, sorted by what the caller does about them.

::

    SeatrialError
    ├── SpecError         the user edits the study; carries every problem found, never only the first
    ├── UsageError        the user calls the command differently (a path, a flag, a directory in use)
    └── TransientError    try again later: the world was not ready

A bug is an ``AssertionError`` or a ``TypeError``: it crashes the one study and is never caught as one of these.
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Problem", "SeatrialError", "SpecError", "TransientError", "UsageError"]


class SeatrialError(Exception):
    """Anything that Seatrial itself raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One wrong place in a study.

    Attributes:
        path: Where, as kubectl would write it: ``spec.parameters[2].min``. Empty for the document as a whole.
        message: Value, rule and next step in one sentence that reads on after the path: ``is 0, but …; raise min or …``.
        line: 1-based line in the file, where known.
    """

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return where + f"{self.path} {self.message}".strip()


class SpecError(SeatrialError):
    """The study is wrong and only its author can mend it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UsageError(SeatrialError):
    """The command was called in a way that cannot work here."""


class TransientError(SeatrialError):
    """The world was not ready: the same call may succeed later.

    Attributes:
        retry_after_seconds: When trying again makes sense.
    """

    def __init__(self, message: str, *, retry_after_seconds: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
