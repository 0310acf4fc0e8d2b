"""A study of a cluster as it is at this moment, kept up to date by list and watch; for reading only."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from seatrial.adapters.kubernetes import informer as informers
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.pods import PodRecord, build_pod_record, read_attempt
from seatrial.adapters.kubernetes.port import PODS, STUDIES, TRIALS, Call
from seatrial.adapters.kubernetes.records import build_study_record, build_trial_record
from seatrial.adapters.kubernetes.store import KubernetesStore
from seatrial.adapters.kubernetes.user_client import UserClient
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.attempts import Attempt
from seatrial.entry.cli.kube.looks import attempt_of_record
from seatrial.ports import Clock, StudyKey

__all__ = ["Mirror", "Seen", "mirrored"]

_SYNC_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One moment.

    Attributes:
        attempts: Of open trials, by name.
    """

    study: Study
    trials: tuple[Trial, ...]
    attempts: Mapping[str, Attempt]


class Mirror:
    """The caches of one study's objects.

    Args:
        client: The API server.
        key: The study.
        clock: The time.
        with_pods: Whether Pods may be read; without them the trials' records tell of attempts.
        on_note: Told when the connection is lost and when it is back.

    Attributes:
        changed: Set whenever anything came, changed or went.
    """

    def __init__(
        self, client: UserClient, key: StudyKey, *, clock: Clock, with_pods: bool, on_note: Callable[[str], None]
    ) -> None:
        self.changed = asyncio.Event()
        self._key, self._clock, self._on_note = key, clock, on_note
        selector = f"{names.LABEL_STUDY}={key.name}"

        def note(_: StudyKey) -> None:
            self.changed.set()

        self._studies = Informer(
            client, STUDIES, build_study_record, clock=clock, namespace=key.namespace, on_change=note
        )
        self._trials = Informer(
            client,
            TRIALS,
            build_trial_record,
            clock=clock,
            namespace=key.namespace,
            selector=selector,
            on_change=note,
        )
        self._pods: Informer[PodRecord] | None = None
        if with_pods:
            self._pods = Informer(
                client, PODS, build_pod_record, clock=clock, namespace=key.namespace, selector=selector, on_change=note
            )
        self._store = KubernetesStore(client, self._studies, self._trials)
        self._lost: set[str] = set()
        client.on_call = self._hear

    async def read(self) -> Seen | None:
        """Return the study as it is now, None when it is gone or going."""
        study = await self._store.read_study(self._key)
        if study is None:
            return None
        trials = tuple(await self._store.read_trials(self._key))
        return Seen(study=study, trials=trials, attempts=self._attempts(study, trials))

    def lose(self, resource: str, words: str) -> None:
        """Say that the connection is lost, once until it is back."""
        if not self._lost:
            self._on_note(f"the connection to the cluster is lost ({words}); trying again")
        self._lost.add(resource)

    def _hear(self, call: Call) -> None:
        """Say that the connection is back when all that was lost is followed again."""
        if self._lost and 0 < call.code < 400 and call.verb in {"list", "watch"}:
            self._lost.discard(call.resource)
            if not self._lost:
                self._on_note("connected again")

    async def run(self) -> None:
        """Follow the server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for cache in self._caches():
                group.create_task(cache.run())

    async def wait_synced(self) -> None:
        """Return when everything has been read once.

        Raises:
            TransientError: If that takes too long.
        """
        for cache in self._caches():
            await cache.wait_synced(_SYNC_SECONDS)

    def _caches(self) -> list[Informer]:  # type: ignore[type-arg]
        return [self._studies, self._trials, *([self._pods] if self._pods else [])]

    def _attempts(self, study: Study, trials: tuple[Trial, ...]) -> dict[str, Attempt]:
        now, found = self._clock.now(), dict[str, Attempt]()
        for pod in self._pods.of(self._key).values() if self._pods else ():
            if pod.study_uid == study.metadata.uid and not pod.released:
                attempt = read_attempt(pod, now)
                known = found.get(attempt.trial)
                if known is None or known.number < attempt.number:
                    found[attempt.trial] = attempt
        for trial in trials:
            if trial.metadata.name not in found and (told := attempt_of_record(trial)) is not None:
                found[trial.metadata.name] = told
        return found


@asynccontextmanager
async def mirrored(mirror: Mirror) -> AsyncIterator[None]:
    """Keep a mirror up to date; what its caches log of a lost connection is told to the user instead."""
    logger, handler = logging.getLogger(informers.__name__), _Handler(mirror)
    spread, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    following = asyncio.create_task(mirror.run())
    try:
        await mirror.wait_synced()
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        logger.removeHandler(handler)
        logger.propagate = spread


class _Handler(logging.Handler):
    def __init__(self, mirror: Mirror) -> None:
        super().__init__()
        self._mirror = mirror

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "failures"):
            self._mirror.lose(str(getattr(record, "resource", "")), str(getattr(record, "error", record.getMessage())))
