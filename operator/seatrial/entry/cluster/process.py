"""The operator process: one of possibly several works, the others stand by.

Crash-only: nothing in memory is needed again, so whatever ends unexpectedly (a loop, the lease) ends the process, and the next life
goes on from what is stored.
"""

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast

import kopf

from seatrial.adapters.kubernetes.lease import LeaderElection
from seatrial.adapters.kubernetes.port import KubeClient
from seatrial.adapters.kubernetes.runner import KubernetesRunner
from seatrial.adapters.kubernetes.store import KubernetesStore
from seatrial.adapters.metrics.fetching import Fetcher
from seatrial.entry.cluster.asking import AskDesk, AskTimes, StillThinking
from seatrial.entry.cluster.caches import Caches
from seatrial.entry.cluster.events import EventRecorder
from seatrial.entry.cluster.freshness import Freshness
from seatrial.entry.cluster.handlers import build_registry, build_settings
from seatrial.entry.cluster.health import HealthServer
from seatrial.entry.cluster.metrics import MetricSources
from seatrial.entry.cluster.observing import Teller
from seatrial.entry.cluster.settings import OperatorSettings
from seatrial.entry.cluster.sparing import SparingStore
from seatrial.entry.cluster.telemetry import ReconcileOutcome, Telemetry
from seatrial.entry.cluster.work_queue import WorkQueue
from seatrial.entry.cluster.worker import Again, StudyWorker, World
from seatrial.errors import TransientError
from seatrial.ports import Clock, StudyKey

__all__ = ["Lost", "Operator"]

logger = logging.getLogger(__name__)

_SYNC_SECONDS = 120.0
# Bookmarks come about once a minute, and the longest pause between two tries is half a minute.
_SILENCE_SECONDS = 180.0
_LEASE_SECONDS = 60.0
# A pass makes some hundred calls of at most half a minute each, almost all of some milliseconds.
_PASS_SECONDS = 300.0
_KOPF_PAUSE_SECONDS = 300.0


class Lost(Exception):  # noqa: N818 - what it says reads as a word of the sentence
    """The process has to end: it leads no longer, or a loop ended."""


class Operator:
    """All of one operator process. Belongs to one event loop.

    Args:
        settings: How it works.
        client: The API server.
        clock: The time.
        telemetry: Counts.
        watch_with_kopf: Whether Kopf tells of Studies; without it the cache of Studies alone does.
        chance: Spreads what caches would do at once; without it each has its own.
    """

    def __init__(
        self,
        settings: OperatorSettings,
        client: KubeClient,
        *,
        clock: Clock,
        telemetry: Telemetry | None = None,
        watch_with_kopf: bool = True,
        chance: random.Random | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._settings, self._client, self._clock = settings, client, clock
        self._telemetry = telemetry or Telemetry()
        self._with_kopf = watch_with_kopf
        self._stopping = asyncio.Event()
        self.freshness = Freshness(loop.time)
        self.queue: WorkQueue[StudyKey] = WorkQueue()
        self._caches = Caches(
            client, clock=clock, namespace=settings.namespace or None, on_change=self.queue.add, chance=chance
        )
        self._lease = LeaderElection(
            client,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=settings.identity,
            clock=clock,
            pause=self._pause_lease,
        )
        times = AskTimes(deadline_seconds=settings.ask_deadline_seconds)
        self._desk = AskDesk(times=times, on_restart=self._telemetry.observe_restart, busy=self.freshness.busy)
        self._fetcher = Fetcher()
        self.events = EventRecorder(
            client,
            identify=self._caches.identify,
            clock=clock,
            time=loop.time,
            observe=self._telemetry.observe_event,
            instance=settings.identity,
        )
        self._worker = self._build_worker()
        self.health = HealthServer(self.troubles, self._waits)
        self._started: datetime | None = None
        self._watch()

    # ---- the life of a process ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Stand by, lead, and end when told to.

        Raises:
            Lost: If it may not lead any longer or one of its loops ended.
        """
        await self.health.open(self._settings.health_port)
        server = self._telemetry.serve(self._settings.metrics_port)
        logger.info("Operator started", extra={"identity": self._settings.identity, "health_port": self.health.port})
        try:
            with _signals(self._stopping.set):
                if await self._acquire():
                    await self._lead()
        finally:
            await self._end()
            if server is not None:
                await asyncio.to_thread(server.close)
        logger.info("Operator ended", extra={"identity": self._settings.identity})

    def stop(self) -> None:
        """Ask it to end."""
        self._stopping.set()

    async def _acquire(self) -> bool:
        """Return whether we lead; False when we were told to end before."""
        self.freshness.expect("lease", _LEASE_SECONDS)
        acquire = asyncio.ensure_future(self._lease.acquire())
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({acquire, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel([acquire, stop])
        if not acquire.cancelled():
            acquire.result()
        return self._lease.leading and not self._stopping.is_set()

    async def _lead(self) -> None:
        logger.info("Leading", extra={"identity": self._settings.identity, "lease": self._settings.lease_name})
        self._telemetry.show_leader(leads=True)
        self._started = self._clock.now()
        caches = self._caches
        await self._desk.warm()
        loops = [
            asyncio.create_task(cache.run(), name="a cache") for cache in (caches.studies, caches.trials, caches.pods)
        ]
        loops.append(asyncio.create_task(self._keep_lease(), name="the lease"))
        try:
            await self._guard(loops, caches.wait_synced(_SYNC_SECONDS))
            # Only now: a study that is not in an incomplete cache is not gone.
            loops += [
                asyncio.create_task(self._work(f"worker {n}"), name=f"worker {n}")
                for n in range(self._settings.workers)
            ]
            loops.append(asyncio.create_task(self.events.run(), name="the writer of events"))
            if self._with_kopf:
                loops.append(asyncio.create_task(self._watch_with_kopf(), name="kopf"))
            await self._guard(loops, self._stopping.wait())
        finally:
            await _cancel(loops)

    async def _guard(self, loops: Sequence[asyncio.Task[None]], wanted: Coroutine[object, object, object]) -> None:
        """Return when *wanted* is done or we are told to end.

        Raises:
            Lost: If one of *loops* ends before that.
        """
        goal, stop = asyncio.ensure_future(wanted), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({*loops, goal, stop}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                return
            for loop in loops:
                if loop.done():
                    raise _describe(loop)
            goal.result()
        except TransientError as error:
            raise Lost(str(error)) from error
        finally:
            await _cancel([goal, stop])

    async def _end(self) -> None:
        """Lay everything down; the lease last of what matters, so that the next one begins when we are really done."""
        self._telemetry.show_leader(leads=False)
        with contextlib.suppress(TimeoutError, TransientError):
            async with asyncio.timeout(3.0):
                await self.events.flush()
        await self._worker.close()
        await self._desk.close()
        await self._lease.release()
        await self._fetcher.close()
        await self.health.close()

    # ---- loops -------------------------------------------------------------------------------------------------------

    async def _work(self, name: str) -> None:
        """Work on one study after another, for ever."""
        while True:
            key = await self.queue.get()
            with self.freshness.busy(name, _PASS_SECONDS + self._settings.ask_deadline_seconds):
                await self._work_once(key)

    async def _work_once(self, key: StudyKey) -> None:
        began = asyncio.get_running_loop().time()
        fields = {"namespace": key.namespace, "study": key.name}
        outcome = ReconcileOutcome.DONE
        try:
            again = await self._worker.work(key)
        except StillThinking as error:
            again = Again(error.retry_after_seconds + 1.0)
        except TransientError as error:
            outcome = ReconcileOutcome.RETRIED
            pause = self.queue.fail(key, retry_after_seconds=error.retry_after_seconds)
            logger.info("Trying again later", extra={**fields, "error": str(error), "pause_seconds": pause})
            return
        except Exception:
            # One study's bug: what is kept of it goes, the study is tried again, the others do not notice.
            outcome = ReconcileOutcome.FAILED
            logger.exception("A pass failed", extra=fields)
            await self._worker.drop(key)
            self.queue.fail(key)
            return
        finally:
            self._telemetry.observe_reconcile(asyncio.get_running_loop().time() - began, outcome)
        if again.seconds is not None:
            self.queue.add_after(key, again.seconds)
        self.queue.done(key)

    async def _keep_lease(self) -> None:
        raise Lost(await self._lease.keep())

    async def _pause_lease(self, seconds: float) -> None:
        self.freshness.beat("lease")
        await asyncio.sleep(seconds)

    async def _watch_with_kopf(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._run_kopf()
            except RecursionError as error:
                # A Study nests deeper than Kopf reads. The cache, which reads it, tells of all changes meanwhile: one author's
                # study must not keep everybody's from running.
                logger.warning("Kopf cannot read a Study; the cache of Studies does", extra={"error": str(error)})
                await asyncio.sleep(_KOPF_PAUSE_SECONDS)
            else:
                # It has caught the signal itself.
                self._stopping.set()

    async def _run_kopf(self) -> None:
        namespace = self._settings.namespace
        tasks = await kopf.spawn_tasks(
            registry=build_registry(self.queue.add, start=_log("Kopf started"), stop=_log("Kopf ended")),
            settings=build_settings(),
            standalone=True,
            clusterwide=not namespace,
            namespaces=[namespace] if namespace else [],
            stop_flag=self._stopping,
            # Kopf would ask for the user's name, which a number from runAsUser does not have.
            identity=cast("Any", self._settings.identity),
        )
        await kopf.run_tasks(tasks, ignored=_Everything())

    # ---- health ------------------------------------------------------------------------------------------------------

    def troubles(self) -> list[str]:
        """Return what is wrong with the process, in words."""
        found = [str(stale) for stale in self.freshness.stale()]
        if self._started is not None:
            found += [
                f"nothing was heard of {name} for {age:.0f} s (at most {_SILENCE_SECONDS:.0f} s)"
                for name, age in self._caches.ages(self._started).items()
                if age > _SILENCE_SECONDS
            ]
        return found

    def _waits(self) -> list[str]:
        if self._started is None:
            return []
        return [f"the list of {name} is not read yet" for name in self._caches.unsynced()]

    # ---- building ----------------------------------------------------------------------------------------------------

    def _build_worker(self) -> StudyWorker:
        stored = KubernetesStore(self._client, self._caches.studies, self._caches.trials)
        sources = MetricSources(
            self._client,
            self._caches.pods,
            fetcher=self._fetcher,
            clock=self._clock,
            prometheus_url=self._settings.prometheus_url,
        )
        world = World(
            client=self._client,
            studies=self._caches.studies,
            pods=self._caches.pods,
            store=SparingStore(stored, time=asyncio.get_running_loop().time, wake_after=self.queue.add_after),
            stored=stored,
            runner=KubernetesRunner(
                self._client, self._caches.pods, clock=self._clock, retention=self._settings.retention
            ),
            metrics=sources,
            desk=self._desk,
            clock=self._clock,
        )
        return StudyWorker(world, wake=self.queue.add, observer=Teller(self._telemetry, self.events))

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._telemetry.watch_queue(lambda: len(self.queue))
        self._telemetry.watch_tasks(lambda: len(asyncio.all_tasks(loop)))
        for name in ("studies", "trials", "pods"):
            self._telemetry.watch_cache(name, partial(self._age, name))

    def _age(self, name: str) -> float:
        return self._caches.ages(self._started)[name]


class _Everything(Collection[Any]):
    """Tasks that Kopf leaves alone at its end: it takes all that began after it for its own, and would wait for them, then end them."""

    def __contains__(self, _: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _log(words: str) -> Callable[[], Coroutine[object, object, None]]:
    async def log() -> None:
        logger.info(words)

    return log


def _describe(loop: asyncio.Task[None]) -> Lost:
    """Return why a loop that should never end did."""
    error = None if loop.cancelled() else loop.exception()
    if isinstance(error, Lost):
        return error
    lost = Lost(f"{loop.get_name()} ended" if error is None else f"{loop.get_name()} failed: {error!r}")
    lost.__cause__ = error
    return lost


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _signals(handler: Callable[[], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask the process to end."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
