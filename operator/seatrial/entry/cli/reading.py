"""Reads the text of a study: from a file or standard input, never more of it than a study can have."""

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from seatrial.api.wording import nearest
from seatrial.errors import Problem, SpecError

__all__ = ["LIMIT_BYTES", "STANDARD_INPUT", "read_text", "source_name"]

LIMIT_BYTES = 1024 * 1024
"""What etcd and kubectl bear; a study of a thousand initial trials takes a tenth of it."""

STANDARD_INPUT = "-"


def source_name(file: str) -> str:
    """Return how messages call *file*."""
    return "standard input" if file == STANDARD_INPUT else file


def read_text(file: str) -> bytes:
    """Return the bytes of a study's file.

    Args:
        file: Path, or ``-`` for standard input.

    Raises:
        SpecError: If it cannot be read or cannot be a study; the message names the next step.
    """
    if file == STANDARD_INPUT:
        return _limited(sys.stdin.buffer, "standard input")
    path = Path(file)
    try:
        # Opening a named pipe would wait for a writer: look first.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _wrong(f"{file} is a directory, but must be one file; {_yaml_files(path)}")
        if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
            raise _wrong(f"{file} is no regular file; name a YAML file")
        with path.open("rb") as stream:
            return _limited(stream, file)
    except FileNotFoundError as err:
        raise _wrong(f"{file} does not exist; {_near(path)}") from err
    except NotADirectoryError as err:
        raise _wrong(f"{file} does not exist: a part of its path is a file") from err
    except PermissionError as err:
        raise _wrong(f"{file} cannot be read: permission denied; change its mode (chmod u+r)") from err
    except (OSError, ValueError) as err:
        raise _wrong(f"{file} cannot be read: {getattr(err, 'strerror', None) or err}") from err


def _limited(stream: BinaryIO, name: str) -> bytes:
    content = stream.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise _wrong(f"{name} is larger than 1 MiB, which no study is; is it the right file?")
    return content


def _yaml_files(folder: Path) -> str:
    try:
        found = sorted(name for name in os.listdir(folder) if name.endswith((".yaml", ".yml")))  # noqa: PTH208 - names only
    except OSError:
        found = []
    return f"name one in it, such as {folder / found[0]}" if found else "there is no YAML file in it"


def _near(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix in {".yaml", ".yml"}]
    except OSError:
        names = []
    near = nearest(path.name, names)
    return f"did you mean {path.parent / near}?" if near else f"check the name, from {Path.cwd()}"


def _wrong(message: str) -> SpecError:
    return SpecError([Problem(path="", message=message)])
