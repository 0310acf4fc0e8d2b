"""Removes checkpoints of a laptop's study that nothing needs any more: ``checkpoints/<trial>/<attempt>/step-<n>/``.

What must stay was decided before; here it is only carried out, the manifest of a checkpoint first, so that a half removed one is none
for anybody. Must not touch a trial that is not named as ended.
"""

import contextlib
import logging
import os
import re
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from seatrial.adapters.checkpoint import MANIFEST
from seatrial.decide.retention import Needed

__all__ = ["Collector", "Freed"]

logger = logging.getLogger(__name__)

_STEP = re.compile(r"step-(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What was removed: number of checkpoints and bytes."""

    checkpoints: int = 0
    size: int = 0

    def __add__(self, other: "Freed") -> "Freed":
        return Freed(checkpoints=self.checkpoints + other.checkpoints, size=self.size + other.size)


class Collector:
    """Removes what may go, and remembers what it has looked at.

    Args:
        folder: The study's checkpoints, a folder a trial.
        study: Name of the study.
    """

    def __init__(self, folder: Path, study: str) -> None:
        self._folder, self._study = folder, study
        self._done: dict[int, frozenset[tuple[int, int]]] = {}

    def collect(self, needed: Needed) -> Freed:
        """Remove what need not stay; what cannot be removed now is tried again by the next study."""
        kept: dict[int, set[tuple[int, int]]] = defaultdict(set)
        for ref in needed.keep:
            kept[ref.trial].add((ref.attempt, ref.step))
        freed = Freed()
        for index in sorted(needed.ended):
            keep = frozenset(kept.get(index, ()))
            if self._done.get(index) == keep:
                continue
            try:
                freed += self._collect_trial(self._folder / f"{self._study}-{index}", keep)
            except OSError as error:
                logger.warning("Checkpoints cannot be removed", extra={"trial": index, "error": str(error)})
            self._done[index] = keep
        if freed.checkpoints:
            logger.info("Removed checkpoints", extra={"checkpoints": freed.checkpoints, "bytes": freed.size})
        return freed

    def _collect_trial(self, trial: Path, keep: frozenset[tuple[int, int]]) -> Freed:
        freed = Freed()
        for attempt in _names(trial):
            if not attempt.isdecimal():
                continue
            for name in _names(trial / attempt):
                found = _STEP.fullmatch(name)
                if found and (int(attempt), int(found[1])) in keep:
                    continue
                if found or name.startswith(".step-"):
                    size = _remove(trial / attempt / name)
                    freed += Freed(checkpoints=1 if found else 0, size=size)
            _remove_if_empty(trial / attempt)
        _remove_if_empty(trial)
        return freed


def _remove(folder: Path) -> int:
    size = _size(folder)
    # Where the manifest has to stay, everything has to.
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return size - _size(folder)


def _size(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += (Path(parent) / name).lstat().st_size
    return size


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
