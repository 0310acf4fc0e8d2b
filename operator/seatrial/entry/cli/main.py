"""The entry point of the script ``seatrial``."""

from seatrial.entry.cli.app import app
from seatrial.entry.cli.launching import launch

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    launch(app, "seatrial")


if __name__ == "__main__":
    main()
