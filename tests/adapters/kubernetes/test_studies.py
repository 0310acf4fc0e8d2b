"""Whole studies on a cluster in memory: operators that die at every write, answers that are lost, stale caches, disturbed Pods."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from adapters.kubernetes.world import Cluster, Memory
from decide.builders import a_study
from reconcile.simulation import rough, trained
from seatrial.adapters.kubernetes.fake.client import Moment
from seatrial.adapters.kubernetes.faults import NotFound
from seatrial.adapters.kubernetes.port import PODS, STUDIES, TRIALS, Resource
from seatrial.adapters.local.simulated import Script
from seatrial.api.conditions import StudyReason, find_condition
from seatrial.api.study import Study
from seatrial.api.trial import Trial, reason_of
from seatrial.errors import TransientError
from seatrial.reconcile import Look, Reconciler

WRITES = {"create", "patch", "apply", "delete", "deletecollection"}


class Crash(BaseException):
    """The operator dies here."""


@dataclass
class Fuse:
    """Counts writes and kills the operator at a chosen one: before it, or after it and before its answer."""

    at: int | None = None
    moment: Moment = Moment.BEFORE
    count: int = 0
    call: tuple[str, Resource, str] | None = None
    blown: bool = False

    def __call__(self, moment: Moment, verb: str, resource: Resource, name: str) -> None:
        if verb not in WRITES:
            return
        if moment is Moment.BEFORE:
            self.count += 1
            if self.count == self.at:
                self.call = (verb, resource, name)
        # Other calls may be under way between the beginning of this one and its end.
        if not self.blown and self.call == (verb, resource, name) and moment is self.moment:
            self.blown = True
            raise Crash


@dataclass
class Life:
    """A study on a cluster, and the operators that look after it one after the other.

    Attributes:
        faults: What goes wrong between operator and API server.
        stale: Tells before each pass whether the caches may lag behind.
        meddle: Called before each pass, to disturb.
        restarts: Operators that died.
    """

    study: Study
    script: Callable[[Trial, int], Script] = trained
    faults: Callable[[Moment, str, Resource, str], None] = lambda *_: None
    stale: Callable[[], bool] = lambda: False
    meddle: Callable[[Life], None] = lambda _: None
    capacity: int | None = None
    restarts: int = 0
    most: int = field(default=0)

    def __post_init__(self) -> None:
        self.cluster = Cluster(self.script, capacity=self.capacity)
        self.key = self.cluster.put_study(self.study)

    def run(self, *, passes: int = 4000) -> Life:
        """Go on until the study rests."""
        asyncio.run(self._run(passes))
        return self

    async def _run(self, passes: int) -> None:
        memory, reconciler = self._begin()
        for _ in range(passes):
            try:
                if memory.pods.synced and self.stale():
                    await asyncio.sleep(0)
                else:
                    await memory.settle()
                self.meddle(self)
                look = await reconciler.run()
            except Crash:
                self.restarts += 1
                await memory.close()
                memory, reconciler = self._begin()
                continue
            except TransientError:
                self.cluster.kubelet.advance(1.0)
                continue
            self._check()
            if look is None or (
                look.plan.state.reason.terminal and not look.moved and not self._unsettled(memory, look)
            ):
                await memory.close()
                return
            if not look.moved:
                self.cluster.kubelet.advance(min(look.plan.wake_after_seconds or 5.0, 5.0))
        raise AssertionError(f"the study does not come to rest: {self.outcome()} {self.cluster.pods()}")

    def _begin(self) -> tuple[Memory, Reconciler]:
        memory = Memory(self.cluster, faults=self.faults)
        reconciler = Reconciler(
            self.key, store=memory.store, runner=memory.runner, metrics=self.cluster.kubelet, clock=self.cluster.clock
        )
        return memory, reconciler

    def _unsettled(self, memory: Memory, look: Look) -> bool:
        lags = memory.pods.version != self.cluster.server.version
        return lags or memory.runner.due_seconds(look.study) is not None

    def _check(self) -> None:
        """Hold what must always hold."""
        started = Counter(self.cluster.kubelet.started)
        assert set(started.values()) <= {1}, started
        live = [pod for pod in self.cluster.server.peek(PODS) if pod["status"]["phase"] in {"Pending", "Running"}]
        assert len(live) <= self.study.spec.budget.parallel_trials

    def outcome(self) -> list[tuple[dict, str, list]]:
        """Return (assignment, state, values) by index: what must not depend on crashes."""
        found = []
        for trial in self.cluster.trials(self.key):
            seen = trial.status.observation
            found.append((trial.spec.assignment, reason_of(trial).value, seen.values if seen else []))
        return found

    def state(self) -> StudyReason:
        status = self.cluster.stored(self.key).status
        condition = find_condition(status.conditions, "Succeeded") if status else None
        assert condition is not None
        return StudyReason(condition.reason)


def with_budget(algorithm: str = "random", **budget: object) -> Study:
    return a_study(
        algorithm={"name": algorithm},
        parameters=[{"name": "x", "type": "float", "min": 0, "max": 1, "step": 0.25}],
        budget={"maxTrials": 5, "parallelTrials": 2, "maxFailedTrials": 8, **budget},
        trial={**a_study().spec.trial.to_wire(), "retries": 1},
    )


def test_a_study_runs_to_its_end_and_leaves_no_pod():
    life = Life(with_budget()).run()

    assert life.state() is StudyReason.MAX_TRIALS_REACHED
    assert {state for _, state, _ in life.outcome()} <= {"Completed", "Reused"}
    assert life.cluster.pods() == []


def test_a_trial_costs_five_writes_and_its_share_of_what_is_written_for_many():
    life = Life(a_study(budget={"maxTrials": 10, "parallelTrials": 1})).run()

    by_kind = Counter(line.rsplit(" ", 1)[0] for line in life.cluster.server.log if "kubelet" not in line)
    assert by_kind["create trials"] == by_kind["create pods"] == 10
    # Running, and its end.
    assert by_kind["patch trials/status"] == 20
    # Each study's status speaks of several changes.
    assert by_kind["patch studies/status"] <= 22
    # Beside the patch that takes its finalizer it is deleted together with others.
    assert by_kind["delete pods"] == 0
    assert 1 <= by_kind["deletecollection pods"] <= 10


def test_pods_that_an_operator_marked_before_it_died_are_swept_by_the_next_one():
    fuse = Fuse()
    life = Life(a_study(budget={"maxTrials": 2, "parallelTrials": 2}), faults=fuse)
    swept: list[str] = []

    def watch(life: Life) -> None:
        # The call that sweeps is the only one of its verb: there the operator dies, before it reaches the server.
        if not fuse.blown and any("patch pods" in line for line in life.cluster.server.log):
            fuse.call = ("deletecollection", PODS, "")
        swept.extend(life.cluster.pods() if fuse.blown else [])

    life.meddle = watch
    life.run()

    assert life.restarts == 1
    assert set(swept) == {"s-0-0", "s-1-0"}
    assert life.cluster.pods() == []


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["random", "grid"])
@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.AFTER])
def test_an_operator_that_dies_at_any_write_changes_nothing(algorithm: str, moment: Moment):
    study, script = with_budget(algorithm), partial(rough, seed=1)
    fuse = Fuse()
    undisturbed = Life(study, script=script, faults=fuse).run()
    writes = fuse.count
    assert writes > 25

    for at in range(1, writes + 1):
        life = Life(study, script=script, faults=Fuse(at, moment)).run()

        assert life.restarts == 1
        assert life.outcome() == undisturbed.outcome(), f"at write {at}"
        assert life.state() is undisturbed.state()
        assert life.cluster.pods() == []
        assert life.cluster.kubelet.started == undisturbed.cluster.kubelet.started or moment is Moment.BEFORE


@pytest.mark.parametrize("seed", range(12))
def test_stale_caches_and_a_network_that_fails_only_cost_time(seed: int):
    chance = random.Random(seed)  # noqa: S311 - no secret
    study, script = with_budget(), partial(rough, seed=seed)

    def fail(moment: Moment, verb: str, resource: Resource, name: str) -> None:
        if chance.random() < 0.08:
            raise TransientError(f"{verb} {resource.plural} is lost {moment}", retry_after_seconds=0.1)

    undisturbed = Life(study, script=script).run()

    life = Life(study, script=script, faults=fail, stale=lambda: chance.random() < 0.5).run()

    assert life.outcome() == undisturbed.outcome()
    assert life.cluster.pods() == []


@pytest.mark.parametrize("seed", range(6))
def test_a_history_that_is_compacted_all_the_time_loses_nothing(seed: int):
    chance = random.Random(seed)  # noqa: S311 - no secret
    study, script = with_budget(), partial(rough, seed=seed)

    def compact(life: Life) -> None:
        if chance.random() < 0.3:
            life.cluster.server.compact()

    life = Life(study, script=script, meddle=compact).run()

    assert life.outcome() == Life(study, script=script).run().outcome()


def test_a_pod_that_is_evicted_runs_again_and_does_not_count_as_a_failure():
    evicted: list[str] = []

    def evict(life: Life) -> None:
        running = [p for p in life.cluster.server.all(PODS) if p["status"]["phase"] == "Running"]
        if running and not evicted:
            evicted.append(running[0]["metadata"]["name"])
            life.cluster.kubelet.evict("default", evicted[0])

    life = Life(a_study(budget={"maxTrials": 3}), meddle=evict).run()

    (name,) = evicted
    trial = life.cluster.trials(life.key)[int(name.split("-")[1])]
    assert [state for _, state, _ in life.outcome()] == ["Completed"] * 3
    assert trial.status.attempt == 1
    assert [(a.reason, a.infrastructure) for a in trial.status.attempts] == [("Preempted", True)]


def test_a_pod_that_somebody_deletes_runs_again():
    deleted: list[str] = []

    def delete(life: Life) -> None:
        pods = life.cluster.pods()
        if pods and not deleted:
            deleted.append(pods[0])
            life.cluster.server.delete(PODS, "default", pods[0])

    life = Life(a_study(budget={"maxTrials": 3}), meddle=delete).run()

    assert [state for _, state, _ in life.outcome()] == ["Completed"] * 3
    assert life.cluster.pods() == []


def test_a_trial_that_somebody_deletes_is_made_anew_under_its_name():
    deleted: list[str] = []

    def delete(life: Life) -> None:
        done = [t for t in life.cluster.trials(life.key) if reason_of(t).terminal]
        if done and not deleted:
            deleted.append(done[0].metadata.name)
            life.cluster.server.delete(TRIALS, "default", deleted[0])

    study = a_study(budget={"maxTrials": 4})
    life = Life(study, meddle=delete)
    life._check = lambda: None  # Its name is started twice.
    life.run()

    assert [state for _, state, _ in life.outcome()] == ["Completed"] * 4
    assert [assignment for assignment, _, _ in life.outcome()] == [a for a, _, _ in Life(study).run().outcome()]


def test_a_running_trial_that_somebody_deletes_takes_its_pod_along_and_is_made_anew():
    deleted: list[str] = []

    def delete(life: Life) -> None:
        running = [p for p in life.cluster.server.all(PODS) if p["status"]["phase"] == "Running"]
        if running and not deleted:
            deleted.append(running[0]["metadata"]["labels"]["seatrial.dev/trial"])
            life.cluster.server.delete(TRIALS, "default", deleted[0])

    life = Life(a_study(budget={"maxTrials": 4}), meddle=delete)
    life._check = lambda: None  # Its name is started twice.
    life.run()

    assert [state for _, state, _ in life.outcome()] == ["Completed"] * 4
    assert life.cluster.pods() == []


def test_a_study_that_is_deleted_leaves_nothing_once_its_pods_are_let_go():
    life = Life(a_study(budget={"maxTrials": 50, "parallelTrials": 3}))

    async def main() -> int:
        memory, reconciler = life._begin()
        while not life.cluster.kubelet.started:
            await memory.settle()
            await reconciler.run()
        life.cluster.server.delete(STUDIES, "default", "s")
        await memory.settle()
        assert await reconciler.run() is None
        freed = await memory.runner.abandon(life.key)
        life.cluster.kubelet.advance(60)
        life.cluster.kubelet.advance(60)
        await memory.close()
        return freed

    freed = asyncio.run(main())

    assert freed == 3
    assert life.cluster.pods() == []
    assert life.cluster.trials(life.key) == []
    with pytest.raises(NotFound):
        life.cluster.server.get(STUDIES, "default", "s")


def test_a_study_made_anew_under_an_old_name_begins_anew():
    life = Life(a_study(budget={"maxTrials": 2})).run()
    first = {trial.metadata.uid for trial in life.cluster.trials(life.key)}

    life.cluster.server.delete(STUDIES, "default", "s")
    life.cluster.put_study(a_study(budget={"maxTrials": 3}))
    life._check = lambda: None  # Names are used again.
    life.run()

    trials = life.cluster.trials(life.key)
    assert len(trials) == 3
    assert not first & {trial.metadata.uid for trial in trials}
