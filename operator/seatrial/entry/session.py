"""A study on this machine: opens its directory, runs it to its end, lays it down when asked to leave.

The first Ctrl-C (or SIGTERM) asks all trials to write a checkpoint and end; the second one ends them at once. Either way, and after a
SIGKILL too, the same call goes on.
"""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seatrial.adapters.local.claim import Claim
from seatrial.adapters.local.clock import SystemClock
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.runner import LocalRunner
from seatrial.adapters.local.store import DirectoryStore
from seatrial.adapters.metrics.local import LocalMetricSource
from seatrial.api.environment import checkpoint_url
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.actions import Action, CreateTrials, FinishTrial, RecordPhase
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.curves import Curves
from seatrial.decide.snapshot import read_completion
from seatrial.entry.asking import NearSuggester
from seatrial.entry.threads import trial_environment
from seatrial.errors import TransientError, UsageError
from seatrial.pace import Pace
from seatrial.ports import StudyKey
from seatrial.reconcile import Look, Reconciler

__all__ = ["Observer", "OpenedStudy", "Outcome", "RunOptions", "open_study", "run_study"]

# A pass at least this often, so that the live view and deadlines never sleep through anything.
_LONGEST_WAIT_SECONDS = 1.0
# After a pass that did something the next one finds what follows from it; what ends meanwhile is found with it.
_BREATH_SECONDS = 0.005
# What follows from these was planned with them: the next end of a trial is worth waiting for.
_WHOLE = FinishTrial | CreateTrials | RecordPhase
_LONG_BREATH_SECONDS = 0.05

# What must stay as it was for earlier trials to mean anything; the CRD refuses the same edits.
_FIXED = {"objectives": "spec.objectives", "parameters": "spec.parameters"}


class Observer(Protocol):
    """Watches a run."""

    def on_look(self, look: Look, curves: Mapping[str, Curves]) -> None:
        """Take what a pass saw and did; *curves* are those of trials that have an attempt."""
        ...

    def on_action(self, action: Action) -> None:
        """Take an action that was applied."""
        ...

    def on_note(self, text: str) -> None:
        """Take something that the session says to people."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a study is run here.

    Attributes:
        directory: Where its state lies.
        workdir: Working directory of trials without a workingDir: the folder of the study's file.
        ignore_gpus: Whether trials that ask for GPUs run on the CPU.
        restart: Whether an earlier study in the directory is moved aside first.
    """

    directory: Path
    workdir: Path
    ignore_gpus: bool = False
    restart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        study: With its last status.
        signal: SIGINT or SIGTERM when the run was interrupted, None when the study rests.
    """

    study: Study
    signal: signal.Signals | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedStudy:
    """A study as its files are now.

    Attributes:
        trials: By index.
        curves: Metrics of every trial whose attempt's files are there, by name of the trial.
    """

    study: Study
    trials: tuple[Trial, ...]
    curves: Mapping[str, Curves]


def run_study(study: Study, options: RunOptions, observer: Observer) -> Outcome:
    """Run a study until it rests or is interrupted.

    Args:
        study: As its file says it; where the directory holds it already, its budget and the like are taken from here.
        options: How to run it.
        observer: Is told everything.

    Raises:
        UsageError: If the directory is in use, cannot be written, or holds a study that this one cannot continue.
    """
    directory = StudyDirectory(options.directory)
    with Claim(directory):
        if options.restart:
            _move_aside(directory, observer)
        store = DirectoryStore(directory)
        try:
            key = _put(store, study, directory.root)
            _try_checkpoints(store, directory)
            return asyncio.run(_Session(store, key, directory, options, observer).run())
        finally:
            store.close()


def open_study(directory: Path) -> OpenedStudy:
    """Read a study, whether it runs at this moment or not.

    Raises:
        UsageError: If there is no study, or a file of it is torn.
    """
    return asyncio.run(_open(StudyDirectory(directory)))


async def _open(directory: StudyDirectory) -> OpenedStudy:
    store = DirectoryStore(directory, owner=False)
    study = store.stored_study()
    if study is None:
        raise UsageError(f"{directory.root} holds no study: there is no {directory.study.name} in it; run one first")
    trials = tuple(await store.read_trials(_key_of(study)))
    attempts = {
        trial.metadata.name: Attempt(trial=trial.metadata.name, number=trial.status.attempt, phase=Phase.EXITED)
        for trial in trials
        if directory.attempt(trial.metadata.name, trial.status.attempt).folder.exists()
    }
    curves = await LocalMetricSource(directory).read(study, attempts)
    return OpenedStudy(study=study, trials=trials, curves=curves)


def _key_of(study: Study) -> StudyKey:
    return StudyKey(study.metadata.namespace or "default", study.metadata.name)


def _put(store: DirectoryStore, study: Study, root: Path) -> StudyKey:
    """Store the study, or what may be changed of it.

    Raises:
        UsageError: If the directory holds another study, or one with other objectives or parameters.
    """
    old = store.stored_study()
    if old is not None and old.metadata.name != study.metadata.name:
        raise UsageError(f"{root} holds another study; name another --directory, or add --restart")
    if old is not None:
        changed = [path for field, path in _FIXED.items() if getattr(old.spec, field) != getattr(study.spec, field)]
        if changed:
            raise UsageError(
                f"{' and '.join(changed)} differ from the study in {root}, whose trials would mean nothing any more; "
                "give the study another metadata.name, or add --restart to move the old one aside and begin anew"
            )
    uid = old.metadata.uid if old is not None else _uid_of_trials(store, study) or _new_uid(study)
    return store.put_study(study.model_copy(update={"metadata": study.metadata.model_copy(update={"uid": uid})}))


def _uid_of_trials(store: DirectoryStore, study: Study) -> str | None:
    """Return the uid that trials in the directory name, where the study's own file was torn and put aside."""
    trials = asyncio.run(store.read_trials(_key_of(study)))
    owners = (owner for trial in trials for owner in trial.metadata.owner_references)
    return next((owner.uid for owner in owners if owner.name == study.metadata.name), None)


def _new_uid(study: Study) -> str:
    """Return what no other study has, a later one of this name included: their checkpoints lie apart in a shared store by it."""
    return f"{study.metadata.name}-{secrets.token_hex(6)}"


def _try_checkpoints(store: DirectoryStore, directory: StudyDirectory) -> None:
    """Write a file where trials will keep their checkpoints, and remove it: hours later is too late to learn that nobody can.

    An object store is left alone: only trials have what opens it.

    Raises:
        UsageError: If it cannot be written.
    """
    study = store.stored_study()
    url = checkpoint_url(study) if study is not None else None
    if url is not None and not url.startswith("file:///"):
        return
    if study is not None and read_completion(study) is not None:
        # Nothing is left to be trained.
        return
    folder = directory.checkpoints_root if url is None else Path(url.removeprefix("file://"))
    other = "name another --directory, or set" if url is None else "or name another place by"
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror}; no trial could save a checkpoint: make it a folder that can be written, "
            f"{other} spec.trial.checkpoints.url"
        ) from error


def _move_aside(directory: StudyDirectory, observer: Observer) -> None:
    """Move everything but the claim's lock into a folder beside it. Nothing is deleted.

    Raises:
        UsageError: If trials of the old study still run.
    """
    if not directory.study.exists():
        return
    running = list(directory.open.iterdir()) if directory.open.exists() else []
    if running:
        names = ", ".join(sorted(mark.name for mark in running)[:3])
        raise UsageError(
            f"trials of the study in {directory.root} are not settled ({names}); run it without --restart and interrupt it by Ctrl-C first"
        )
    number = 1
    while (aside := directory.root.with_name(f"{directory.root.name}.old-{number}")).exists():
        number += 1
    aside.mkdir()
    for entry in directory.root.iterdir():
        if entry != directory.lock:
            entry.rename(aside / entry.name)
    observer.on_note(f"the earlier study was moved to {aside}")


class _Session:
    """One run of one study."""

    def __init__(
        self, store: DirectoryStore, key: StudyKey, directory: StudyDirectory, options: RunOptions, observer: Observer
    ) -> None:
        self._observer = observer
        self._signals: list[signal.Signals] = []
        self._woken = False
        clock = SystemClock()
        self._runner = LocalRunner(
            directory,
            options.workdir,
            environment=trial_environment(),
            ignore_gpus=options.ignore_gpus,
            clock=clock,
        )
        self._reconciler = Reconciler(
            key,
            store=store,
            runner=self._runner,
            metrics=LocalMetricSource(directory),
            clock=clock,
            suggester=NearSuggester(),
            observer=observer.on_action,
            keeper=self._runner,
            pace=Pace(),
            beside=1,
        )

    async def run(self) -> Outcome:
        """Go on until the study rests or everything is laid down."""
        with _signals(self._on_signal):
            try:
                return await self._loop()
            finally:
                await self._runner.close()
                if freed := self._runner.freed.checkpoints:
                    size = self._runner.freed.size / 1e6
                    self._observer.on_note(f"removed {freed} checkpoints that nothing needs: {size:.1f} MB freed")

    async def _loop(self) -> Outcome:
        while True:
            self._woken = False
            try:
                look = await self._reconciler.run(interrupted=bool(self._signals))
            except TransientError as error:
                self._observer.on_note(f"{error}; trying again")
                await self._wait(error.retry_after_seconds)
                continue
            if look is None:
                raise UsageError("the study's file was removed while it ran; its trials are kept")
            self._observer.on_look(look, look.curves)
            if not look.moved and self._rests(look):
                return Outcome(study=look.study, signal=self._signals[0] if self._signals else None)
            longest = _find_breath(look) if look.moved else _LONGEST_WAIT_SECONDS
            await self._wait(min(look.plan.wake_after_seconds or longest, longest))

    def _rests(self, look: Look) -> bool:
        held = any(trial.live is not None for trial in look.snapshot.trials)
        return not held and (look.plan.state.reason.terminal or bool(self._signals) or look.snapshot.spec.suspend)

    async def _wait(self, seconds: float) -> None:
        """Wait for news of a trial, a signal, or the time."""
        if not self._woken:
            await self._runner.wait(seconds)

    def _on_signal(self, number: signal.Signals) -> None:
        self._signals.append(number)
        self._woken = True
        self._runner.wake()
        if len(self._signals) == 1:
            self._observer.on_note("stopping: trials write a checkpoint and end; Ctrl-C again ends them at once")
        else:
            self._observer.on_note("ending all trials at once")
            self._runner.hurry()


def _find_breath(look: Look) -> float:
    """Return seconds to wait for news after a pass that did something."""
    actions = look.plan.actions
    lives = (trial.live for trial in look.snapshot.trials)
    goes_on = any(isinstance(action, CreateTrials) for action in actions) or any(
        live is not None and live.phase not in {Phase.EXITED, Phase.LOST} for live in lives
    )
    whole = goes_on and all(isinstance(action, _WHOLE) for action in actions)
    return _LONG_BREATH_SECONDS if whole else _BREATH_SECONDS


@contextlib.contextmanager
def _signals(handler: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Let the event loop tell of SIGINT and SIGTERM instead of being torn down by them."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, handler, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
