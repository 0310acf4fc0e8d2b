"""``kubectl seatrial watch``: follows a study of a cluster until it is complete, as ``seatrial run`` shows its own."""

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console

from seatrial.adapters.kubernetes.faults import Forbidden
from seatrial.adapters.kubernetes.port import PODS
from seatrial.adapters.kubernetes.service_proxy import RoutedFetcher
from seatrial.adapters.local.clock import SystemClock
from seatrial.adapters.metrics.prometheus import Polling, PrometheusSource
from seatrial.adapters.metrics.prometheus_api import HOLE
from seatrial.api.study import MetricsSource, Prometheus, Study
from seatrial.decide.attempts import Attempt
from seatrial.decide.curves import Curves
from seatrial.entry.cli.exits import ExitCode, error
from seatrial.entry.cli.kube.connection import Connection, Flags, connected
from seatrial.entry.cli.kube.curves import find_prometheus
from seatrial.entry.cli.kube.looks import Looks, rests
from seatrial.entry.cli.kube.mirror import Mirror, Seen, mirrored
from seatrial.entry.cli.kube.reading import read_study
from seatrial.entry.cli.kube.source import build_standing
from seatrial.entry.cli.observers import Watcher, build_observer
from seatrial.entry.cli.printing import print_json, print_text
from seatrial.entry.cli.summary import Standing, build_document, read_standing, summary_lines
from seatrial.errors import UsageError
from seatrial.ports import StudyKey

__all__ = ["WatchCall", "watch_command"]

# News within this time are one look: a study of short trials has hundreds a second.
_GATHER_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchCall:
    """What the user asked for.

    Attributes:
        prometheus_url: Where curves are, when the user says so.
    """

    study: str
    flags: Flags
    prometheus_url: str | None
    as_json: bool
    quiet: bool


def watch_command(call: WatchCall) -> ExitCode:
    """Watch a study to its end, or until the user has seen enough."""
    return asyncio.run(_watch(call))


async def _watch(call: WatchCall) -> ExitCode:
    signals: list[signal.Signals] = []
    woken = asyncio.Event()

    def leave(number: signal.Signals) -> None:
        signals.append(number)
        woken.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leave, number)
    async with connected(call.flags) as connection:
        study = await read_study(connection, call.study)
        console = Console(stderr=call.as_json, highlight=False)
        with build_observer(console, now=_now, quiet=call.quiet) as observer:
            standing = await _Follower(connection, call, observer, woken).follow(study)
    if signals and not read_standing(standing)[0].terminal:
        error(f"{call.study} goes on in the cluster; {standing.home.command('watch', call.study)} shows it again")
        return ExitCode.TERMINATED if signals[0] is signal.SIGTERM else ExitCode.INTERRUPTED
    if call.as_json:
        print_json(build_document(standing))
    else:
        print_text(*summary_lines(standing, now=_now()))
    reason, _ = read_standing(standing)
    return ExitCode.DONE if reason.status == "True" else ExitCode.FAILED


class _Follower:
    """Follows one study.

    Args:
        woken: Set when the user has seen enough.
    """

    def __init__(self, connection: Connection, call: WatchCall, observer: Watcher, woken: asyncio.Event) -> None:
        self._connection, self._call, self._observer, self._woken = connection, call, observer, woken

    async def follow(self, study: Study) -> Standing:
        """Return the study as it was last, when it rests or the user leaves.

        Raises:
            UsageError: If it is deleted meanwhile.
        """
        connection, key = self._connection, StudyKey(self._connection.namespace, study.metadata.name)
        mirror = Mirror(
            connection.client,
            key,
            clock=SystemClock(),
            with_pods=await self._may_see_pods(),
            on_note=self._observer.on_note,
        )
        curves = await _LiveCurves.open(connection, study, self._call.prometheus_url, self._observer)
        try:
            async with mirrored(mirror):
                seen = await self._loop(mirror, curves)
        finally:
            await curves.close()
        return build_standing(connection, seen.study, seen.trials)

    async def _may_see_pods(self) -> bool:
        try:
            await self._connection.client.list(PODS, self._connection.namespace, limit=1)
        except Forbidden:
            self._observer.on_note("you may not list pods here: what trials wait for is told by their records alone")
            return False
        return True

    async def _loop(self, mirror: Mirror, live: "_LiveCurves") -> Seen:
        looks = Looks(unseen=build_standing(self._connection, live.study, ()).home.unseen)
        while True:
            mirror.changed.clear()
            seen = await mirror.read()
            if seen is None:
                raise UsageError(f"study {self._call.study} was deleted while it was watched, and its trials with it")
            curves = await live.read(seen.study, seen.attempts)
            look = looks.build(seen.study, seen.trials, seen.attempts, curves, _now())
            self._observer.on_look(look, curves)
            if self._woken.is_set() or rests(look):
                return seen
            await self._wait(mirror)

    async def _wait(self, mirror: Mirror) -> None:
        """Wait for news, the user, or the time."""
        waits = [asyncio.create_task(mirror.changed.wait()), asyncio.create_task(self._woken.wait())]
        _, pending = await asyncio.wait(waits, timeout=_LONGEST_WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        if not self._woken.is_set():
            await asyncio.sleep(_GATHER_SECONDS)


class _LiveCurves:
    """Curves of running trials, where the user can reach a Prometheus."""

    def __init__(
        self, study: Study, source: PrometheusSource | None, fetcher: RoutedFetcher, observer: Watcher
    ) -> None:
        self.study = study
        self._source, self._fetcher, self._observer = source, fetcher, observer
        self._told = ""

    @classmethod
    async def open(cls, connection: Connection, study: Study, given: str | None, observer: Watcher) -> "_LiveCurves":
        """Find out where the curves of a study are."""
        fetcher = RoutedFetcher(connection.client, connection.namespace)
        url = None
        if given or study.spec.metrics.source is MetricsSource.PROMETHEUS:
            url = await find_prometheus(connection, study, given)
        if url is None:
            observer.on_note("no curves of running trials: no Prometheus is known; --prometheus-url names one")
            return cls(study, None, fetcher, observer)
        polling = Polling(hold_seconds=0.0)
        source = PrometheusSource(fetcher=fetcher, clock=SystemClock(), default_url=url, polling=polling)
        return cls(_with_url(study, url), source, fetcher, observer)

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves so far; trouble is told once."""
        if self._source is None:
            return {}
        prometheus = self.study.spec.metrics.prometheus
        curves = await self._source.read(_with_url(study, prometheus.url or "" if prometheus else ""), attempts)
        trouble = self._source.degraded()
        words = trouble.message.removesuffix(f"; {HOLE}") if trouble else ""
        if words and words != self._told:
            self._observer.on_note(f"no curves of running trials: {words}")
        self._told = words or self._told
        return curves

    async def close(self) -> None:
        """Let go of all connections."""
        if self._source is not None:
            await self._source.close()
        await self._fetcher.close()


def _with_url(study: Study, url: str) -> Study:
    """Return the study with this address of its Prometheus."""
    metrics = study.spec.metrics
    prometheus = (metrics.prometheus or Prometheus()).model_copy(update={"url": url})
    changed = metrics.model_copy(update={"prometheus": prometheus})
    return study.model_copy(update={"spec": study.spec.model_copy(update={"metrics": changed})})


def _now() -> datetime:
    return datetime.now(UTC)
