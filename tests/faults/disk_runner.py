"""A laptop's runner whose disk fails at one operation: ``python -m faults.disk_runner FOLDER STUDY PLAN``.

Operations are counted where Python itself tells of them (audit events), and writes, of which it tells nothing, where it makes them: in
``os`` and in files. So none of this process is left out, and no code knows of it.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from adapters.local_world import a_local_study
from faults.disk_plans import DISK_CASES, DiskPlan
from seatrial.adapters.local.claim import Claim
from seatrial.decide.actions import Action
from seatrial.decide.curves import Curves
from seatrial.entry import session
from seatrial.errors import TransientError, UsageError
from seatrial.reconcile import Look

__all__ = ["CLAIMED", "FREE", "REFUSED", "RUNS", "SECOND_SECONDS", "TAKEN", "Saboteur"]

FREE, TAKEN, CLAIMED, RUNS = "free", "taken", "claimed", "runs"
"""How far it had come: not yet the one of its directory; the one, not yet named; named; and with the study stored."""

REFUSED = 2
"""Exit code when it refuses in words."""

SECOND_SECONDS = 240
"""For a second runner on the same directory, on a busy machine."""

_FULL_OPERATIONS = 6
_CHANGING = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"})
_NEEDS_ROOM = frozenset({"write", "os.rename", "os.truncate", "os.link", "os.symlink"})
"""Beside making something new. A new name needs it in its folder, and where files are copied when they change, so does cutting them."""


class Saboteur:
    """Counts what changes the study's folder, and strikes."""

    def __init__(self, root: Path, plan: DiskPlan | None) -> None:
        self.root, self.plan, self.count, self.busy = str(root / "study"), plan, 0, False
        self.stage = FREE

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """Take an audit event before what it tells of happens."""
        if self.busy or not (event in _CHANGING or (event == "open" and _writes(arguments))):
            return
        path = _name(arguments[0])
        # Opening what is there takes no room.
        makes = event == "os.mkdir" or (event == "open" and _creates(arguments))
        tear = partial(_open_by_half, path, arguments) if event == "open" else None
        needs_room = event in _NEEDS_ROOM or (makes and not os.path.lexists(path))
        self.change(event, path, needs_room=needs_room, tear=tear)

    def change(
        self, event: str, path: str, *, needs_room: bool = True, tear: Callable[[], object] | None = None
    ) -> None:
        """Take an operation before it happens.

        Args:
            event: What it is.
            path: What it changes.
            needs_room: Whether it fails while the disk is full.
            tear: Does the half of it.

        Raises:
            OSError: If the disk is full.
        """
        if self.busy or not path.startswith(self.root):
            return
        self.count += 1
        if self.plan is not None and self.count == self.plan.at:
            self._strike(self.plan, path, tear)
        if needs_room:
            self.refuse_if_full(path)

    def refuse_if_full(self, path: str) -> None:
        """Do nothing, unless the disk is full.

        Raises:
            OSError: If it is.
        """
        plan = self.plan
        if plan is None or plan.mode != "disk-full" or not path.startswith(self.root):
            return
        if plan.at <= self.count < plan.at + _FULL_OPERATIONS:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def _strike(self, plan: DiskPlan, path: str, tear: Callable[[], object] | None) -> None:
        self.busy = True
        root = Path(self.root).parent
        (root / "struck").write_text(self.stage)
        if plan.mode == "disk-torn" and tear is not None:
            with suppress(OSError):
                tear()
        if plan.mode in {"disk-kill", "disk-torn"}:
            os.kill(os.getpid(), signal.SIGKILL)
        if plan.mode == "two-runners":
            (root / "second-code").write_text(_run_second(root, plan.case))
        self.busy = False

    @contextmanager
    def watch_writes(self) -> Iterator[None]:
        """Take every write of this process to the folder before it happens."""
        write, pwrite, fsync, open_file = os.write, os.pwrite, os.fsync, io.open

        def write_watched(descriptor: int, content: bytes) -> int:
            half = memoryview(content)[: len(content) // 2]
            self.change("write", _name(descriptor), tear=lambda: write(descriptor, half))
            return write(descriptor, content)

        def pwrite_watched(descriptor: int, content: bytes, offset: int) -> int:
            half = memoryview(content)[: len(content) // 2]
            self.change("write", _name(descriptor), tear=lambda: pwrite(descriptor, half, offset))
            return pwrite(descriptor, content, offset)

        def fsync_watched(descriptor: int) -> None:
            # A thread syncs when it likes: as an operation with a number it would come at another one in each run.
            self.refuse_if_full(_name(descriptor))
            fsync(descriptor)

        def open_watched(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            path = _name(file)
            if not path.startswith(self.root) or not set(mode) & set("wax+"):
                return open_file(file, mode, buffering, *rest, **named)
            raw = _WatchedFile(self, path, mode.replace("b", "").replace("t", ""))
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **named)

        watched = {"write": write_watched, "pwrite": pwrite_watched, "fsync": fsync_watched}
        with ExitStack() as stack:
            for name, function in watched.items():
                stack.enter_context(patch.object(os, name, function))
            stack.enter_context(patch.object(io, "open", open_watched))
            yield


class _WatchedFile(io.FileIO):
    """A file that tells of its writes: those of Python's own make no call that could be replaced."""

    def __init__(self, saboteur: Saboteur, path: str, mode: str) -> None:
        super().__init__(path, mode)
        self._saboteur, self._path = saboteur, path

    def write(self, content: Any) -> int:
        half = memoryview(content)[: len(content) // 2]
        self._saboteur.change("write", self._path, tear=lambda: super(_WatchedFile, self).write(half))
        return super().write(content)

    def truncate(self, size: int | None = None) -> int:
        self._saboteur.change("os.truncate", self._path)
        return super().truncate(size)


def _run_second(root: Path, case: str) -> str:
    """Let another runner have the directory; return its exit code in words."""
    with (root / "second").open("wb") as log:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "faults.disk_runner", str(root), case, ""],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                check=False,
                timeout=SECOND_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"none within {SECOND_SECONDS} s"
    return str(done.returncode)


def _name(file: object) -> str:
    """Return the path of a file, of a descriptor too; empty when it has none."""
    if isinstance(file, int):
        with suppress(OSError):
            return str(Path(f"/proc/self/fd/{file}").readlink())
        return ""
    return str(os.fspath(file)) if isinstance(file, str | os.PathLike) else ""


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _creates(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & os.O_CREAT)


def _open_by_half(path: str, arguments: tuple[object, ...]) -> None:
    """Leave a file as if it had been opened and what was to be written came by half."""
    flags = arguments[2]
    if isinstance(flags, int) and flags & os.O_APPEND:
        # A log: the runner opens it for a trial, and writes nothing.
        Path(path).touch()
    elif isinstance(flags, int) and not flags & os.O_TRUNC and Path(path).exists():
        # Opened to be read or locked, or to have a part replaced: what is in it stays until something is written.
        pass
    else:
        Path(path).write_bytes(b'{"apiVersion": "sea')


class _Quiet:
    """Takes what a session tells, and says the words of it."""

    def on_look(self, look: Look, curves: Mapping[str, Curves]) -> None:
        """Do nothing."""

    def on_action(self, action: Action) -> None:
        """Do nothing."""

    def on_note(self, text: str) -> None:
        """Say it."""
        sys.stdout.write(f"{text}\n")


def _run(root: Path, case: str, saboteur: Saboteur) -> None:
    take, claim, begin = Claim._take, Claim.__enter__, session._Session.run

    def taken(self: Claim) -> int:
        descriptor = take(self)
        saboteur.stage = TAKEN
        return descriptor

    def enter(self: Claim) -> Claim:
        claimed = claim(self)
        saboteur.stage = CLAIMED
        return claimed

    async def run(self: session._Session) -> session.Outcome:
        saboteur.stage = RUNS
        return await begin(self)

    command, spec = DISK_CASES[case]
    study = a_local_study(*command, **spec)
    with (
        patch.object(Claim, "_take", taken),
        patch.object(Claim, "__enter__", enter),
        patch.object(session._Session, "run", run),
        saboteur.watch_writes(),
    ):
        session.run_study(study, session.RunOptions(directory=root / "study", workdir=root), _Quiet())


def _main(root: Path, case: str, text: str) -> None:
    saboteur = Saboteur(root, DiskPlan.read(text) if text else None)
    sys.addaudithook(saboteur.hear)
    try:
        _run(root, case, saboteur)
    except (UsageError, TransientError) as error:
        sys.stdout.write(f"{error}\n")
        (root / "refused").write_text(saboteur.stage)
        raise SystemExit(REFUSED) from error
    (root / "operations").write_text(str(saboteur.count))


if __name__ == "__main__":
    _main(Path(sys.argv[1]).resolve(), *sys.argv[2:4])
