"""``seatrial show``: how a study stands."""

from datetime import UTC, datetime

from seatrial.entry.cli.exits import ExitCode
from seatrial.entry.cli.printing import print_json, print_text
from seatrial.entry.cli.sources import StudySource
from seatrial.entry.cli.summary import build_document, summary_lines

__all__ = ["show_command"]


def show_command(source: StudySource, study: str, *, as_json: bool) -> ExitCode:
    """Print the summary of a study."""
    standing = source.open(study).standing
    if as_json:
        print_json(build_document(standing))
    else:
        print_text(*summary_lines(standing, now=datetime.now(UTC)))
    return ExitCode.DONE
