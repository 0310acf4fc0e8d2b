"""Whether processes still live."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Return whether a process lives; one that waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        # Gone a moment ago, unless this system tells of processes elsewhere.
        return not Path("/proc/self/stat").exists()


async def until_dead(pid: int) -> None:
    """Return when a process lives no more."""
    deadline = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline, f"{pid} still lives"
        await asyncio.sleep(0.01)
