"""Runs a study to its end, as the command line does but without its views: ``restless_runner.py <study folder>``.

With ``REUSE`` in its environment trials are forks of a process that is kept ready. The last trial ends when there is a file ``go``:
until then the study cannot be over.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from adapters.local_world import MACHINE, a_local_study
from seatrial.adapters.local.claim import Claim
from seatrial.adapters.local.clock import SystemClock
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.runner import LocalRunner
from seatrial.adapters.local.store import DirectoryStore
from seatrial.adapters.metrics.local import LocalMetricSource
from seatrial.api.study import Study
from seatrial.pace import Pace
from seatrial.reconcile import Reconciler

TRIALS = 60


WARM = f"""
import os, time
index, attempt = int(os.environ["SEATRIAL_TRIAL_INDEX"]), os.environ["SEATRIAL_ATTEMPT"]
with open("ran", "a") as file:
    file.write(f"s-{{index}}.{{attempt}}\\n")
time.sleep(0.01 * (index * 7 % 10))
while index == {TRIALS - 1} and not os.path.exists("go"):
    time.sleep(0.01)
print(f"loss={{os.environ['HP_x']}}")
"""


COLD = f"""
echo "$SEATRIAL_TRIAL.$SEATRIAL_ATTEMPT" >>ran
sleep 0.0$(( (SEATRIAL_TRIAL_INDEX * 7) % 10 ))
while [ $SEATRIAL_TRIAL_INDEX = {TRIALS - 1} ] && ! test -e go; do sleep 0.01; done
echo "loss=$HP_x"
"""


def the_study() -> Study:
    if "REUSE" in os.environ:
        return a_local_study("python", "-c", WARM, budget={"maxTrials": TRIALS, "parallelTrials": 4}, reuse=True)
    return a_local_study("sh", "-c", COLD, budget={"maxTrials": TRIALS, "parallelTrials": 4})


async def main(root: Path) -> None:
    directory = StudyDirectory(root / "study")
    with Claim(directory):
        store = DirectoryStore(directory)
        key = store.put_study(the_study())
        runner = LocalRunner(directory, root, machine=MACHINE)
        reconciler = Reconciler(
            key,
            store=store,
            runner=runner,
            metrics=LocalMetricSource(directory),
            clock=SystemClock(),
            pace=Pace(),
        )
        while True:
            look = await reconciler.run()
            assert look is not None
            if look.plan.state.reason.terminal and not look.moved:
                break
            if not look.moved:
                await runner.wait(min(look.plan.wake_after_seconds or 1, 1))
        await runner.close()
        store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
