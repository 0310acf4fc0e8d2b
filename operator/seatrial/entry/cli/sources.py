"""Where commands that look at a study find it. The same commands serve a directory of this machine and a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seatrial.adapters.checkpoint import copy_checkpoint
from seatrial.adapters.local.files import is_locked
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.api.environment import checkpoint_url
from seatrial.api.trial import Trial
from seatrial.decide.curves import Curves
from seatrial.entry.cli.homes import DirectoryHome
from seatrial.entry.cli.places import call_name, find_directory
from seatrial.entry.cli.summary import Standing, checkpoint_path
from seatrial.entry.session import open_study
from seatrial.errors import UsageError

__all__ = ["DirectorySource", "Found", "StudySource", "in_object_store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A study as it is at one moment.

    Attributes:
        curves: Metrics by name of the trial, where they were asked for.
        curves_from: Where the curves come from, one sentence; empty where that goes without saying.
    """

    standing: Standing
    curves: Mapping[str, Curves]
    curves_from: str = ""


class StudySource(Protocol):
    """Finds studies."""

    def open(self, study: str, *, with_curves: bool = False) -> Found:
        """Return the study that a user names.

        Args:
            study: As the user calls it.
            with_curves: Whether whole curves are wanted.

        Raises:
            UsageError: If there is no such study, or it cannot be read.
            TransientError: If it cannot be reached now.
        """
        ...

    def copy_checkpoint(self, standing: Standing, trial: Trial, target: Path) -> None:
        """Copy the last checkpoint of a trial into *target*, a folder that does not exist yet, and verify it.

        Raises:
            UsageError: If there is none, or it cannot be copied; nothing is left behind.
        """
        ...


class DirectorySource:
    """Studies on this machine."""

    def open(self, study: str, *, with_curves: bool = False) -> Found:  # noqa: ARG002 - they lie beside the study
        """Return the study of that name or directory."""
        directory = find_directory(study)
        opened = open_study(directory)
        standing = Standing(
            study=opened.study,
            trials=opened.trials,
            home=DirectoryHome(directory),
            call=call_name(directory),
            live=_runs_now(directory),
        )
        return Found(standing=standing, curves=opened.curves)

    def copy_checkpoint(self, standing: Standing, trial: Trial, target: Path) -> None:
        """Copy the folder."""
        place, saved = checkpoint_path(standing, trial.metadata.name), trial.status.checkpoint
        if place is None or saved is None:
            raise UsageError(f"{trial.metadata.name} has no checkpoint; name another trial by --trial")
        if checkpoint_url(standing.study):
            raise UsageError(in_object_store(place))
        copy_checkpoint(Path(place), target, digest=saved.digest)


def in_object_store(place: str) -> str:
    """Return why a checkpoint is not copied, and who can."""
    return f"the checkpoint lies in an object store, not on a volume; copy {place} with that store's own program, such as aws s3 cp --recursive"


def _runs_now(directory: Path) -> bool:
    """Whether some process runs the study; False where that cannot be seen (a folder that is only readable)."""
    try:
        return is_locked(StudyDirectory(directory).lock)
    except OSError:
        return False
