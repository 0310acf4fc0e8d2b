"""Write training scripts that Seatrial can tune; they run by themselves as well.

import seatrial_harness as seatrial

trial = seatrial.start(lr=0.001, hidden=64)
for epoch in trial.steps(20):
    ...
    trial.report(epoch, val_accuracy=accuracy)
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial_harness.checkpoints import Checkpoint, read_checkpoint
from seatrial_harness.exits import Infeasible
from seatrial_harness.manifest import CheckpointError
from seatrial_harness.notices import Notices
from seatrial_harness.parameters import Parameters, choose_parameters
from seatrial_harness.saver import Restored, load_state
from seatrial_harness.surroundings import read_surroundings
from seatrial_harness.trial import Trial

__all__ = ["Checkpoint", "CheckpointError", "Infeasible", "Parameters", "Restored", "Trial", "load", "start"]

_SPEAKER = "SEATRIAL_SPEAKER"

_current: list[Trial] = []


def start(**defaults: Any) -> Trial:  # noqa: ANN401  (a default is a bool, number, text or None)
    """Begin this process' trial.

    Args:
        defaults: The script's own parameters. The study's assignment replaces them; alone, ``HP_<name>`` variables do.

    Returns:
        The trial; a second call in the same process returns the same one until it is finished.

    Raises:
        ValueError: If an environment variable of docs/wire.md is not as it must be.
    """
    if _current and not _current[0].finished:
        return _current[0]
    surroundings = read_surroundings(os.environ)
    notices = Notices()
    parameters = choose_parameters(defaults, dict(surroundings.assignment), os.environ, alone=surroundings.alone)
    speaks = _speaks(os.environ, surroundings.trial)
    trial = Trial(surroundings, parameters, notices, quiet=not speaks)
    for name in (name for name in parameters if name in dir(trial)):
        notices.once(
            f"shadowed {name}",
            f'read the parameter {name} by trial.parameters["{name}"]: trial.{name} is something else',
        )
    if speaks and not surroundings.alone:
        trial.go_live()
        os.environ[_SPEAKER] = f"{os.getpid()} {surroundings.trial}"
    _current[:] = [trial]
    return trial


def load(folder: str | Path, *, weights_only: bool = True, map_location: object = "cpu") -> Restored:
    """Return the state in one checkpoint, a folder or a URL such as ``s3://…/0/step-27``, outside of any trial: for the final test, or to serve the winner.

    Raises:
        CheckpointError: If the checkpoint is not whole, or cannot be loaded.
    """
    return load_state(read_checkpoint(folder), weights_only=weights_only, map_location=map_location)


def _speaks(environment: Mapping[str, str], trial: str) -> bool:
    """Whether this process reports: not a data loader's worker of one that does, and rank 0 of a distributed training."""
    pid, _, name = environment.get(_SPEAKER, "").partition(" ")
    return environment.get("RANK", "0") == "0" and (not trial or name != trial or pid == str(os.getpid()))


def _silence_fork() -> None:
    # A data loader's worker must neither report nor end the trial when it is terminated.
    for trial in _current:
        if not trial.alone:
            trial.silence()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_silence_fork)
