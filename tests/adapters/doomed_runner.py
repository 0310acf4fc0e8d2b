"""A runner that dies by SIGKILL at a named point, run as a program: ``doomed_runner.py <study folder> <point> <kind>``.

With the point ``settled`` it dies after the end of the trial was seen, before anything is released. With ``REUSE`` in its environment
trials are forks of a process that is kept ready.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from adapters.contracts import a_record
from adapters.local_world import MACHINE, a_local_study
from seatrial.adapters.local.claim import Claim
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.runner import LocalRunner
from seatrial.decide.attempts import Phase


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(root: Path, point: str, command: list[str]) -> None:
    study = a_local_study(*command, reuse="REUSE" in os.environ)

    def reached(here: str) -> None:
        if here == point:
            die()

    directory = StudyDirectory(root / "study")
    with Claim(directory):
        runner = LocalRunner(directory, root, machine=MACHINE, reached=reached)
        await runner.start(study, a_record(0), 0)
        while (seen := await runner.observe(study))["s-0"].phase is Phase.RUNNING:
            if point == "running" and (root / "ran").exists():
                die()
            if point == "stopping" and (root / "ran").exists():
                await runner.stop(study, a_record(0), 0)
                die()
            await runner.wait(0.05 if point in {"running", "stopping"} else 5)
        assert seen["s-0"].phase is Phase.EXITED
        if point == "settled":
            die()
        await runner.release(study, a_record(0), 0)
        if point == "released":
            die()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
