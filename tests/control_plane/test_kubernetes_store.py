"""Store and runner of a cluster on a real API server, which compares what they write with the CRDs and with its own rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator

import pytest
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config

from adapters.contracts import a_condition, a_record
from adapters.kubernetes.contract import a_study_object
from control_plane.cluster import ControlPlane
from control_plane.in_force import restrict
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.client import ApiServerClient
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.lease import LeaderElection
from seatrial.adapters.kubernetes.pods import build_pod_record
from seatrial.adapters.kubernetes.port import PODS, STUDIES, TRIALS, KubeObject, PatchKind
from seatrial.adapters.kubernetes.records import build_study_record, build_trial_record
from seatrial.adapters.kubernetes.rehearsal import build_rehearsal_trial
from seatrial.adapters.kubernetes.removal import Retention
from seatrial.adapters.kubernetes.runner import KubernetesRunner
from seatrial.adapters.kubernetes.store import KubernetesStore
from seatrial.adapters.local.clock import SystemClock
from seatrial.api.study import Best, Study, StudyStatus
from seatrial.api.trial import TrialStatus
from seatrial.decide.attempts import Phase
from seatrial.errors import TransientError
from seatrial.ports import StudyKey

_SECONDS = 30.0


class Live:
    """An operator's memory over a real API server."""

    def __init__(self, client: ApiServerClient, namespace: str) -> None:
        self.client, self.key = client, StudyKey(namespace, "s")
        clock = SystemClock()
        self.news = asyncio.Event()
        common = {"clock": clock, "namespace": namespace, "on_change": lambda _: self.news.set()}
        self.studies = Informer(client, STUDIES, build_study_record, **common)
        self.trials = Informer(client, TRIALS, build_trial_record, selector=names.LABEL_STUDY, **common)
        self.pods = Informer(client, PODS, build_pod_record, selector=names.LABEL_TRIAL, **common)
        self.store = KubernetesStore(client, self.studies, self.trials)
        self.runner = KubernetesRunner(client, self.pods, clock=clock, retention=Retention.NONE)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when the caches have it."""
        async with asyncio.timeout(_SECONDS):
            while not holds():
                self.news.clear()
                await self.news.wait()

    async def put(self, **spec: object) -> Study:
        await self.client.create(STUDIES, self.key.namespace, a_study_object(**spec))
        await self.until(lambda: self.studies.get(*self.key) is not None)
        study = await self.store.read_study(self.key)
        assert study is not None
        return study

    async def write_pod(self, name: str, status: KubeObject) -> None:
        """Do what a kubelet would."""
        await self.client.patch(
            PODS, self.key.namespace, name, {"status": status}, kind=PatchKind.MERGE, subresource="status"
        )


Body = Callable[[Live], Coroutine[None, None, None]]


@pytest.fixture
def live(control_plane: ControlPlane, namespace: str) -> Iterator[Callable[[Body], None]]:
    configuration = Configuration()
    asyncio.run(load_kube_config(str(control_plane.admin.kubeconfig), client_configuration=configuration))

    async def main(body: Body) -> None:
        client = ApiServerClient(configuration)
        world = Live(client, namespace)
        tasks = [asyncio.ensure_future(cache.run()) for cache in (world.studies, world.trials, world.pods)]
        try:
            for cache in (world.studies, world.trials, world.pods):
                await cache.wait_synced(_SECONDS)
            async with asyncio.timeout(2 * _SECONDS):
                await body(world)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.close()

    return lambda body: asyncio.run(main(body))


def test_trials_are_created_once_and_their_status_is_replaced_by_version(live):
    async def body(world: Live) -> None:
        await world.put()
        first = await world.store.create_trial(world.key, a_record(0, x=0.25))
        again = await world.store.create_trial(world.key, a_record(0, x=0.75))
        assert again is first
        assert again.spec.assignment == {"x": 0.25}

        status = TrialStatus(attempt=1, conditions=[a_condition("Running", "Unknown")], progress="1/9")
        updated = await world.store.update_trial(world.key, first, status)
        assert updated.status == status
        with pytest.raises(TransientError, match="s-0 was changed"):
            await world.store.update_trial(world.key, first, TrialStatus(attempt=2))
        last = await world.store.update_trial(world.key, updated, TrialStatus(attempt=2, conditions=[a_condition()]))
        assert last.status.progress == ""
        assert list(await world.store.read_trials(world.key)) == [last]

        with pytest.raises(TransientError, match="s-7 is gone"):
            await world.store.update_trial(world.key, a_record(7), TrialStatus())

    live(body)


def test_the_status_of_a_study_is_replaced_and_an_edit_in_between_is_noticed(live):
    async def body(world: Live) -> None:
        await world.put()
        best = Best(trial="s-0", index=0, values=[0.5], assignment={"x": 0.25})
        await world.store.update_study(world.key, StudyStatus(gpu_hours=2.5, best=best, conditions=[a_condition()]))
        await world.store.update_study(world.key, StudyStatus(gpu_hours=3.5))

        study = await world.store.read_study(world.key)
        assert study is not None
        assert study.status == StudyStatus(gpu_hours=3.5)

        # The cache has not yet heard of the edit, or has: then the second write goes through.
        edit = {"spec": {"suspend": True}}
        written = await world.client.patch(STUDIES, world.key.namespace, "s", edit, kind=PatchKind.MERGE)
        with contextlib.suppress(TransientError):
            await world.store.update_study(world.key, StudyStatus(gpu_hours=4.5))
        await world.store.update_study(world.key, StudyStatus(gpu_hours=4.5))
        study = await world.store.read_study(world.key)
        assert study is not None
        assert study.spec.suspend
        assert study.metadata.generation == written["metadata"]["generation"] == 2

    live(body)


def test_a_pod_lives_from_its_start_to_its_release(live):
    async def body(world: Live) -> None:
        study = await world.put()
        trial = await world.store.create_trial(world.key, a_record(0))
        assert await world.runner.rehearse(study, build_rehearsal_trial(study, SystemClock().now())) is None
        await asyncio.gather(*(world.runner.start(study, trial, 0) for _ in range(3)))
        assert (await world.runner.observe(study))["s-0"].phase is Phase.WAITING

        ended = {"exitCode": 0, "reason": "Completed", "message": '{"loss": 0.5}', "finishedAt": "2030-01-01T00:00:00Z"}
        await world.write_pod(
            "s-0-0",
            {
                "phase": "Succeeded",
                "containerStatuses": [
                    {
                        "name": "main",
                        "image": "x",
                        "imageID": "x",
                        "ready": False,
                        "restartCount": 0,
                        "state": {"terminated": ended},
                    }
                ],
            },
        )
        await world.until(lambda: world.pods.of(world.key)["s-0-0"].ended)
        seen = (await world.runner.observe(study))["s-0"]
        assert (seen.phase, seen.exit_code) == (Phase.EXITED, 0)
        assert seen.report is not None
        assert [(final.name, final.last) for final in seen.report.metrics] == [("loss", 0.5)]

        await world.runner.release(study, trial, 0)
        done = study.model_copy(update={"status": StudyStatus(completion_time="2030-01-01T00:00:00Z")})
        await world.until(lambda: world.pods.of(world.key)["s-0-0"].swept)
        assert await world.runner.observe(done) == {}
        await world.until(lambda: not world.pods.of(world.key))

    live(body)


def test_a_study_that_is_deleted_takes_everything_along_once_its_pods_are_let_go(live):
    async def body(world: Live) -> None:
        study = await world.put()
        trial = await world.store.create_trial(world.key, a_record(0))
        await world.runner.start(study, trial, 0)

        await world.client.delete(STUDIES, world.key.namespace, "s")
        await world.until(lambda: any(pod.deleting for pod in world.pods.of(world.key).values()))
        assert await world.store.read_study(world.key) is None
        assert await world.runner.abandon(world.key) == 1

        await world.until(lambda: not world.pods.of(world.key) and not world.trials.of(world.key))

    live(body)


def test_a_typo_in_the_template_is_told_in_the_servers_words(live):
    async def body(world: Live) -> None:
        container = {"name": "main", "image": "example.invalid/none:1", "imagePullPolice": "Always"}
        study = await world.put(trial={"template": {"spec": {"containers": [container]}}})

        refusal = await world.runner.rehearse(study, build_rehearsal_trial(study, SystemClock().now()))

        assert refusal is not None
        assert refusal.reason == "PodInvalid"
        assert 'unknown field "spec.containers[0].imagePullPolice"' in refusal.message

    live(body)


def test_pod_security_is_kept_by_default_and_told_in_the_servers_words(live, api, namespace: str):
    async def body(world: Live) -> None:
        study = await world.put()
        # What is added by default is what the level `restricted` asks for.
        assert await world.runner.rehearse(study, build_rehearsal_trial(study, SystemClock().now())) is None

        pod = {"securityContext": {"runAsUser": 0}, "containers": [{"name": "main", "image": "example.invalid/none:1"}]}
        edited = study.model_copy(
            update={
                "spec": study.spec.model_copy(
                    update={"trial": study.spec.trial.model_copy(update={"template": {"spec": pod}})}
                )
            }
        )
        refusal = await world.runner.rehearse(edited, build_rehearsal_trial(edited, SystemClock().now()))
        assert refusal is not None
        assert refusal.reason == "PodSecurity"
        assert "runAs" in refusal.message

    restrict(api, namespace)
    live(body)


def test_a_lease_is_held_given_back_and_taken(live):
    async def body(world: Live) -> None:
        one, two = (
            LeaderElection(
                world.client, namespace=world.key.namespace, name="seatrial", identity=name, clock=SystemClock()
            )
            for name in ("one", "two")
        )
        await one.acquire()
        assert not await two._try()
        await one.release()
        assert await two._try()

    live(body)
