"""One plan over a cluster in memory: the operator whole (lease, caches, queue, workers), on a clock that does not wait."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch

from faults.cases import CASES, Case
from faults.faulty_client import FaultyClient, Past
from faults.injector import Injector
from faults.oracles import Ending, Witness, compare, read_ending
from faults.plans import Mode, Plan
from faults.virtual_time import LoopClock, VirtualLoop
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.fake.kubelet import FakeKubelet
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.faults import ApiError
from seatrial.adapters.kubernetes.port import PODS, STUDIES, TRIALS
from seatrial.adapters.kubernetes.records import build_study_record, build_trial_record
from seatrial.adapters.kubernetes.removal import Retention
from seatrial.adapters.local.simulated import Script
from seatrial.api.algorithm import AlgorithmName
from seatrial.api.trial import Trial
from seatrial.decide.snapshot import StudySnapshot
from seatrial.entry.cluster import process
from seatrial.entry.cluster.asking import AskTimes, _build_question
from seatrial.entry.cluster.process import Lost, Operator
from seatrial.entry.cluster.settings import OperatorSettings
from seatrial.entry.cluster.thinking import Answer, Thinker

__all__ = ["ALLOWANCE_SECONDS", "Result", "Stage", "count_writes", "run_plan", "run_reference"]

ALLOWANCE_SECONDS = 180.0
"""What a fault may cost beyond the time that it lasts: a lease that runs out, the longest pauses of queue and caches."""

RELIST_SECONDS = 1700.0
"""What an event that never comes may cost."""

_RESTART_SECONDS = 1.0
_LONGEST_RESTART_SECONDS = 300.0
_THINKING_SECONDS = 0.02
_SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a run.

    Attributes:
        ending: None when the study did not end.
        violations: What must not be and was; empty when all is well.
        lives: Operator processes that there were.
        struck: Whether the fault came: a study may take fewer writes than were expected.
    """

    plan: Plan | None
    ending: Ending | None
    violations: tuple[str, ...]
    lives: int
    kills: int
    writes: int
    struck: bool = True


_answers: dict[str, Answer] = {}


class _Desk:
    """Asks the algorithm in this process."""

    def __init__(self, *, times: AskTimes, **_: object) -> None:
        self.times, self._thinker = times, Thinker()

    async def ask(self, study: str, snapshot: StudySnapshot, count: int | None) -> Answer:
        await asyncio.sleep(_THINKING_SECONDS)
        question = _build_question(None, study, snapshot, count)
        if snapshot.spec.algorithm.name is not AlgorithmName.AUTO:
            return self._thinker.answer(question)
        # Models take their time, and are asked the same in almost every run.
        history = [(t.index, str(t.assignment), t.reason, t.values) for t in snapshot.trials]
        key = repr((history, count, snapshot.next_index))
        if key not in _answers:
            _answers[key] = Thinker().answer(question)
        return _answers[key]

    async def warm(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


class Stage:
    """A cluster with one study, and one operator after the other."""

    def __init__(self, case: Case, plan: Plan | None, loop: VirtualLoop) -> None:
        self.case, self.plan, self.loop = case, plan, loop
        self.clock = LoopClock(loop)
        self.server = FakeServer(self.clock)
        self.past = Past(self.server)
        self.injector = Injector(plan, loop.time)
        self.study = case.build()
        # A creation that arrives when its Pod has come and gone begins it again: it is ended at once, but no name keeps it out.
        late = plan is not None and plan.mode is Mode.LATE_WRITE
        self.witness = Witness(self.study.spec.budget.parallel_trials + late, repeats=late)
        self.kubelet = FakeKubelet(self.server, self.clock, self._script)  # type: ignore[arg-type]
        self.news = asyncio.Event()
        self.lives = self.kills = self.changes = 0
        self._killed = asyncio.Event()
        self.operator: Operator | None = None
        self._client: FaultyClient | None = None
        self._own: set[asyncio.Task[Any]] = set()
        self.seed = plan.seed if plan else 0
        self._chance = random.Random(self.seed)  # noqa: S311 - no secret
        self._next_kill: int | None = None
        self.server.listeners += [self.news.set, self._see]

    async def run(self, limit_seconds: float) -> Ending | None:
        """Go on until the study has ended and nothing more happens; None when that takes too long."""
        self._own.add(_current_task())
        self.server.create(STUDIES, "default", {"metadata": {"name": "s"}, "spec": self.study.spec.to_wire()})
        self._keep(self._play_node())
        operate = self._keep(self._operate())
        self.loop.on_each = self._on_round
        over = self._keep(self._until_over())
        try:
            async with asyncio.timeout(limit_seconds):
                await asyncio.wait({over, operate}, return_when=asyncio.FIRST_COMPLETED)
            if operate.done():
                operate.result()
        except TimeoutError:
            return None
        else:
            return self.ending()
        finally:
            self.loop.on_each = lambda: None
            await self._clear()

    def ending(self) -> Ending:
        """Return how things are."""
        found = self.server.all(TRIALS, "default", f"{names.LABEL_STUDY}=s")
        trials = sorted((build_trial_record(trial).model for trial in found), key=lambda trial: trial.spec.index)
        study = build_study_record(self.server.get(STUDIES, "default", "s")).model
        assert study is not None
        return read_ending(study, trials, self.server.all(PODS), self.loop.time())

    # ---- the world ---------------------------------------------------------------------------------------------------

    def _script(self, trial: Trial, number: int) -> Script:
        return self.case.story(self.study, trial, number)

    async def _play_node(self) -> None:
        while True:
            self.news.clear()
            self.kubelet.step()
            upcoming = self.kubelet.next_event()
            # The clock knows microseconds, the loop's time less than that.
            seconds = None if upcoming is None else max(0.001, (upcoming - self.clock.now()).total_seconds())
            try:
                async with asyncio.timeout(seconds):
                    await self.news.wait()
            except TimeoutError:
                continue

    async def _until_over(self) -> None:
        """Return when the study has ended, its Pods are gone, and nothing has changed for a while."""
        seen = -1
        while not (self._is_over() and seen == self.changes):
            seen = self.changes
            await asyncio.sleep(_SETTLE_SECONDS)

    def _is_over(self) -> bool:
        status = self.server.get(STUDIES, "default", "s").get("status") or {}
        summary = next((c for c in status.get("conditions", ()) if c["type"] == "Succeeded"), None)
        return summary is not None and summary["status"] != "Unknown" and not self.server.peek(PODS)

    def _see(self) -> None:
        if " leases " in self.server.log[-1] or " events " in self.server.log[-1]:
            return
        self.changes += 1
        self.witness.see_pods(self.server.peek(PODS))
        for trial in self.server.peek(TRIALS):
            self.witness.see_trial(trial)

    # ---- operators ---------------------------------------------------------------------------------------------------

    async def _operate(self) -> None:
        """Run one operator after the other, as a kubelet does."""
        failures = 0
        while True:
            died = await self._live()
            failures = 0 if died else failures + 1
            pause = _RESTART_SECONDS if failures <= 1 else min(10.0 * 2.0 ** (failures - 2), _LONGEST_RESTART_SECONDS)
            await asyncio.sleep(pause)

    async def _live(self) -> bool:
        """Run one operator to its end; return whether it was killed."""
        self.lives += 1
        self._killed.clear()
        client = self._client = FaultyClient(
            self.server,
            self.past,
            self.injector,
            die=self._killed.set,
            later=self._keep,
            logs=self.kubelet.read_log,
        )
        settings = OperatorSettings(
            identity=f"life-{self.lives}", health_port=0, metrics_port=0, workers=2, retention=Retention.NONE
        )
        with patch.object(process, "AskDesk", _Desk):
            chance = random.Random(f"{self.seed} {self.lives}")  # noqa: S311 - no secret
            operator = self.operator = Operator(
                settings, client, clock=self.clock, watch_with_kopf=False, chance=chance
            )
        operator.health.open = _no_server  # type: ignore[method-assign]
        self._plan_kill()
        work = asyncio.ensure_future(operator.run())
        killed = asyncio.ensure_future(self._killed.wait())
        await asyncio.wait({work, killed}, return_when=asyncio.FIRST_COMPLETED)
        self._next_kill = None
        if not self._killed.is_set():
            killed.cancel()
            self._check_end(work)
            return False
        client.dead = True
        self.kills += 1
        await self._bury()
        return True

    def _check_end(self, work: asyncio.Task[None]) -> None:
        try:
            work.result()
        except (Lost, ApiError) as error:
            logging.getLogger(__name__).info("An operator ended: %s", error)

    async def _bury(self) -> None:
        """End all tasks of a process that was killed; none of them reaches the server any more."""
        gone = [task for task in asyncio.all_tasks() if task not in self._own]
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)

    def _plan_kill(self) -> None:
        if self.plan is not None and self.plan.mode is Mode.KILLED and self.kills < self.plan.at:
            # Some die while they start, some in the middle of a pass, some when nothing happens.
            # A study without a fault takes some hundred rounds: what comes much later than that comes too late.
            self._next_kill = self.loop.rounds + self._chance.randrange(10, self._chance.choice([60, 150, 300]))

    def _on_round(self) -> None:
        if self._next_kill is not None and self.loop.rounds >= self._next_kill:
            self._next_kill = None
            self._killed.set()
            if self._client is not None:
                self._client.dead = True

    def _keep(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        """Run what does not belong to an operator."""
        task = asyncio.ensure_future(work)
        self._own.add(task)
        return task

    async def _clear(self) -> None:
        if self._client is not None:
            self._client.dead = True
        tasks = [task for task in asyncio.all_tasks() if task is not _current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _no_server(_: int) -> None:
    """Stand for a health server: nobody asks."""


def _run(case: Case, plan: Plan | None, limit_seconds: float) -> tuple[Stage, Ending | None]:
    stages: list[Stage] = []

    async def main() -> Ending | None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        stages.append(Stage(case, plan, loop))
        return await stages[0].run(limit_seconds)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        ending = runner.run(main())
    return stages[0], ending


@cache
def run_reference(case: str) -> tuple[Ending, int]:
    """Return how a study ends when nothing goes wrong, and how many writes that takes."""
    plan = Plan(case=case, mode=Mode.CRASH_BEFORE, at=10**9)
    stage, ending = _run(CASES[case], plan, 3600.0)
    if ending is None or stage.witness.violations or ending.pods:
        raise AssertionError(f"{case} goes wrong by itself: {ending} {stage.witness.violations}")
    return ending, stage.injector.writes


def count_writes(case: str) -> int:
    """Return the number of writes of a study when nothing goes wrong."""
    return run_reference(case)[1]


def limit_of(plan: Plan, reference_seconds: float) -> float:
    """Return seconds within which a study must have ended."""
    limit = reference_seconds + plan.seconds + ALLOWANCE_SECONDS
    if plan.mode is Mode.DROPPED:
        limit += RELIST_SECONDS
    if plan.mode is Mode.KILLED:
        # Each successor waits for its predecessor's lease to run out.
        limit += plan.at * 30.0
    return limit


def run_plan(plan: Plan) -> Result:
    """Carry out a plan and hold the run against the one without a fault."""
    wanted, _ = run_reference(plan.case)
    limit = limit_of(plan, wanted.seconds)
    stage, ending = _run(CASES[plan.case], plan, limit + 600.0)
    wrong = list(stage.witness.violations)
    if ending is None:
        wrong.append(f"it does not end within {limit + 600:.0f} s: {stage.ending()}")
    else:
        wrong += compare(ending, wanted, limit_seconds=limit)
    return Result(
        plan=plan,
        ending=ending,
        violations=tuple(wrong),
        lives=stage.lives,
        kills=stage.kills,
        writes=stage.injector.writes,
        struck=stage.injector.began is not None or stage.kills > 0,
    )
