"""Opens the study that a user names, for the commands that only look."""

from pathlib import Path

from seatrial.adapters.local.files import is_locked
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.entry.cli.places import call_name, find_directory
from seatrial.entry.cli.summary import Standing
from seatrial.entry.session import OpenedStudy, open_study

__all__ = ["open_named"]


def open_named(study: str) -> tuple[Standing, OpenedStudy]:
    """Return the study in words and as opened.

    Raises:
        UsageError: If there is no such study, or its files cannot be read.
    """
    directory = find_directory(study)
    opened = open_study(directory)
    standing = Standing(
        study=opened.study,
        trials=opened.trials,
        directory=directory,
        call=call_name(directory),
        live=_runs_now(directory),
    )
    return standing, opened


def _runs_now(directory: Path) -> bool:
    """Whether some process runs the study; False where that cannot be seen (a folder that is only readable)."""
    try:
        return is_locked(StudyDirectory(directory).lock)
    except OSError:
        return False
