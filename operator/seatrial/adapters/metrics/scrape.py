"""``metrics.source: scrape``: the operator asks the trials itself; no Prometheus is needed.

Each trial is asked as often as its steps move, within bounds; a trial that does not answer is asked ever less. A look waits a
bounded time for what is due, and the rest goes on behind.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from seatrial.adapters.metrics.background import Background
from seatrial.adapters.metrics.exposition import LIMIT_BYTES, parse_exposition
from seatrial.adapters.metrics.fetching import Fetcher, Unreachable
from seatrial.adapters.metrics.stories import Stories
from seatrial.adapters.metrics.targets import Target, TargetFinder
from seatrial.api.study import Study, StudySpec
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.curves import Curves
from seatrial.decide.rules import rungs
from seatrial.ports import Clock, Degraded

__all__ = ["Pace", "ScrapeSource"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often, how long, how many at once.

    Attributes:
        fastest_seconds: Shortest time between two looks at one trial.
        slowest_seconds: Longest time, also for one that does not answer.
        timeout_seconds: How long one trial may take to answer.
        patience_seconds: How long one reading of all curves waits.
        at_once: Trials that are asked at the same time.
        per_second: Looks a second at all trials of a study together.
        grace_seconds: How long a trial that runs may be silent before a condition says so: it may still be importing.
    """

    fastest_seconds: float = 1.0
    slowest_seconds: float = 15.0
    timeout_seconds: float = 3.0
    patience_seconds: float = 1.0
    at_once: int = 32
    per_second: float = 50.0
    grace_seconds: float = 60.0


@dataclass(slots=True, kw_only=True)
class _Visit:
    """When one attempt was and will be asked.

    Attributes:
        account: Namespace of its study.
        silent_since: Since when it is asked in vain, None when it answered last time.
        trouble: Why, in words.
        note: What was left out of its last answer.
    """

    target: Target
    account: str
    due: datetime
    interval: float
    silent_since: datetime | None
    trouble: str = "not asked yet"
    note: str = ""


class ScrapeSource:
    """A :class:`~seatrial.ports.MetricSource` for one study.

    Args:
        targets: Knows the addresses.
        fetcher: Asks.
        clock: The time.
        pace: How often and how long.
        find_rungs: Steps whose values must be exact, by specification.
    """

    def __init__(
        self,
        *,
        targets: TargetFinder,
        fetcher: Fetcher,
        clock: Clock,
        pace: Pace | None = None,
        find_rungs: Callable[[StudySpec], Sequence[int]] = rungs,
    ) -> None:
        self._targets, self._fetcher, self._clock = targets, fetcher, clock
        self._pace = pace or Pace()
        self._stories = Stories(find_rungs)
        self._visits: dict[tuple[str, int], _Visit] = {}
        self._behind = Background()

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves so far, after asking the trials that are due."""
        self._stories.prepare(study, attempts)
        self._list_visits(study, attempts)
        now = self._clock.now()
        due = sorted((v for v in self._visits.values() if v.due <= now), key=lambda visit: visit.due)
        await self._behind.run((lambda: self._visit_all(due)) if due else None, self._pace.patience_seconds)
        return self._stories.build()

    def due_at(self) -> datetime | None:
        """Return when reading again makes sense, None when nothing runs."""
        return min((visit.due for visit in self._visits.values()), default=None)

    def unread(self) -> Mapping[str, float]:
        """Return nothing: what a Pod that has ended did not tell in its message is lost."""
        return {}

    def degraded(self) -> Degraded | None:
        """Return which running trials do not answer."""
        now, grace = self._clock.now(), timedelta(seconds=self._pace.grace_seconds)
        silent = [v for v in self._visits.values() if v.silent_since is not None and now - v.silent_since >= grace]
        if silent:
            first = silent[0]
            return Degraded(
                reason="TrialsUnreachable",
                message=f"{len(silent)} of {len(self._visits)} running trials cannot be scraped, such as {first.target.trial} at {first.target.url}: {first.trouble}; "
                "they run on, but are not stopped early and their curves have a hole",
            )
        noted = [visit for visit in self._visits.values() if visit.note]
        if noted:
            return Degraded(reason="MetricsUnreadable", message=f"{noted[0].target.trial}: {noted[0].note}")
        return None

    async def close(self) -> None:
        """Give up what goes on."""
        await self._behind.close()

    def _list_visits(self, study: Study, attempts: Mapping[str, Attempt]) -> None:
        now, account = self._clock.now(), study.metadata.namespace or ""
        wanted = {}
        for target in self._targets.find(study):
            attempt = attempts.get(target.trial)
            if attempt is None or attempt.number != target.attempt or attempt.phase is not Phase.RUNNING:
                continue
            key = (target.trial, target.attempt)
            known = self._visits.get(key)
            if known is None or known.target != target:
                interval = self._pace.fastest_seconds
                known = _Visit(target=target, account=account, due=now, interval=interval, silent_since=now)
            wanted[key] = known
        self._visits = wanted

    async def _visit_all(self, visits: Sequence[_Visit]) -> None:
        room = asyncio.Semaphore(self._pace.at_once)

        async def one(visit: _Visit) -> None:
            async with room:
                await self._visit(visit)

        await asyncio.gather(*map(one, visits))

    async def _visit(self, visit: _Visit) -> None:
        before = self._stories.step_of(visit.target.trial)
        trouble = await self._ask(visit)
        now = self._clock.now()
        if trouble:
            visit.trouble, visit.silent_since = trouble, visit.silent_since or now
            visit.interval = min(visit.interval * 2, self._pace.slowest_seconds)
        else:
            visit.silent_since = None
            self._adapt(visit, before, self._stories.step_of(visit.target.trial))
        # However fast steps are, all trials together are asked only so often.
        shared = len(self._visits) / self._pace.per_second
        visit.due = now + timedelta(seconds=max(visit.interval, shared))

    async def _ask(self, visit: _Visit) -> str:
        """Ask once; return what went wrong, empty when nothing did."""
        target = visit.target
        try:
            answer = await self._fetcher.get(
                target.url, seconds=self._pace.timeout_seconds, limit_bytes=LIMIT_BYTES, account=visit.account
            )
        except Unreachable as error:
            return str(error)
        if answer.status != 200:
            return f"it answered HTTP {answer.status}"
        found = parse_exposition(answer.body)
        visit.note = found.note
        if found.scrape.empty:
            return found.note
        if found.scrape.of not in {"", f"{target.trial}/{target.attempt}"}:
            return f"it answered for {found.scrape.of}"
        self._stories.take(target.trial, target.attempt, found.scrape)
        return ""

    def _adapt(self, visit: _Visit, before: int | None, after: int | None) -> None:
        moved = 0 if after is None else after - before if before is not None else 1
        if moved > 1:
            visit.interval = max(visit.interval / 2, self._pace.fastest_seconds)
        elif moved <= 0:
            visit.interval = min(visit.interval * 1.5, self._pace.slowest_seconds)
