"""Pods that run one attempt after another: who gets one, who does not, and what a crash in between leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

import pytest

from adapters.contracts import a_record
from adapters.kubernetes.world import Cluster, Memory, a_study_that_reuses, ensure_trial
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.fake.client import Moment
from seatrial.adapters.kubernetes.faults import Conflict, NotFound
from seatrial.adapters.kubernetes.pods import build_pod_record
from seatrial.adapters.kubernetes.port import PODS, TRIALS, KubeObject, PatchKind, Resource
from seatrial.adapters.kubernetes.slots import HOLD_SECONDS
from seatrial.adapters.kubernetes.sweeping import SWEEP_SECONDS
from seatrial.adapters.local.simulated import Script
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.causes import Cause, find_cause
from seatrial.errors import TransientError

SECONDS = 30.0


class Lab:
    """A cluster with a study whose Pods are handed on, and an operator that can die."""

    def __init__(self, study: Study | None = None, **script: object) -> None:
        told = Script(**{"duration_seconds": SECONDS, "sdk": False, **script})  # type: ignore[arg-type] - by name
        self.cluster = Cluster(lambda trial, number: told)
        self.key = self.cluster.put_study(study or a_study_that_reuses())
        self.study = self.cluster.stored(self.key)
        self.cut = ""
        self.memory = Memory(self.cluster, faults=self._fail)

    def _fail(self, moment: Moment, verb: str, resource: Resource, name: str) -> None:
        if resource is PODS and f"{moment.value} {verb}" == self.cut:
            self.cut = ""
            raise TransientError("the connection was cut")

    @property
    def runner(self):
        return self.memory.runner

    def trial(self, index: int = 0) -> Trial:
        return ensure_trial(self.cluster, self.key, a_record(index))

    async def start(self, index: int = 0, number: int = 0) -> None:
        await self.memory.settle()
        await self.runner.start(self.study, self.trial(index), number)

    async def observe(self) -> Mapping[str, Attempt]:
        await self.memory.settle()
        return await self.runner.observe(self.study)

    async def end(self) -> Mapping[str, Attempt]:
        """Let all that runs end."""
        await self.memory.settle()
        self.cluster.kubelet.advance(SECONDS)
        return await self.observe()

    def settle_trial(self, index: int = 0, **status: object) -> None:
        """Store that a trial is over, as the reconciler does before anything else."""
        status = status or {"completionTime": "2026-01-01T00:00:00Z"}
        self.cluster.server.patch(
            TRIALS,
            *self.key._replace(name=f"s-{index}"),
            {"status": status},
            kind=PatchKind.MERGE,
            subresource="status",
        )

    async def conclude(self, index: int = 0, number: int = 0) -> None:
        """Store an attempt's result and let go of it."""
        self.settle_trial(index)
        await self.memory.settle()
        await self.runner.release(self.study, self.trial(index), number)

    async def leave_a_pod(self) -> None:
        """Let the first trial end well, so that its Pod is free."""
        await self.start(0)
        await self.end()
        await self.conclude(0)

    def delay_next_patch(self) -> Callable[[], Awaitable[object]]:
        """Cut the next patch of a Pod from whoever sends it; return what carries it out all the same."""
        client = self.memory.client
        real, held = client.patch, []

        async def patch(resource: Resource, *arguments: object, **options: object) -> KubeObject:
            if resource is PODS and not held:
                held.append((resource, arguments, options))
                raise TransientError("the connection was cut")
            return await real(resource, *arguments, **options)  # type: ignore[arg-type] - as they came

        async def carry_out() -> object:
            found, arguments, options = held[0]
            return await real(found, *arguments, **options)

        client.patch = patch  # type: ignore[method-assign]
        return carry_out

    async def reborn(self) -> None:
        """Let the operator die and another one begin."""
        await self.memory.close()
        self.memory = Memory(self.cluster, faults=self._fail)
        await self.memory.settle()

    def pod(self, name: str = "s-0-0") -> KubeObject:
        return self.cluster.server.get(PODS, self.key.namespace, name)

    def directive(self, name: str = "s-0-0") -> KubeObject:
        found: KubeObject = json.loads(self.pod(name)["metadata"]["annotations"][names.ANNOTATION_DIRECTIVE])
        return found


def edited(study: Study) -> Study:
    """Return a study after an edit of its template."""
    spec = study.spec.to_wire()
    spec["trial"]["template"]["spec"]["containers"][0]["image"] = "another"
    return study.model_copy(update={"spec": a_study_that_reuses(**spec).spec})


@pytest.fixture
def lab() -> Lab:
    return Lab()


async def test_the_pod_of_a_trial_that_is_over_takes_the_next_one(lab: Lab):
    await lab.start(0)
    ended = await lab.end()
    await lab.conclude(0)

    await lab.start(1)

    assert (ended["s-0"].phase, ended["s-0"].exit_code) == (Phase.EXITED, 0)
    assert lab.cluster.pods() == ["s-0-0"]
    seen = await lab.observe()
    assert {name: attempt.phase for name, attempt in seen.items()} == {"s-1": Phase.RUNNING}
    assert lab.cluster.kubelet.started == [("s-0", 0), ("s-1", 0)]
    variables = dict(lab.directive()["environment"])
    assert (variables["SEATRIAL_TRIAL"], variables["SEATRIAL_TRIAL_INDEX"]) == ("s-1", "1")
    owner = lab.pod()["metadata"]["ownerReferences"][0]
    assert (owner["name"], owner["uid"]) == ("s-1", lab.trial(1).metadata.uid)
    assert (await lab.end())["s-1"].exit_code == 0


async def test_a_pod_is_given_away_before_its_attempt_is_let_go_of_once_the_record_is_stored(lab: Lab):
    await lab.start(0)
    await lab.end()
    lab.settle_trial(0)

    await lab.start(1)
    await lab.runner.release(lab.study, lab.trial(0), 0)

    assert lab.cluster.pods() == ["s-0-0"]
    assert list(await lab.observe()) == ["s-1"]


async def test_a_pod_whose_result_is_not_stored_is_not_given_away(lab: Lab):
    await lab.start(0)
    await lab.end()

    await lab.start(1)

    assert lab.cluster.pods() == ["s-0-0", "s-1-0"]
    assert set(await lab.observe()) == {"s-0", "s-1"}


async def test_an_attempt_begins_when_it_is_given_its_pod(lab: Lab):
    await lab.leave_a_pod()
    lab.cluster.clock.advance(4)
    now = lab.cluster.clock.now()

    await lab.start(1)

    assert (await lab.observe())["s-1"].started_at == now


async def test_the_next_attempt_of_a_trial_gets_its_own_pod_back(lab: Lab):
    await lab.start(0)
    await lab.start(1)
    await lab.end()
    await lab.conclude(1)
    lab.settle_trial(0, attempt=1)

    await lab.start(0, 1)

    assert lab.pod("s-0-0")["metadata"]["labels"][names.LABEL_ATTEMPT] == "1"
    assert lab.pod("s-1-0")["metadata"]["labels"][names.LABEL_TRIAL] == "s-1"


async def test_a_pod_that_nobody_needs_goes_after_a_while(lab: Lab):
    await lab.leave_a_pod()

    assert 0 < (lab.runner.due_seconds(lab.study) or 0) <= HOLD_SECONDS
    lab.cluster.clock.advance(HOLD_SECONDS - 1)
    await lab.observe()
    assert lab.cluster.pods() == ["s-0-0"]
    lab.cluster.clock.advance(1)
    assert await lab.observe() == {}
    await lab.memory.settle()
    assert lab.cluster.pods() == []
    await lab.observe()
    assert lab.runner.due_seconds(lab.study) is None


async def test_a_pod_that_cannot_be_deleted_now_is_deleted_later(lab: Lab):
    await lab.leave_a_pod()
    lab.cluster.clock.advance(HOLD_SECONDS)
    delete = lab.memory.client.delete

    async def refuse(*_: object, **__: object) -> None:
        lab.memory.client.delete = delete  # type: ignore[method-assign]
        raise Conflict("somebody else was faster", code=409)

    lab.memory.client.delete = refuse  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="s-0-0"):
        await lab.observe()

    await lab.observe()
    lab.cluster.clock.advance(SWEEP_SECONDS)
    await lab.observe()
    await lab.memory.settle()
    assert lab.cluster.pods() == []


async def test_a_study_that_is_suspended_keeps_no_pod(lab: Lab):
    await lab.leave_a_pod()
    spec = lab.study.spec.model_copy(update={"suspend": True})
    lab.study = lab.study.model_copy(update={"spec": spec})

    await lab.observe()

    await lab.memory.settle()
    assert lab.cluster.pods() == []


async def test_a_pod_that_ends_by_itself_while_nobody_needs_it_is_let_go_of(lab: Lab):
    await lab.leave_a_pod()
    lab.cluster.clock.advance(HOLD_SECONDS - 1)
    lab.cluster.server.delete(PODS, lab.key.namespace, "s-0-0")

    assert await lab.observe() == {}

    await lab.memory.settle()
    assert lab.cluster.pods() == []


async def test_a_failed_attempt_ends_its_pod():
    lab = Lab(exit_code=3)
    await lab.start(0)

    seen = (await lab.end())["s-0"]
    await lab.conclude(0)
    await lab.start(1)

    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, 3, "Error")
    assert lab.pod("s-1-0")["metadata"]["labels"][names.LABEL_TRIAL] == "s-1"


async def test_a_trial_that_is_stopped_leaves_its_pod_to_the_next_one(lab: Lab):
    await lab.start(0)
    await lab.observe()
    await lab.runner.stop(lab.study, lab.trial(0), 0)
    await lab.runner.stop(lab.study, lab.trial(0), 0)
    lab.cluster.clock.advance(1)

    seen = (await lab.observe())["s-0"]
    await lab.conclude(0)
    await lab.start(1)

    assert (seen.phase, seen.exit_code, seen.reason, seen.infrastructure) == (Phase.EXITED, 143, "SIGTERM", False)
    assert lab.cluster.pods() == ["s-0-0"]
    assert (await lab.observe())["s-1"].phase is Phase.RUNNING


async def test_a_container_that_does_not_stop_its_attempt_is_deleted(lab: Lab):
    await lab.start(0)
    await lab.observe()
    lab.cluster.kubelet.silent = True
    await lab.runner.stop(lab.study, lab.trial(0), 0)
    lab.cluster.clock.advance(30 + 15)

    await lab.runner.stop(lab.study, lab.trial(0), 0)

    assert lab.pod()["metadata"]["deletionTimestamp"]


async def test_a_pod_of_another_template_is_let_go_of_instead(lab: Lab):
    await lab.leave_a_pod()
    lab.study = edited(lab.study)

    await lab.start(1)
    await lab.observe()

    await lab.memory.settle()
    assert lab.cluster.pods() == ["s-1-0"]


async def test_an_attempt_that_avoids_nodes_gets_a_pod_of_its_own(lab: Lab):
    await lab.leave_a_pod()
    trial = lab.trial(1)
    status = trial.status.model_copy(update={"excluded_nodes": ["node-0"]})

    await lab.memory.settle()
    await lab.runner.start(lab.study, trial.model_copy(update={"status": status}), 0)

    assert "s-1-0" in lab.cluster.pods()


async def test_the_attempt_that_has_waited_longest_for_room_gets_the_pod_that_is_free():
    lab = Lab()
    lab.cluster.kubelet.capacity = 1
    for index in range(3):
        await lab.start(index)
        lab.cluster.clock.advance(1)
    await lab.end()
    await lab.conclude(0)

    seen = await lab.observe()
    await lab.start(3)
    await lab.start(1)

    # Its Pod, which had no room, is gone; whoever is new queues behind the others.
    assert "s-1" not in seen
    labels = {name: lab.pod(name)["metadata"]["labels"][names.LABEL_TRIAL] for name in lab.cluster.pods()}
    assert labels == {"s-0-0": "s-1", "s-2-0": "s-2", "s-3-0": "s-3"}
    assert (await lab.observe())["s-1"].phase is Phase.RUNNING


async def test_no_pod_stands_idle_while_an_attempt_of_another_template_waits_for_room():
    lab = Lab()
    lab.cluster.kubelet.capacity = 1
    await lab.start(0)
    lab.study = edited(lab.study)
    await lab.start(1)
    await lab.end()
    await lab.conclude(0)

    await lab.observe()

    assert (await lab.observe())["s-1"].phase is Phase.RUNNING
    assert lab.cluster.pods() == ["s-1-0"]


async def test_a_trial_that_is_made_anew_does_not_wait_for_the_pod_of_its_name(lab: Lab):
    await lab.leave_a_pod()
    await lab.start(1)
    lab.cluster.server.delete(TRIALS, lab.key.namespace, "s-0")

    await lab.start(0)

    assert (await lab.observe())["s-0"].phase is Phase.RUNNING
    assert lab.pod("s-0-0")["metadata"]["labels"][names.LABEL_TRIAL] == "s-1"
    assert (await lab.end())["s-0"].exit_code == 0


async def test_a_request_that_comes_true_after_all_finds_that_the_pod_is_not_to_be_had(lab: Lab):
    await lab.leave_a_pod()
    late = lab.delay_next_patch()
    with pytest.raises(TransientError):
        await lab.start(1)
    lab.study = edited(lab.study)
    await lab.start(1)

    with pytest.raises(Conflict):
        await late()

    await lab.observe()
    lab.cluster.clock.advance(SWEEP_SECONDS)
    await lab.observe()
    await lab.memory.settle()
    assert lab.cluster.kubelet.started == [("s-0", 0), ("s-1", 0)]
    assert lab.cluster.pods() == ["s-1-0"]


async def test_of_two_pods_that_an_attempt_has_after_all_one_goes(lab: Lab):
    await lab.leave_a_pod()
    late = lab.delay_next_patch()
    with pytest.raises(TransientError):
        await lab.start(1)
    # Another operator knows nothing of the request, and does not find the Pod to be free.
    await lab.reborn()
    lab.study = edited(lab.study)
    await lab.start(1)
    await late()

    await lab.observe()

    assert lab.pod("s-0-0")["metadata"]["deletionTimestamp"]
    assert "deletionTimestamp" not in lab.pod("s-1-0")["metadata"]


async def test_a_late_request_to_stop_does_not_reach_the_next_attempt(lab: Lab):
    await lab.start(0)
    await lab.observe()
    late = lab.delay_next_patch()
    with pytest.raises(TransientError):
        await lab.runner.stop(lab.study, lab.trial(0), 0)
    await lab.end()
    await lab.conclude(0)
    await lab.start(1)

    with pytest.raises(Conflict):
        await late()

    assert lab.directive()["id"] == f"{lab.trial(1).metadata.uid}/0"


async def test_a_container_that_never_said_what_it_runs_is_deleted_to_be_stopped(lab: Lab):
    lab.cluster.kubelet.mute = True
    await lab.start(0)
    await lab.observe()

    await lab.runner.stop(lab.study, lab.trial(0), 0)

    assert lab.pod()["metadata"]["deletionTimestamp"]


async def test_a_node_that_does_not_answer_holds_nobody_up(lab: Lab):
    await lab.start(0)
    await lab.start(1)
    await lab.end()
    await lab.reborn()
    answers = asyncio.Event()
    read = lab.memory.client.read_log

    async def hang(namespace: str, pod: str, container: str, **options: int) -> str:
        if pod == "s-0-0":
            await answers.wait()
        return await read(namespace, pod, container, **options)

    lab.memory.client.read_log = hang  # type: ignore[method-assign]

    seen = await lab.observe()
    answers.set()
    await asyncio.sleep(0)

    assert (seen["s-0"].phase, seen["s-1"].phase) == (Phase.RUNNING, Phase.EXITED)
    assert (await lab.observe())["s-0"].phase is Phase.EXITED


async def test_an_end_that_came_before_its_pod_was_deleted_is_the_attempts_own(lab: Lab):
    await lab.start(0)
    await lab.memory.settle()
    lab.cluster.kubelet.advance(SECONDS)
    ended_at = lab.cluster.clock.now()
    lab.cluster.clock.advance(5)
    lab.cluster.server.delete(PODS, lab.key.namespace, "s-0-0")
    lab.cluster.clock.advance(1)

    seen = (await lab.observe())["s-0"]

    assert (seen.exit_code, seen.infrastructure, seen.finished_at) == (0, False, ended_at)


@pytest.mark.parametrize(
    ("reason", "code", "why", "cause"),
    [
        ("Error", 143, "timeout", Cause.TIMEOUT),
        ("OOMKilled", 137, "-", Cause.OUT_OF_MEMORY),
        ("Error", 3, "-", Cause.EXIT),
    ],
)
async def test_the_cause_of_an_end_is_told_whatever_ends_the_container(
    lab: Lab, reason: str, code: int, why: str, cause: Cause
):
    await lab.start(0)
    await lab.observe()
    words = f"seatrial-slot {lab.trial(0).metadata.uid}/0 {code} 1764000000.5 {why}\nlast words"
    ended = {"exitCode": code, "reason": reason, "message": words, "finishedAt": "2030-01-01T00:00:30Z"}
    pod = lab.pod() | {
        "status": {"phase": "Failed", "containerStatuses": [{"name": "main", "state": {"terminated": ended}}]}
    }

    assert find_cause(build_pod_record(pod).attempt) is cause


async def test_another_operator_finds_how_an_attempt_ended_and_hands_its_pod_on(lab: Lab):
    await lab.start(0)
    await lab.end()

    await lab.reborn()

    seen = (await lab.observe())["s-0"]
    assert (seen.phase, seen.exit_code) == (Phase.EXITED, 0)
    await lab.conclude(0)
    await lab.start(1)
    assert lab.cluster.pods() == ["s-0-0"]


@pytest.mark.parametrize("cut", ["before patch", "after patch"])
async def test_a_hand_over_that_was_cut_is_found_as_it_is_and_nothing_runs_twice(lab: Lab, cut: str):
    await lab.leave_a_pod()
    lab.trial(1)
    await lab.memory.settle()
    lab.cut = cut
    with pytest.raises(TransientError):
        await lab.start(1)

    await lab.reborn()
    if "s-0" in await lab.observe():
        await lab.conclude(0)
    await lab.start(1)

    assert lab.cluster.pods() == ["s-0-0"]
    await lab.end()
    assert lab.cluster.kubelet.started == [("s-0", 0), ("s-1", 0)]


async def test_of_a_study_that_is_gone_no_hand_over_is_remembered(lab: Lab):
    await lab.leave_a_pod()
    lab.trial(1)
    await lab.memory.settle()
    lab.cut = "after patch"
    with pytest.raises(TransientError):
        await lab.start(1)
    assert lab.runner._hand_over._unsettled

    lab.runner.forget_study(lab.key)

    assert not lab.runner._hand_over._unsettled


async def test_the_server_is_asked_whether_an_attempt_has_a_pod_that_is_not_known_yet(lab: Lab):
    await lab.leave_a_pod()
    other = Memory(lab.cluster)
    await other.settle()
    for task in other._tasks:
        task.cancel()
    await lab.start(1)

    await other.runner.start(lab.study, lab.trial(1), 0)

    assert lab.cluster.pods() == ["s-0-0"]


async def test_of_two_attempts_that_want_one_pod_only_one_gets_it(lab: Lab):
    await lab.leave_a_pod()
    other = Memory(lab.cluster)
    await other.settle()
    await other.runner.observe(lab.study)
    await other.runner.release(lab.study, lab.trial(0), 0)
    for task in other._tasks:
        task.cancel()
    await lab.start(1)

    await other.runner.start(lab.study, lab.trial(2), 0)

    labels = {name: lab.pod(name)["metadata"]["labels"][names.LABEL_TRIAL] for name in lab.cluster.pods()}
    assert labels == {"s-0-0": "s-1", "s-2-0": "s-2"}


async def test_attempts_that_start_side_by_side_do_not_take_each_others_pods(lab: Lab):
    for index in range(3):
        await lab.start(index)
    await lab.end()
    for index in range(2):
        await lab.conclude(index)
    trials = [lab.trial(index) for index in range(3, 7)]
    await lab.memory.settle()

    await asyncio.gather(*(lab.runner.start(lab.study, trial, 0) for trial in trials))

    await lab.observe()
    labels = [lab.pod(name)["metadata"]["labels"][names.LABEL_TRIAL] for name in lab.cluster.pods()]
    assert sorted(labels) == ["s-2", "s-3", "s-4", "s-5", "s-6"]


async def test_a_node_that_missed_what_its_container_was_told_is_nudged(lab: Lab):
    await lab.leave_a_pod()
    lab.cluster.kubelet.deaf = True
    await lab.start(1)
    await lab.observe()
    assert lab.cluster.kubelet.started == [("s-0", 0)]

    lab.cluster.clock.advance(2)
    await lab.observe()
    await lab.memory.settle()

    assert lab.cluster.kubelet.started == [("s-0", 0), ("s-1", 0)]
    writes = len(lab.cluster.server.log)
    for _ in range(5):
        lab.cluster.clock.advance(2)
        await lab.observe()
    assert not [line for line in lab.cluster.server.log[writes:] if line.startswith("patch pods")]


async def test_a_node_that_hears_nothing_is_nudged_ever_less_often(lab: Lab):
    await lab.leave_a_pod()
    lab.cluster.kubelet.silent = True
    await lab.start(1)
    writes = len(lab.cluster.server.log)
    for _ in range(100):
        lab.cluster.clock.advance(1)
        await lab.observe()

    # After 1, 2, 4, 8, 16, 32 and then 60 seconds.
    assert len([line for line in lab.cluster.server.log[writes:] if line.startswith("patch pods")]) == 6


async def test_an_attempt_that_runs_long_is_looked_at_less_often(lab: Lab):
    lab = Lab(duration_seconds=10_000.0)
    reads: list[str] = []
    logs = lab.cluster.kubelet.read_log
    lab.memory.client._logs = lambda namespace, name: reads.append(name) or logs(namespace, name)
    await lab.start(0)
    seen = []
    for seconds in (10, 100, 1000):
        lab.cluster.clock.advance(seconds)
        await lab.observe()
        seen.append(lab.runner.due_seconds(lab.study))

    assert seen == [pytest.approx(0.5), pytest.approx(2.0), pytest.approx(10.0)]
    before = len(reads)
    lab.cluster.clock.advance(9)
    await lab.observe()
    assert len(reads) == before


async def test_an_attempt_whose_pod_ended_before_it_began_is_lost(lab: Lab):
    await lab.leave_a_pod()
    lab.cluster.kubelet.silent = True
    await lab.start(1)
    ended = {"exitCode": 0, "message": f"seatrial-slot {lab.trial(0).metadata.uid}/0 0\n", "reason": "Completed"}
    statuses = [{"name": "main", "state": {"terminated": ended}}]
    body = {"status": {"phase": "Succeeded", "containerStatuses": statuses}}
    lab.cluster.server.patch(PODS, *lab.key._replace(name="s-0-0"), body, kind=PatchKind.MERGE, subresource="status")

    seen = (await lab.observe())["s-1"]

    assert (seen.phase, seen.reason, seen.infrastructure) == (Phase.LOST, "NotTaken", True)


async def test_a_result_is_read_from_the_last_message_of_a_pod_that_was_deleted_before_it_was_looked_at(lab: Lab):
    await lab.start(0)
    await lab.memory.settle()
    lab.cluster.kubelet.advance(SECONDS)
    lab.cluster.server.delete(PODS, lab.key.namespace, "s-0-0")

    seen = (await lab.observe())["s-0"]

    assert (seen.phase, seen.exit_code) == (Phase.EXITED, 0)


async def test_the_pods_of_a_study_that_is_gone_are_let_go_of(lab: Lab):
    await lab.leave_a_pod()

    assert await lab.runner.abandon(lab.key) == 1

    await lab.memory.settle()
    with pytest.raises(NotFound):
        lab.pod()


async def test_a_log_that_cannot_be_read_is_read_again_and_not_all_the_time(lab: Lab):
    reads: list[str] = []
    logs = lab.cluster.kubelet.read_log

    def fail(namespace: str, name: str) -> str:
        reads.append(name)
        if len(reads) < 3:
            raise NotFound("no such file", code=404)
        return logs(namespace, name)

    lab.memory.client._logs = fail
    await lab.start(0)
    await lab.end()
    for _ in range(10):
        assert (await lab.observe())["s-0"].phase is Phase.RUNNING
    assert len(reads) == 1
    assert lab.runner.due_seconds(lab.study) == pytest.approx(0.5)
    lab.cluster.clock.advance(1)
    await lab.observe()
    lab.cluster.clock.advance(1)

    assert (await lab.observe())["s-0"].phase is Phase.EXITED
    assert len(reads) == 3
