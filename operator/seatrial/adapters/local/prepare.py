"""From a trial and its share of the machine to the command that is run. Reads nothing but the search path for programs."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seatrial.adapters.local.launch import Command, find_program
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.resources import Share
from seatrial.adapters.local.variables import ImaginaryPod, read_environment
from seatrial.api import wire
from seatrial.api.environment import TrialPaths, build_environment, checkpoint_url, expand
from seatrial.decide.fidelity import until_step

__all__ = ["Surroundings", "build_command", "build_inherited", "build_variables"]

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_OURS = ("SEATRIAL_", wire.PARAMETER_PREFIX)


def build_inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what trials inherit from the runner: all but another trial's variables, and this Python first on the path."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    here = str(Path(sys.executable).parent)
    return kept | {"PATH": os.pathsep.join(filter(None, [here, environment.get("PATH", os.defpath)]))}


def build_variables(
    pod: ImaginaryPod, directory: StudyDirectory, rungs: Sequence[int], needed: str | None = None
) -> dict[str, str]:
    """Return the variables that a Pod would declare: Seatrial's and the container's own.

    Args:
        pod: The attempt.
        directory: The study's directory.
        rungs: Steps whose values must be exact.
        needed: Which checkpoints must stay, where trials remove the others themselves.

    Raises:
        SpecError: If a value comes from where a laptop has nothing.
    """
    files = directory.attempt(pod.trial.metadata.name, pod.attempt)
    paths = TrialPaths(
        checkpoints=checkpoint_url(pod.study) or str(directory.root / "checkpoints"),
        needed=needed,
        termination=files.termination_name,
        observations=files.observations_name,
        stop=files.stop_name,
    )
    until = until_step(pod.study.spec, pod.trial)
    given = build_environment(pod.study, pod.trial, pod.attempt, paths, rungs=rungs, until_step=until)
    return read_environment(pod, given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all trials of a runner share.

    Attributes:
        inherited: Environment that trials inherit.
        folder: Working directory of trials without a ``workingDir``.
        hides_gpus: Whether a trial without GPUs must see none.
    """

    inherited: Mapping[str, str]
    folder: Path
    hides_gpus: bool


def build_command(
    pod: ImaginaryPod, variables: Mapping[str, str], share: Share, threads: int, around: Surroundings
) -> Command | str:
    """Return the command to run, or why there is none, in one sentence.

    Args:
        pod: The attempt.
        variables: What a Pod would declare; only these are expanded in command and args.
        share: What it holds.
        threads: Threads that numerical libraries should use, unless the user says otherwise.
        around: What all trials share.
    """
    container = pod.container
    given = container.working_dir
    # A path of the image that is no path here (/app) cannot be meant on a laptop.
    folder = Path(given) if given and Path(given).is_absolute() and Path(given).is_dir() else around.folder
    environment = {name: str(threads) for name in _THREADS} | dict(around.inherited) | dict(variables)
    if share.gpus or around.hides_gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(share.gpus)
    environment["PWD"] = str(folder)
    program, *rest = (expand(text, variables) for text in container.command)
    found = find_program(program, environment, folder)
    if found is None:
        return (
            f"{container.path}.command[0] is {program!r}, but there is no such program in {folder if '/' in program else 'PATH'}; "
            "install it or name it by its path"
        )
    return Command(arguments=[found, *rest], environment=environment, folder=folder)
