"""One level-triggered pass over one study, and when to look again. What it knows of studies is only there to be faster."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seatrial.adapters.kubernetes.faults import ApiError, NotFound
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.pods import PodRecord
from seatrial.adapters.kubernetes.port import STUDIES, KubeClient
from seatrial.adapters.kubernetes.records import StudyRecord
from seatrial.adapters.kubernetes.runner import KubernetesRunner
from seatrial.adapters.kubernetes.store import KubernetesStore
from seatrial.api.conditions import Condition, find_condition
from seatrial.api.study import MetricsSource, Study
from seatrial.decide.actions import Action, shorten
from seatrial.decide.attempts import Phase
from seatrial.decide.status import Remark
from seatrial.entry.cluster import suggesting
from seatrial.entry.cluster.asking import AskDesk
from seatrial.entry.cluster.metrics import MetricSources, StudyMetrics
from seatrial.entry.cluster.refusing import Refuser
from seatrial.entry.cluster.rehearsing import Rehearsal
from seatrial.entry.cluster.salvaging import salvage_study
from seatrial.entry.cluster.suggesting import StudySuggester
from seatrial.errors import TransientError
from seatrial.ports import Clock, StudyKey, StudyStore
from seatrial.reconcile import Look, Reconciler
from seatrial.search.checks import check_study

__all__ = ["Again", "Observer", "StudyWorker", "World"]

logger = logging.getLogger(__name__)

# A pass at least this often over everything that is not over: whatever was missed is found.
_RESYNC_SECONDS = 300.0
# While something runs: its heartbeat, its node, a Pod that was refused and is tried again.
_WATCH_SECONDS = 15.0
# While a rule wants curves.
_CURVE_SECONDS = {MetricsSource.PROMETHEUS: 5.0, MetricsSource.SCRAPE: 2.0}


class Observer:
    """Is told what happens to studies; does nothing by itself."""

    def on_action(self, key: StudyKey, action: Action) -> None:
        """Take an action that was applied."""

    def on_look(self, key: StudyKey, study: Study, before: Sequence[Condition]) -> None:
        """Take a study as a pass left it, and its conditions as they were before."""

    def on_invalid(self, key: StudyKey, before: Sequence[Condition], after: Sequence[Condition]) -> None:
        """Take that a study cannot be run."""

    def on_gone(self, key: StudyKey) -> None:
        """Take that a study is gone."""

    def on_decision(self, algorithm: str, seconds: float) -> None:
        """Take how long an algorithm thought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a worker works with.

    Attributes:
        store: Where passes read and write; may limit writes.
        stored: The store itself.
    """

    client: KubeClient
    studies: Informer[StudyRecord]
    pods: Informer[PodRecord]
    store: StudyStore
    stored: KubernetesStore
    runner: KubernetesRunner
    metrics: MetricSources
    desk: AskDesk
    clock: Clock


@dataclass(frozen=True, slots=True)
class Again:
    """When a study should be looked at again, even if nothing happens.

    Attributes:
        seconds: 0 is at once, None is never.
    """

    seconds: float | None


_PROBLEM_LIMIT = 800
_WATCHED = "Pods that run are watched under the last valid specification, and nothing is started until this is mended"


@dataclass(slots=True, kw_only=True)
class _Bench:
    """What is kept of a study between passes.

    Attributes:
        study: As it is now.
        checked: Generation that was looked at last, and what is wrong with it.
        valid: As it was when it was valid last.
    """

    uid: str
    reconciler: Reconciler
    metrics: StudyMetrics
    suggester: StudySuggester
    rehearsal: Rehearsal
    study: Study
    checked: tuple[int | None, str] | None = None
    valid: Study | None = None

    def remarks(self) -> Sequence[Remark]:
        """Return the conditions that the study should show beside the summary."""
        found = [self.rehearsal.remark, self.metrics.remark(self.study), self._suggestions()]
        return tuple(remark for remark in found if remark is not None)

    def _suggestions(self) -> Remark | None:
        if self.suggester.trouble is not None:
            return self.suggester.trouble
        stored = self.study.status and find_condition(self.study.status.conditions, suggesting.CONDITION)
        if not stored or stored.status == "True":
            return None
        return Remark(
            type=suggesting.CONDITION, status="True", reason="Answered", message="the algorithm answers again"
        )


class StudyWorker:
    """Makes passes. Belongs to one event loop; of one study never more than one pass at a time.

    Args:
        world: What it works with.
        wake: Wants a study to be looked at.
        observer: Is told what happens.
    """

    def __init__(self, world: World, *, wake: Callable[[StudyKey], None], observer: Observer | None = None) -> None:
        self._world, self._wake = world, wake
        self._observer = observer or Observer()
        self._benches: dict[StudyKey, _Bench] = {}
        self._refuser = Refuser(world.client, world.stored, clock=world.clock)

    async def work(self, key: StudyKey) -> Again:
        """Make one pass.

        Raises:
            TransientError: If the world was not ready.
        """
        record = self._world.studies.get(*key)
        alive = record is not None and not record.deleting
        await self._let_go(key, record.uid if record is not None and alive else "")
        if record is None or not alive:
            await self._forget(key)
            self._refuser.forget(key)
            self._world.stored.forget_study(key)
            self._world.runner.forget_study(key)
            self._observer.on_gone(key)
            return Again(None)
        if record.model is None:
            return await self._refuse(key, record, record.problem)
        bench = await self._open(key, record, record.model)
        problem = _find_problem(bench, record.model)
        if problem:
            return await self._refuse(key, record, problem)
        self._refuser.forget(key)
        if await self._is_outdated(key, record):
            return Again(0.0)
        return await self._advance(key, bench)

    async def drop(self, key: StudyKey) -> None:
        """Forget what is kept of a study; the next pass begins from what is stored."""
        await self._forget(key)

    async def close(self) -> None:
        """Give up everything."""
        for key in list(self._benches):
            await self._forget(key)

    # ---- a pass ------------------------------------------------------------------------------------------------------

    async def _advance(self, key: StudyKey, bench: _Bench) -> Again:
        study = bench.valid = bench.study
        before = study.status.conditions if study.status else []
        has_pods = any(pod.study_uid == bench.uid and pod.held for pod in self._world.pods.of(key).values())
        hold = await bench.rehearsal.hold(study, has_pods=has_pods)
        look = await bench.reconciler.run(hold=hold)
        if look is None:
            # It went between two reads; the cache tells.
            return Again(0.0)
        self._observer.on_look(key, look.study, before)
        if look.moved:
            return Again(0.0)
        held = any(trial.live is not None for trial in look.snapshot.trials)
        sweep = self._world.runner.due_seconds(look.study)
        if look.plan.state.reason.terminal and not held and sweep is None:
            await self._forget(key)
            return Again(None)
        return Again(_pause(look, bench.rehearsal.due_seconds, sweep))

    async def _watch_on(self, key: StudyKey, record: StudyRecord, study: Study, problem: str) -> Again:
        """Go on watching the Pods of a study that an edit made invalid, as it was before; start nothing."""
        metadata = study.metadata.model_copy(update={"generation": record.generation})
        study = study.model_copy(update={"metadata": metadata, "status": record.status})
        bench = self._benches.get(key)
        if bench is None or bench.uid != record.uid:
            await self._forget(key)
            bench = self._benches[key] = self._build(key, record, study)
        bench.study = study
        self._refuser.forget(key)
        words = f"{shorten(problem, _PROBLEM_LIMIT)}; {_WATCHED}"
        look = await bench.reconciler.run(under=study, invalid=words)
        if look is None:
            return Again(0.0)
        self._observer.on_look(key, look.study, record.status.conditions if record.status else [])
        return Again(0.0 if look.moved else _pause(look, None, self._world.runner.due_seconds(study)))

    async def _last_valid(self, key: StudyKey, record: StudyRecord) -> Study | None:
        """Return the study as it was when it was valid; what is left of it where that is not known any more."""
        bench = self._benches.get(key)
        if bench is not None and bench.uid == record.uid and bench.valid is not None:
            return bench.valid
        try:
            study = salvage_study(await self._world.client.get(STUDIES, *key))
        except NotFound:
            return None
        except ApiError as error:
            raise TransientError(f"study {key.name} cannot be read: {error}") from error
        if study is not None and bench is not None and bench.uid == record.uid:
            bench.valid = study
        return study

    async def _refuse(self, key: StudyKey, record: StudyRecord, problem: str) -> Again:
        pods = self._world.pods.of(key).values()
        if any(pod.study_uid == record.uid and (pod.held or pod.swept) for pod in pods):
            study = await self._last_valid(key, record)
            if study is not None:
                return await self._watch_on(key, record, study, problem)
        known = self._benches.get(key)
        before = known.study.status.conditions if known is not None and known.study.status else []
        await self._forget(key)
        status = await self._refuser.refuse(key, record, problem)
        if status is not None:
            logger.warning("Study cannot be run", extra={"study": key.name, "namespace": key.namespace})
            self._observer.on_invalid(key, before, status.conditions)
        return Again(None)

    async def _let_go(self, key: StudyKey, uid: str) -> None:
        """Let go of Pods whose study is gone, or is another one than that of the same name now.

        The caches follow the server one by one: that of Pods may be ahead, so the server itself is asked before anything is let go.
        """
        strange = [pod for pod in self._world.pods.of(key).values() if pod.held and pod.study_uid != uid]
        if not strange:
            return
        alive = await self._read_uid(key)
        if any(pod.study_uid != alive for pod in strange):
            freed = await self._world.runner.abandon(key, uid=alive or None)
            logger.info(
                "Let go of Pods without a study", extra={"study": key.name, "namespace": key.namespace, "pods": freed}
            )

    async def _is_outdated(self, key: StudyKey, record: StudyRecord) -> bool:
        """Tell whether the study is not any more what the cache had.

        The cache of Trials may be ahead: where fewer are there than the study's status counts, somebody has deleted some, or all went
        with their study. Nothing may be started anew for such a study, so the server itself is asked.
        """
        counts = record.status.trials if record.status else None
        if counts is None or counts.total <= len(await self._world.stored.read_trials(key)):
            return False
        await self._world.stored.refresh_study(key)
        return self._world.studies.get(*key) is not record

    async def _read_uid(self, key: StudyKey) -> str:
        """Return the identity of the study that has this name now; empty when it is gone or going."""
        try:
            found = await self._world.client.get(STUDIES, *key)
        except NotFound:
            return ""
        except ApiError as error:
            raise TransientError(f"study {key.name} cannot be read: {error}") from error
        metadata = found["metadata"]
        return "" if metadata.get("deletionTimestamp") else str(metadata["uid"])

    # ---- what is kept ------------------------------------------------------------------------------------------------

    async def _open(self, key: StudyKey, record: StudyRecord, study: Study) -> _Bench:
        bench = self._benches.get(key)
        if bench is not None and bench.uid != record.uid:
            await self._forget(key)
            await self._world.runner.abandon(key, uid=record.uid)
            bench = None
        if bench is None:
            bench = self._benches[key] = self._build(key, record, study)
        bench.study = study
        return bench

    def _build(self, key: StudyKey, record: StudyRecord, study: Study) -> _Bench:
        world, observer = self._world, self._observer
        metrics = world.metrics.build()
        suggester = StudySuggester(record.uid, world.desk, wake=lambda: self._wake(key), observer=observer.on_decision)
        return _Bench(
            uid=record.uid,
            metrics=metrics,
            suggester=suggester,
            rehearsal=Rehearsal(world.runner, clock=world.clock),
            study=study,
            reconciler=Reconciler(
                key,
                store=world.store,
                runner=world.runner,
                metrics=metrics,
                clock=world.clock,
                suggester=suggester,
                observer=lambda action: observer.on_action(key, action),
                remarks=lambda: self._benches[key].remarks() if key in self._benches else (),
                keeper=world.runner,
            ),
        )

    async def _forget(self, key: StudyKey) -> None:
        bench = self._benches.pop(key, None)
        if bench is not None:
            bench.suggester.close()
            await bench.metrics.close()


def _find_problem(bench: _Bench, study: Study) -> str:
    """Return what the rules say that no schema can; looked for once a generation."""
    generation = study.metadata.generation
    if bench.checked is None or bench.checked[0] != generation or generation is None:
        bench.checked = (generation, "\n".join(map(str, check_study(study))))
    return bench.checked[1]


def _pause(look: Look, rehearsal_seconds: float | None, sweep_seconds: float | None) -> float:
    """Return seconds until the next look at a study that did not move."""
    spec = look.study.spec
    waits = [_RESYNC_SECONDS, look.plan.wake_after_seconds, rehearsal_seconds, sweep_seconds]
    lives = [trial.live for trial in look.snapshot.trials if trial.live is not None]
    if lives:
        waits.append(_WATCH_SECONDS)
    if spec.stopping is not None and any(live.phase is Phase.RUNNING for live in lives):
        waits.append(_CURVE_SECONDS.get(spec.metrics.source))
    # Something due now was dealt with in this very pass.
    return max(0.5, min(wait for wait in waits if wait is not None))
