"""Reads what Seatrial tells a trial by its environment (docs/wire.md) into one typed value.

Must not touch the file system or the process.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seatrial_harness import wire
from seatrial_harness.checkpoints import Parent

__all__ = ["Surroundings", "Value", "read_surroundings"]

Value = bool | int | float | str
"""One parameter's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Everything a trial is told when it starts; empty when a script is run by itself."""

    study: str = ""
    trial: str = ""
    index: int = 0
    attempt: int = 0
    seed: int = 0
    assignment: tuple[tuple[str, Value], ...] = ()
    objectives: tuple[str, ...] = ()
    max_step: int | None = None
    until_step: int | None = None
    step_unit: str = "step"
    rungs: frozenset[int] = frozenset()
    checkpoint_dir: str | None = None
    checkpoints_needed: str = ""
    parent: Parent | None = None
    termination_path: Path | None = None
    observations_path: Path | None = None
    stop_path: Path | None = None
    metrics_port: int = 0

    @property
    def alone(self) -> bool:
        """Whether the script runs by itself: nobody reads what it reports."""
        return not (self.trial or self.termination_path or self.observations_path or self.metrics_port)


def read_surroundings(environment: Mapping[str, str]) -> Surroundings:
    """Parse the ``SEATRIAL_*`` variables.

    Args:
        environment: Usually ``os.environ``. Absent and empty variables mean the same.

    Raises:
        ValueError: If a variable is not what docs/wire.md says; names the variable, its value and the rule.
    """
    max_step, until_step = environment.get(wire.MAX_STEP, ""), environment.get(wire.UNTIL_STEP, "")
    return Surroundings(
        study=environment.get(wire.STUDY, ""),
        trial=environment.get(wire.TRIAL, ""),
        index=_integer(environment, wire.TRIAL_INDEX),
        attempt=_integer(environment, wire.ATTEMPT),
        seed=_integer(environment, wire.SEED),
        assignment=_assignment(environment),
        objectives=_objectives(environment),
        max_step=_integer(environment, wire.MAX_STEP) if max_step else None,
        until_step=_integer(environment, wire.UNTIL_STEP) if until_step else None,
        step_unit=environment.get(wire.STEP_UNIT) or "step",
        rungs=_rungs(environment),
        checkpoint_dir=_place(environment, wire.CHECKPOINT_DIR),
        checkpoints_needed=environment.get(wire.CHECKPOINTS_NEEDED, ""),
        parent=_parent(environment),
        termination_path=_path(environment, wire.TERMINATION_PATH),
        observations_path=_path(environment, wire.OBSERVATIONS_PATH),
        stop_path=_path(environment, wire.STOP_PATH),
        metrics_port=_integer(environment, wire.METRICS_PORT),
    )


def _integer(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "") or "0"
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"the environment variable {name} is {text!r}, but must be an integer") from None


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name, "")
    # Absolute at once: the script may change its working directory later.
    return Path(text).absolute() if text else None


def _place(environment: Mapping[str, str], name: str) -> str | None:
    text = environment.get(name, "")
    return text if "://" in text else str(Path(text).absolute()) if text else None


def _parent(environment: Mapping[str, str]) -> Parent | None:
    address, step = _place(environment, wire.PARENT_CHECKPOINT), environment.get(wire.PARENT_STEP, "")
    if address is None:
        return None
    return Parent(
        address=address,
        step=_integer(environment, wire.PARENT_STEP) if step else None,
        digest=environment.get(wire.PARENT_DIGEST, ""),
    )


def _document(environment: Mapping[str, str], name: str, empty: str) -> object:
    text = environment.get(name, "") or empty
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"the environment variable {name} is {text[:200]!r}, but must be JSON: {error}") from None


def _assignment(environment: Mapping[str, str]) -> tuple[tuple[str, Value], ...]:
    document = _document(environment, wire.PARAMETERS, "{}")
    if isinstance(document, dict) and all(isinstance(value, bool | int | float | str) for value in document.values()):
        return tuple(document.items())
    raise ValueError(
        f"the environment variable {wire.PARAMETERS} is {document!r}, but must be one JSON object of plain values"
    )


def _objectives(environment: Mapping[str, str]) -> tuple[str, ...]:
    document = _document(environment, wire.OBJECTIVES, "[]")
    if isinstance(document, list) and all(
        isinstance(item, dict) and isinstance(item.get("metric"), str) for item in document
    ):
        return tuple(item["metric"] for item in document)
    raise ValueError(
        f'the environment variable {wire.OBJECTIVES} is {document!r}, but must be a JSON list of {{"metric": …}}'
    )


def _rungs(environment: Mapping[str, str]) -> frozenset[int]:
    document = _document(environment, wire.RUNGS, "[]")
    if isinstance(document, list) and all(isinstance(step, int) for step in document):
        return frozenset(document)
    raise ValueError(f"the environment variable {wire.RUNGS} is {document!r}, but must be a JSON list of integers")
