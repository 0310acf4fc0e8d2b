"""How the programs of a command line start."""

import sys
from typing import NoReturn

import typer

from seatrial.entry.cli.exits import ExitCode, finish
from seatrial.entry.threads import limit_threads

__all__ = ["launch", "show_version"]


def launch(app: typer.Typer, name: str) -> None:
    """Run a command line under the name that its users type."""
    limit_threads()
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 gets a question mark rather than a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    app(prog_name=name)


def show_version(program: str) -> NoReturn:
    """Print the version and end."""
    from importlib.metadata import version

    typer.echo(f"{program} {version('seatrial')}")
    finish(ExitCode.DONE)
