"""``metrics.source: prometheus``: all curves of a study by one question to Prometheus.

An instant query with a range selector gives raw samples, no resampling. Only what is new is asked for; what is asked twice counts
once. After a restart everything is read again from where the trials' stories begin, in pieces. An answer that is too large is asked
for in smaller parts. Whatever goes wrong is a word for a condition: a study goes on without curves, and nothing is lost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from seatrial.adapters.metrics.background import Background
from seatrial.adapters.metrics.fetching import Fetcher
from seatrial.adapters.metrics.joining import Timed, join_scrapes
from seatrial.adapters.metrics.prometheus_api import Found, PrometheusApi, PrometheusError, TooMuch
from seatrial.adapters.metrics.promql import asks_by_expression, evaluate, raw_samples
from seatrial.adapters.metrics.reach import Gaps, Reach, Window, plan_windows
from seatrial.adapters.metrics.stories import Stories
from seatrial.api.study import Study, StudySpec
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.curves import Curves
from seatrial.decide.rules import rungs
from seatrial.decide.snapshot import parse_time
from seatrial.ports import Clock, Degraded

__all__ = ["Polling", "PrometheusSource"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """How often and how long.

    Attributes:
        every_seconds: Time between two questions.
        slowest_seconds: Longest time between two, while it does not answer.
        scrape_seconds: Time between two scrapes of Prometheus, at most.
        timeout_seconds: How long one question may take.
        patience_seconds: How long one reading waits for the answer; after that it goes on behind.
        questions: Most questions of one poll; the rest is asked by the next one.
        grace_seconds: How long a running trial may be unknown to Prometheus before a condition says so.
        hold_seconds: How long the end of a trial whose only result is in Prometheus waits for it to answer.
    """

    every_seconds: float = 5.0
    slowest_seconds: float = 60.0
    scrape_seconds: float = 15.0
    timeout_seconds: float = 10.0
    patience_seconds: float = 1.0
    questions: int = 64
    grace_seconds: float = 90.0
    hold_seconds: float = 30.0


class _LeftOut(TooMuch):
    """A piece of the past brings too much, and will not be asked for again."""


class PrometheusSource:
    """A :class:`~seatrial.ports.MetricSource` for one study.

    Args:
        fetcher: Asks.
        clock: The time.
        default_url: The Prometheus of studies that name none; None when there is none either.
        polling: How often and how long.
        find_rungs: Steps whose values must be exact, by specification.
    """

    def __init__(
        self,
        *,
        fetcher: Fetcher,
        clock: Clock,
        default_url: str | None = None,
        polling: Polling | None = None,
        find_rungs: Callable[[StudySpec], Sequence[int]] = rungs,
    ) -> None:
        self._fetcher, self._clock, self._default_url = fetcher, clock, default_url
        self._polling = polling or Polling()
        self._stories = Stories(find_rungs)
        self._reaches: dict[str, Reach] = {}
        self._gaps = Gaps(self._polling.every_seconds)
        self._attempts: Mapping[str, Attempt] = {}
        self._unread: Mapping[str, float] = {}
        self._behind = Background()
        self._due: datetime | None = None
        self._polled: datetime | None = None
        self._failures = 0
        self._trouble: Degraded | None = None
        self._left = 0

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves so far, after asking Prometheus when it is time to."""
        if self._stories.prepare(study, attempts):
            self._reaches.clear()
            self._gaps = Gaps(self._polling.every_seconds)
            self._due = None
        self._attempts = attempts
        self._list_reaches(study, attempts)
        now = self._clock.now()
        owing = self._owing(study)
        due = bool(self._reaches) and (self._due is None or self._due <= now or (bool(owing) and self._may_retry(now)))
        await self._behind.run((lambda: self._poll(study)) if due else None, self._polling.patience_seconds)
        self._unread = self._held(self._owing(study))
        return self._stories.build()

    def unread(self) -> Mapping[str, float]:
        """Return trials that have just ended and whose values are nowhere but in Prometheus, which has not answered yet."""
        return self._unread

    def due_at(self) -> datetime | None:
        """Return when reading again makes sense, None when nothing runs."""
        return self._due if self._reaches else None

    def degraded(self) -> Degraded | None:
        """Return what was wrong with the last question, or which trials Prometheus does not know."""
        return self._trouble or self._unheard()

    async def close(self) -> None:
        """Give up what goes on."""
        await self._behind.close()

    # ---- what is to be read ----------------------------------------------------------------------------------------

    def _list_reaches(self, study: Study, attempts: Mapping[str, Attempt]) -> None:
        for name in self._reaches.keys() - attempts.keys():
            del self._reaches[name]
        for name, attempt in attempts.items():
            if name not in self._reaches and (attempt.started_at is not None or attempt.number > 0):
                self._reaches[name] = Reach(until=_beginning(study, attempt, self._clock.now()).timestamp())

    def _owing(self, study: Study) -> list[Attempt]:
        """Return ended attempts that owe a result which only Prometheus may have, not asked for since their end."""
        wanted = {objective.metric for objective in study.spec.objectives}
        found = []
        for name, attempt in self._attempts.items():
            if attempt.phase is not Phase.EXITED or attempt.exit_code != 0 or attempt.finished_at is None:
                continue
            told = {metric.name for metric in attempt.report.metrics} if attempt.report else set()
            reach = self._reaches.get(name)
            if not wanted <= told and reach is not None and reach.asked < attempt.finished_at.timestamp():
                found.append(attempt)
        return found

    def _may_retry(self, now: datetime) -> bool:
        """Whether an ended trial is reason enough to ask before it is due."""
        rest = timedelta(seconds=self._polling.every_seconds)
        return not self._failures or self._polled is None or now - self._polled >= rest

    def _held(self, owing: Sequence[Attempt]) -> Mapping[str, float]:
        """Return those of them whose end is young enough to wait, with seconds until Prometheus may have answered."""
        now, hold = self._clock.now(), timedelta(seconds=self._polling.hold_seconds)
        wait = self._polling.patience_seconds if self._behind.busy else self._polling.every_seconds
        return {a.trial: wait for a in owing if a.finished_at is not None and now - a.finished_at < hold}

    # ---- asking ----------------------------------------------------------------------------------------------------

    async def _poll(self, study: Study) -> None:
        polling, now = self._polling, self._clock.now()
        self._left = polling.questions
        wait = polling.every_seconds
        try:
            # The trouble of before stands until it is known to be over: a condition must not flicker.
            self._trouble = await self._catch_up(self._api(study), study, now)
        except _LeftOut as error:
            # The next poll gets further: there may be an hour of such minutes.
            self._trouble = error.degraded
        except PrometheusError as error:
            self._failures += 1
            wait = min(polling.every_seconds * 2 ** min(self._failures - 1, 8), polling.slowest_seconds)
            wait = max(wait, min(error.retry_after_seconds or 0.0, polling.slowest_seconds))
            self._trouble = error.degraded
        else:
            self._failures = 0
            wait = wait if self._left > 0 else min(1.0, wait)
        self._polled = self._clock.now()
        self._due = self._polled + timedelta(seconds=wait)

    def _api(self, study: Study) -> PrometheusApi:
        settings = study.spec.metrics.prometheus
        url = (settings.url if settings else None) or self._default_url
        if url is None:
            message = "no address of a Prometheus is known; set spec.metrics.prometheus.url"
            raise PrometheusError("PrometheusNotNamed", message)
        account, seconds = study.metadata.namespace or "", self._polling.timeout_seconds
        return PrometheusApi(url, self._fetcher, account=account, timeout_seconds=seconds)

    async def _catch_up(self, api: PrometheusApi, study: Study, now: datetime) -> Degraded | None:
        """Ask until all is read or enough was asked; return what the answers lack."""
        trouble = None
        planned = plan_windows(self._reaches, now.timestamp(), interval=self._polling.scrape_seconds)
        waiting = [piece for window in planned for piece in self._gaps.split(window)]
        while waiting and self._left > 0:
            window, readable = waiting.pop(0)
            if not readable:
                trouble = self._pass_over(window) or trouble
                continue
            self._left -= 1
            if window.trials and any(self._reaches[n].excluded for n in window.trials if n in self._reaches):
                continue
            try:
                found, scrapes = await self._ask(api, study, window)
            except TooMuch as error:
                parts = self._halves(study, window)
                if parts is not None:
                    waiting[:0] = [(part, True) for part in parts]
                elif asks_by_expression(study):
                    # No trial is to blame: the expression brings as much whoever it is asked for. What it brought of the past it
                    # will bring again, so that the next poll goes on behind it.
                    if window.present:
                        raise
                    self._gaps.add(window.start, window.end)
                    raise _LeftOut(error.degraded.reason, error.degraded.message) from error
                else:
                    trouble = self._exclude(window, error)
                continue
            self._take(window, scrapes, now.timestamp(), whole=not found.warnings)
            if found.warnings:
                trouble = Degraded(reason="PrometheusAnswerPartial", message=f"{api.url} warns: {found.warnings[0]}")
        return trouble

    def _pass_over(self, window: Window) -> Degraded | None:
        """Leave out a piece of time that cannot be read; say so if a trial misses it."""
        missed = False
        for name in self._reaches if window.trials is None else window.trials:
            reach = self._reaches.get(name)
            if reach is not None and window.start <= reach.until < window.end:
                reach.until, missed = window.end, True
        if not missed:
            return None
        first, last = (datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S") for at in (window.start, window.end))
        message = f"what the queries bring of {first} to {last} UTC is too much to be read; it is left out"
        return Degraded(reason="PrometheusAnswerTooLarge", message=message)

    def _halves(self, study: Study, window: Window) -> tuple[Window, Window] | None:
        shortest = 4 * self._polling.scrape_seconds
        if asks_by_expression(study):
            return window.halves_of_time(shortest)
        return window.halves(sorted(self._reaches), shortest)

    async def _ask(self, api: PrometheusApi, study: Study, window: Window) -> tuple[Found, list[Timed]]:
        if asks_by_expression(study):
            return await evaluate(api, study, window, self._attempts, self._polling.every_seconds)
        found = await api.query(raw_samples(study, window), time=None if window.present else window.end)
        return found, list(join_scrapes(found.series, self._newest))

    def _newest(self, trial: str, attempt: int) -> float:
        reach = self._reaches.get(trial)
        return float("inf") if reach is None else reach.newest.get(attempt, float("-inf"))

    def _take(self, window: Window, scrapes: Sequence[Timed], now: float, *, whole: bool) -> None:
        for timed in scrapes:
            reach = self._reaches.get(timed.trial)
            if reach is None or timed.time <= reach.newest.get(timed.attempt, float("-inf")):
                continue
            reach.newest[timed.attempt] = timed.time
            reach.heard = now
            self._stories.take(timed.trial, timed.attempt, timed.scrape)
        for name in self._reaches if window.trials is None else window.trials:
            reach = self._reaches.get(name)
            # Of a trial that the window does not touch, nothing was read.
            if reach is None or reach.excluded or window.start > reach.until:
                continue
            if window.present:
                reach.asked = now
            # What an incomplete answer lacks may come later: it is asked for again, but not for ever.
            if whole or window.end - reach.until > 300:
                reach.until, reach.warm = max(reach.until, window.end), True

    def _exclude(self, window: Window, error: TooMuch) -> Degraded:
        for name in window.trials or ():
            if name in self._reaches:
                self._reaches[name].excluded = True
        return error.degraded

    def _unheard(self) -> Degraded | None:
        now, names = self._clock.now(), []
        for name, reach in self._reaches.items():
            attempt = self._attempts.get(name)
            if reach.excluded:
                return Degraded(
                    reason="TooManySeries",
                    message=f"{name} has more series than can be read; it is not stopped early. Let it report fewer metrics",
                )
            if attempt is None or attempt.phase is not Phase.RUNNING or attempt.started_at is None:
                continue
            last = attempt.started_at.timestamp() if reach.heard is None else reach.heard
            if now.timestamp() - last > self._polling.grace_seconds:
                names.append(name)
        if not names:
            return None
        return Degraded(
            reason="PrometheusHasNoSamples",
            message=f"Prometheus answers, but has nothing new of {len(names)} running trials, such as {names[0]}: is it set up to scrape them, "
            "do they serve /metrics of no more series than it takes, and do they report? They run on, but are not stopped early",
        )


def _beginning(study: Study, attempt: Attempt, now: datetime) -> datetime:
    """Return where a trial's story begins: earlier attempts belong to it."""
    if attempt.number == 0:
        return attempt.started_at or now
    status = study.status
    started = (status.start_time if status else None) or study.metadata.creation_timestamp
    return parse_time(started) if started else attempt.started_at or now
