"""``seatrial report``: writes the report and says where it lies."""

import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.entry.cli.exits import ExitCode, error
from seatrial.entry.cli.printing import print_text
from seatrial.entry.cli.sources import Found, StudySource
from seatrial.entry.cli.summary import with_checkpoint_paths
from seatrial.errors import UsageError

if TYPE_CHECKING:
    from seatrial.report import StudyView

__all__ = ["report_command", "write_report"]


def report_command(source: StudySource, study: str, *, file: Path | None, png: Path | None, open_it: bool) -> ExitCode:
    """Write the HTML file, and the PNG files when asked for.

    Raises:
        UsageError: If a file cannot be written.
    """
    from seatrial.report import write_png

    found = source.open(study, with_curves=True)
    target = file or found.standing.home.report_file(found.standing.study.metadata.name)
    if target.is_dir():
        target = target / "report.html"
    try:
        view = write_report(found, target)
        print_text(f"report: {target}", *([f"curves: {found.curves_from}"] if found.curves_from else []))
        if png is not None:
            png.mkdir(parents=True, exist_ok=True)
            write_png(view, png)
            print_text(f"plots: {png}")
    except ImportError as err:
        raise UsageError(f"--png needs {err.name}, which is not installed: pip install 'seatrial[png]'") from err
    except OSError as err:
        raise UsageError(f"{err.filename or target} cannot be written: {err.strerror}; name another place") from err
    if open_it and not webbrowser.open(target.absolute().as_uri()):
        error(f"no browser could be started; open {target.absolute()} yourself")
    return ExitCode.DONE


def write_report(found: Found, target: Path) -> "StudyView":
    """Write the HTML file and return what it shows.

    Raises:
        OSError: If the file cannot be written.
    """
    from seatrial.report import build_view, render_html

    standing = found.standing
    view = build_view(
        standing.study,
        with_checkpoint_paths(standing),
        found.curves,
        datetime.now(UTC),
        export_command=standing.home.command("export", standing.call, "--best"),
        curves_from=found.curves_from,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(render_html(view), encoding="utf-8")
    return view
