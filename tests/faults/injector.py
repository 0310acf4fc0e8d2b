"""Carries out a plan: tells for each call what becomes of it, and for each watch what it passes on. Knows no network."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from faults.plans import LASTING, WATCH_MODES, Mode, Plan

__all__ = ["Decision", "Event", "Injector", "Strike", "WatchFilter"]

STATE = frozenset({"studies", "trials", "pods"})
WRITES = frozenset({"create", "patch", "apply", "delete"})
_DEEPEST = 12
_REPEATED = 20
_CODES = {Mode.THROTTLED: 429, Mode.UNAVAILABLE: 503, Mode.UNAUTHORIZED: 401}
_BREAKING = frozenset({Mode.UNAVAILABLE, Mode.REFUSED, Mode.EXPIRED, Mode.STALE_LIST})

Event = tuple[str, dict[str, Any]]
"""Type and object of one line of a watch."""


class Strike(StrEnum):
    """What becomes of a call."""

    PASS = "pass"  # noqa: S105 - no password
    DIE_BEFORE = "die before"
    DIE_AFTER = "die after"
    LOSE = "lose"
    CUT = "cut"
    LATE = "late"
    ANSWER = "answer"
    REFUSE = "refuse"
    HANG = "hang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of one call.

    Attributes:
        code: HTTP status of an answer that the server did not give.
        version: A list is to be one of this earlier version.
        done: Whether the server does it all the same, although nobody hears of it.
    """

    strike: Strike = Strike.PASS
    code: int = 0
    version: int | None = None
    done: bool = False


_PASS = Decision()
_AT_ONCE = {
    Mode.CRASH_BEFORE: Decision(strike=Strike.DIE_BEFORE),
    Mode.CRASH_AFTER: Decision(strike=Strike.DIE_AFTER),
    Mode.TIME_TRAVEL: Decision(strike=Strike.DIE_AFTER),
    Mode.LOST_REPLY: Decision(strike=Strike.LOSE),
    Mode.CUT_REPLY: Decision(strike=Strike.CUT),
    Mode.LATE_WRITE: Decision(strike=Strike.LATE),
    Mode.CONFLICT: Decision(strike=Strike.ANSWER, code=409),
}


@dataclass(slots=True)
class Injector:
    """One plan on its way.

    Args:
        plan: None lets everything pass.
        now: Seconds that never run backwards.

    Attributes:
        writes: Writes so far.
        began: When the fault began; None before that.
        breakers: Called to break each open watch, in the order in which they opened: with 410 when the argument is True.
    """

    plan: Plan | None
    now: Callable[[], float]
    writes: int = 0
    began: float | None = None
    breakers: dict[Callable[[bool], None], None] = field(default_factory=dict)
    _versions: list[int] = field(default_factory=list)
    _stale: set[str] = field(default_factory=set)
    _expired: set[str] = field(default_factory=set)

    @property
    def active(self) -> bool:
        """Whether a fault that lasts is under way."""
        return self.plan is not None and self.began is not None and self.now() < self.ends

    @property
    def ends(self) -> float:
        """When it ends."""
        return (self.began or 0.0) + (self.plan.seconds if self.plan is not None else 0)

    def on_call(self, verb: str, resource: str) -> Decision:
        """Return what becomes of a call: get, list, watch or one of the writes."""
        plan = self.plan
        if plan is None:
            return _PASS
        if verb in WRITES and resource in STATE:
            self.writes += 1
            if self.began is None and self.writes == plan.at and plan.mode is not Mode.KILLED:
                return self._begin(plan)
        if self.active and plan.mode in LASTING - WATCH_MODES - {Mode.TIME_TRAVEL}:
            return self._during(plan, verb)
        if verb == "watch" and resource in self._expired:
            self._expired.discard(resource)
            return Decision(strike=Strike.ANSWER, code=410)
        if verb == "list" and resource in self._stale:
            self._stale.discard(resource)
            return Decision(version=self._earlier(plan))
        return _PASS

    def on_version(self, version: int) -> None:
        """Take the version that a write gave."""
        self._versions.append(version)

    def filter(self) -> WatchFilter:
        """Return the filter of a watch that opens now."""
        return WatchFilter(self)

    def _begin(self, plan: Plan) -> Decision:
        self.began = self.now()
        if plan.mode in {Mode.STALE_LIST, Mode.TIME_TRAVEL}:
            # Of all caches, or of one: they then tell different times.
            chosen = random.Random(plan.seed).choice([("trials",), ("pods",), ("studies", "trials", "pods")])  # noqa: S311
            self._stale = set(chosen)
        if plan.mode is Mode.EXPIRED:
            self._expired = set(STATE)
        if plan.mode in _BREAKING:
            for breaker in list(self.breakers):
                breaker(plan.mode is Mode.STALE_LIST)
        if plan.mode in LASTING - WATCH_MODES - {Mode.TIME_TRAVEL}:
            return self._during(plan, "write")
        return _AT_ONCE.get(plan.mode, _PASS)

    def _during(self, plan: Plan, verb: str) -> Decision:
        if plan.mode in _CODES:
            return Decision(strike=Strike.ANSWER, code=_CODES[plan.mode])
        if plan.mode is Mode.HANGING:
            # Of calls that nobody hears of again, the server may have done any.
            return Decision(strike=Strike.HANG, done=bool((plan.at + self.writes) % 2))
        if plan.mode is Mode.EXPIRED:
            return Decision(strike=Strike.REFUSE) if verb == "watch" else _PASS
        return Decision(strike=Strike.REFUSE)

    def _earlier(self, plan: Plan) -> int | None:
        if not self._versions:
            return None
        depth = 1 + random.Random(plan.seed + 1).randrange(_DEEPEST)  # noqa: S311 - no secret
        return self._versions[max(0, len(self._versions) - 1 - depth)]


class WatchFilter:
    """What one watch passes on."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector
        self._held: list[Event] = []
        self._told: list[Event] = []

    def take(self, kind: str, found: dict[str, Any]) -> Sequence[Event]:
        """Return what is passed on when an event comes."""
        injector, event = self._injector, (kind, found)
        mode = injector.plan.mode if injector.plan is not None else None
        if not injector.active:
            return [*self.due(), event]
        if mode in {Mode.LATE_EVENTS, Mode.COALESCED, Mode.HANGING, Mode.TIME_TRAVEL}:
            self._held.append(event)
            return ()
        if mode is Mode.DROPPED and kind != "BOOKMARK":
            return ()
        if mode is Mode.REPLAYED and kind != "BOOKMARK":
            self._told.append(event)
            return [event, *self._told[-_REPEATED:]]
        return (event,)

    def wait_seconds(self) -> float | None:
        """Return how long nothing is passed on; None when nothing is held."""
        return max(0.0, self._injector.ends - self._injector.now()) if self._held else None

    def due(self) -> Sequence[Event]:
        """Return what was held, once that is over."""
        if not self._held or self._injector.active:
            return ()
        held, self._held = self._held, []
        plan = self._injector.plan
        return coalesce(held) if plan is not None and plan.mode is Mode.COALESCED else held


def coalesce(events: Sequence[Event]) -> list[Event]:
    """Return of each object only how it is at last; what came and went in between is never told."""
    newest: dict[str, Event] = {}
    fresh: set[str] = set()
    for number, (kind, found) in enumerate(events):
        identity = found["metadata"].get("uid") or f"bookmark {number}"
        if identity not in newest and kind == "ADDED":
            fresh.add(identity)
        newest.pop(identity, None)
        if kind == "DELETED" and identity in fresh:
            continue
        newest[identity] = ("ADDED" if identity in fresh else kind, found)
    return list(newest.values())
