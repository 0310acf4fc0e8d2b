# ruff: noqa: ARG002 - the port names arguments that a simulation does not need
"""Trials whose whole story is a script, on a clock that is moved by hand. For rehearsals and tests.

They pass the same contract suite as real ones. Nothing here sleeps: time passes only by the clock and by :meth:`SimulatedRunner.wait`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from seatrial.adapters.local.memory import SimulatedClock
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.attempts import Attempt, FinalMetric, Phase, Report, ReportStatus, SavedCheckpoint
from seatrial.decide.curves import CurveBuilder, Curves
from seatrial.decide.fidelity import until_step
from seatrial.errors import TransientError

__all__ = ["Script", "SimulatedRunner"]

_GRACE_SECONDS = 30.0
# From the last report of an attempt to its end: clocks count whole microseconds.
_ENDING_SECONDS = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The story of one attempt, as if nobody interfered.

    Attributes:
        duration_seconds: From its start to its end.
        curve: (seconds after the start, step, metrics) in order of time.
        exit_code: At its end.
        sdk: Whether it writes a termination message by itself: succeeded at exit code 0, stopped when it was told to stop, else failed.
        report: Termination message instead of the SDK's.
        reason: What ended it; by default follows from the exit code.
        lost: Whether it vanishes at its end without a trace (infrastructure).
        infrastructure: Whether its end is no fault of the trial.
        stop_seconds: Seconds from being told to stop until it ends; at most the grace period, then it is killed.
        gpus: GPUs that it holds.
        stuck: Why its container never begins, ``ContainerCreating``; it has a place and waits.
        saves: Whether it is the story of a whole training that saves a checkpoint at every report: an attempt goes on from the newest one.
    """

    duration_seconds: float
    curve: Sequence[tuple[float, int, Mapping[str, float]]] = ()
    exit_code: int = 0
    sdk: bool = True
    report: Report | None = None
    reason: str = ""
    lost: bool = False
    infrastructure: bool = False
    stop_seconds: float = 0.0
    gpus: float = 0.0
    saves: bool = False
    stuck: str = ""


@dataclass(slots=True)
class _Play:
    """One attempt on the stage.

    Attributes:
        before: What of a whole training lies before the checkpoint that it started from.
        pauses: Whether it ends at the step until which it is to train.
        metric: The first objective.
        staged_at: Since when it waits or runs.
    """

    trial: Trial
    number: int
    script: Script
    before: Sequence[tuple[float, int, Mapping[str, float]]] = ()
    pauses: bool = False
    metric: str = ""
    staged_at: datetime | None = None
    started_at: datetime | None = None
    stop_at: datetime | None = None
    dropped: bool = field(default=False)

    @property
    def origin(self) -> int:
        """Step of the checkpoint that it started from."""
        return self.before[-1][1] if self.before else 0

    def end(self) -> datetime | None:
        """When it ends by all that is known now; None while it waits."""
        if self.started_at is None:
            return self.stop_at if self.dropped else None
        natural = self.started_at + timedelta(seconds=self.script.duration_seconds)
        if self.stop_at is None:
            return natural
        return min(natural, self.stop_at + timedelta(seconds=min(self.script.stop_seconds, _GRACE_SECONDS)))

    def cut_short(self) -> bool:
        """Whether it ends because it was told to."""
        if self.started_at is None:
            return self.dropped
        natural = self.started_at + timedelta(seconds=self.script.duration_seconds)
        end = self.end()
        return self.stop_at is not None and end is not None and end < natural

    def told(self, now: datetime) -> list[tuple[int, Mapping[str, float]]]:
        """Return what it has reported until *now*."""
        if self.started_at is None:
            return []
        end = self.end()
        seconds = (min(now, end or now) - self.started_at).total_seconds()
        return [(step, metrics) for at, step, metrics in self.script.curve if at <= seconds]


class SimulatedRunner:
    """Plays scripted attempts in simulated time; also a :class:`~seatrial.ports.MetricSource`.

    Args:
        clock: Whose time counts.
        script: The story of an attempt, a pure function of trial and number of the attempt.
        capacity: Attempts that may run at the same time; more of them wait in order.

    Attributes:
        log: One line for each start, stop and release, with the seconds since the runner was made.
        peak: Most attempts that ran at the same time.
        trained: Trial and step of every report of attempts that are over: what was trained.
    """

    def __init__(
        self, clock: SimulatedClock, script: Callable[[Trial, int], Script], *, capacity: int | None = None
    ) -> None:
        self._clock = clock
        self._script = script
        self._capacity = capacity
        self._plays: dict[str, _Play] = {}
        self._began = clock.now()
        self.log: list[str] = []
        self.peak = 0
        self.trained: list[tuple[str, int]] = []
        self._saved: dict[str, int] = {}

    async def observe(self, study: Study) -> Mapping[str, Attempt]:
        """Return the newest attempt of every trial that has one."""
        self._admit()
        return {name: self._attempt(play) for name, play in self._plays.items()}

    async def start(self, study: Study, trial: Trial, number: int, *, recorded_at: datetime | None = None) -> None:
        """Start an attempt, or queue it."""
        name = trial.metadata.name
        play = self._plays.get(name)
        if play is not None and play.number >= number:
            return
        if play is not None and not self._ended(play):
            raise TransientError(
                f"attempt {play.number} of {name} still runs; attempt {number} starts when it has ended"
            )
        if play is not None:
            self._remember(play)
        self._plays[name] = self._stage(study, trial, number)
        self._note(f"start {name}.{number}")
        self._admit()

    async def confirm(self, study: Study, trial: Trial, number: int) -> None:
        """Do nothing: no news is ever late."""

    async def stop(self, study: Study, trial: Trial, number: int) -> None:
        """Ask an attempt to end."""
        play = self._plays.get(trial.metadata.name)
        if play is None or play.number != number or play.stop_at is not None or self._ended(play):
            return
        play.stop_at, play.dropped = self._clock.now(), play.started_at is None
        self._note(f"stop {trial.metadata.name}.{number}")

    async def release(self, study: Study, trial: Trial, number: int) -> None:
        """Forget an attempt that ended."""
        play = self._plays.get(trial.metadata.name)
        if play is None or play.number != number:
            return
        if not self._ended(play):
            raise TransientError(f"attempt {number} of {trial.metadata.name} still runs and cannot be released")
        self._remember(play)
        del self._plays[trial.metadata.name]
        self._note(f"release {trial.metadata.name}.{number}")
        self._admit()

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves so far."""
        found: dict[str, Curves] = {}
        window = max(objective.window for objective in study.spec.objectives)
        for name in attempts:
            if (play := self._plays.get(name)) is None:
                continue
            builders: dict[str, CurveBuilder] = {}
            for step, metrics in play.told(self._clock.now()):
                for metric, value in metrics.items():
                    builders.setdefault(metric, CurveBuilder(window=window)).add(step, value)
            found[name] = {metric: builder.build() for metric, builder in builders.items()}
        return found

    def unread(self) -> Mapping[str, float]:
        """Return nothing: every report is there."""
        return {}

    def degraded(self) -> None:
        """Return None: every report is there."""

    async def wait(self, timeout_seconds: float) -> None:
        """Let time pass until something happens to an attempt, at most *timeout_seconds*."""
        now = self._clock.now()
        upcoming = self.next_event()
        seconds = timeout_seconds if upcoming is None else min(timeout_seconds, (upcoming - now).total_seconds())
        self._clock.advance(seconds)
        self._admit()

    def next_event(self) -> datetime | None:
        """Return when an attempt reports or ends next, None when nothing is coming."""
        now = self._clock.now()
        times: list[datetime] = []
        for play in self._plays.values():
            end = play.end()
            if play.started_at is None or end is None:
                continue
            reports = (play.started_at + timedelta(seconds=at) for at, _, _ in play.script.curve)
            times += [time for time in (*reports, end) if now < time <= end]
        return min(times, default=None)

    def _stage(self, study: Study, trial: Trial, number: int) -> _Play:
        """Return the attempt: of a whole training the part from the newest checkpoint until the step at which it ends."""
        script, name = self._script(trial, number), trial.metadata.name
        saved = self._saved.get(name, 0) if script.saves else 0
        before = [point for point in script.curve if point[1] <= saved]
        offset = before[-1][0] if before else 0.0
        curve = [(at - offset, step, metrics) for at, step, metrics in script.curve if step > saved]
        script = replace(script, duration_seconds=script.duration_seconds - offset, curve=curve)
        until = until_step(study.spec, trial)
        last = next((at for at, step, _ in curve if until is not None and step >= until), None)
        if until is not None and saved >= until:
            last = 0.0
        pauses = last is not None and last <= script.duration_seconds
        if last is not None and pauses:
            cut = [point for point in curve if point[0] <= last]
            script = replace(
                script,
                duration_seconds=last + _ENDING_SECONDS,
                curve=cut,
                exit_code=0,
                lost=False,
                infrastructure=False,
            )
        metric = study.spec.objectives[0].metric
        return _Play(trial, number, script, before=before, pauses=pauses, metric=metric, staged_at=self._clock.now())

    def _remember(self, play: _Play) -> None:
        name, told = play.trial.metadata.name, play.told(self._clock.now())
        self.trained += [(name, step) for step, _ in told]
        if told and play.script.saves:
            self._saved[name] = max(self._saved.get(name, 0), told[-1][0])

    def _ended(self, play: _Play) -> bool:
        end = play.end()
        return end is not None and end <= self._clock.now()

    def _admit(self) -> None:
        running = sum(play.started_at is not None and not self._ended(play) for play in self._plays.values())
        for play in self._plays.values():
            if play.started_at is not None or play.dropped or play.script.stuck:
                continue
            if self._capacity is None or running < self._capacity:
                play.started_at = self._clock.now()
                running += 1
        self.peak = max(self.peak, running)

    def _attempt(self, play: _Play) -> Attempt:
        known = Attempt(
            trial=play.trial.metadata.name,
            number=play.number,
            phase=Phase.RUNNING,
            started_at=play.started_at,
            gpus=play.script.gpus,
        )
        if not self._ended(play):
            if play.started_at is not None:
                return known
            if play.script.stuck:
                words = "its node prepares it"
                waits = replace(known, phase=Phase.WAITING, reason=play.script.stuck, message=words)
                return replace(waits, waits_since=play.staged_at)
            return replace(
                known,
                phase=Phase.WAITING,
                reason="Insufficient",
                message=f"Insufficient slots: {self._capacity} are taken",
            )
        known = replace(known, finished_at=play.end())
        if play.script.lost and not play.cut_short():
            return replace(known, phase=Phase.LOST, reason="Lost", message="vanished", infrastructure=True)
        code, reason = _exit(play)
        return replace(
            known,
            phase=Phase.EXITED,
            reason=reason,
            message="" if code == 0 else f"exit code {code}",
            exit_code=code,
            report=_report(play, code),
            infrastructure=play.script.infrastructure,
        )

    def _note(self, text: str) -> None:
        self.log.append(f"{(self._clock.now() - self._began).total_seconds():g} {text}")


def _exit(play: _Play) -> tuple[int, str]:
    if not play.cut_short():
        code = play.script.exit_code
        return code, play.script.reason or ("Completed" if code == 0 else "Error")
    if play.started_at is not None and play.script.stop_seconds > _GRACE_SECONDS:
        return 137, "SIGKILL"
    return (0, "Completed") if play.script.sdk and play.started_at is not None else (143, "SIGTERM")


def _report(play: _Play, code: int) -> Report | None:
    if not play.cut_short() and play.script.report is not None:
        return play.script.report
    told = [(step, metrics) for _, step, metrics in play.before]
    told += play.told(play.end() or datetime.max.replace(tzinfo=UTC))
    if not play.script.sdk or play.started_at is None or code == 137:
        return None
    finals: dict[str, FinalMetric] = {}
    for step, metrics in told:
        for name, value in metrics.items():
            finals[name] = FinalMetric(name=name, last=value, last_step=step)
    last = told[-1][0] if told else None
    mark: SavedCheckpoint | None = None
    if play.script.saves and last is not None:
        name = play.trial.metadata.name
        mark = SavedCheckpoint(step=last, digest=f"sha256:{name}@{last}", path=f"{play.number}/step-{last}")
    return Report(
        status=_status(play, code),
        step=last,
        metrics=tuple(finals.values()),
        curve=tuple((at, metrics[play.metric]) for at, metrics in told if play.metric in metrics) if mark else (),
        checkpoint=mark,
        steps_trained=mark.step - play.origin if mark else None,
    )


def _status(play: _Play, code: int) -> ReportStatus:
    if play.cut_short():
        return ReportStatus.STOPPED
    if code != 0:
        return ReportStatus.FAILED
    return ReportStatus.PAUSED if play.pauses else ReportStatus.SUCCEEDED
