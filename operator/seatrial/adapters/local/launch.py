"""Starts one process group and sees to it that how it ends is known, whoever is still there to ask.

The leader is a few lines of POSIX shell. It notes its process id, runs the command, outlives the signals that end the command, and
notes the exit code. The command is passed as arguments and never interpreted by the shell.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seatrial.adapters.local.layout import AttemptFiles

__all__ = ["Command", "find_program", "spawn"]

_LEADER = """\
attempt=$1
shift
echo $$ >"$attempt/pid" || exit 125
trap : HUP INT QUIT TERM USR1 USR2
"$@"
echo $? >"$attempt/exit"
"""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is run.

    Attributes:
        arguments: Program first, by its path.
        environment: All of it, nothing is inherited.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path


def find_program(name: str, environment: Mapping[str, str], folder: Path) -> str | None:
    """Return the path of a program as ``execvp`` would find it in *folder*, None when there is none that can be run."""
    if "/" in name:
        path = folder / name
        return str(path) if path.is_file() and os.access(path, os.X_OK) else None
    return shutil.which(name, path=environment.get("PATH", os.defpath))


def spawn(files: AttemptFiles, command: Command, lock: int, reached: Callable[[str], None]) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, its output going to the attempt's log.

    Args:
        files: Files of the attempt; the folder exists.
        command: What to run.
        lock: Descriptor of the attempt's lock, inherited by all its processes.
        reached: Told the points at which a crash is interesting.

    Raises:
        OSError: If the process cannot be started (too many processes, too long an environment).
    """
    arguments = list(command.arguments)
    odd = [f"{name}={value}" for name, value in command.environment.items() if not _IDENTIFIER.match(name)]
    if odd:
        # Shells drop variables whose names are no identifiers; Pods do have such names.
        arguments = ["/usr/bin/env", *odd, *arguments]
    output = os.open(files.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        reached("before the process")
        return subprocess.Popen(  # noqa: S603 - arguments are passed, never interpolated
            ["/bin/sh", "-c", _LEADER, "seatrial", str(files.folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=command.folder,
            env=dict(command.environment),
            start_new_session=True,
            pass_fds=(lock,),
        )
    finally:
        os.close(output)
