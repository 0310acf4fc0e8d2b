"""``seatrial report``: writes the report and says where it lies."""

import webbrowser
from datetime import UTC, datetime
from pathlib import Path

from seatrial.entry.cli.exits import ExitCode, error
from seatrial.entry.cli.opening import open_named
from seatrial.entry.cli.printing import print_text
from seatrial.errors import UsageError

__all__ = ["report_command"]


def report_command(study: str, *, file: Path | None, png: Path | None, open_it: bool) -> ExitCode:
    """Write the HTML file, and the PNG files when asked for.

    Raises:
        UsageError: If a file cannot be written.
    """
    from seatrial.report import build_view, render_html, write_png

    standing, opened = open_named(study)
    target = file or standing.directory / "report.html"
    view = build_view(opened.study, opened.trials, opened.curves, datetime.now(UTC))
    if target.is_dir():
        target = target / "report.html"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(render_html(view), encoding="utf-8")
        print_text(f"report: {target}")
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
