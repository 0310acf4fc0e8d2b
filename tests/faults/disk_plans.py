"""What goes wrong with a laptop's disk, and the studies that it goes wrong in."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

__all__ = ["DISK_CASES", "MODES", "DiskPlan"]

MODES = ("disk-kill", "disk-torn", "disk-full", "two-runners")
_TEXT = re.compile(r"(?P<case>[a-z]+):(?P<mode>[a-z-]+)@(?P<at>\d+)")
_NOTE = 'echo "$SEATRIAL_TRIAL.$SEATRIAL_ATTEMPT" >>ran; '
_SHORT = ("sh", "-c", _NOTE + 'echo "loss=$HP_x"')
_TRAINING = """
import os
import seatrial_harness
with open("ran", "a") as file:
    file.write(f"{os.environ['SEATRIAL_TRIAL']}.{os.environ['SEATRIAL_ATTEMPT']}\\n")
trial = seatrial_harness.start(x=0.5)
weight = (trial.load() or {"weight": 10.0})["weight"]
for step in trial.steps(4):
    weight = round(weight - 1.0 / (1.0 + abs(trial.x - 0.3)), 9)
    trial.report(step, loss=weight)
    trial.save(weight=weight, now=True)
"""
_LONG = (sys.executable, "-c", _TRAINING)
DISK_CASES: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {
    "grid": (
        _SHORT,
        {
            "algorithm": {"name": "grid"},
            "parameters": [{"name": "x", "type": "float", "min": 0, "max": 1, "step": 0.25}],
            "budget": {"parallelTrials": 2},
        },
    ),
    "random": (_SHORT, {"algorithm": {"name": "random"}, "budget": {"maxTrials": 4, "parallelTrials": 2}}),
    # What a model suggests depends on what has ended by then, and so does who goes on at a rung: one after the other.
    "auto": (_SHORT, {"algorithm": {"name": "auto"}, "budget": {"maxTrials": 4, "parallelTrials": 1}}),
    "pbt": (
        _LONG,
        {
            "algorithm": {"name": "pbt", "pbt": {"populationSize": 3, "readyInterval": 2, "quantile": 0.34}},
            "steps": {"max": 4},
            "budget": {"parallelTrials": 2},
        },
    ),
    "asha": (
        _LONG,
        {
            "algorithm": {"name": "random"},
            "stopping": {"rule": "asha", "asha": {"promote": True, "eta": 2}},
            "steps": {"max": 4},
            "budget": {"maxTrials": 4, "parallelTrials": 1},
        },
    ),
}
"""By the name of a study: what its trials run, and what it has beside what all have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPlan:
    """A fault at one operation.

    Attributes:
        mode: disk-kill, disk-torn, disk-full (for some operations) or two-runners (the second comes at this operation).
        at: Number of the operation, from 1.
    """

    case: str
    mode: str
    at: int

    def __str__(self) -> str:
        return f"{self.case}:{self.mode}@{self.at}"

    @classmethod
    def read(cls, text: str) -> DiskPlan:
        """Return the plan that a text names.

        Raises:
            ValueError: If it names none.
        """
        found = _TEXT.fullmatch(text)
        if found is None or found["mode"] not in MODES:
            raise ValueError(f"{text!r} is no plan, but must be like random:disk-full@17")
        return cls(case=found["case"], mode=found["mode"], at=int(found["at"]))
