"""A laptop's runner whose disk fails at one operation: ``python -m faults.disk_runner FOLDER STUDY PLAN``.

Operations are counted where Python itself tells of them (audit events), so none is left out and no code knows of it.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from adapters.local_world import a_local_study
from faults.disk_plans import DISK_CASES, DiskPlan
from seatrial.adapters.local.claim import Claim
from seatrial.decide.actions import Action
from seatrial.decide.curves import Curves
from seatrial.entry import session
from seatrial.errors import TransientError, UsageError
from seatrial.reconcile import Look

__all__ = ["CLAIMED", "FREE", "REFUSED", "RUNS"]

FREE, CLAIMED, RUNS = "free", "claimed", "runs"
"""How far it had come: not yet the one of its directory, the one, and with the study stored."""

REFUSED = 2
"""Exit code when it refuses in words."""

_FULL_OPERATIONS = 6
_SECONDS = 300
_CHANGING = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"})


class _Saboteur:
    """Counts what changes the study's folder, and strikes."""

    def __init__(self, root: Path, plan: DiskPlan | None) -> None:
        self.root, self.plan, self.count, self.busy = str(root / "study"), plan, 0, False
        self.stage = FREE

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """Take an audit event before what it tells of happens."""
        if self.busy or not (event in _CHANGING or (event == "open" and _writes(arguments))):
            return
        path = os.fspath(arguments[0]) if isinstance(arguments[0], str | os.PathLike) else ""
        if not str(path).startswith(self.root):
            return
        self.count += 1
        if self.plan is None:
            return
        if self.count == self.plan.at:
            self._strike(str(path), event)
        if self.plan.mode == "disk-full" and self.plan.at <= self.count < self.plan.at + _FULL_OPERATIONS:
            # Opening what is there takes no room.
            makes = event == "os.mkdir" or (event == "open" and _creates(arguments))
            if makes and not os.path.lexists(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _strike(self, path: str, event: str) -> None:
        self.busy = True
        root = Path(self.root).parent
        (root / "struck").write_text(self.stage)
        mode = self.plan.mode if self.plan is not None else ""
        if mode == "disk-torn" and event == "open":
            # What would be written is there by half: the file exists and is empty, or cut.
            with suppress(OSError):
                Path(path).write_bytes(b'{"apiVersion": "sea')
        if mode in {"disk-kill", "disk-torn"}:
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "two-runners":
            with (root / "second").open("wb") as log:
                subprocess.run(
                    [sys.executable, "-m", "faults.disk_runner", str(root), self.plan.case if self.plan else "", ""],
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    check=False,
                    timeout=_SECONDS,
                )
        self.busy = False


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _creates(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & os.O_CREAT)


class _Quiet:
    """Takes what a session tells, and says the words of it."""

    def on_look(self, look: Look, curves: Mapping[str, Curves]) -> None:
        """Do nothing."""

    def on_action(self, action: Action) -> None:
        """Do nothing."""

    def on_note(self, text: str) -> None:
        """Say it."""
        sys.stdout.write(f"{text}\n")


def _run(root: Path, case: str, saboteur: _Saboteur) -> None:
    claim, begin = Claim.__enter__, session._Session.run

    def enter(self: Claim) -> Claim:
        claimed = claim(self)
        saboteur.stage = CLAIMED
        return claimed

    async def run(self: session._Session) -> session.Outcome:
        saboteur.stage = RUNS
        return await begin(self)

    command, spec = DISK_CASES[case]
    study = a_local_study(*command, **spec)
    with patch.object(Claim, "__enter__", enter), patch.object(session._Session, "run", run):
        session.run_study(study, session.RunOptions(directory=root / "study", workdir=root), _Quiet())


def _main(root: Path, case: str, text: str) -> None:
    saboteur = _Saboteur(root, DiskPlan.read(text) if text else None)
    sys.addaudithook(saboteur.hear)
    try:
        _run(root, case, saboteur)
    except (UsageError, TransientError) as error:
        sys.stdout.write(f"{error}\n")
        raise SystemExit(REFUSED) from error
    (root / "operations").write_text(str(saboteur.count))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *sys.argv[2:4])
