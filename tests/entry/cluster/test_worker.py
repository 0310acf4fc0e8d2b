"""Passes over studies of a cluster in memory: what lives goes on, what is gone is let go, what is wrong is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from adapters.kubernetes.world import Cluster, Memory
from decide.builders import a_study
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.faults import Forbidden
from seatrial.adapters.kubernetes.port import PODS, STUDIES, TRIALS, PatchKind, Resource
from seatrial.adapters.local.simulated import Script
from seatrial.adapters.metrics.fetching import Unreachable
from seatrial.api.conditions import Condition, find_condition
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial, reason_of
from seatrial.decide.actions import Action
from seatrial.decide.snapshot import StudySnapshot
from seatrial.entry.cluster.asking import AskFailed, AskTimes, StillThinking, _build_question
from seatrial.entry.cluster.metrics import MetricSources
from seatrial.entry.cluster.thinking import Answer, Thinker
from seatrial.entry.cluster.worker import Again, Observer, StudyWorker, World
from seatrial.errors import TransientError
from seatrial.ports import StudyKey

KEY = StudyKey("default", "s")


class Desk:
    """Answers in this process; *failure* and *slow* change that."""

    def __init__(self) -> None:
        self.times = AskTimes(patience_seconds=0)
        self.failure: AskFailed | None = None
        self.ready = asyncio.Event()
        self.ready.set()

    async def ask(self, study: str, snapshot: StudySnapshot, count: int | None) -> Answer:
        await self.ready.wait()
        if self.failure is not None:
            raise self.failure
        return Thinker().answer(_build_question(None, study, snapshot, count))


class Silent:
    """A network in which nobody answers."""

    async def get(self, url: str, **limits: object) -> object:
        raise Unreachable("no answer")

    async def post(self, url: str, form: object, **limits: object) -> object:
        raise Unreachable("no answer")


class Witness(Observer):
    def __init__(self) -> None:
        self.actions: list[str] = []
        self.gone: list[StudyKey] = []
        self.invalid: list[str] = []

    def on_action(self, key: StudyKey, action: Action) -> None:
        self.actions.append(type(action).__name__)

    def on_invalid(self, key: StudyKey, before: Sequence[Condition], after: Sequence[Condition]) -> None:
        self.invalid += [condition.reason for condition in after]

    def on_gone(self, key: StudyKey) -> None:
        self.gone.append(key)


def half(trial: Trial, number: int) -> Script:
    return Script(duration_seconds=10, curve=((1.0, 1, {"loss": 0.5}),))


class Life:
    """One operator's memory over one cluster."""

    def __init__(self, script: Callable[[Trial, int], Script] = half) -> None:
        self.cluster = Cluster(script)
        self.woken: list[StudyKey] = []
        self.witness = Witness()
        self.desk = Desk()
        self.begin()

    def begin(self) -> None:
        """Start anew: nothing in memory is needed."""
        self.memory = Memory(self.cluster)
        clock = self.cluster.clock
        sources = MetricSources(
            self.memory.client, self.memory.pods, fetcher=Silent(), clock=clock, prometheus_url=None
        )
        self.world = World(
            client=self.memory.client,
            studies=self.memory.studies,
            pods=self.memory.pods,
            store=self.memory.store,
            stored=self.memory.store,
            runner=self.memory.runner,
            metrics=sources,
            desk=self.desk,
            clock=clock,
        )
        self.worker = StudyWorker(self.world, wake=self.woken.append, observer=self.witness)

    def put(self, **spec: object) -> Study:
        study = a_study(metrics={"source": "termination-message"}, **spec)
        self.cluster.put_study(study)
        return study

    async def work(self) -> Again:
        """Make one pass on fresh caches; an answer that is on its way is waited for."""
        await self.memory.settle()
        while True:
            try:
                return await self.worker.work(KEY)
            except StillThinking:
                if not self.desk.ready.is_set():
                    raise
                await asyncio.sleep(0)

    async def until_quiet(self) -> Again:
        """Work until nothing more happens by itself."""
        for _ in range(100):
            again = await self.work()
            if again.seconds != 0:
                return again
        raise AssertionError("it does not come to rest")

    async def finish(self) -> None:
        """Work until the study needs no more looks."""
        for _ in range(200):
            again = await self.until_quiet()
            if again.seconds is None:
                return
            self.cluster.kubelet.advance(again.seconds)
        raise AssertionError("it does not end")

    def status(self) -> StudyStatus:
        return StudyStatus.model_validate(self.raw()["status"])

    def condition(self, kind: str = "Succeeded") -> Condition:
        found = find_condition(self.status().conditions, kind)
        assert found is not None, kind
        return found

    def raw(self) -> dict:
        return self.cluster.server.get(STUDIES, *KEY)


def live(body: Callable[[Life], Awaitable[None]], **given: object) -> None:
    async def main() -> None:
        life = Life(**given)
        try:
            await body(life)
        finally:
            await life.worker.close()
            await life.memory.close()

    asyncio.run(main())


def test_a_study_is_brought_to_its_end_and_then_left_alone():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 3, "parallelTrials": 2})

        await life.finish()

        assert life.condition().reason == "MaxTrialsReached"
        assert life.condition("TemplateAccepted").status == "True"
        assert life.condition("MetricsAvailable").reason == "FinalValuesOnly"
        assert life.cluster.pods() == []
        assert life.worker._benches == {}
        assert await life.work() == Again(None)
        assert "CreateTrials" in life.witness.actions

    live(body)


def test_a_study_that_runs_is_looked_at_within_seconds_and_a_finished_one_never():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 1})
        assert (await life.until_quiet()).seconds == 15
        life.cluster.kubelet.advance(1)
        assert (await life.until_quiet()).seconds == 15
        life.cluster.kubelet.advance(60)
        # Its Pod is deleted by a call that nobody waits for.
        assert (await life.until_quiet()).seconds == 1
        assert (await life.until_quiet()).seconds is None
        assert life.cluster.pods() == []

    live(body)


@pytest.mark.parametrize(("source", "seconds"), [("prometheus", 5), ("scrape", 2), ("logs", 15)])
def test_curves_are_looked_at_often_only_where_a_rule_wants_them(source: str, seconds: float):
    async def body(life: Life) -> None:
        study = a_study(
            metrics={"source": source, **({"prometheus": {"url": "http://p"}} if source == "prometheus" else {})},
            stopping={"rule": "median"},
            steps={"unit": "epoch", "max": 9},
            budget={"maxTrials": 1},
        )
        life.cluster.put_study(study)
        await life.until_quiet()
        life.cluster.kubelet.advance(1)

        assert (await life.until_quiet()).seconds == seconds

    live(body)


def test_a_study_that_is_deleted_lets_go_of_its_pods():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 2, "parallelTrials": 2})
        await life.until_quiet()
        assert len(life.cluster.pods()) == 2

        life.cluster.server.delete(STUDIES, *KEY)
        await life.memory.settle()
        assert await life.work() == Again(None)

        pods = life.cluster.server.all(PODS)
        assert all(names.FINALIZER not in (pod["metadata"].get("finalizers") or []) for pod in pods)
        assert life.witness.gone == [KEY]
        assert life.worker._benches == {}

    live(body)


def test_nothing_is_kept_in_memory_of_studies_that_are_gone():
    def refuse_the_second(resource: Resource, body: dict) -> None:
        if resource is PODS and body["metadata"]["name"] == "s-1-0":
            raise Forbidden("no more Pods", code=403, reason="Forbidden")

    async def body(life: Life) -> None:
        life.cluster.server.admission.append(refuse_the_second)
        life.put(budget={"maxTrials": 2, "parallelTrials": 2})
        await life.until_quiet()
        assert life.memory.runner._refused
        life.cluster.server.delete(STUDIES, *KEY)
        await life.finish()
        await life.memory.settle()

        await life.worker.work(KEY)

        memory = life.memory
        assert memory.store._sorted == {}
        assert (memory.runner._refused, memory.runner._needed) == ({}, {})
        caches = (memory.studies, memory.trials, memory.pods)
        assert [(cache._entries, cache._studies, cache._shown) for cache in caches] == [({}, {}, {})] * 3

    live(body)


def test_a_study_that_only_this_cache_does_not_know_yet_keeps_its_pods():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 1})
        await life.until_quiet()
        uid = life.raw()["metadata"]["uid"]
        life.memory.studies.note_gone(*KEY, uid)

        await life.worker.work(KEY)

        (pod,) = life.cluster.server.all(PODS)
        assert names.FINALIZER in pod["metadata"]["finalizers"]

    live(body)


async def unheard(life: Life, change: Callable[[], None]) -> None:
    """Change something of which the cache of Studies hears nothing; the others do."""
    studies, *_ = life.memory._tasks
    studies.cancel()
    change()
    for _ in range(100):
        await asyncio.sleep(0)


def test_nothing_is_started_for_a_study_that_went_with_its_trials_and_that_only_the_cache_still_knows():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 2, "parallelTrials": 2})
        await life.until_quiet()
        await unheard(life, lambda: life.cluster.server.delete(STUDIES, *KEY))
        assert not life.memory.trials.of(KEY)
        assert life.memory.studies.get(*KEY) is not None
        life.witness.actions.clear()

        assert await life.worker.work(KEY) == Again(0.0)
        assert await life.worker.work(KEY) == Again(None)

        assert life.witness.actions == []
        assert life.cluster.server.all(TRIALS) == []
        assert life.witness.gone == [KEY]

    live(body)


def test_nothing_is_started_for_a_study_that_somebody_keeps_from_going():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 1})
        held = {"metadata": {"finalizers": ["example.com/mine"]}}
        life.cluster.server.patch(STUDIES, *KEY, held, kind=PatchKind.MERGE)
        await life.until_quiet()

        def delete() -> None:
            life.cluster.server.delete(STUDIES, *KEY)
            life.cluster.server.delete(TRIALS, KEY.namespace, "s-0")

        await unheard(life, delete)

        assert await life.worker.work(KEY) == Again(0.0)
        assert await life.worker.work(KEY) == Again(None)
        assert life.cluster.server.all(TRIALS) == []

    live(body)


def test_nothing_is_started_for_a_study_whose_name_another_one_has_by_now():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 2, "parallelTrials": 2})
        await life.until_quiet()

        def replace() -> None:
            life.cluster.server.delete(STUDIES, *KEY)
            life.put(budget={"maxTrials": 1})

        await unheard(life, replace)

        assert await life.worker.work(KEY) == Again(0.0)
        assert life.cluster.server.all(TRIALS) == []
        assert life.memory.studies.get(*KEY).uid == life.raw()["metadata"]["uid"]

    live(body)


def test_a_study_of_which_a_trial_is_gone_is_not_gone_on_with_under_a_specification_that_nobody_has_checked():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 2, "parallelTrials": 2})
        await life.until_quiet()

        def edit() -> None:
            wrong = {"spec": {"initialTrials": [{"nope": 1}]}}
            life.cluster.server.patch(STUDIES, *KEY, wrong, kind=PatchKind.MERGE)
            life.cluster.server.delete(TRIALS, KEY.namespace, "s-1")

        await unheard(life, edit)
        life.witness.actions.clear()

        assert await life.worker.work(KEY) == Again(0.0)
        assert life.witness.actions == []
        assert life.status().observed_generation == 1

    live(body)


def test_while_nobody_says_whether_a_study_went_with_its_trials_nothing_is_started():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 1})
        await life.until_quiet()
        await unheard(life, lambda: life.cluster.server.delete(STUDIES, *KEY))

        async def refuse(*_: object) -> None:
            raise Forbidden("not now", code=403, reason="Forbidden")

        life.memory.client.get = refuse

        with pytest.raises(TransientError, match="study s cannot be read: not now"):
            await life.worker.work(KEY)
        assert life.cluster.server.all(TRIALS) == []

    live(body)


def test_a_study_of_which_somebody_deleted_a_trial_goes_on():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 2, "parallelTrials": 2})
        await life.until_quiet()
        life.cluster.server.delete(TRIALS, KEY.namespace, "s-1")

        await life.finish()

        assert life.condition().reason == "MaxTrialsReached"
        assert [trial.spec.index for trial in life.cluster.trials(KEY)] == [0, 1]

    live(body)


def test_a_study_created_again_under_its_name_begins_anew():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 2, "parallelTrials": 2})
        await life.until_quiet()
        first = life.raw()["metadata"]["uid"]
        life.cluster.server.delete(STUDIES, *KEY)
        life.put(budget={"maxTrials": 1})
        assert life.raw()["metadata"]["uid"] != first

        for _ in range(40):
            try:
                again = await life.until_quiet()
                if again.seconds is None:
                    break
            except TransientError:
                # The old Pod's name is free when the kubelet has ended it.
                pass
            life.cluster.kubelet.advance(15)

        assert life.condition().reason == "MaxTrialsReached"
        assert life.status().trials.total == 1
        assert life.cluster.pods() == []

    live(body)


def test_a_study_that_no_rule_allows_is_told_once_with_every_problem():
    async def body(life: Life) -> None:
        body = a_study().spec.to_wire() | {"initialTrials": [{"nope": 1}, {"neither": 2}]}
        life.cluster.server.create(STUDIES, "default", {"metadata": {"name": "s"}, "spec": body})

        assert await life.work() == Again(None)
        first = life.raw()
        assert await life.work() == Again(None)
        life.worker = StudyWorker(life.world, wake=life.woken.append)
        assert await life.work() == Again(None)

        assert life.raw() == first
        condition = life.condition()
        assert (condition.status, condition.reason, condition.observed_generation) == ("False", "InvalidSpec", 1)
        assert "nope" in condition.message
        assert "neither" in condition.message
        assert life.status().state == "InvalidSpec"
        assert life.witness.invalid == ["InvalidSpec"]

    live(body)


def test_a_study_that_cannot_even_be_read_is_told_in_the_words_of_the_command_line():
    async def body(life: Life) -> None:
        body = a_study().spec.to_wire() | {"objectives": [{"metric": "loss", "goal": "smaller"}]}
        life.cluster.server.create(STUDIES, "default", {"metadata": {"name": "s"}, "spec": body})

        assert await life.work() == Again(None)

        (condition,) = life.raw()["status"]["conditions"]
        assert condition["reason"] == "InvalidSpec"
        assert "spec.objectives[0].goal" in condition["message"]
        assert "validation error for" not in condition["message"]

    live(body)


def test_a_study_that_was_wrong_and_is_mended_runs():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 1}, initialTrials=[{"nope": 1}])
        await life.work()
        mended = [{"op": "replace", "path": "/spec/initialTrials", "value": []}]
        life.cluster.server.patch(STUDIES, *KEY, mended, kind=PatchKind.JSON)

        await life.finish()

        assert life.condition().reason == "MaxTrialsReached"

    live(body)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"initialTrials": [{"nope": 1}]}, id="the rules refuse it"),
        pytest.param({"stopping": {"rule": "nonsense"}}, id="it cannot even be read"),
    ],
)
@pytest.mark.parametrize("restarted", [False, True], ids=["the operator lives on", "the operator is a new one"])
def test_pods_of_a_study_that_an_edit_made_invalid_are_watched_to_their_end(edit: dict, restarted: bool):
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 4, "parallelTrials": 2})
        await life.until_quiet()
        sound = life.raw()["spec"]
        life.cluster.server.patch(STUDIES, *KEY, {"spec": edit}, kind=PatchKind.MERGE)
        if restarted:
            await life.worker.close()
            await life.memory.close()
            life.begin()

        again = await life.until_quiet()
        told = life.condition()
        await life.finish()

        assert again.seconds == 15
        assert (told.status, told.reason, told.observed_generation) == ("False", "InvalidSpec", 2)
        assert "Pods that run are watched under the last valid specification" in told.message
        trials = life.cluster.trials(KEY)
        assert [reason_of(trial).value for trial in trials] == ["Completed", "Completed"]
        assert life.cluster.pods() == []
        rests = life.status()
        assert (rests.trials.completed, rests.completion_time) == (2, None)
        assert life.condition().reason == "InvalidSpec"

        mended = [{"op": "add", "path": "/spec", "value": sound}]
        life.cluster.server.patch(STUDIES, *KEY, mended, kind=PatchKind.JSON)
        await life.finish()
        assert life.condition().reason == "MaxTrialsReached"
        assert len(life.cluster.trials(KEY)) == 4

    live(body)


def test_an_algorithm_that_fails_keeps_nothing_from_going_on():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 3, "parallelTrials": 1})
        await life.until_quiet()
        life.desk.failure = AskFailed("AskTimedOut", "the algorithm did not answer within 1 s")
        life.cluster.kubelet.advance(1)
        await life.until_quiet()
        life.cluster.kubelet.advance(20)

        with pytest.raises(TransientError, match="did not answer"):
            await life.until_quiet()

        # The end of the first trial is told nevertheless.
        assert life.status().trials.completed == 1
        assert life.condition("SuggestionsAvailable").reason == "AskTimedOut"
        life.desk.failure = None
        life.worker._benches[KEY].suggester._again_at = 0.0
        await life.finish()
        assert life.condition().reason == "MaxTrialsReached"
        assert life.condition("SuggestionsAvailable").status == "True"

    live(body)


def test_a_pass_does_not_wait_for_an_algorithm_that_thinks():
    async def body(life: Life) -> None:
        life.desk.ready.clear()
        life.put(budget={"maxTrials": 1})

        with pytest.raises(StillThinking):
            await life.work()
        assert life.woken == []
        # What is only asked for is not told as done.
        assert "CreateTrials" not in life.witness.actions
        life.desk.ready.set()
        while not life.woken:  # noqa: ASYNC110 - the answer itself wakes
            await asyncio.sleep(0)

        assert life.woken == [KEY]
        await life.finish()
        assert life.witness.actions.count("CreateTrials") == 1
        assert life.condition().reason == "MaxTrialsReached"

    live(body)


def test_nothing_in_memory_is_needed():
    async def body(life: Life) -> None:
        life.put(budget={"maxTrials": 6, "parallelTrials": 2}, algorithm={"name": "random", "seed": 3})
        for _ in range(60):
            try:
                again = await life.work()
            except TransientError:
                again = Again(1.0)
            await life.worker.close()
            await life.memory.close()
            life.begin()
            if again.seconds:
                life.cluster.kubelet.advance(again.seconds)
            elif again.seconds is None:
                break

        assert life.condition().reason == "MaxTrialsReached"
        other = Life()
        other.put(budget={"maxTrials": 6, "parallelTrials": 2}, algorithm={"name": "random", "seed": 3})
        await other.finish()
        await other.memory.close()
        assert [t.spec.assignment for t in life.cluster.trials(KEY)] == [
            t.spec.assignment for t in other.cluster.trials(KEY)
        ]

    live(body)
