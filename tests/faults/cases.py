"""Studies that are run under faults, and what their trials do. Each ends the same, however it gets there."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from seatrial.adapters.local.simulated import Script
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.attempts import FinalMetric, Report, ReportStatus, SavedCheckpoint
from seatrial.decide.fidelity import until_step

__all__ = ["CASES", "Case"]

_STEPS = 9
_TRIAL = {
    "retries": 1,
    "template": {"spec": {"containers": [{"name": "main", "image": "example.invalid/none:1"}]}},
}
_HANDED_ON = {
    "retries": 1,
    "reuse": True,
    "template": {
        "spec": {"containers": [{"name": "main", "image": "example.invalid/none:1", "command": ["python", "train.py"]}]}
    },
}
Story = Callable[[Study, Trial, int], Script]


def _population(trial: dict[str, Any]) -> dict[str, Any]:
    """Return the specification of a small population whose trials are as *trial* says."""
    return {
        "algorithm": {"name": "pbt", "seed": 3, "pbt": {"populationSize": 3, "readyInterval": 3, "quantile": 0.34}},
        "parameters": [{"name": "lr", "type": "float", "min": 0.001, "max": 1, "scale": "log"}],
        "steps": {"max": _STEPS},
        "trial": {**trial, "checkpoints": {"url": "s3://bucket/prefix"}},
        "budget": {"parallelTrials": 2, "maxFailedTrials": 12},
    }


def _chance(*words: object) -> float:
    """A number in [0, 1) that depends on the words alone."""
    return int.from_bytes(hashlib.sha256(repr(words).encode()).digest()[:8], "big") / 2**64


def _pace(trial: Trial, number: int) -> float:
    return 1.0 + 3.0 * _chance("pace", trial.spec.index, number)


def _short(study: Study, trial: Trial, number: int) -> Script:
    """Some seconds of training; some attempts crash, are lost with their node, or diverge."""
    index, seconds = trial.spec.index, 2.0 * _pace(trial, number)
    luck = _chance("luck", index, number)
    if luck < 0.15:
        return Script(duration_seconds=seconds / 2, exit_code=1)
    if luck < 0.30:
        return Script(duration_seconds=seconds / 2, lost=True)
    loss = math.nan if luck < 0.36 else (float(trial.spec.assignment["x"]) - 0.3) ** 2
    return Script(duration_seconds=seconds, report=_report(ReportStatus.SUCCEEDED, 1, loss))


def _smooth(study: Study, trial: Trial, number: int) -> Script:
    """A value that tells a model where to go."""
    loss = (float(trial.spec.assignment["x"]) - 0.3) ** 2
    return Script(duration_seconds=_pace(trial, number), report=_report(ReportStatus.SUCCEEDED, 1, loss))


def _rungs(study: Study, trial: Trial, number: int) -> Script:
    """A training that saves a checkpoint where it pauses; some attempts are lost on their way."""
    until = until_step(study.spec, trial) or _STEPS
    if _chance("lost", trial.spec.index, number) < 0.15:
        return Script(duration_seconds=1.0, lost=True)
    goal = (float(trial.spec.assignment["x"]) - 0.3) ** 2
    curve = tuple((step, goal + 1.0 / step) for step in range(1, until + 1))
    return Script(duration_seconds=_pace(trial, number), report=_paused(until, number, curve, f"{trial.spec.index}"))


def _weights(study: Study, trial: Trial, number: int) -> Script:
    """A training whose weight is its loss, saved as the digest, so that only who loads it goes on from it."""
    parent, until = trial.spec.parent, trial.spec.until_step or _STEPS
    luck = _chance("member", trial.spec.index, number)
    if luck < 0.12:
        return Script(duration_seconds=1.0, exit_code=1)
    if luck < 0.24:
        return Script(duration_seconds=1.0, lost=True)
    weight = float(parent.digest.removeprefix("sha256:")) if parent else 10.0
    gain = 1.0 / (1.0 + abs(math.log10(float(trial.spec.assignment["lr"])) + 1.0))
    first, curve = (parent.step + 1 if parent else 1), []
    for step in range(first, until + 1):
        weight = round(weight - gain, 9)
        curve.append((step, weight))
    return Script(duration_seconds=_pace(trial, number), report=_paused(until, number, tuple(curve), str(weight)))


def _report(status: ReportStatus, step: int, loss: float) -> Report:
    return Report(status=status, step=step, metrics=(FinalMetric(name="loss", last=loss, last_step=step),))


def _paused(until: int, number: int, curve: tuple[tuple[int, float], ...], digest: str) -> Report:
    step, loss = curve[-1]
    return Report(
        status=ReportStatus.SUCCEEDED if until == _STEPS else ReportStatus.PAUSED,
        step=step,
        metrics=(FinalMetric(name="loss", last=loss, last_step=step),),
        curve=curve,
        checkpoint=SavedCheckpoint(step=step, digest=f"sha256:{digest}", path=f"{number}/step-{step}"),
        steps_trained=len(curve),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One study.

    Attributes:
        story: What an attempt of a trial of it does.
        spec: What its specification has beside what all have.
    """

    name: str
    story: Story
    spec: dict[str, Any] = field(default_factory=dict)

    def build(self, name: str = "s") -> Study:
        """Return the study."""
        body: dict[str, Any] = {
            "objectives": [{"metric": "loss", "goal": "minimize"}],
            "parameters": [{"name": "x", "type": "float", "min": 0, "max": 1}],
            "metrics": {"source": "termination-message"},
            "trial": _TRIAL,
        }
        return Study.model_validate(
            {
                "apiVersion": "seatrial.dev/v1alpha1",
                "kind": "Study",
                "metadata": {"name": name},
                "spec": body | self.spec,
            }
        )


CASES = {
    case.name: case
    for case in (
        Case(
            name="grid",
            story=_short,
            spec={
                "algorithm": {"name": "grid"},
                "parameters": [{"name": "x", "type": "float", "min": 0, "max": 1, "step": 0.25}],
                "budget": {"parallelTrials": 2, "maxFailedTrials": 9},
            },
        ),
        Case(
            name="random",
            story=_short,
            spec={
                "algorithm": {"name": "random", "seed": 5},
                "budget": {"maxTrials": 6, "parallelTrials": 3, "maxFailedTrials": 9},
            },
        ),
        Case(
            name="reuse",
            story=_short,
            spec={
                "algorithm": {"name": "random", "seed": 5},
                "trial": _HANDED_ON,
                "budget": {"maxTrials": 6, "parallelTrials": 3, "maxFailedTrials": 9},
            },
        ),
        # What a model suggests depends on what has ended by then: only one after the other is that the same in every run.
        Case(
            name="auto",
            story=_smooth,
            spec={"algorithm": {"name": "auto", "seed": 6}, "budget": {"maxTrials": 7, "parallelTrials": 1}},
        ),
        Case(
            name="pbt",
            story=_weights,
            spec=_population(_TRIAL),
        ),
        Case(
            name="pbt-reuse",
            story=_weights,
            spec=_population(_HANDED_ON),
        ),
        # So does who goes on at a rung.
        Case(
            name="asha",
            story=_rungs,
            spec={
                "algorithm": {"name": "random", "seed": 7},
                "stopping": {"rule": "asha", "asha": {"promote": True}},
                "steps": {"unit": "epoch", "max": _STEPS},
                "budget": {"maxTrials": 6, "parallelTrials": 1, "maxFailedTrials": 9},
            },
        ),
    )
}
