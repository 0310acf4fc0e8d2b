"""A whole study on the simulated clock: scripted trials, invariants at every pass, crashes at chosen writes."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime

from seatrial.adapters.local.memory import MemoryStore, SimulatedClock
from seatrial.adapters.local.simulated import Script, SimulatedRunner
from seatrial.api.conditions import StudyReason, TrialReason, find_condition
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial, TrialStatus, reason_of
from seatrial.decide.actions import Action
from seatrial.errors import TransientError
from seatrial.pace import Pace
from seatrial.ports import StudyKey
from seatrial.reconcile import Reconciler


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Fuse:
    """Counts effects and dies before or after a chosen one."""

    at: int | None = None
    before: bool = True
    count: int = 0
    blown: bool = False

    def step(self, *, before: bool) -> None:
        """Pass one side of an effect."""
        if before:
            self.count += 1
        if self.at is not None and not self.blown and self.count == self.at and before == self.before:
            self.blown = True
            raise Crash


class FusedStore(MemoryStore):
    """A store whose writes may be the last thing that the process does."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse
        self.created: list[str] = []
        self.conflicts: Callable[[], bool] = lambda: False

    async def create_trial(self, key: StudyKey, trial: Trial) -> Trial:
        self.fuse.step(before=True)
        stored = await super().create_trial(key, trial)
        if stored.metadata.name not in self.created:
            self.created.append(stored.metadata.name)
        self.fuse.step(before=False)
        return stored

    async def update_trial(self, key: StudyKey, trial: Trial, status: TrialStatus) -> Trial:
        old = next(t for t in await self.read_trials(key) if t.metadata.name == trial.metadata.name)
        assert not reason_of(old).terminal, f"{trial.metadata.name} changed after its end: {old.status} -> {status}"
        # What is stored is what any process can read again: nothing may be outside of the bounds of the wire.
        TrialStatus.model_validate(status.to_wire())
        if self.conflicts():
            raise TransientError(f"{trial.metadata.name} was changed by somebody else; look again")
        self.fuse.step(before=True)
        stored = await super().update_trial(key, trial, status)
        self.fuse.step(before=False)
        return stored

    async def update_study(self, key: StudyKey, status: StudyStatus) -> None:
        StudyStatus.model_validate(status.to_wire())
        self.fuse.step(before=True)
        await super().update_study(key, status)
        self.fuse.step(before=False)


class FusedRunner(SimulatedRunner):
    """A runner whose calls may be the last thing that the process does. Attempts live on, as Pods do."""

    def __init__(self, fuse: Fuse, clock: SimulatedClock, script: Callable[[Trial, int], Script], **more: int) -> None:
        super().__init__(clock, script, **more)
        self.fuse = fuse
        self.started: list[tuple[str, int]] = []

    async def start(self, study: Study, trial: Trial, number: int, *, recorded_at: datetime | None = None) -> None:
        self.fuse.step(before=True)
        await super().start(study, trial, number, recorded_at=recorded_at)
        if (trial.metadata.name, number) not in self.started:
            self.started.append((trial.metadata.name, number))
        self.fuse.step(before=False)

    async def stop(self, study: Study, trial: Trial, number: int) -> None:
        self.fuse.step(before=True)
        await super().stop(study, trial, number)
        self.fuse.step(before=False)

    async def release(self, study: Study, trial: Trial, number: int) -> None:
        self.fuse.step(before=True)
        await super().release(study, trial, number)
        self.fuse.step(before=False)


def at_once(coroutine):
    """Return the result of a coroutine that never waits, inside or outside of a loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the coroutine waits")


def loss(assignment: dict) -> float:
    """A smooth objective with its minimum at 0.3, a third of a category worse for each other one."""
    x = float(assignment.get("x", 0.0))
    return (x - 0.3) ** 2 + 0.05 * len(str(assignment.get("kind", "")))


def chance(*words: object) -> float:
    """A number in [0, 1) that depends on the words alone."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def trained(trial: Trial, number: int, *, steps: int = 9, seed: int = 0) -> Script:
    """A trial that reports a falling loss for some steps, in its own time."""
    pace = 1.0 + 4.0 * chance(seed, trial.metadata.name, "pace")
    goal = loss(trial.spec.assignment)
    curve = [(pace * step, step, {"loss": goal + 1.0 / step}) for step in range(1, steps + 1)]
    return Script(duration_seconds=pace * steps + 0.5, curve=curve)


def rough(trial: Trial, number: int, *, seed: int = 0) -> Script:
    """Like :func:`trained`, but some attempts crash, vanish, diverge, do not fit or never report."""
    story = trained(trial, number, seed=seed)
    luck = chance(seed, trial.metadata.name, number, "luck")
    half = story.duration_seconds / 2
    early = [point for point in story.curve if point[0] < half]
    if luck < 0.10:
        return Script(duration_seconds=half, curve=early, exit_code=1)
    if luck < 0.20:
        return Script(duration_seconds=half, curve=early, lost=True)
    if luck < 0.28:
        bad = [(at, step, {"loss": math.nan}) for at, step, _ in story.curve[2:]]
        return Script(duration_seconds=story.duration_seconds, curve=[*story.curve[:2], *bad])
    if luck < 0.33:
        return Script(duration_seconds=half, exit_code=137, sdk=False, reason="OOMKilled")
    if luck < 0.38:
        return Script(duration_seconds=half, sdk=False)
    return story


@dataclass
class World:
    """A study, its world, and what happened."""

    study: Study
    script: Callable[[Trial, int], Script] = trained
    fuse: Fuse = field(default_factory=Fuse)
    capacity: int | None = None
    paced: bool = False
    actions: list[Action] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    restarts: int = 0
    most: int = 0
    created: int = 0
    gaps: bool = False
    before_pass: Callable[[World], None] = lambda _: None

    def __post_init__(self) -> None:
        self.clock = SimulatedClock()
        self.began = self.clock.now()
        self.store = FusedStore(self.fuse)
        more = {} if self.capacity is None else {"capacity": self.capacity}
        self.runner = FusedRunner(self.fuse, self.clock, self.script, **more)
        self.key = self.store.put_study(self.study)
        self.most = self.study.spec.budget.parallel_trials
        self._reconciler = self._new()

    def restart(self) -> World:
        """Let the process be a new one."""
        self._reconciler = self._new()
        return self

    def edit(self, **spec: object) -> World:
        """Change the specification, as a user does."""
        new = self.study.model_copy(update={"spec": self.study.spec.model_copy(update=spec)})
        self.study = type(new).model_validate(new.to_wire())
        self.store.put_study(self.study)
        return self

    def _new(self) -> Reconciler:
        return Reconciler(
            self.key,
            store=self.store,
            runner=self.runner,
            metrics=self.runner,
            clock=self.clock,
            observer=self._tell,
            pace=Pace() if self.paced else None,
        )

    def _tell(self, action: Action) -> None:
        self.actions.append(action)
        seconds = (self.clock.now() - self.began).total_seconds()
        subject = getattr(action, "trial", self.study.metadata.name)
        words = f"{action.reason}: {action.message}".rstrip(": ")
        self.log.append(f"{seconds:8.2f}  {type(action).__name__:13} {subject:6} {words}")

    def run(
        self, *, passes: int = 3000, until: Callable[[World], bool] | None = None, interrupted: bool = False
    ) -> World:
        """Go on until the study rests (or *until* holds); the process is made anew after every crash.

        An interrupted run goes on until no attempt is left.
        """
        return asyncio.run(self._run(passes, until, interrupted))

    def run_without_order(self) -> World:
        """Go on in a world that has lost a record: for a while an index is missing, and a name is started twice."""
        self.gaps = True
        return self.run()

    async def _run(self, passes: int, until: Callable[[World], bool] | None, interrupted: bool) -> World:
        for _ in range(passes):
            self.before_pass(self)
            try:
                look = await self._reconciler.run(interrupted=interrupted)
            except Crash:
                self.restarts += 1
                self._reconciler = self._new()
                continue
            except TransientError:
                self.clock.advance(1.0)
                continue
            assert look is not None
            await self.check()
            if until is not None and until(self):
                return self
            if look.plan.state.reason.terminal and not look.moved:
                return self
            if interrupted and not look.moved and self.is_idle():
                return self
            if not look.moved:
                await self.runner.wait(min(look.plan.wake_after_seconds or 5.0, 5.0))
        raise AssertionError(f"the study does not come to rest in {passes} passes: {await self.trials()}")

    async def check(self) -> None:
        """Hold what must always hold."""
        trials = await self.trials()
        budget = self.study.spec.budget
        indices = [trial.spec.index for trial in trials]
        if budget.max_trials is not None and self.created != len(trials):
            assert len(trials) <= max(budget.max_trials, self.created)
        self.created = len(trials)
        assert self.gaps or indices == list(range(len(trials)))
        attempts = await self.runner.observe(self.study)
        busy = [a for a in attempts.values() if a.phase.value in {"Running", "Waiting"}]
        # Those that ran when a number was lowered may finish.
        self.most = max(budget.parallel_trials, min(self.most, len(busy)))
        assert len(busy) <= self.most
        starts = [line.split(" ", 1)[1] for line in self.runner.log if " start " in line]
        assert self.gaps or len(starts) == len(set(starts))

    async def trials(self) -> Sequence[Trial]:
        """Return all trials by index."""
        return await self.store.read_trials(self.key)

    def is_idle(self) -> bool:
        """Return whether no attempt is left."""
        return not self.runner._plays

    def records(self) -> list[Trial]:
        """Return all trials by index, synchronously."""
        return list(at_once(self.trials()))

    def outcome(self) -> list[tuple[dict, str, list]]:
        """Return (assignment, state, values) by index: what must not depend on crashes."""
        found = []
        for trial in self.records():
            seen = trial.status.observation
            found.append((trial.spec.assignment, reason_of(trial).value, seen.values if seen else []))
        return found

    def state(self) -> StudyReason:
        """Return the study's state."""
        study = at_once(self.store.read_study(self.key))
        assert study is not None
        assert study.status is not None
        condition = find_condition(study.status.conditions, "Succeeded")
        assert condition is not None
        return StudyReason(condition.reason)

    def status(self) -> StudyStatus:
        """Return the study's status."""
        study = at_once(self.store.read_study(self.key))
        assert study is not None
        assert study.status is not None
        return study.status

    def count(self, reason: TrialReason) -> int:
        """Return the number of trials in a state."""
        return sum(reason_of(trial) is reason for trial in self.records())


def run_and_crash(calm: World, *, sides: Sequence[bool] = (True, False), every: int = 1) -> Iterator[World]:
    """Run a world to its end; then yield it for each effect, about to die before it or after it, as *sides* say.

    What comes before the pass of the crash is not lived through again: each world is a copy of the calm one as that pass began.
    """
    pictures: list[tuple[int, World]] = []

    def remember(world: World) -> None:
        picture = _copied(world)
        picture.before_pass = World.before_pass
        pictures.append((picture.fuse.count, picture))

    calm.before_pass = remember
    calm.run()
    for at in range(1, calm.fuse.count + 1, every):
        begun = next(picture for count, picture in reversed(pictures) if count < at)
        for before in sides:
            world = _copied(begun)
            world.fuse.at, world.fuse.before = at, before
            yield world


def _copied(world: World) -> World:
    """Return a world that goes on by itself; records and actions, which nobody changes in place, are shared."""
    shared = [*world.store._studies.values(), *world.records(), *world.actions]
    return deepcopy(world, {id(each): each for each in shared})
