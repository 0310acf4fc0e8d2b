"""A cluster in memory with one study in it, for tests: server, kubelet, and everything that an operator has in its memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from decide.builders import a_study
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.fake.client import FakeClient, Faults
from seatrial.adapters.kubernetes.fake.kubelet import FakeKubelet
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.faults import AlreadyExists, NotFound
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.pods import build_pod_record
from seatrial.adapters.kubernetes.port import PODS, STUDIES, TRIALS, PatchKind
from seatrial.adapters.kubernetes.records import build_study_record, build_trial_record
from seatrial.adapters.kubernetes.removal import Retention
from seatrial.adapters.kubernetes.runner import KubernetesRunner
from seatrial.adapters.kubernetes.store import KubernetesStore
from seatrial.adapters.local.memory import SimulatedClock
from seatrial.adapters.local.simulated import Script
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.ports import StudyKey


class Cluster:
    """What outlives an operator."""

    def __init__(self, script: Callable[[Trial, int], Script], *, capacity: int | None = None) -> None:
        self.clock = SimulatedClock()
        self.server = FakeServer(self.clock)
        self.kubelet = FakeKubelet(self.server, self.clock, script, capacity)

    def put_study(self, study: Study) -> StudyKey:
        """Store a study as a user's ``apply`` does."""
        key = StudyKey(study.metadata.namespace or "default", study.metadata.name)
        body = {"metadata": {"name": key.name}, "spec": study.spec.to_wire()}
        try:
            self.server.create(STUDIES, key.namespace, body)
        except AlreadyExists:
            replaced = [{"op": "add", "path": "/spec", "value": body["spec"]}]
            self.server.patch(STUDIES, key.namespace, key.name, replaced, kind=PatchKind.JSON)
        return key

    def stored(self, key: StudyKey) -> Study:
        """Return the study as stored."""
        model = build_study_record(self.server.get(STUDIES, *key)).model
        assert model is not None
        return model

    def trials(self, key: StudyKey) -> list[Trial]:
        """Return the trials as stored, by index."""
        found = self.server.all(TRIALS, key.namespace, f"{names.LABEL_STUDY}={key.name}")
        return sorted((build_trial_record(trial).model for trial in found), key=lambda trial: trial.spec.index)

    def pods(self) -> list[str]:
        """Return the names of all Pods, in the order of their creation."""
        return [pod["metadata"]["name"] for pod in self.server.all(PODS)]


class Memory:
    """What an operator has in its memory: made anew at every start, and for every event loop."""

    def __init__(
        self, cluster: Cluster, *, faults: Faults = lambda *_: None, retention: Retention = Retention.NONE
    ) -> None:
        self.cluster = cluster
        self.client = FakeClient(cluster.server, faults=faults, logs=cluster.kubelet.read_log)
        self.changed: list[StudyKey] = []
        common = {"clock": cluster.clock, "on_change": self.changed.append, "pause": _no_pause}
        self.studies = Informer(self.client, STUDIES, build_study_record, **common)
        self.trials = Informer(self.client, TRIALS, build_trial_record, selector=names.LABEL_STUDY, **common)
        self.pods = Informer(self.client, PODS, build_pod_record, selector=names.LABEL_TRIAL, **common)
        self.store = KubernetesStore(self.client, self.studies, self.trials)
        self.runner = KubernetesRunner(self.client, self.pods, clock=cluster.clock, retention=retention)
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin to watch, in this event loop."""
        if not self._tasks:
            self._tasks = [asyncio.ensure_future(cache.run()) for cache in (self.studies, self.trials, self.pods)]

    async def settle(self) -> None:
        """Let time stand still until all caches know all there is."""
        self.open()
        for _ in range(3):
            # Calls that nobody waits for go on meanwhile.
            await asyncio.sleep(0)
        self.cluster.kubelet.step()
        for _ in range(1000):
            caches = (self.studies, self.trials, self.pods)
            if all(cache.synced and cache.version == self.cluster.server.version for cache in caches):
                return
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0)
        raise AssertionError("the caches do not catch up")

    async def close(self) -> None:
        """Die."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []


async def _no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


def ensure_trial(cluster: Cluster, key: StudyKey, trial: Trial) -> Trial:
    """Return the trial as stored, after storing it."""
    try:
        found = cluster.server.get(TRIALS, key.namespace, trial.metadata.name)
    except NotFound:
        labels = {names.LABEL_STUDY: key.name}
        body = {"metadata": {"name": trial.metadata.name, "labels": labels}, "spec": trial.spec.to_wire()}
        found = cluster.server.create(TRIALS, key.namespace, body)
    return build_trial_record(found).model


def a_study_that_reuses(**spec: object) -> Study:
    """Return a study whose Pods are handed on from trial to trial."""
    containers = [{"name": "main", "image": "trial", "command": ["python", "train.py"]}]
    return a_study(**{"trial": {"reuse": True, "template": {"spec": {"containers": containers}}}, **spec})
