"""The entry point of the script ``seatrial``."""

import sys

from seatrial.entry.cli.app import app
from seatrial.entry.threads import limit_threads

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    limit_threads()
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 gets a question mark rather than a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    app(prog_name="seatrial")


if __name__ == "__main__":
    main()
