"""What a cluster adds to the contract of runners: refusals, adoption, retention, rehearsals."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest

from adapters.contracts import a_record
from adapters.kubernetes.world import Cluster, Memory, ensure_trial
from decide.builders import a_study
from seatrial.adapters.kubernetes.fake.client import Faults, Moment
from seatrial.adapters.kubernetes.faults import Forbidden, Invalid
from seatrial.adapters.kubernetes.pods import LOST_AFTER_SECONDS, STARTING_SECONDS
from seatrial.adapters.kubernetes.port import PODS, TRIALS, KubeObject, PatchKind, Resource
from seatrial.adapters.kubernetes.rehearsal import build_rehearsal_trial
from seatrial.adapters.kubernetes.removal import Retention
from seatrial.adapters.kubernetes.sweeping import SWEEP_PODS, SWEEP_SECONDS
from seatrial.adapters.local.simulated import Script
from seatrial.api.study import StudyStatus
from seatrial.api.trial import Trial
from seatrial.decide.attempts import Phase
from seatrial.decide.retention import Needed
from seatrial.errors import TransientError

QUOTA = 'pods "s-0-0" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: 2, limited: 2'


class Lab:
    """A cluster with a study, a runner, and an admission that can refuse."""

    def __init__(
        self, *, retention: Retention = Retention.NONE, exit_code: int = 0, faults: Faults = lambda *_: None
    ) -> None:
        script = Script(duration_seconds=10, sdk=False, exit_code=exit_code)
        self.cluster = Cluster(lambda trial, number: script)
        self.refusal: Exception | None = None
        self.cluster.server.admission.append(self._admit)
        self.memory = Memory(self.cluster, retention=retention, faults=faults)
        self.runner = self.memory.runner
        self.key = self.cluster.put_study(a_study())
        self.study = self.cluster.stored(self.key)

    def _admit(self, resource: Resource, body: KubeObject) -> None:
        if resource is PODS and self.refusal is not None:
            raise self.refusal

    def trial(self, index: int = 0) -> Trial:
        return ensure_trial(self.cluster, self.key, a_record(index))

    async def start(self, index: int = 0, number: int = 0) -> None:
        await self.memory.settle()
        await self.runner.start(self.study, self.trial(index), number)

    async def observe(self):
        await self.memory.settle()
        return await self.runner.observe(self.study)

    async def sweep(self) -> None:
        """Let as much time pass as Pods wait for others to be deleted with."""
        await self.observe()
        self.cluster.clock.advance(SWEEP_SECONDS)
        await self.observe()
        await asyncio.sleep(0.01)
        await self.observe()

    async def finish(self) -> None:
        await self.memory.settle()
        self.cluster.kubelet.advance(60)
        self.cluster.kubelet.advance(60)
        await self.memory.settle()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Forbidden(QUOTA, code=403), "QuotaExceeded"),
        (Forbidden('violates PodSecurity "restricted:latest": runAsNonRoot', code=403), "PodSecurity"),
        (Forbidden("denied by policy", code=403), "PodForbidden"),
        (Invalid("spec.containers[0].image: Required value", code=422), "PodInvalid"),
    ],
)
async def test_a_pod_that_is_not_wanted_waits_with_the_servers_words(error: Exception, reason: str):
    lab = Lab()
    lab.refusal = error

    await lab.start()

    seen = (await lab.observe())["s-0"]
    assert (seen.phase, seen.reason, seen.message) == (Phase.WAITING, reason, str(error))
    assert lab.cluster.pods() == []


async def test_a_pod_that_was_not_wanted_is_tried_again_after_a_while():
    lab = Lab()
    lab.refusal = Forbidden(QUOTA, code=403)
    await lab.start()
    lab.refusal = None

    assert (await lab.observe())["s-0"].reason == "QuotaExceeded"
    lab.cluster.clock.advance(16)
    await lab.observe()

    assert (await lab.observe())["s-0"].phase is Phase.RUNNING
    assert lab.cluster.pods() == ["s-0-0"]


async def test_a_refused_pod_is_offered_from_the_edited_template_at_once():
    lab = Lab()
    lab.refusal = Forbidden("denied by policy", code=403)
    await lab.start()
    lab.refusal = None
    container = {"name": "main", "image": "mended", "command": ["true"]}
    trial = {"template": {"spec": {"containers": [container]}}}
    lab.study = lab.study.model_copy(update={"spec": a_study(trial=trial).spec})

    await lab.observe()

    pod = lab.cluster.server.get(PODS, "default", "s-0-0")
    assert pod["spec"]["containers"][0]["image"] == "mended"


async def test_a_pod_that_policies_refuse_is_offered_less_and_less_often():
    lab = Lab()
    lab.refusal = Forbidden("denied by policy", code=403)
    await lab.start()
    offers = 0

    def count(resource: Resource, body: KubeObject) -> None:
        nonlocal offers
        offers += resource is PODS

    lab.cluster.server.admission.insert(0, count)
    for _ in range(3600):
        lab.cluster.clock.advance(1.0)
        await lab.observe()

    # 15, 30, 60 … 300 s, a quarter more or less: 240 times in an hour if it did not become less.
    assert 10 <= offers <= 20


async def test_a_refused_pod_can_be_stopped_and_released():
    lab = Lab()
    lab.refusal = Forbidden(QUOTA, code=403)
    await lab.start()

    await lab.runner.stop(lab.study, lab.trial(), 0)

    assert ((await lab.observe())["s-0"].phase, (await lab.observe())["s-0"].exit_code) == (Phase.EXITED, 143)
    await lab.runner.release(lab.study, lab.trial(), 0)
    assert await lab.observe() == {}


async def test_starting_at_the_same_time_makes_one_pod_each():
    lab = Lab()
    trials = [lab.trial(index) for index in range(5)]
    await lab.memory.settle()

    await asyncio.gather(*(lab.runner.start(lab.study, trial, 0) for trial in trials * 2))

    assert sorted(lab.cluster.pods()) == [f"s-{index}-0" for index in range(5)]


async def test_a_pod_that_an_earlier_life_created_is_adopted():
    lab = Lab()
    await lab.start()
    uid = lab.cluster.server.get(PODS, "default", "s-0-0")["metadata"]["uid"]
    other = Memory(lab.cluster)
    # It has read its lists before the Pod was there.
    other.pods._synced.set()

    await other.runner.start(lab.study, lab.trial(), 0)

    assert [pod.uid for pod in other.pods.of(lab.key).values()] == [uid]


async def test_a_name_that_a_stranger_has_taken_is_waited_for():
    lab = Lab()
    stranger = {"metadata": {"name": "s-0-0"}, "spec": {"containers": [{"name": "main"}]}}
    lab.cluster.server.create(PODS, "default", stranger)

    with pytest.raises(TransientError, match="not of this trial"):
        await lab.start()
    lab.cluster.server.delete(PODS, "default", "s-0-0")
    await lab.start()

    assert (await lab.observe())["s-0"].phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("retention", "exit_code", "stays"),
    [
        (Retention.NONE, 0, False),
        (Retention.NONE, 1, False),
        (Retention.FAILED, 0, False),
        (Retention.FAILED, 1, True),
        (Retention.ALL, 0, True),
        (Retention.ALL, 1, True),
    ],
)
async def test_pods_stay_as_they_should_and_are_seen_no_more(retention: Retention, exit_code: int, stays: bool):
    lab = Lab(retention=retention, exit_code=exit_code)
    await lab.start()
    await lab.finish()

    await lab.runner.release(lab.study, lab.trial(), 0)

    assert await lab.observe() == {}
    await lab.sweep()
    assert lab.cluster.pods() == (["s-0-0"] if stays else [])
    if stays:
        assert not lab.cluster.server.get(PODS, "default", "s-0-0")["metadata"].get("finalizers")


async def test_a_result_outlives_the_deletion_of_its_pod_until_it_is_released():
    lab = Lab(exit_code=3)
    await lab.start()
    await lab.finish()
    lab.cluster.server.delete(PODS, "default", "s-0-0")
    await lab.finish()

    seen = (await lab.observe())["s-0"]

    assert (seen.phase, seen.exit_code, seen.infrastructure) == (Phase.EXITED, 3, False)
    await lab.runner.release(lab.study, lab.trial(), 0)
    assert lab.cluster.pods() == []


async def test_finalizers_of_others_are_left_alone():
    lab = Lab()
    await lab.start()
    both = {"metadata": {"finalizers": ["example.org/audit", "seatrial.dev/result-tracking"]}}
    lab.cluster.server.patch(PODS, "default", "s-0-0", both, kind=PatchKind.MERGE)
    await lab.finish()

    await lab.runner.release(lab.study, lab.trial(), 0)

    assert lab.cluster.server.get(PODS, "default", "s-0-0")["metadata"]["finalizers"] == ["example.org/audit"]
    assert await lab.observe() == {}


async def test_finalizers_that_changed_unseen_are_looked_at_again():
    lab = Lab()
    await lab.start()
    await lab.finish()
    both = {"metadata": {"finalizers": ["example.org/audit", "seatrial.dev/result-tracking"]}}
    lab.cluster.server.patch(PODS, "default", "s-0-0", both, kind=PatchKind.MERGE)

    with pytest.raises(TransientError, match="look again"):
        await lab.runner.release(lab.study, lab.trial(), 0)
    await lab.runner.release(lab.study, lab.trial(), 0)

    assert lab.cluster.server.get(PODS, "default", "s-0-0")["metadata"]["finalizers"] == ["example.org/audit"]


async def test_the_attempt_after_one_on_a_lost_node_starts_while_the_zombie_is_still_there():
    lab = Lab()
    await lab.start()
    await lab.observe()
    lab.cluster.kubelet.silent = True
    lab.cluster.kubelet.evict("default", "s-0-0", "DeletionByTaintManager")
    lab.cluster.clock.advance(120)
    seen = (await lab.observe())["s-0"]
    assert (seen.phase, seen.reason) == (Phase.LOST, "DeletionByTaintManager")

    await lab.runner.release(lab.study, lab.trial(), 0)
    await lab.start(number=1)

    assert (await lab.observe())["s-0"].number == 1
    assert lab.cluster.pods() == ["s-0-0", "s-0-1"]


async def test_pods_of_an_earlier_study_of_the_same_name_are_not_seen():
    lab = Lab()
    await lab.start()
    other = lab.study.model_copy(update={"metadata": lab.study.metadata.model_copy(update={"uid": "another"})})
    await lab.memory.settle()

    assert await lab.runner.observe(other) == {}


async def test_nothing_is_told_before_the_pods_are_known():
    lab = Lab()

    with pytest.raises(TransientError, match="not known yet"):
        await lab.runner.observe(lab.study)


# ---- rehearsal -------------------------------------------------------------------------------------------------------


async def test_no_pod_is_made_for_an_attempt_whose_end_the_server_knows_already():
    lab = Lab()
    known = lab.trial()
    await lab.memory.settle()
    ended = {"status": {"attempt": 1}}
    lab.cluster.server.patch(TRIALS, "default", "s-0", ended, kind=PatchKind.MERGE, subresource="status")

    with pytest.raises(TransientError, match="attempt 0 of s-0 is over"):
        await lab.runner.start(lab.study, known, 0)

    assert lab.cluster.pods() == []


@pytest.mark.parametrize(("seconds", "pods"), [(0, ["s-0-0"]), (2, ["s-0-0"]), (4, []), (-1, [])])
async def test_a_record_made_a_moment_ago_is_trusted_and_an_older_one_looked_at_again(seconds: int, pods: list[str]):
    # An operator that was held up for so long may not be the one that leads any more.
    lab = Lab()
    new = lab.trial()
    await lab.memory.settle()
    recorded_at = lab.cluster.clock.now() - timedelta(seconds=seconds)
    ended = {"status": {"attempt": 1}}
    lab.cluster.server.patch(TRIALS, "default", "s-0", ended, kind=PatchKind.MERGE, subresource="status")

    with contextlib.suppress(TransientError):
        await lab.runner.start(lab.study, new, 0, recorded_at=recorded_at)

    assert lab.cluster.pods() == pods


async def test_a_pod_stays_when_the_server_knows_the_trial_that_a_list_does_not_show():
    lab = Lab()
    await lab.start()
    await lab.observe()
    stranger = a_record(0).model_copy(update={"metadata": a_record(0).metadata.model_copy(update={"uid": None})})

    with pytest.raises(TransientError, match="Trial s-0 exists"):
        await lab.runner.stop(lab.study, stranger, 0)
    lab.cluster.server.delete(TRIALS, "default", "s-0")
    await lab.runner.stop(lab.study, stranger, 0)

    assert lab.cluster.server.get(PODS, "default", "s-0-0")["metadata"]["deletionTimestamp"]


async def test_an_end_that_no_event_told_is_found_before_the_attempt_is_given_up():
    lab = Lab(exit_code=1)
    await lab.start()
    lab.cluster.kubelet.advance(1)
    assert (await lab.observe())["s-0"].phase is Phase.RUNNING
    lab.cluster.kubelet.advance(60)

    with pytest.raises(TransientError, match="Pod s-0-0 is not as it was known here"):
        await lab.runner.confirm(lab.study, lab.trial(), 0)

    assert (await lab.runner.observe(lab.study))["s-0"].exit_code == 1
    await lab.runner.confirm(lab.study, lab.trial(), 0)


async def test_a_pod_that_waits_for_something_else_by_now_is_not_given_up_for_what_it_waited_for():
    lab = Lab()
    await lab.start()
    await lab.observe()

    def wait_for(reason: str) -> KubeObject:
        container = {"name": "main", "state": {"waiting": {"reason": reason, "message": "words"}}}
        return {"status": {"phase": "Pending", "containerStatuses": [container]}}

    server = lab.cluster.server
    server.patch(PODS, "default", "s-0-0", wait_for("InvalidImageName"), kind=PatchKind.MERGE, subresource="status")
    assert (await lab.observe())["s-0"].reason == "InvalidImageName"
    await lab.runner.confirm(lab.study, lab.trial(), 0)
    server.patch(PODS, "default", "s-0-0", wait_for("ImagePullBackOff"), kind=PatchKind.MERGE, subresource="status")

    with pytest.raises(TransientError, match="Pod s-0-0 is not as it was known here"):
        await lab.runner.confirm(lab.study, lab.trial(), 0)

    assert (await lab.runner.observe(lab.study))["s-0"].reason == "ImagePullBackOff"
    await lab.runner.confirm(lab.study, lab.trial(), 0)


async def test_a_pod_that_went_unheard_of_is_known_to_be_gone_before_its_attempt_is_given_up():
    lab = Lab()
    await lab.start()
    assert "s-0" in await lab.observe()
    lab.cluster.server.patch(PODS, "default", "s-0-0", {"metadata": {"finalizers": []}}, kind=PatchKind.MERGE)
    lab.cluster.server.delete(PODS, "default", "s-0-0", grace_seconds=0)

    with pytest.raises(TransientError, match="Pod s-0-0 is not as it was known here"):
        await lab.runner.confirm(lab.study, lab.trial(), 0)

    assert await lab.runner.observe(lab.study) == {}


async def test_pods_that_start_later_are_told_which_checkpoints_must_stay():
    lab = Lab()
    mounts = [{"name": "checkpoints", "mountPath": "/c"}]
    container = {"name": "main", "image": "trainer", "volumeMounts": mounts}
    volumes = [{"name": "checkpoints", "emptyDir": {}}]
    trial = {"template": {"spec": {"containers": [container], "volumes": volumes}}}
    lab.study = lab.study.model_copy(update={"spec": a_study(trial=trial).spec})

    for index, ended in enumerate((frozenset[int](), frozenset({0, 1}), frozenset[int]())):
        await lab.runner.retain(lab.study, Needed(ended=ended, keep={}))
        await lab.start(index)

    told = []
    for index in range(3):
        pod = lab.cluster.server.get(PODS, "default", f"s-{index}-0")
        env = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
        told.append(env.get("SEATRIAL_CHECKPOINTS_NEEDED"))
    assert told == [None, '{"ended":[[0,1]],"keep":[]}', None]


async def test_a_rehearsal_starts_nothing():
    lab = Lab()

    refusal = await lab.runner.rehearse(lab.study, build_rehearsal_trial(lab.study, lab.cluster.clock.now()))

    assert refusal is None
    assert lab.cluster.pods() == []


async def test_a_rehearsal_tells_what_the_server_would_refuse():
    lab = Lab()
    lab.refusal = Forbidden(QUOTA, code=403)

    refusal = await lab.runner.rehearse(lab.study, build_rehearsal_trial(lab.study, lab.cluster.clock.now()))

    assert refusal is not None
    assert (refusal.reason, refusal.message) == ("QuotaExceeded", QUOTA)


async def test_the_study_is_looked_at_again_when_a_pod_that_waits_is_no_longer_new():
    lab = Lab()
    lab.cluster.kubelet.silent = True
    await lab.start()
    young, due = await lab.observe(), lab.runner.due_seconds(lab.study)
    assert due == STARTING_SECONDS
    lab.cluster.clock.advance(due)
    grown = await lab.observe()

    assert [seen["s-0"].reason for seen in (young, grown)] == ["", "Pending"]
    assert lab.runner.due_seconds(lab.study) is None


async def test_the_study_is_looked_at_again_when_a_pod_on_a_silent_node_counts_as_lost():
    lab = Lab()
    await lab.start()
    await lab.observe()
    lab.cluster.kubelet.silent = True
    lab.cluster.kubelet.evict("default", "s-0-0", "DeletionByTaintManager")
    going, due = await lab.observe(), lab.runner.due_seconds(lab.study)
    assert due is not None
    assert due >= LOST_AFTER_SECONDS
    lab.cluster.clock.advance(due)
    lost = await lab.observe()

    assert [seen["s-0"].phase for seen in (going, lost)] == [Phase.RUNNING, Phase.LOST]
    assert lab.runner.due_seconds(lab.study) is None


def deletions(lab: Lab) -> list[str]:
    return [line for line in lab.cluster.server.log if line.startswith("delete")]


async def test_pods_that_ended_well_wait_for_each_other_and_are_deleted_by_one_call():
    lab = Lab()
    for index in range(3):
        await lab.start(index)
    await lab.finish()
    for index in range(3):
        await lab.runner.release(lab.study, lab.trial(index), 0)

    await lab.observe()
    early, due = lab.cluster.pods(), lab.runner.due_seconds(lab.study)
    await lab.sweep()

    assert (len(early), due) == (3, SWEEP_SECONDS)
    assert lab.cluster.pods() == []
    assert deletions(lab) == ["deletecollection pods default"]
    assert lab.runner.due_seconds(lab.study) is None


async def test_many_pods_are_not_kept_waiting():
    lab = Lab()
    for index in range(SWEEP_PODS):
        await lab.start(index)
    await lab.finish()
    for index in range(SWEEP_PODS):
        await lab.runner.release(lab.study, lab.trial(index), 0)

    await lab.observe()
    await asyncio.sleep(0.01)

    assert lab.cluster.pods() == []


async def test_a_study_at_rest_waits_for_no_more():
    lab = Lab()
    await lab.start()
    await lab.finish()
    await lab.runner.release(lab.study, lab.trial(), 0)
    done = lab.study.model_copy(update={"status": StudyStatus(completion_time="2030-01-01T00:00:00Z")})

    await lab.memory.settle()
    await lab.runner.observe(done)
    await asyncio.sleep(0.01)

    assert lab.cluster.pods() == []


async def test_a_sweep_that_fails_is_told_and_made_again(caplog: pytest.LogCaptureFixture):
    failing = True

    def fail(moment: Moment, verb: str, resource: Resource, name: str) -> None:
        if failing and verb == "deletecollection":
            raise Forbidden("no right to deletecollection", code=403)

    lab = Lab(faults=fail)
    await lab.start()
    await lab.finish()
    await lab.runner.release(lab.study, lab.trial(), 0)
    await lab.sweep()
    left, failing = lab.cluster.pods(), False
    await lab.sweep()

    assert left == ["s-0-0"]
    assert "Cannot delete Pods that nothing needs" in caplog.text
    assert lab.cluster.pods() == []


async def test_pods_of_another_study_are_not_swept():
    lab = Lab()
    stranger = {"seatrial.dev/study-uid": "another", "seatrial.dev/released": "true"}
    body = {"metadata": {"name": "stranger", "labels": stranger}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    lab.cluster.server.create(PODS, "default", body)
    await lab.start()
    await lab.finish()
    await lab.runner.release(lab.study, lab.trial(), 0)
    before = lab.cluster.pods()

    await lab.sweep()

    assert before == ["stranger", "s-0-0"]
    assert lab.cluster.pods() == ["stranger"]
