"""Where studies of this folder lie, and how a user calls one."""

import os
import shlex
from pathlib import Path

from seatrial.api.wording import list_words, nearest
from seatrial.errors import UsageError

__all__ = ["ROOT", "call_name", "find_directory", "study_names"]

ROOT = Path(".seatrial")
"""Folder of the studies that were run from here."""

_MARK = "study.json"


def study_names() -> list[str]:
    """Return the names of the studies below the current folder."""
    try:
        return sorted(entry.name for entry in ROOT.iterdir() if (entry / _MARK).is_file())
    except OSError:
        return []


def find_directory(study: str) -> Path:
    """Return the directory of a study.

    Args:
        study: Its name below ``.seatrial/``, or its directory.

    Raises:
        UsageError: If there is none; names the nearest ones.
    """
    if study and "\0" not in study:
        named = Path(study) == Path(Path(study).name) and study not in {".", ".."}
        for path in [*([ROOT / study] if named else []), Path(study)]:
            if _holds_study(path):
                return path
    raise UsageError(_missing(study))


def _holds_study(path: Path) -> bool:
    try:
        return (path / _MARK).is_file()
    except OSError:
        return False


def _missing(study: str) -> str:
    names = study_names()
    if Path(study).is_dir() and "/" in study.rstrip("/"):
        return f"{study} is no directory of a study: it has no {_MARK}; name the one that `seatrial run --directory` was given"
    if study.endswith((".yaml", ".yml")):
        return f"{study!r} is a file, but this command takes a study that was run: {_known(names)}"
    if not names:
        return f"there is no study {study!r}, and none at all in {Path.cwd() / ROOT}: start one with `seatrial run STUDY.yaml`"
    near = nearest(study, names)
    hint = f"did you mean {near}? " if near else ""
    return f"there is no study {study!r} in {Path.cwd() / ROOT}; {hint}{_known(names)}"


def _known(names: list[str]) -> str:
    return f"known here: {list_words(names)}" if names else "none was run here yet, start with `seatrial run`"


def call_name(directory: Path) -> str:
    """Return what a user types to name the study in *directory*: its name, or the directory quoted for a shell."""
    absolute = Path(os.path.abspath(directory))  # noqa: PTH100 - links stay as the user knows them
    if absolute.parent == Path.cwd() / ROOT:
        return shlex.quote(absolute.name)
    return shlex.quote(str(directory))
