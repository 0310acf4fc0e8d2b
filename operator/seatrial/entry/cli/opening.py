"""Opens the study that a user names, for the commands that only look."""

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
    standing = Standing(study=opened.study, trials=opened.trials, directory=directory, call=call_name(directory))
    return standing, opened
