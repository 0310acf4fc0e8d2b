"""Observe, plan, apply: the only orchestration there is, the same on a laptop and on a cluster.

A pass reads everything anew, plans, applies the plan in its order and writes the study's status. It keeps no truth of its own:
what it remembers (snapshots of finished trials, an algorithm's fitted model) only makes the next pass faster. A crash between any
two writes leaves a state from which the next pass goes on: a trial's record is created before its attempt starts, and its result is
stored before its attempt is released.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from seatrial.api.conditions import find_condition
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial, reason_of
from seatrial.decide.actions import (
    Action,
    CreateTrials,
    FinishTrial,
    PassRung,
    Plan,
    RecordPhase,
    RequeueTrial,
    StartAttempt,
    StopAttempt,
)
from seatrial.decide.attempts import Phase
from seatrial.decide.curves import Curves
from seatrial.decide.lifecycle import (
    Seen,
    new_trial,
    status_finished,
    status_passed,
    status_phase,
    status_requeued,
    status_reused,
    status_stopping,
)
from seatrial.decide.planner import plan_study
from seatrial.decide.rules import rungs
from seatrial.decide.snapshot import Snapshotter, StudySnapshot
from seatrial.decide.status import build_status
from seatrial.decide.suggest import Proposals, propose
from seatrial.ports import Clock, MetricSource, StudyKey, StudyStore, TrialRunner
from seatrial.search.base import Algorithm, Exhausted
from seatrial.search.build import build_algorithm, build_space
from seatrial.search.space import SearchSpace

__all__ = ["Look", "Reconciler"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a pass saw and did.

    Attributes:
        study: With the status just written.
        snapshot: The world before the plan was applied.
        curves: All metrics of trials that have an attempt, as the user states them.
        plan: What was done.
        moved: Whether anything was done, so that it makes sense to look again at once.
    """

    study: Study
    snapshot: StudySnapshot
    curves: Mapping[str, Curves]
    plan: Plan
    moved: bool


class Reconciler:
    """Brings one study forward, one pass at a time."""

    def __init__(
        self,
        key: StudyKey,
        *,
        store: StudyStore,
        runner: TrialRunner,
        metrics: MetricSource,
        clock: Clock,
        observer: Callable[[Action], None] = lambda _: None,
    ) -> None:
        """Set up without touching anything.

        Args:
            key: The study.
            store: Where studies and trials are kept.
            runner: What runs attempts.
            metrics: Where curves come from.
            clock: The time.
            observer: Is told every action after it was applied (Events, the live view, logs).
        """
        self._key = key
        self._store, self._runner, self._metrics, self._clock = store, runner, metrics, clock
        self._observer = observer
        self._snapshotter = Snapshotter()
        self._study: Study | None = None
        self._search: tuple[SearchSpace, Algorithm] | None = None
        self._exhausted: Exhausted | None = None
        self._recommended: tuple[int, int | None] | None = None
        self._written: StudyStatus | None = None

    async def run(self, *, interrupted: bool = False) -> Look | None:
        """Make one pass; None when the study does not exist (any more).

        Args:
            interrupted: Lay everything down for a later run.
        """
        study = await self._store.read_study(self._key)
        if study is None:
            return None
        self._forget_if_edited(study)
        trials, seen, snapshot = await self._observe(study, interrupted=interrupted)
        plan = plan_study(snapshot)
        await self._repeat_stops(study, trials, snapshot)
        for action in plan.actions:
            await self._apply(study, trials, seen, snapshot, action)
            logger.info("Applied %s", type(action).__name__, extra={"study": self._key.name, "action": action})
            self._observer(action)
        status = await self._write_status(study, plan, interrupted=interrupted)
        return Look(
            study=study.model_copy(update={"status": status}),
            snapshot=snapshot,
            curves={name: known.curves for name, known in seen.items() if known.curves},
            plan=plan,
            moved=bool(plan.actions),
        )

    # ---- observe ---------------------------------------------------------------------------------------------------

    def _forget_if_edited(self, study: Study) -> None:
        if self._study is None or self._study.spec != study.spec:
            self._search, self._exhausted, self._recommended = None, None, None
        self._study = study

    async def _observe(
        self, study: Study, *, interrupted: bool
    ) -> tuple[dict[str, Trial], dict[str, Seen], StudySnapshot]:
        records = await self._store.read_trials(self._key)
        attempts = dict(await self._runner.observe(study))
        trials = {trial.metadata.name: trial for trial in records}
        # A crash may have left an attempt whose result is already stored.
        for name, attempt in list(attempts.items()):
            trial = trials.get(name)
            if (
                trial is not None
                and attempt.phase in {Phase.EXITED, Phase.LOST}
                and attempt.number < trial.status.attempt
            ):
                await self._runner.release(study, trial, attempt.number)
                del attempts[name]
        curves = await self._metrics.read(study, attempts)
        snapshot = self._snapshotter.build(
            study=study,
            trials=records,
            attempts=attempts,
            curves=curves,
            now=self._clock.now(),
            exhausted=self._exhausted,
            interrupted=interrupted,
        )
        for name, left in attempts.items():
            record = trials.get(name)
            if record is not None and reason_of(record).terminal:
                await self._end(study, record, left.number, ended=left.phase in {Phase.EXITED, Phase.LOST})
        seen = {name: Seen(attempt=attempt, curves=dict(curves.get(name, {}))) for name, attempt in attempts.items()}
        return trials, seen, snapshot

    async def _end(self, study: Study, trial: Trial, number: int, *, ended: bool) -> None:
        """Clear away an attempt of a trial that is over."""
        if ended:
            await self._runner.release(study, trial, number)
        else:
            await self._runner.stop(study, trial, number)

    async def _repeat_stops(self, study: Study, trials: dict[str, Trial], snapshot: StudySnapshot) -> None:
        """Ask again for stops that are recorded: a crash may have come between the record and the request."""
        for trial in snapshot.trials:
            if trial.stop is not None and trial.live is not None and trial.live.phase in {Phase.RUNNING, Phase.WAITING}:
                await self._runner.stop(study, trials[trial.name], trial.live.number)

    # ---- apply -----------------------------------------------------------------------------------------------------

    async def _apply(
        self, study: Study, trials: dict[str, Trial], seen: dict[str, Seen], snapshot: StudySnapshot, action: Action
    ) -> None:
        now = self._clock.now()
        if isinstance(action, CreateTrials):
            await self._create(study, trials, snapshot, action.count)
            return
        trial = trials[action.trial]
        known = seen.get(action.trial, Seen())
        match action:
            case StartAttempt():
                await self._runner.start(study, trial, action.attempt)
            case StopAttempt():
                trial = await self._store.update_trial(self._key, trial, status_stopping(trial, action, now))
                await self._runner.stop(study, trial, action.attempt)
            case PassRung():
                trial = await self._store.update_trial(self._key, trial, status_passed(trial, action))
            case RecordPhase():
                trial = await self._store.update_trial(self._key, trial, status_phase(trial, action, known, now))
            case RequeueTrial():
                trial = await self._store.update_trial(self._key, trial, status_requeued(trial, action, known, now))
                await self._runner.release(study, trial, action.attempt)
            case FinishTrial():
                trial = await self._finish(study, trials, trial, known, action)
        trials[action.trial] = trial

    async def _finish(
        self, study: Study, trials: dict[str, Trial], trial: Trial, seen: Seen, action: FinishTrial
    ) -> Trial:
        now = self._clock.now()
        if trial.spec.reuse_of in trials and seen.attempt is None:
            status = status_reused(trial, trials[trial.spec.reuse_of], action, now)
        else:
            status = status_finished(trial, action, study.spec, seen, rungs(study.spec), now)
        trial = await self._store.update_trial(self._key, trial, status)
        if seen.attempt is not None and seen.attempt.phase in {Phase.EXITED, Phase.LOST}:
            await self._runner.release(study, trial, seen.attempt.number)
        return trial

    async def _create(self, study: Study, trials: dict[str, Trial], snapshot: StudySnapshot, count: int) -> None:
        """Ask for trials on the newest history, record each, and start it."""
        fresh = self._snapshotter.build(
            study=study, trials=list(trials.values()), attempts={}, curves={}, now=snapshot.now, exhausted=None
        )
        found = await self._ask(study, fresh, count)
        self._exhausted = found.exhausted
        for proposal in found.proposals:
            trial = await self._store.create_trial(self._key, new_trial(study, proposal, self._clock.now()))
            trials[trial.metadata.name] = trial
            if trial.spec.reuse_of is None:
                await self._runner.start(study, trial, trial.status.attempt)

    async def _ask(self, study: Study, snapshot: StudySnapshot, count: int) -> Proposals:
        if self._search is None:
            space = build_space(study.spec.parameters)
            self._search = space, build_algorithm(study.spec, space)
        space, algorithm = self._search
        # A model may think for a second; trials must be watched meanwhile.
        return await asyncio.to_thread(propose, snapshot, space=space, algorithm=algorithm, count=count)

    # ---- status ----------------------------------------------------------------------------------------------------

    async def _write_status(self, study: Study, plan: Plan, *, interrupted: bool) -> StudyStatus:
        records = await self._store.read_trials(self._key)
        snapshot = self._snapshotter.build(
            study=study,
            trials=records,
            attempts={},
            curves={},
            now=self._clock.now(),
            exhausted=self._exhausted,
            interrupted=interrupted,
        )
        state = plan.state
        if self._exhausted is not None and not state.reason.terminal and all(t.terminal for t in snapshot.trials):
            # The plan did not know yet that there is nothing more to try.
            state = plan_study(snapshot).state
        terminal = state.reason.terminal
        status = build_status(
            study=study,
            snapshot=snapshot,
            trials={trial.metadata.name: trial for trial in records},
            state=state,
            recommended=await self._recommend(study, snapshot) if terminal else None,
            now=self._clock.now(),
        )
        if status != study.status:
            await self._store.update_study(self._key, status)
        return status

    async def _recommend(self, study: Study, snapshot: StudySnapshot) -> int | None:
        """Return the algorithm's choice of the winner; computed once for a finished study."""
        old = find_condition(study.status.conditions, "Succeeded") if study.status else None
        if old is not None and old.status != "Unknown" and study.status is not None:
            return study.status.best.index if study.status.best else None
        if self._recommended is None or self._recommended[0] != len(snapshot.trials):
            if self._search is None:
                space = build_space(study.spec.parameters)
                self._search = space, build_algorithm(study.spec, space)
            choice = await asyncio.to_thread(self._search[1].recommend, snapshot.history())
            self._recommended = len(snapshot.trials), choice
        return self._recommended[1]
