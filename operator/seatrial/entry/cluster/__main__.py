"""The entry point of ``seatrial-operator``, and of ``python -m seatrial.entry.cluster``.

Ends with 0 when it was told to end, 1 when it has to be started again, 2 when its environment is wrong.
"""

import asyncio
import logging
import os
import sys

from seatrial.entry.threads import limit_threads

__all__ = ["main"]

logger = logging.getLogger(__name__)


def main() -> None:
    """Run the operator until it ends."""
    # Before anything is imported that loads NumPy.
    limit_threads()
    sys.exit(_run())


def _run() -> int:
    from seatrial.entry.cluster.logs import set_up_logs
    from seatrial.entry.cluster.serving import serve
    from seatrial.entry.cluster.settings import read_settings
    from seatrial.errors import UsageError

    try:
        settings = read_settings(os.environ)
    except UsageError as error:
        sys.stderr.write(f"seatrial-operator: {error}\n")
        return 2
    set_up_logs(settings.log_format, settings.log_level)
    return asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
