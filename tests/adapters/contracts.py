"""What every store and every runner must do; a test module makes a world and inherits the suite."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import pytest

from decide.builders import a_study
from seatrial.api.conditions import Condition
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial, TrialStatus
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.curves import Curves
from seatrial.errors import TransientError
from seatrial.ports import MetricSource, StudyKey, StudyStore, TrialRunner

KEY = StudyKey("default", "s")
ENDED = {Phase.EXITED, Phase.LOST}


def a_record(index: int = 0, **assignment: object) -> Trial:
    """Return a Trial as it is first stored."""
    return Trial.model_validate(
        {
            "metadata": {"name": f"s-{index}"},
            "spec": {
                "study": "s",
                "index": index,
                "assignment": assignment or {"x": 0.5},
                "seed": 7,
                "origin": {"algorithm": "random"},
            },
        }
    )


def a_condition(reason: str = "Completed", status: str = "True") -> Condition:
    return Condition.model_validate(
        {"type": "Succeeded", "status": status, "reason": reason, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    )


class PuttableStore(StudyStore, Protocol):
    def put_study(self, study: Study) -> StudyKey: ...


class StoreContract:
    """Needs a fixture ``store``: an empty store."""

    async def test_a_study_that_was_never_stored_is_none(self, store: PuttableStore):
        assert await store.read_study(KEY) is None
        assert list(await store.read_trials(KEY)) == []

    async def test_a_study_comes_back_as_it_was_put(self, store: PuttableStore):
        study = a_study()

        key = store.put_study(study)

        found = await store.read_study(key)
        assert key == KEY
        assert found is not None
        assert found.spec == study.spec
        assert found.metadata.generation == 1

    async def test_an_edited_study_keeps_its_status_and_counts_its_generation(self, store: PuttableStore):
        key = store.put_study(a_study())
        await store.update_study(key, StudyStatus(gpu_hours=2.5))

        store.put_study(a_study(suspend=True))

        found = await store.read_study(key)
        assert found is not None
        assert found.status == StudyStatus(gpu_hours=2.5)
        assert found.spec.suspend
        assert found.metadata.generation == 2

    async def test_a_study_put_again_unchanged_keeps_its_generation(self, store: PuttableStore):
        key = store.put_study(a_study())

        store.put_study(a_study())

        found = await store.read_study(key)
        assert found is not None
        assert found.metadata.generation == 1

    async def test_trials_come_by_index_whatever_the_order_of_their_creation(self, store: PuttableStore):
        key = store.put_study(a_study())
        for index in (10, 2, 0, 1):
            await store.create_trial(key, a_record(index))

        assert [trial.spec.index for trial in await store.read_trials(key)] == [0, 1, 2, 10]

    async def test_creating_a_taken_name_returns_the_stored_assignment(self, store: PuttableStore):
        key = store.put_study(a_study())
        first = await store.create_trial(key, a_record(0, x=0.25))

        second = await store.create_trial(key, a_record(0, x=0.75))

        assert second is first
        assert second.spec.assignment == {"x": 0.25}

    async def test_a_new_status_is_returned_and_read_back(self, store: PuttableStore):
        key = store.put_study(a_study())
        trial = await store.create_trial(key, a_record(0))
        status = TrialStatus(attempt=1, conditions=[a_condition()])

        updated = await store.update_trial(key, trial, status)

        assert updated.status == status
        assert list(await store.read_trials(key)) == [updated]

    async def test_an_update_from_a_stale_trial_is_refused(self, store: PuttableStore):
        key = store.put_study(a_study())
        stale = await store.create_trial(key, a_record(0))
        await store.update_trial(key, stale, TrialStatus(attempt=1))

        with pytest.raises(TransientError, match="s-0 was changed"):
            await store.update_trial(key, stale, TrialStatus(attempt=2))

    async def test_an_update_of_an_unknown_trial_is_refused(self, store: PuttableStore):
        key = store.put_study(a_study())

        with pytest.raises(TransientError, match="s-3 is gone"):
            await store.update_trial(key, a_record(3), TrialStatus())

    async def test_trials_that_did_not_change_stay_the_same_objects(self, store: PuttableStore):
        key = store.put_study(a_study())
        for index in range(3):
            await store.create_trial(key, a_record(index))
        before = list(await store.read_trials(key))

        await store.update_trial(key, before[1], TrialStatus(attempt=1))

        after = list(await store.read_trials(key))
        assert [old is new for old, new in zip(before, after, strict=True)] == [True, False, True]


class RunnerWorld(Protocol):
    """A runner and a study whose trials behave as their parameter ``kind`` says.

    ``ok`` reports loss 3, 2, 1 at steps 1 to 3 and ends with 0; ``fail`` ends with 3; ``long`` runs until it is told to stop and ends
    with 143; ``deaf`` must be killed. All trials need the whole machine where *exclusive* was asked for.
    """

    runner: TrialRunner
    metrics: MetricSource
    study: Study

    async def wait(self) -> None:
        """Wait for whatever comes next."""
        ...

    async def until_deaf(self) -> None:
        """Wait until a running trial of the kind ``deaf`` really ignores a request to end."""
        ...


_LONGEST_SECONDS = 20


async def until(world: RunnerWorld, holds: Callable[[Mapping[str, Attempt]], bool]) -> Mapping[str, Attempt]:
    """Observe until the condition holds."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while True:
        seen = await world.runner.observe(world.study)
        if holds(seen):
            return seen
        assert time.monotonic() < deadline, f"did not come about: {seen}"
        await world.wait()


async def until_ended(world: RunnerWorld, *names: str) -> Mapping[str, Attempt]:
    return await until(world, lambda seen: all(name in seen and seen[name].phase in ENDED for name in names))


async def until_running(world: RunnerWorld, *names: str) -> Mapping[str, Attempt]:
    return await until(world, lambda seen: all(seen[name].phase is Phase.RUNNING for name in names))


class RunnerContract:
    """Needs fixtures ``world`` and ``small_world``, in which one trial fills the machine."""

    async def test_nothing_started_is_nothing_seen(self, world: RunnerWorld):
        assert await world.runner.observe(world.study) == {}

    async def test_a_trial_runs_and_ends_with_exit_code_0(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="ok"), 0)

        seen = (await until_ended(world, "s-0"))["s-0"]

        assert (seen.phase, seen.exit_code, seen.number, seen.reason) == (Phase.EXITED, 0, 0, "Completed")
        assert isinstance(seen.started_at, datetime)
        assert seen.finished_at is not None
        assert seen.started_at <= seen.finished_at
        assert not seen.infrastructure

    async def test_an_exit_code_is_told(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="fail"), 0)

        seen = (await until_ended(world, "s-0"))["s-0"]

        assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, 3, "Error")
        assert "exit code 3" in seen.message

    async def test_starting_again_does_nothing(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="long"), 0)
        before = (await until_running(world, "s-0"))["s-0"]

        await world.runner.start(world.study, a_record(0, kind="long"), 0)

        assert (await world.runner.observe(world.study))["s-0"] == before
        await self._clear(world, "s-0")

    async def test_an_ended_attempt_is_seen_until_it_is_released(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="ok"), 0)
        seen = await until_ended(world, "s-0")
        again = await world.runner.observe(world.study)

        await world.runner.release(world.study, a_record(0), 0)

        assert seen == again
        assert await world.runner.observe(world.study) == {}

    async def test_release_and_stop_of_something_unknown_do_nothing(self, world: RunnerWorld):
        await world.runner.release(world.study, a_record(0), 0)
        await world.runner.stop(world.study, a_record(0), 0)

        assert await world.runner.observe(world.study) == {}

    async def test_what_was_observed_is_confirmed(self, world: RunnerWorld):
        await world.runner.confirm(world.study, a_record(0), 0)
        await world.runner.start(world.study, a_record(0, kind="long"), 0)
        seen = await until_running(world, "s-0")

        await world.runner.confirm(world.study, a_record(0), 0)

        assert await world.runner.observe(world.study) == seen
        await self._clear(world, "s-0")

    async def test_a_stopped_attempt_ends_and_stopping_twice_is_stopping_once(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="long"), 0)
        await until_running(world, "s-0")

        for _ in range(2):
            await world.runner.stop(world.study, a_record(0), 0)

        seen = (await until_ended(world, "s-0"))["s-0"]
        assert (seen.phase, seen.exit_code) == (Phase.EXITED, 143)

    @pytest.mark.slow
    async def test_an_attempt_that_ignores_the_request_is_killed_after_its_grace_period(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="deaf"), 0)
        await until_running(world, "s-0")
        await world.until_deaf()

        await world.runner.stop(world.study, a_record(0), 0)

        seen = (await until_ended(world, "s-0"))["s-0"]
        assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, 137, "SIGKILL")

    async def test_stopping_an_earlier_attempt_leaves_the_current_one_alone(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="long"), 2)
        await until_running(world, "s-0")

        await world.runner.stop(world.study, a_record(0), 1)

        assert (await world.runner.observe(world.study))["s-0"].phase is Phase.RUNNING
        await self._clear(world, "s-0")

    async def test_the_next_attempt_is_refused_while_the_last_one_runs(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="long"), 0)
        await until_running(world, "s-0")

        with pytest.raises(TransientError, match="s-0"):
            await world.runner.start(world.study, a_record(0, kind="ok"), 1)
        await self._clear(world, "s-0")

    async def test_the_next_attempt_takes_the_place_of_one_that_ended(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="fail"), 0)
        await until_ended(world, "s-0")

        await world.runner.start(world.study, a_record(0, kind="ok"), 1)

        seen = await until(world, lambda seen: seen["s-0"].phase in ENDED)
        assert (seen["s-0"].number, seen["s-0"].exit_code) == (1, 0)

    async def test_a_running_attempt_cannot_be_released(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="long"), 0)
        await until_running(world, "s-0")

        with pytest.raises(TransientError, match="s-0"):
            await world.runner.release(world.study, a_record(0), 0)
        await self._clear(world, "s-0")

    async def test_what_does_not_fit_waits_with_a_reason_and_starts_in_order(self, small_world: RunnerWorld):
        world = small_world
        for index, kind in enumerate(["long", "long", "ok"]):
            await world.runner.start(world.study, a_record(index, kind=kind), 0)

        seen = await world.runner.observe(world.study)
        assert [seen[f"s-{i}"].phase for i in range(3)] == [Phase.RUNNING, Phase.WAITING, Phase.WAITING]
        assert seen["s-1"].reason == "Insufficient"
        assert seen["s-1"].message.startswith("Insufficient ")

        await world.runner.stop(world.study, a_record(0), 0)
        seen = await until_running(world, "s-1")
        assert seen["s-2"].phase is Phase.WAITING
        await world.runner.stop(world.study, a_record(1), 0)
        assert (await until_ended(world, "s-2"))["s-2"].exit_code == 0

    async def test_an_attempt_told_to_stop_while_it_waits_never_starts(self, small_world: RunnerWorld):
        world = small_world
        await world.runner.start(world.study, a_record(0, kind="long"), 0)
        await world.runner.start(world.study, a_record(1, kind="ok"), 0)

        await world.runner.stop(world.study, a_record(1), 0)

        seen = (await until_ended(world, "s-1"))["s-1"]
        assert (seen.phase, seen.exit_code, seen.started_at) == (Phase.EXITED, 143, None)
        await self._clear(world, "s-0")

    async def test_the_curve_of_an_ended_attempt_is_complete(self, world: RunnerWorld):
        await world.runner.start(world.study, a_record(0, kind="ok"), 0)
        seen = await until_ended(world, "s-0")

        curves: Curves = (await world.metrics.read(world.study, seen))["s-0"]

        assert [(point.step, point.value) for point in curves["loss"].points] == [(1, 3.0), (2, 2.0), (3, 1.0)]

    async def _clear(self, world: RunnerWorld, *names: str) -> None:
        for name in names:
            trial = a_record(int(name.split("-")[1]))
            seen = await world.runner.observe(world.study)
            await world.runner.stop(world.study, trial, seen[name].number)
        await until_ended(world, *names)
