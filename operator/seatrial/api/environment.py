"""What a trial is told by its environment, the same on a laptop and in a Pod. docs/wire.md is the contract.

Only texts are built here: nothing reads the surroundings or touches a file.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from seatrial.api import wire
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.errors import Problem, SpecError

__all__ = [
    "CONTAINERS",
    "TrialPaths",
    "build_environment",
    "checkpoint_url",
    "expand",
    "select_container",
    "write_value",
]

CONTAINERS = "spec.trial.template.spec.containers"
"""Where the containers stand in a Study, for messages."""

_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPaths:
    """Where a trial finds and leaves things; what is None is not offered.

    Attributes:
        checkpoints: Directory or URL that holds the checkpoints of all trials of the study, a folder each.
        needed: Which checkpoints must stay, for ``SEATRIAL_CHECKPOINTS_NEEDED``.
        metrics_port: Port for ``/metrics``.
    """

    termination: str
    checkpoints: str | None = None
    needed: str | None = None
    observations: str | None = None
    stop: str | None = None
    metrics_port: int | None = None


def write_value(value: bool | int | float | str) -> str:
    """Write a parameter's value as text: ``true``, ``128``, ``0.0031``, ``adamw``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def build_environment(
    study: Study,
    trial: Trial,
    attempt: int,
    paths: TrialPaths,
    *,
    rungs: Sequence[int] = (),
    until_step: int | None = None,
) -> dict[str, str]:
    """Return the variables of one attempt, in the order in which they are to be declared.

    Args:
        study: The study.
        trial: Its trial.
        attempt: Number of the attempt, from 0.
        paths: Where the trial finds and leaves things.
        rungs: Steps whose values must be exact.
        until_step: Step at which the attempt saves a checkpoint and ends; None for a full training.
    """
    spec = study.spec
    objectives = [{"metric": o.metric, "goal": o.goal.value} for o in spec.objectives]
    environment = {
        wire.STUDY: study.metadata.name,
        wire.TRIAL: trial.metadata.name,
        wire.TRIAL_INDEX: str(trial.spec.index),
        wire.ATTEMPT: str(attempt),
        wire.SEED: str(trial.spec.seed),
        wire.PARAMETERS: json.dumps(trial.spec.assignment, ensure_ascii=False),
        wire.OBJECTIVES: json.dumps(objectives),
    }
    root, parent = paths.checkpoints, trial.spec.parent
    optional = {
        wire.CHECKPOINT_DIR: f"{root}/{trial.metadata.name}" if root else None,
        wire.TERMINATION_PATH: paths.termination,
        wire.CHECKPOINTS_NEEDED: paths.needed if root else None,
        wire.MAX_STEP: str(spec.steps.max) if spec.steps else None,
        wire.UNTIL_STEP: None if until_step is None else str(until_step),
        wire.STEP_UNIT: spec.steps.unit if spec.steps else None,
        wire.RUNGS: json.dumps(list(rungs)) if rungs else None,
        wire.PARENT_CHECKPOINT: f"{root}/{parent.trial}" if root and parent else None,
        wire.PARENT_STEP: str(parent.step) if root and parent else None,
        wire.PARENT_DIGEST: parent.digest if root and parent else None,
        wire.OBSERVATIONS_PATH: paths.observations,
        wire.STOP_PATH: paths.stop,
        wire.METRICS_PORT: None if paths.metrics_port is None else str(paths.metrics_port),
    }
    environment |= {name: value for name, value in optional.items() if value is not None}
    return environment | {wire.PARAMETER_PREFIX + name: write_value(v) for name, v in trial.spec.assignment.items()}


def checkpoint_url(study: Study) -> str | None:
    """Return the URL below which the trials of a study keep checkpoints, None when ``spec.trial.checkpoints`` names none.

    Studies that name the same URL lie apart in it, by their uid.
    """
    settings = study.spec.trial.checkpoints
    if settings is None or settings.url is None:
        return None
    return f"{settings.url.rstrip('/')}/{study.metadata.uid or study.metadata.name}"


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the variable's value as Kubernetes does.

    A name that is unknown stays as it stands, ``$$`` is one ``$`` (so ``$$(NAME)`` gives the text ``$(NAME)``), and what was put in is not looked at again.
    Source: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """
    if "$" not in text:
        return text

    def replace(found: re.Match[str]) -> str:
        return "$" if found[1] else environment.get(found[2], found[0])

    return _REFERENCE.sub(replace, text)


def select_container(study: Study) -> tuple[str, Mapping[str, JsonValue]]:
    """Return the container that trains: the one named by ``spec.trial.container``, or the first.

    Returns:
        Its place in the study, for messages, and the container as written.

    Raises:
        SpecError: If there is none.
    """
    pod = study.spec.trial.template.get("spec")
    containers = pod.get("containers") if isinstance(pod, dict) else None
    if not isinstance(containers, list) or not containers:
        raise _wrong(CONTAINERS, "has no item, but one container must train; add one with name, image and command")
    wanted = study.spec.trial.container
    names = []
    for i, container in enumerate(containers):
        if not isinstance(container, dict):
            raise _wrong(f"{CONTAINERS}[{i}]", "is no mapping; write name, image and command under it")
        names.append(str(container.get("name", "")))
        if wanted is None or names[-1] == wanted:
            return f"{CONTAINERS}[{i}]", container
    raise _wrong(
        "spec.trial.container", f"is {wanted!r}, but the template's containers are {', '.join(names)}; name one of them"
    )


def _wrong(path: str, message: str) -> SpecError:
    return SpecError([Problem(path=path, message=message)])
