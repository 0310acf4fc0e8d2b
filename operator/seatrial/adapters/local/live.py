"""One attempt from its start to its end, through the deaths of its runners.

What can happen between two instants, and what a later runner finds (note: ``open/<trial>.<attempt>``, whose lock is that of the attempt):

1.  before the note: nothing, or an empty folder; it is started as if for the first time.
2.  the note (empty, torn or whole) and the folder, but no process: nobody holds the lock and no process id is noted: nothing ran. The
    note is removed and the attempt is started again under the same number.
3.  the warden was asked to start it (the lock travels with the request and stays with the warden), its process id is not noted yet: the
    lock is held: it lives, and is adopted. If warden and process die here: as 2. The runner itself does not wait for the process either:
    what the system would not start is told like an end, and a warden that dies first leaves 2, 4, 5 or 6.
4.  it runs: the lock is held; adopted. It is never started beside itself.
5.  it ended: the warden, which outlives the runner, has noted the exit code before it let go of the lock; the end is read as if the
    runner had been there.
6.  all of it was killed from outside, or the machine went down: lock free, process id but no exit code: Lost, no fault of the trial.
7.  the runner was about to kill it (``killed`` is written first): lock free, no exit code: 137 with the reason that was written.
8.  told to stop (``stop`` is written first, with the deadline), the signal perhaps not sent: it is sent again, the deadline stands.
9.  the result is stored, the attempt not released: the note is still there; it shows as ended until it is released.
10. released: the note is gone; the rest is for people to read.

Where a process is kept ready (``trial.reuse``), it forks the leader, which waits and writes both numbers itself, into files of its own
(``pid``, ``exit``), so that the list holds without a warden. Before 3 the lock is held by the runner (:mod:`seatrial.adapters.local.warm`) or, for a moment, by the process that is
kept ready, and is free with their death: whoever is left finds 2 or 3.
"""

import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from seatrial.adapters.local import records
from seatrial.adapters.local.files import is_locked, open_locked
from seatrial.adapters.local.group import (
    has_leader,
    kill_strays,
    measure_group,
    signal_orphans,
)
from seatrial.adapters.local.launch import Child, Command, Launcher
from seatrial.adapters.local.layout import AttemptFiles
from seatrial.adapters.local.logs import LogLimits, read_last_lines, trim
from seatrial.adapters.local.records import KillReason, StartRecord
from seatrial.adapters.local.resources import Share
from seatrial.adapters.metrics.termination import LIMIT_BYTES, parse_report
from seatrial.decide.attempts import Attempt, Phase

__all__ = ["LiveAttempt", "find_attempt"]

_MEMORY_EVERY_SECONDS = 1.0
# Killed processes need a moment to be gone; one that hangs in the kernel must not hold up the study for ever.
_DRAIN_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 1.0
_SIGNAL_AGAIN_SECONDS = 0.5
_QUOTE_LIMIT = 900
_TERMINATED = 128 + signal.SIGTERM
_WRONG_COMMAND = frozenset({errno.E2BIG, errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ENOEXEC, errno.EINVAL})


@dataclass(slots=True)
class LiveAttempt:
    """One attempt that has been started and not been released.

    Attributes:
        shown: The attempt as the runner shows it.
        process: The leader, where this runner had it started and its warden lives.
        deadline: When it is killed (unix time), once it was told to stop.
        awaited: Whether it is to be started by the process that is kept ready, which has not said that it did.
        minded: Whether somebody tells when its leader ends: it need not be looked for all the time.
        adopted: Whether an earlier runner left it.
        never_began: Whether, adopted when somebody was about to start it, it turned out that nobody did: it is to be forgotten.
        not_started: Why it could not be started now, and what is to be done; empty otherwise. It is to be forgotten then, too.
    """

    files: AttemptFiles
    record: StartRecord
    shown: Attempt
    process: Child | None = None
    deadline: float | None = None
    awaited: bool = False
    minded: bool = False
    adopted: bool = False
    never_began: bool = False
    not_started: str = ""
    _killed: KillReason | None = None
    _signal_again_at: float | None = None
    _drain_until: float | None = None
    _begun: bool = False
    _bereft: bool = False
    _hung: int | None = None
    _measured_at: float = 0.0
    _look_at: float = 0.0
    _sizes: tuple[int, int] = (0, 0)
    _notes: list[str] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether all of it is over."""
        return self.shown.phase in {Phase.EXITED, Phase.LOST}

    @property
    def is_draining(self) -> bool:
        """Whether its leader has ended and other processes of it have not."""
        return self._drain_until is not None and not self.ended

    def launch(
        self,
        command: Command | str,
        launcher: Launcher,
        reached: Callable[[str], None],
        hand_over: Callable[[AttemptFiles, Command, int], bool] | None = None,
    ) -> None:
        """Start it. Its folder exists, nobody else uses it.

        Args:
            command: What to run, or why there is nothing to run: then it has ended at once.
            launcher: Starts it.
            reached: Told the points at which a crash is interesting.
            hand_over: Lets somebody else start it, given the descriptor of its lock; returns whether that was accepted.

        Raises:
            OSError: If the machine has no room for its files; it can be tried again.
        """
        lock = open_locked(self.files.note_name)
        if lock is None:
            raise BlockingIOError(f"{self.files.note} is held")
        try:
            reached("note made")
            records.write_start(lock, self.record)
            reached("start recorded")
            if isinstance(command, str):
                self._fail_to_start(127, command)
                return
            self.awaited = hand_over is not None and hand_over(self.files, command, lock)
            if not self.awaited:
                self._spawn(command, lock, launcher, reached)
        finally:
            # From here on only the attempt's own processes hold it, or whoever is to start them.
            os.close(lock)
        reached("handed over" if self.awaited else "process started")

    def launch_cold(self, command: Command, launcher: Launcher, reached: Callable[[str], None]) -> None:
        """Start it after all, when it was handed over in vain; does nothing when it was started or is over.

        Raises:
            OSError: If nobody can be asked for the process; it can be tried again.
        """
        lock = open_locked(self.files.note)
        if lock is not None:
            try:
                if records.read_pid(self.files) is None and records.read_exit(self.files) is None:
                    self._spawn(command, lock, launcher, reached)
            finally:
                os.close(lock)
        self.awaited = False

    def _spawn(self, command: Command, lock: int, launcher: Launcher, reached: Callable[[str], None]) -> None:
        if self.record.warm:
            self.record = replace(self.record, warm=False)
            records.write_start(lock, self.record)
        try:
            self.process = launcher.spawn(self.files, command, lock, reached)
        except OSError as error:
            if error.errno not in _WRONG_COMMAND:
                raise
            self._fail_to_start(126, f"cannot be started: {error.strerror}")

    def _is_refused(self) -> bool:
        """Look whether the system would not start it; it has ended then, or there is no room for it."""
        if self.process is None or self.process.refused is None:
            return False
        code, self.process = self.process.refused, None
        if code in _WRONG_COMMAND:
            self._fail_to_start(126, f"cannot be started: {os.strerror(code)}")
        else:
            self.not_started = f"{os.strerror(code)}; make room for it"
        return True

    def note_cold_start(self, why: str) -> None:
        """Let the user know why it is not forked from the process that is kept ready."""
        self._notes.append(f"started cold: {why}")

    def drop(self) -> None:
        """Let it end before it began: whoever was to start it does not."""
        self.awaited = False
        records.write_exit(self.files, _TERMINATED)

    def _fail_to_start(self, code: int, message: str) -> None:
        self.files.output.write_text(f"seatrial: {message}\n")
        records.write_exit(self.files, code)
        self.shown = self._conclude(self.record.started_at.timestamp())

    def stop(self, now: float) -> None:
        """Tell it to stop, once; it is killed when its grace period is over."""
        if self.ended or self.deadline is not None:
            return
        self.deadline = now + self.record.grace_seconds
        self._note_stop(self.deadline)
        self._signal(signal.SIGTERM)

    def hurry(self, now: float) -> None:
        """Kill it at the next look, whatever is left of its grace period."""
        if not self.ended:
            self.deadline = now
            self._note_stop(now)

    def resume_stop(self, now: float) -> None:
        """Take up a stop that an earlier runner began."""
        self.deadline = records.read_stop(self.files)
        self._repeat_stop(now)

    def lose_warden(self, now: float, hung: int | None) -> None:
        """Look after it as after those of an earlier runner: how it ends, and whether it began at all, stands in its files.

        Args:
            now: The time.
            hung: Process id of a warden that still lives.
        """
        self.process, self._bereft, self._hung = None, True, hung
        # The signal may have been lost, too.
        self._repeat_stop(now)

    def _repeat_stop(self, now: float) -> None:
        if self.deadline is not None and not self.ended:
            self._signal(signal.SIGTERM)
            if records.read_pid(self.files) is None:
                self._signal_again_at = now + _SIGNAL_AGAIN_SECONDS

    def poll(self, now: float, limits: LogLimits) -> bool:
        """Look after it; return whether it ended just now."""
        if self.ended:
            return False
        if self._is_refused():
            return True
        if not self._is_over(now):
            self._enforce(now)
            trim(self.files.output_name, self._sizes[1], limits)
            return False
        if not self._drained(now):
            return False
        if (self.adopted or self._bereft) and _is_untouched(self.files):
            self.never_began = True
            if self._bereft:
                self.not_started = "the process that starts trials was ended; the next try has another one"
            return True
        trim(self.files.output_name, _size(self.files.output_name), limits)
        self.shown = self._conclude(now)
        return True

    def has_grown(self) -> bool:
        """Return whether it reported or printed anything since the last call."""
        before = self._sizes
        self._read_sizes()
        # What is printed is no news where there are observations.
        return self._sizes[0] != before[0] or (self._sizes[0] == 0 and self._sizes[1] != before[1])

    def _read_sizes(self) -> None:
        self._sizes = (_size(self.files.observations_name), _size(self.files.output_name))

    def _is_over(self, now: float) -> bool:
        if self.process is not None:
            self._mind_start(self.process)
        if self.process is not None:
            return self.process.code is not None
        if self.awaited:
            return False
        if records.read_exit(self.files) is not None:
            return True
        if self.minded and not self._killed and now < self._look_at:
            return False
        # Whoever tells may be busy, or hang.
        self._look_at = now + _LOOK_EVERY_SECONDS
        # Read once: between its fork and its first line it has no id, and a moment later it has one.
        pid, noted_at = records.read_pid(self.files), records.read_pid_time(self.files)
        if pid is None:
            return not is_locked(self.files.note)
        # Where locks do not span processes (some network file systems) the leader's command line tells.
        return not has_leader(pid, self.files.termination, noted_at, self.files.note)

    def _mind_start(self, process: Child) -> None:
        """Let go of a warden that has not started it for so long that it seems to hang: others need not wait for it."""
        if self._begun or process.code is not None or not process.is_overdue:
            return
        self._begun = records.read_pid(self.files) is not None
        if not self._begun:
            process.let_go()

    def _enforce(self, now: float) -> None:
        if self._killed:
            if self.process is None:
                # An orphan may have been killed before its process id was known.
                self._signal(signal.SIGKILL)
            return
        if self._signal_again_at is not None and now >= self._signal_again_at:
            self._signal_again_at = now + _SIGNAL_AGAIN_SECONDS if records.read_pid(self.files) is None else None
            self._signal(signal.SIGTERM)
        if self.deadline is not None and now >= self.deadline:
            message = (
                f"did not end by itself within {self.record.grace_seconds:g} s, or its end was hurried, and was killed"
            )
            self._kill(KillReason(reason="SIGKILL", message=message))
            return
        limit = self.record.memory_limit_bytes
        if limit is not None and now - self._measured_at >= _MEMORY_EVERY_SECONDS:
            self._measured_at = now
            used = measure_group(
                records.read_pid(self.files), self.record.started_at, self.files.note, without_leader=self.record.warm
            )
            if used > limit:
                message = f"used {used >> 20} MiB of memory, and its limit is {limit >> 20} MiB"
                self._kill(KillReason(reason="OOMKilled", message=message))

    def _note_stop(self, deadline: float) -> None:
        # Whoever has filled the disk must end all the same; a later runner is told anew to stop it.
        with contextlib.suppress(OSError):
            records.write_stop(self.files, deadline)

    def _kill(self, why: KillReason) -> None:
        self._killed = why
        with contextlib.suppress(OSError):
            records.write_killed(self.files, why)
        self._signal(signal.SIGKILL)
        if self._hung is not None and records.read_pid(self.files) is None:
            # As long as it hangs nobody knows whether it will start this after all.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._hung, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.signal(number)
        else:
            signal_orphans(records.read_pid(self.files), self.record.started_at, number, self.files.note)

    def _drained(self, now: float) -> bool:
        """End what is left of it after its leader; return whether nothing is."""
        first = self._drain_until is None
        if self._drain_until is None:
            self._drain_until = now + _DRAIN_SECONDS
            if self.process is None:
                # What the warden of another runner did not end; the group of a child of ours was ended with it.
                signal_orphans(records.read_pid(self.files), self.record.started_at, signal.SIGKILL, self.files.note)
        if not is_locked(self.files.note_name):
            return True
        if first:
            # What is being started beside it holds a copy of its lock for a moment; to look at all processes takes many such moments.
            return False
        kill_strays(self.files.termination, self.record.started_at, self.files.note if self.record.warm else None)
        if now < self._drain_until:
            return False
        self._notes.append("some of its processes could not be ended")
        return True

    def _conclude(self, now: float) -> Attempt:
        if self.process is not None:
            # Who started it need not read what is known here.
            code, killed = self.process.code, self._killed
            over = self.process.ended_at
        else:
            code, killed = records.read_exit(self.files), self._killed or records.read_killed(self.files)
            over = None if code is None else records.read_exit_time(self.files)
            if code is None and killed is not None:
                code = 137
        report, note = parse_report(_read_some(self.files))
        known = replace(
            self.shown,
            finished_at=over or datetime.fromtimestamp(now, UTC),
            report=report,
            notes=(*self.shown.notes, *self._notes, *([note] if note else [])),
        )
        if code is None:
            message = "its processes are gone without a trace of how they ended"
            return replace(known, phase=Phase.LOST, reason="Lost", message=message, infrastructure=True)
        reason, message = _explain(code, killed, self.files)
        return replace(known, phase=Phase.EXITED, reason=reason, message=message, exit_code=code)


def find_attempt(files: AttemptFiles, trial: str, number: int, now: float) -> LiveAttempt | None:
    """Return an attempt that an earlier runner left, None when it never began (its folder is removed then)."""
    record = records.read_start(files)
    # Whoever holds the lock may write and let go of it meanwhile, not the other way round.
    if not is_locked(files.note) and _is_untouched(files):
        shutil.rmtree(files.folder, ignore_errors=True)
        return None
    if record is None:
        # The machine went down before the record reached the disk.
        share = Share()
        record = StartRecord(started_at=datetime.fromtimestamp(now, UTC), share=share, grace_seconds=0.0)
    shown = Attempt(
        trial=trial,
        number=number,
        phase=Phase.RUNNING,
        started_at=record.started_at,
        gpus=len(record.share.gpus),
        notes=record.notes,
    )
    found = LiveAttempt(files=files, record=record, shown=shown, adopted=True)
    found.resume_stop(now)
    return found


def _is_untouched(files: AttemptFiles) -> bool:
    """Whether no process of it has written anything: it never ran."""
    # Whoever was to note its id may have died in the moment after it began.
    silent = _size(files.output_name) == _size(files.observations_name) == 0 and not files.termination.exists()
    return silent and records.read_pid(files) is None and records.read_exit(files) is None


def _explain(code: int, killed: KillReason | None, files: AttemptFiles) -> tuple[str, str]:
    if code == 0:
        return "Completed", ""
    if killed is not None and code == 137:
        return killed.reason, killed.message
    reason, words = "Error", f"exit code {code}"
    if 128 < code < 128 + signal.NSIG:
        with contextlib.suppress(ValueError):
            reason = signal.Signals(code - 128).name
            words = f"exit code {code} ({reason})"
    last = read_last_lines(files.output)
    return reason, f"{words}; its last lines:\n{last[-_QUOTE_LIMIT:]}" if last else words


def _size(name: str) -> int:
    try:
        return os.stat(name).st_size  # noqa: PTH116 - asked for every running trial several times a second
    except OSError:
        return 0


def _read_some(files: AttemptFiles) -> bytes:
    try:
        descriptor = os.open(files.termination_name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file, contextlib.suppress(OSError):
        return file.read(LIMIT_BYTES + 1)
    return b""
