# ruff: noqa: ARG002 - the port names a study; a directory holds one
"""Runs trials as processes of this machine. What survives its death, and how, is told in :mod:`seatrial.adapters.local.live`.

The process that uses it holds the directory's :class:`~seatrial.adapters.local.claim.Claim`. All methods belong to one event loop.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from seatrial.adapters.local.clock import SystemClock
from seatrial.adapters.local.collector import Collector, Freed
from seatrial.adapters.local.container import Container, read_container
from seatrial.adapters.local.files import is_locked
from seatrial.adapters.local.launch import Child, Command, Launcher
from seatrial.adapters.local.layout import AttemptFiles, StudyDirectory
from seatrial.adapters.local.live import LiveAttempt, find_attempt
from seatrial.adapters.local.logs import LogLimits
from seatrial.adapters.local.prepare import Surroundings, build_command, build_inherited, build_variables
from seatrial.adapters.local.records import StartRecord
from seatrial.adapters.local.resources import Ledger, Machine, Share, read_machine
from seatrial.adapters.local.variables import ImaginaryPod
from seatrial.adapters.local.warm import WarmStarter
from seatrial.api.environment import checkpoint_url
from seatrial.api.study import Study, StudySpec
from seatrial.api.trial import Trial
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.retention import Needed
from seatrial.decide.rules import rungs
from seatrial.errors import TransientError
from seatrial.ports import Clock

__all__ = ["LocalRunner"]

# Ends of children are told at once; this is for growing files, deadlines and processes that an earlier runner started.
_POLL_SECONDS = 0.2
_DRAIN_POLL_SECONDS = 0.01
# Where attempts end this early, so much of their slots' time is given for fewer passes over the study.
_YOUNG_SECONDS = 0.1
_TOGETHER_SECONDS = 0.005


@dataclass(slots=True)
class _Queued:
    """An attempt that waits for its share of the machine."""

    pod: ImaginaryPod
    variables: Mapping[str, str]
    shown: Attempt

    def drop(self) -> None:
        """Let it end before it begins."""
        self.shown = replace(
            self.shown,
            phase=Phase.EXITED,
            reason="SIGTERM",
            message="was told to stop before it began",
            exit_code=143,
        )


class LocalRunner:
    """The :class:`~seatrial.ports.TrialRunner` of a laptop.

    Args:
        directory: The study's directory.
        folder: Working directory of trials without a ``workingDir``: where the study's file lies.
        machine: What there is to share; looked up when None.
        environment: What trials inherit; this process's environment when None.
        ignore_gpus: Whether trials that ask for GPUs run on the CPU.
        clock: The time.
        log_limits: How much output is kept.
        find_rungs: Steps whose values must be exact, by specification.
        reached: Told the points at which a crash is interesting.
        warden_options: Let the process that starts trials take the ways of another system.

    Attributes:
        freed: What the removal of checkpoints has freed so far.
    """

    def __init__(
        self,
        directory: StudyDirectory,
        folder: Path,
        *,
        machine: Machine | None = None,
        environment: Mapping[str, str] | None = None,
        ignore_gpus: bool = False,
        clock: Clock | None = None,
        log_limits: LogLimits | None = None,
        find_rungs: Callable[[StudySpec], Sequence[int]] = rungs,
        reached: Callable[[str], None] = lambda _: None,
        warden_options: Sequence[str] = (),
    ) -> None:
        environment = os.environ if environment is None else environment
        self._directory = StudyDirectory(directory.root.absolute())
        self._machine = machine or read_machine(environment)
        self._around = Surroundings(
            inherited=build_inherited(environment),
            folder=folder.absolute(),
            hides_gpus=ignore_gpus or bool(self._machine.gpus),
        )
        self._ledger = Ledger(self._machine, ignore_gpus=ignore_gpus)
        self._clock = clock or SystemClock()
        self._log_limits = log_limits or LogLimits()
        self._find_rungs = find_rungs
        self._reached = reached
        self._queue: dict[str, _Queued] = {}
        self._live: dict[str, LiveAttempt] = {}
        self._container: tuple[Study, Container] | None = None
        self._news = asyncio.Event()
        self._launcher = Launcher(
            self._directory.root, on_news=self._news.set, on_loss=self._lose, options=warden_options
        )
        self._starter = WarmStarter(self._directory.warm_log, self, reached)
        self._refused: dict[str, Command] = {}
        self._not_started: list[str] = []
        self._keeper: asyncio.Task[None] | None = None
        self._told: str | None = None
        self._collector: Collector | None = None
        self._wanted: Needed | None = None
        self._removal: asyncio.Task[None] | None = None
        self.freed = Freed()

    async def observe(self, study: Study) -> Mapping[str, Attempt]:
        """Return the newest attempt of every trial that has one.

        Raises:
            TransientError: If one could not be started, which is to be tried again.
        """
        self._open()
        self._launcher.read()
        self._news.clear()
        self._poll()
        if self._not_started:
            words, self._not_started = "; ".join(self._not_started), []
            raise TransientError(words)
        self._admit()
        shown = {name: live.shown for name, live in self._live.items()}
        shown.update((name, queued.shown) for name, queued in self._queue.items())
        return shown

    async def start(self, study: Study, trial: Trial, number: int, *, recorded_at: datetime | None = None) -> None:
        """Start an attempt, or queue it.

        Raises:
            SpecError: If the container cannot run on a laptop.
            TransientError: If an earlier attempt of the trial still runs.
        """
        self._open()
        name = trial.metadata.name
        known = self._find(name)
        if known is not None and known.number >= number:
            return
        if known is not None:
            await self.release(study, trial, known.number)
        pod = ImaginaryPod(
            container=self._read_container(study),
            study=study,
            trial=trial,
            attempt=number,
            machine={"cpu": self._machine.cores, "memory": self._machine.memory_bytes},
        )
        variables = build_variables(pod, self._directory, self._find_rungs(study.spec), self._told)
        self._queue[name] = _Queued(pod, variables, Attempt(trial=name, number=number, phase=Phase.WAITING))
        self._admit()

    async def confirm(self, study: Study, trial: Trial, number: int) -> None:
        """Do nothing: what was observed was seen, not heard of."""

    async def stop(self, study: Study, trial: Trial, number: int) -> None:
        """Ask an attempt to end: the stop file and SIGTERM now, SIGKILL to its whole group after the grace period."""
        self._open()
        name = trial.metadata.name
        queued, live = self._queue.get(name), self._live.get(name)
        if queued is not None and queued.shown.number == number:
            queued.drop()
            self._news.set()
        elif live is not None and live.shown.number == number and not self._withdraw(name, live):
            live.stop(self._now())

    async def release(self, study: Study, trial: Trial, number: int) -> None:
        """Forget an attempt that ended and whose result is stored.

        Raises:
            TransientError: If it still runs.
        """
        self._open()
        name = trial.metadata.name
        known = self._find(name)
        if known is None or known.number != number:
            return
        if known.phase not in {Phase.EXITED, Phase.LOST}:
            raise TransientError(
                f"attempt {number} of {name} has not ended; release it when it has", retry_after_seconds=1.0
            )
        if self._queue.pop(name, None) is None:
            del self._live[name]
            self._remove_note(name, number)

    async def retain(self, study: Study, needed: Needed) -> None:
        """Remove what need not stay beside the study, or, in an object store, let the attempts that start from now on do so."""
        if checkpoint_url(study) is not None:
            self._told = needed.to_wire()
            return
        if self._collector is None:
            self._collector = Collector(self._directory.root / "checkpoints", study.metadata.name)
        self._wanted = needed
        if self._removal is None or self._removal.done():
            self._removal = asyncio.create_task(self._remove(self._collector), name="seatrial-removal")

    async def _remove(self, collector: Collector) -> None:
        """Remove until nothing newer is known of what must stay."""
        while self._wanted is not None:
            needed, self._wanted = self._wanted, None
            self.freed += await asyncio.to_thread(collector.collect, needed)

    def hurry(self) -> None:
        """Kill all attempts now, whatever is left of their grace periods; those that wait do not start any more."""
        for queued in self._queue.values():
            queued.drop()
        for name, live in self._live.items():
            if not self._withdraw(name, live):
                live.hurry(self._now())
        self._poll()
        self._news.set()

    async def wait(self, timeout_seconds: float) -> None:
        """Return when anything has happened since the last :meth:`observe`: an end, a report, a line; or at the timeout."""
        if self._keeper is not None:
            # What an earlier runner left is found by looking: for that the disk may have no room yet, and there is time for it here.
            self._open()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(timeout_seconds, self._news.set)
        try:
            await self._news.wait()
            await self._wait_for_others(loop)
        finally:
            timer.cancel()

    async def _wait_for_others(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait a moment for attempts that may end as soon as one that has just ended, while no core is idle by that.

        What ends together is settled together.
        """
        over = loop.time() + _TOGETHER_SECONDS
        while self._count_young() > self._machine.cores and loop.time() < over:
            self._news.clear()
            timer = loop.call_at(over, self._news.set)
            try:
                await self._news.wait()
            finally:
                timer.cancel()

    def _count_young(self) -> int:
        """Return how many attempts run that began a moment ago."""
        now = self._now()
        return sum(
            live.process is not None
            and live.process.code is None
            and now - live.record.started_at.timestamp() < _YOUNG_SECONDS
            for live in self._live.values()
        )

    def wake(self) -> None:
        """Let :meth:`wait` return."""
        self._news.set()

    async def close(self) -> None:
        """Let go of all processes; those that run go on and are found by the next runner."""
        self._starter.close()
        self._launcher.close()
        if self._removal is not None:
            await self._removal
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper

    def _open(self) -> None:
        """Find what an earlier runner left, once."""
        if self._keeper is not None:
            if self._keeper.done():
                self._keeper.result()
            return
        folder = self._directory.open
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TransientError(f"{folder} cannot be made: {error.strerror}; make room on the disk") from error
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="seatrial-runner")
        notes = [(name, int(number)) for name, number in _read_names(self._directory.open)]
        for name, number in sorted(notes):
            live = find_attempt(self._directory.attempt(name, number), name, number, self._now())
            older = self._live.get(name)
            if live is None:
                self._remove_note(name, number)
                continue
            if older is not None:
                # Its successor was started: it had ended and its result was stored.
                self._remove_note(name, older.shown.number)
            self._live[name] = live
            self._ledger.hold(name, live.record.share)

    def _remove_note(self, name: str, number: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._directory.attempt(name, number).note_name)  # noqa: PTH108 - a path takes longer to make

    async def _keep(self) -> None:
        """Look after what nobody else tells of."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            running = [live for live in self._live.values() if not live.ended]
            grown = [live.has_grown() for live in running]
            if self._poll() or any(grown):
                self._news.set()

    def _lose(self, children: Sequence[Child], hung: int | None) -> None:
        """Look after attempts whose warden is gone as after those of an earlier runner: it may have died before it started them."""
        for live in self._live.values():
            if live.process in children:
                live.lose_warden(self._now(), hung)
        self._news.set()

    def on_warm_start(self, files: AttemptFiles) -> None:
        """Take note that an attempt that was handed over runs."""
        live = self._find_live(files)[1]
        live.awaited, live.minded = False, True

    def on_warm_end(self, files: AttemptFiles) -> None:
        """Take note that an attempt that was handed over has ended, or has to be looked after from here on."""
        for live in self._live.values():
            if live.files == files:
                live.minded = False
        self._news.set()

    def on_refusal(self, files: AttemptFiles, command: Command, why: str) -> None:
        """Start an attempt cold at the next look, after it was handed over in vain."""
        name, live = self._find_live(files)
        live.note_cold_start(why)
        self._refused[name] = command
        self._news.set()

    def _find_live(self, files: AttemptFiles) -> tuple[str, LiveAttempt]:
        return next((name, live) for name, live in self._live.items() if live.files == files)

    def _withdraw(self, name: str, live: LiveAttempt) -> bool:
        """Let an attempt that nobody has started yet end before it begins; return whether there was one."""
        if self._refused.pop(name, None) is None and not self._starter.withdraw(live.files):
            return False
        live.drop()
        self._news.set()
        return True

    def _poll(self) -> bool:
        """Look after all attempts; return whether one ended."""
        now, ended, draining = self._now(), False, False
        for name, live in list(self._live.items()):
            if live.ended:
                continue
            if live.poll(now, self._log_limits):
                self._ledger.free(name)
                ended = True
                if live.not_started:
                    self._not_started.append(
                        f"attempt {live.shown.number} of {name} cannot be started: {live.not_started}"
                    )
                if live.never_began or live.not_started:
                    self._forget(name)
            draining = draining or live.is_draining
        if draining:
            asyncio.get_running_loop().call_later(_DRAIN_POLL_SECONDS, self._poll_again)
        return ended

    def _forget(self, name: str) -> None:
        """Forget an attempt that never began, so that it is started under the same number."""
        live = self._live.pop(name)
        self._remove_note(name, live.shown.number)
        shutil.rmtree(live.files.folder, ignore_errors=True)

    def _poll_again(self) -> None:
        if self._poll():
            self._news.set()

    def _admit(self) -> None:
        """Start what waits and fits, in order: nobody overtakes."""
        for name, command in list(self._refused.items()):
            try:
                self._live[name].launch_cold(command, self._launcher, self._reached)
            except OSError as error:
                raise TransientError(f"{name} cannot be started: {error}; make room for it") from error
            del self._refused[name]
            if self._live[name].ended:
                self._ledger.free(name)
        for name, queued in list(self._queue.items()):
            if queued.shown.phase is not Phase.WAITING:
                continue
            share = self._ledger.take(name, queued.pod.container.demand)
            if isinstance(share, str):
                self._queue[name].shown = replace(queued.shown, reason="Insufficient", message=share)
                return
            del self._queue[name]
            try:
                self._launch(name, queued, share)
            except OSError as error:
                self._live.pop(name, None)
                self._ledger.free(name)
                raise TransientError(
                    f"attempt {queued.shown.number} of {name} cannot be started: {error}; make room for it"
                ) from error

    def _launch(self, name: str, queued: _Queued, share: Share) -> None:
        """Start an attempt. Order matters: see :mod:`seatrial.adapters.local.live`.

        Raises:
            OSError: If the machine has no room for it; it can be started again.
        """
        pod = queued.pod
        files = self._directory.attempt(name, pod.attempt)
        self._reached("share taken")
        _make_own_folder(files)
        self._reached("folder made")
        live = _begin(files, queued, share, self._machine, self._clock.now())
        self._live[name] = live
        threads = max(1, int(share.cpus or self._machine.cores / pod.study.spec.budget.parallel_trials))
        command = build_command(pod, queued.variables, share, threads, self._around)
        live.launch(command, self._launcher, self._reached, self._hand_over if pod.study.spec.trial.reuse else None)
        if live.ended:
            self._ledger.free(name)
            self._news.set()

    def _hand_over(self, files: AttemptFiles, command: Command, lock: int) -> bool:
        """Let an attempt be forked from a process that has its libraries imported; return whether that is being done."""
        why = self._starter.take(files, command, lock)
        if why:
            self._find_live(files)[1].note_cold_start(why)
        return not why

    def _find(self, name: str) -> Attempt | None:
        if name in self._queue:
            return self._queue[name].shown
        return self._live[name].shown if name in self._live else None

    def _read_container(self, study: Study) -> Container:
        if self._container is None or self._container[0].spec.trial is not study.spec.trial:
            self._container = (study, read_container(study))
        return self._container[1]

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _make_own_folder(files: AttemptFiles) -> None:
    """Make the attempt's folder anew.

    Raises:
        TransientError: If processes of an attempt that was here before still live.
    """
    try:
        os.mkdir(files.folder_name)  # noqa: PTH102 - a path takes as long to make as a folder in memory
    except FileNotFoundError:
        files.folder.mkdir(parents=True)
    except FileExistsError:
        if not files.folder.is_dir():
            raise
        if is_locked(files.note_name):
            raise TransientError(f"processes of an earlier attempt in {files.folder} still run; end them") from None
        shutil.rmtree(files.folder)
        files.folder.mkdir()


def _read_names(folder: Path) -> list[tuple[str, str]]:
    names = [tuple(name.rsplit(".", 1)) for name in os.listdir(folder)]  # noqa: PTH208 - names are all that is wanted
    return [(name[0], name[1]) for name in names if len(name) == 2 and name[1].isdigit()]


def _begin(files: AttemptFiles, queued: _Queued, share: Share, machine: Machine, now: datetime) -> LiveAttempt:
    container, asked = queued.pod.container, queued.pod.container.demand.cpus
    notes: tuple[str, ...] = ()
    if asked is not None and asked > machine.cores:
        notes = (f"asks for {asked:g} cores, this machine has {machine.cores}: it runs alone on all of them",)
    record = StartRecord(
        started_at=now,
        share=share,
        grace_seconds=container.grace_seconds,
        memory_limit_bytes=container.demand.memory_limit_bytes,
        notes=notes,
        warm=queued.pod.study.spec.trial.reuse,
    )
    shown = Attempt(
        trial=queued.shown.trial,
        number=queued.shown.number,
        phase=Phase.RUNNING,
        started_at=now,
        gpus=len(share.gpus),
        notes=notes,
    )
    return LiveAttempt(files=files, record=record, shown=shown)
