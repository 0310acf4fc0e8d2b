"""Observe, plan, apply: the only orchestration there is, the same on a laptop and on a cluster.

A pass reads everything anew, plans, applies the plan in its order and writes the study's status. It keeps no truth of its own:
what it remembers (snapshots of finished trials, an algorithm's fitted model) only makes the next pass faster. A crash between any
two writes leaves a state from which the next pass goes on: a trial's record is created before its attempt starts, and its result is
stored before its attempt is released.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby

from seatrial.api.conditions import TrialReason, find_condition
from seatrial.api.meta import Metadata
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Origin, Trial, TrialSpec, TrialStatus, reason_of
from seatrial.beside import MOST_BESIDE, Beside, run_beside
from seatrial.decide.actions import (
    Action,
    CreateTrials,
    FinishTrial,
    PassRung,
    PauseTrial,
    Plan,
    PromoteTrial,
    RecordPhase,
    RequeueTrial,
    StartAttempt,
    StopAttempt,
)
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.changes import changed_places
from seatrial.decide.continuing import Continuations
from seatrial.decide.curves import Curves
from seatrial.decide.lifecycle import (
    new_trial,
    status_finished,
    status_passed,
    status_paused,
    status_phase,
    status_promoted,
    status_requeued,
    status_reused,
    status_stopping,
    with_exclusions,
)
from seatrial.decide.narrowing import create_nothing, leave_open, only_watch, wake_within
from seatrial.decide.observation import Seen
from seatrial.decide.planner import plan_study
from seatrial.decide.retention import future_parents, plan_retention
from seatrial.decide.rules import Standings, rungs
from seatrial.decide.snapshot import Snapshotter, StudySnapshot
from seatrial.decide.status import Remark, build_status
from seatrial.decide.suggest import Proposal, Proposals, Proposer
from seatrial.errors import TransientError
from seatrial.pace import Pace
from seatrial.ports import CheckpointKeeper, Clock, MetricSource, StudyKey, StudyStore, Suggester, TrialRunner
from seatrial.search.base import Exhausted

__all__ = ["Look", "Reconciler", "ThreadSuggester"]

logger = logging.getLogger(__name__)

# The plan of what must stay looks at every trial: for a thousand it takes 10 ms, which every 10 s is nothing.
_RETAIN_SECONDS_A_TRIAL = 0.01


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


@dataclass(slots=True, kw_only=True)
class _Pass:
    """What one pass works on.

    Attributes:
        trials: Records by name, kept up to date with what the pass writes.
        attempts: Newest attempts by name of the trial.
        own: What each of them has reported itself.
        curves: The same, continuing what their trials had reported before.
        unread: Trials whose end is not settled yet because their values may still come, with seconds until the next reading.
        strangers: Names for which there is an attempt but no record; nothing new may take such a name yet.
        settled: Trials whose result was stored in this pass, so that their attempts can be let go of.
    """

    study: Study
    trials: dict[str, Trial]
    attempts: Mapping[str, Attempt]
    own: Mapping[str, Curves]
    curves: Mapping[str, Curves]
    unread: Mapping[str, float]
    strangers: frozenset[str]
    snapshot: StudySnapshot
    settled: list[Trial] = field(default_factory=list)

    def seen(self, name: str) -> Seen:
        """Return what is known of a trial's attempt."""
        attempt = self.attempts.get(name)
        if attempt is None:
            return Seen()
        begins = (curve.points[0].step for curve in self.own.get(name, {}).values() if curve.points)
        return Seen(attempt=attempt, curves=dict(self.curves.get(name, {})), first_step=min(begins, default=None))


class ThreadSuggester:
    """A :class:`~seatrial.ports.Suggester` in a thread of this process: a model may think for a second, and trials must be watched meanwhile."""

    def __init__(self) -> None:
        self._proposer = Proposer()

    async def propose(self, snapshot: StudySnapshot, count: int) -> Proposals:
        """Return up to *count* trials to create next."""
        return await asyncio.to_thread(self._proposer.propose, snapshot, count)

    async def recommend(self, snapshot: StudySnapshot) -> int | None:
        """Return the index of the algorithm's choice of the winner."""
        return await asyncio.to_thread(self._proposer.recommend, snapshot)


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
        suggester: Suggester | None = None,
        observer: Callable[[Action], None] = lambda _: None,
        remarks: Callable[[], Sequence[Remark]] = tuple,
        keeper: CheckpointKeeper | None = None,
        pace: Pace | None = None,
        beside: int = MOST_BESIDE,
    ) -> None:
        """Set up without touching anything.

        Args:
            key: The study.
            store: Where studies and trials are kept.
            runner: What runs attempts.
            metrics: Where curves come from.
            clock: The time.
            suggester: Asks the algorithm; by default in a thread.
            observer: Is told every action after it was applied (Events, the live view, logs).
            remarks: Called when the status is written: further conditions that it has to show.
            keeper: Is told which checkpoints must stay.
            pace: What is written less often than it changes; by default everything is written at once.
            beside: How many calls to store and runner are made at a time; 1 where they never wait.
        """
        self._key = key
        self._store, self._runner, self._metrics, self._clock = store, runner, metrics, clock
        self._suggester = suggester or ThreadSuggester()
        self._observer, self._remarks = observer, remarks
        self._snapshotter = Snapshotter()
        self._standings = Standings()
        self._continuations = Continuations()
        self._records: Sequence[Trial] = ()
        self._trials: dict[str, Trial] = {}
        self._study: Study | None = None
        self._exhausted: Exhausted | None = None
        self._recommended: tuple[int, int | None] | None = None
        self._unanswered: TransientError | None = None
        self._keeper, self._pace, self._beside = keeper, pace, beside
        self._retained: tuple[int, datetime] | None = None

    async def run(
        self, *, interrupted: bool = False, hold: str = "", under: Study | None = None, invalid: str = ""
    ) -> Look | None:
        """Make one pass; None when the study does not exist (any more).

        Args:
            interrupted: Lay everything down for a later run.
            hold: Why no trial may be created now; empty when they may.
            under: The study as it was when it was valid, instead of the stored one.
            invalid: What is wrong with the stored one: attempts are watched and settled, nothing is started, and the status says this.

        Raises:
            TransientError: If the world was not ready. What was done until then stands, and the next pass goes on from there.
        """
        study = under or await self._store.read_study(self._key)
        if study is None:
            return None
        self._forget_if_edited(study)
        now = await self._observe(study, interrupted=interrupted)
        plan = leave_open(plan_study(now.snapshot, self._standings), now.unread)
        if self._pace is not None:
            actions, due = self._pace.hold_back(plan.actions, now.snapshot)
            plan = wake_within(replace(plan, actions=actions), due)
        if hold:
            plan = create_nothing(plan, hold, idle=not now.attempts)
        if invalid:
            plan = only_watch(plan, invalid)
        self._unanswered = None
        await self._repeat_stops(now)
        moved = await self._apply_all(now, plan.actions)
        wait = (
            self._pace.wait_seconds(study, plan.state, self._clock.now()) if self._pace and not self._exhausted else 0
        )
        if wait and study.status is not None:
            # The status of before, with the snapshot of now: what must be retained can only be more by that.
            status, plan = study.status, wake_within(plan, wait)
        else:
            status = await self._write_status(now, plan, interrupted=interrupted)
        await self._retain(now, status)
        if self._unanswered is not None:
            raise self._unanswered
        return Look(
            study=study.model_copy(update={"status": status}),
            snapshot=now.snapshot,
            curves={name: curves for name, curves in now.curves.items() if curves and name in now.attempts},
            plan=plan,
            moved=moved,
        )

    # ---- observe ---------------------------------------------------------------------------------------------------

    def _forget_if_edited(self, study: Study) -> None:
        known = self._study
        if known is None or (known.spec is not study.spec and known.spec != study.spec):
            self._exhausted, self._recommended, self._retained = None, None, None
        self._study = study

    async def _observe(self, study: Study, *, interrupted: bool) -> _Pass:
        records = await self._store.read_trials(self._key)
        trials = self._by_name(records)
        attempts = dict(await self._runner.observe(study))
        strangers = frozenset(attempts.keys() - trials.keys())
        for name, attempt in list(attempts.items()):
            trial = trials.get(name) or _stranger(study, name)
            # Left over by a crash (its result is stored, its trial tried again) or by a record that was lost.
            if name in strangers or reason_of(trial).terminal or attempt.number < trial.status.attempt:
                await self._clear_away(study, trial, attempt)
                del attempts[name]
        own = await self._metrics.read(study, attempts) if attempts else {}
        unread = self._metrics.unread() if attempts else {}
        for name in unread:
            # It keeps its place as if it ran on.
            attempts[name] = replace(attempts[name], phase=Phase.RUNNING)
        curves = self._continuations.extend(study.spec, trials, own)
        snapshot = self._snapshotter.build(
            study=study,
            trials=records,
            attempts=attempts,
            curves=curves,
            now=self._clock.now(),
            exhausted=self._exhausted,
            interrupted=interrupted,
        )
        return _Pass(
            study=study,
            trials=trials,
            attempts=attempts,
            own=own,
            curves=curves,
            unread=unread,
            strangers=strangers,
            snapshot=snapshot,
        )

    def _by_name(self, records: Sequence[Trial]) -> dict[str, Trial]:
        """Return the records by name, in the order of their index; only those that changed are read."""
        known = self._trials
        for place in changed_places(self._records, records):
            known[records[place].metadata.name] = records[place]
        if len(known) != len(records):
            # Some were taken away.
            known = {trial.metadata.name: trial for trial in records}
        self._records, self._trials = records, known
        return known

    async def _clear_away(self, study: Study, trial: Trial, attempt: Attempt) -> None:
        if attempt.phase in {Phase.EXITED, Phase.LOST}:
            await self._runner.release(study, trial, attempt.number)
        else:
            await self._runner.stop(study, trial, attempt.number)

    async def _repeat_stops(self, now: _Pass) -> None:
        """Ask again for stops that are recorded: a crash may have come between the record and the request."""
        for name, attempt in now.attempts.items():
            stopping = find_condition(now.trials[name].status.conditions, "Stopping")
            if stopping is not None and attempt.phase in {Phase.RUNNING, Phase.WAITING}:
                await self._runner.stop(now.study, now.trials[name], attempt.number)

    # ---- apply -----------------------------------------------------------------------------------------------------

    async def _apply_all(self, now: _Pass, actions: Sequence[Action]) -> bool:
        """Do everything; return whether anything was changed.

        A slot that is free is filled before the rest is tidied up: who waits for a GPU should not wait for records. What is left
        does not depend on each other.
        """
        moved: list[bool] = []

        async def apply(action: Action) -> None:
            if not await self._apply(now, action):
                # An algorithm that still thinks is asked again by the next pass: that is no second creation.
                return
            moved.append(True)
            logger.info("Applied %s", type(action).__name__, extra={"study": self._key.name, "action": action})
            self._observer(action)

        groups, late = _together(actions)
        for group in groups:
            await run_beside([partial(apply, action) for action in group], self._beside)
        rest = [partial(apply, action) for action in late]
        await run_beside([*rest, *(partial(self._release, now, trial) for trial in now.settled)], self._beside)
        return bool(moved)

    async def _apply(self, now: _Pass, action: Action) -> bool:
        """Do one thing; return whether it changed anything."""
        if isinstance(action, CreateTrials):
            return await self._create(now, action.count)
        trial, seen, time = now.trials[action.trial], now.seen(action.trial), self._clock.now()
        if _gives_up(action, seen.attempt):
            await self._runner.confirm(now.study, trial, seen.attempt.number if seen.attempt else trial.status.attempt)
        match action:
            case StartAttempt():
                await self._runner.start(now.study, with_exclusions(trial, now.study, now.trials), action.attempt)
            case StopAttempt():
                trial = await self._store.update_trial(self._key, trial, status_stopping(trial, action, time))
                await self._runner.stop(now.study, trial, action.attempt)
            case PassRung():
                trial = await self._store.update_trial(self._key, trial, status_passed(trial, action))
            case PauseTrial():
                status = status_paused(trial, action, now.study.spec, seen, rungs(now.study.spec), time)
                trial = await self._store.update_trial(self._key, trial, status)
                now.settled.append(trial)
            case PromoteTrial():
                trial = await self._store.update_trial(self._key, trial, status_promoted(trial, action, time))
            case RecordPhase():
                trial = await self._store.update_trial(self._key, trial, status_phase(trial, action, seen, time))
            case RequeueTrial():
                trial = await self._store.update_trial(self._key, trial, status_requeued(trial, action, seen, time))
                now.settled.append(trial)
            case FinishTrial():
                status = self._final_status(now, trial, seen, action, time)
                trial = await self._store.update_trial(self._key, trial, status)
                now.settled.append(trial)
        now.trials[action.trial] = trial
        return True

    def _final_status(self, now: _Pass, trial: Trial, seen: Seen, action: FinishTrial, time: datetime) -> TrialStatus:
        original = now.trials.get(trial.spec.reuse_of or "")
        if action.outcome is TrialReason.REUSED and original is not None:
            return status_reused(trial, original, action, time)
        return status_finished(trial, action, now.study.spec, seen, rungs(now.study.spec), time)

    async def _release(self, now: _Pass, trial: Trial) -> None:
        """Let go of an attempt that ended: its result is stored."""
        attempt = now.attempts.get(trial.metadata.name)
        if attempt is not None and attempt.phase in {Phase.EXITED, Phase.LOST}:
            await self._runner.release(now.study, trial, attempt.number)

    async def _create(self, now: _Pass, count: int) -> bool:
        """Ask for trials on the newest history, record each, and start it."""
        snapshot = self._snapshotter.build(
            study=now.study, trials=list(now.trials.values()), attempts={}, curves={}, now=now.snapshot.now
        )
        if f"{self._key.name}-{snapshot.next_index}" in now.strangers:
            # An attempt that nobody asked for has that name and has to be gone first.
            return False
        try:
            found = await self._suggester.propose(snapshot, count)
        except TransientError as error:
            # What else happened is told first: nobody should wait for a model to learn that a trial has ended.
            self._unanswered = error
            return False
        self._exhausted = found.exhausted
        async with Beside(self._beside) as starts:
            await self._record(now, found.proposals, starts)
        if snapshot.free_indices is not None:
            # A gap was filled: it belongs between the others.
            ordered = sorted(now.trials.items(), key=lambda item: item[1].spec.index)
            now.trials.clear()
            now.trials.update(ordered)
        return bool(found.proposals) or found.exhausted is not None

    async def _record(self, now: _Pass, proposals: Sequence[Proposal], starts: Beside) -> None:
        """Record trials one after the other; each is started as soon as it is recorded."""
        for proposal in proposals:
            if f"{self._key.name}-{proposal.index}" in now.strangers:
                break
            asked_at = self._clock.now()
            trial = await self._store.create_trial(self._key, new_trial(now.study, proposal, asked_at))
            now.trials[trial.metadata.name] = trial
            if trial.spec.assignment != proposal.assignment or trial.spec.until_step != proposal.until_step:
                # Somebody else had created it: what was proposed beside it was proposed without knowing it.
                break
            if trial.spec.reuse_of is None:
                placed = with_exclusions(trial, now.study, now.trials)
                start = partial(self._runner.start, now.study, placed, trial.status.attempt, recorded_at=asked_at)
                await starts.run(start, alone=len(proposals) == 1)

    # ---- status ----------------------------------------------------------------------------------------------------

    async def _write_status(self, now: _Pass, plan: Plan, *, interrupted: bool) -> StudyStatus:
        snapshot = self._snapshotter.build(
            study=now.study,
            trials=list(now.trials.values()),
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
        status = build_status(
            study=now.study,
            snapshot=snapshot,
            trials=now.trials,
            state=state,
            recommended=await self._recommend(now.study, snapshot) if state.reason.concludes else None,
            now=self._clock.now(),
            remarks=self._remarks(),
        )
        if status != now.study.status:
            await self._store.update_study(self._key, status)
            if self._pace is not None:
                self._pace.on_told(self._clock.now())
        return status

    async def _retain(self, now: _Pass, status: StudyStatus) -> None:
        """Say which checkpoints must stay when trials have ended since, not much oftener than is of use."""
        counts, time = status.trials, self._clock.now()
        ended = counts.total - counts.pending - counts.running
        known = self._retained
        pause = timedelta(seconds=_RETAIN_SECONDS_A_TRIAL * counts.total)
        young = known is not None and time - known[1] < pause and status.completion_time is None
        if self._keeper is None or young or not ended or (known is not None and known[0] == ended):
            return
        # With the status just found: a study that is complete needs less than one that still searches.
        study = now.study.model_copy(update={"status": status})
        snapshot = self._snapshotter.build(
            study=study, trials=list(now.trials.values()), attempts={}, curves={}, now=time
        )
        winners = {best.index for best in [status.best, *status.pareto_front] if best is not None}
        needed = plan_retention(snapshot, now.trials, winners=winners, candidates=future_parents(snapshot))
        await self._keeper.retain(study, needed)
        self._retained = ended, time

    async def _recommend(self, study: Study, snapshot: StudySnapshot) -> int | None:
        """Return the algorithm's choice of the winner; computed once for a finished study."""
        if snapshot.completed_at is not None and study.status is not None:
            return study.status.best.index if study.status.best else None
        if self._recommended is None or self._recommended[0] != len(snapshot.trials):
            choice = await self._suggester.recommend(snapshot)
            self._recommended = len(snapshot.trials), choice
        return self._recommended[1]


def _together(actions: Sequence[Action]) -> tuple[list[list[Action]], list[Action]]:
    """Return actions in the order of a plan, those of one kind that do not depend on each other together; and what may come last.

    The latter are the records of trials about which there is nothing else to do.
    """
    busy = {action.trial for action in actions if not isinstance(action, CreateTrials | RecordPhase)}
    late: list[Action] = [action for action in actions if isinstance(action, RecordPhase) and action.trial not in busy]
    first = [action for action in actions if not isinstance(action, RecordPhase) or action.trial in busy]
    return [list(group) for _, group in groupby(first, key=_kind)], late


def _kind(action: Action) -> tuple[type, bool]:
    # A trial that takes over the result of another one needs that one's record.
    return type(action), isinstance(action, FinishTrial) and action.outcome is TrialReason.REUSED


def _gives_up(action: Action, attempt: Attempt | None) -> bool:
    """Whether an action stands on an attempt's silence: it runs on, or is lost, for all that was heard."""
    lost = attempt is not None and attempt.phase is Phase.LOST
    return isinstance(action, StopAttempt) or (lost and isinstance(action, FinishTrial | RequeueTrial | PauseTrial))


def _stranger(study: Study, name: str) -> Trial:
    """Return a stand-in for the record of an attempt that has none."""
    spec = TrialSpec(study=study.metadata.name, index=0, assignment={}, seed=0, origin=Origin(algorithm=""))
    return Trial(metadata=Metadata(name=name, namespace=study.metadata.namespace), spec=spec)
