"""What goes wrong, when and for how long, as a value with a name that can be printed and read back: ``pbt:lost-reply@17+5s#3``.

The same plan is carried out over the API server in memory and by the proxy in front of a real one. It decides nothing about how.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["LONG_SECONDS", "SHORT_SECONDS", "WATCH_MODES", "Mode", "Plan"]

SHORT_SECONDS = 8
"""Longer than a client's first pause, shorter than a lease."""

LONG_SECONDS = 600
"""Ten minutes: everything that has a limit reaches it."""


class Mode(StrEnum):
    """The faults. Each begins at a write to a Study, a Trial or a Pod, counted from 1 over all lives of the operator."""

    CRASH_BEFORE = "crash-before"  # SIGKILL; the write never reached the server.
    CRASH_AFTER = "crash-after"  # SIGKILL; the server had done it.
    LOST_REPLY = "lost-reply"  # The server had done it; the connection broke.
    CUT_REPLY = "cut-reply"  # The server had done it; its answer ended in the middle.
    LATE_WRITE = "late-write"  # The connection broke, and the server does it seconds later.
    CONFLICT = "conflict"  # 409 without a reason.
    THROTTLED = "throttled"  # 429 with Retry-After, for a while, to every call.
    UNAVAILABLE = "unavailable"  # 503, for a while, to every call; watches break.
    UNAUTHORIZED = "unauthorized"  # 401, for a while, to every call.
    REFUSED = "refused"  # No connection, for a while; watches break.
    HANGING = "hanging"  # No answer, for a while; watches fall silent.
    EXPIRED = "expired"  # Watches break, what happens is forgotten meanwhile, then 410: list again.
    STALE_LIST = "stale-list"  # Watches end by 410, and the next lists are of an earlier version.
    TIME_TRAVEL = (
        "time-travel"  # SIGKILL, and the next life lists an earlier version and hears what followed only later.
    )
    LATE_EVENTS = "late-events"  # Watches tell what happens only at the end of a while.
    COALESCED = "coalesced"  # The same, and of each object only how it is by then.
    REPLAYED = "replayed"  # Watches tell everything of a while again and again.
    DROPPED = "dropped"  # Events of a while never come, though the watch goes on.
    KILLED = "killed"  # SIGKILL at random moments, again and again.


WATCH_MODES = frozenset({Mode.LATE_EVENTS, Mode.COALESCED, Mode.REPLAYED, Mode.DROPPED})
LASTING = frozenset(
    {
        *WATCH_MODES,
        Mode.THROTTLED,
        Mode.UNAVAILABLE,
        Mode.UNAUTHORIZED,
        Mode.REFUSED,
        Mode.HANGING,
        Mode.EXPIRED,
        Mode.TIME_TRAVEL,
    }
)
"""Modes that last."""

_TEXT = re.compile(r"(?P<case>[a-z-]+):(?P<mode>[a-z-]+)@(?P<at>\d+)\+(?P<seconds>\d+)s#(?P<seed>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One fault in one study.

    Attributes:
        case: Name of the study.
        at: Number of the write at which it begins; for ``killed`` the number of kills.
        seconds: How long it lasts.
        seed: For what is left to chance.
    """

    case: str
    mode: Mode
    at: int
    seconds: int = 0
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.case}:{self.mode}@{self.at}+{self.seconds}s#{self.seed}"

    @classmethod
    def read(cls, text: str) -> Plan:
        """Return the plan that a text names.

        Raises:
            ValueError: If it names none.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no plan, but must be like pbt:lost-reply@17+0s#3")
        numbers = {name: int(found[name]) for name in ("at", "seconds", "seed")}
        return cls(case=found["case"], mode=Mode(found["mode"]), **numbers)
