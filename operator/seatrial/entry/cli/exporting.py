"""``seatrial export``: a trial's parameters for a shell, a program, or as a command to run."""

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from seatrial.adapters.checkpoint import check_target
from seatrial.adapters.local.container import read_container
from seatrial.adapters.local.resources import read_machine
from seatrial.adapters.local.variables import ImaginaryPod, read_environment
from seatrial.api import wire
from seatrial.api.environment import TrialPaths, build_environment, expand, select_container, write_value
from seatrial.api.study import Study
from seatrial.api.trial import Trial, reason_of
from seatrial.decide.values import write_number
from seatrial.entry.cli.exits import ExitCode, error
from seatrial.entry.cli.listing import values_of
from seatrial.entry.cli.printing import print_json, print_yaml
from seatrial.entry.cli.sources import StudySource
from seatrial.entry.cli.summary import Standing, checkpoint_path
from seatrial.errors import UsageError

__all__ = [
    "FOLDER_ANNOTATION",
    "ExportCall",
    "command_line",
    "environment_lines",
    "export_command",
    "find_trial",
    "trial_document",
]

FOLDER_ANNOTATION = "seatrial.dev/folder"
"""Annotation of a study that was run on a laptop: the working directory of its trials."""

# What a program needs to train with these parameters outside a study; the rest speaks of places of the original run.
_CARRIED = (wire.PARAMETERS, wire.SEED, wire.MAX_STEP, wire.STEP_UNIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCall:
    """What the user asked for.

    Attributes:
        checkpoint: Where the trial's checkpoint is to be copied; None for nowhere.
    """

    study: str
    best: bool
    trial: str | None
    front: bool
    form: str | None
    checkpoint: Path | None = None


def export_command(source: StudySource, call: ExportCall) -> ExitCode:
    """Print one trial, or every point of the front.

    Raises:
        UsageError: If the call names no trial, or more than one, or the checkpoint cannot be copied.
    """
    if sum([call.best, call.trial is not None, call.front]) > 1:
        raise UsageError("--best, --trial and --front name different trials; give one of them")
    if call.checkpoint is not None:
        if call.front:
            raise UsageError("--checkpoint copies that of one trial, --front names several; use --best or --trial")
        check_target(call.checkpoint)
    standing = source.open(call.study).standing
    if call.front:
        return _export_front(standing, call.form)
    trial = _winner(standing) if call.trial is None else find_trial(standing, call.trial)
    if call.trial is None and len(standing.study.spec.objectives) > 1:
        points = len(standing.status.pareto_front)
        error(f"note: {trial.metadata.name} is one of {points} points of the front; --front prints them all")
    _print_trial(standing, trial, call.form)
    if call.checkpoint is not None:
        source.copy_checkpoint(standing, trial, call.checkpoint)
        # Standard output carries the parameters alone: it may be read by a shell.
        error(f"checkpoint of {trial.metadata.name}: {call.checkpoint} (verified)")
    return ExitCode.DONE


def _print_trial(standing: Standing, trial: Trial, form: str | None) -> None:
    match form:
        case "json":
            print_json(trial_document(standing, trial))
        case "yaml":
            print_yaml(trial_document(standing, trial))
        case "command":
            print(command_line(standing.study, trial))  # noqa: T201 - the command line prints
        case _:
            print("\n".join(environment_lines(trial)))  # noqa: T201 - the command line prints


def _export_front(standing: Standing, form: str | None) -> ExitCode:
    if form not in {None, "json", "yaml"}:
        raise UsageError(f"--front prints several trials, which only --format json and yaml can; --format is {form}")
    if len(standing.study.spec.objectives) == 1:
        raise UsageError("--front needs a study with several objectives; use --best")
    documents = [trial_document(standing, find_trial(standing, p.trial)) for p in standing.status.pareto_front]
    (print_yaml if form == "yaml" else print_json)(documents)
    return ExitCode.DONE


def _winner(standing: Standing) -> Trial:
    best = standing.status.best
    if best is None:
        raise UsageError(
            f"{standing.study.metadata.name} has no winner: no trial has a result yet; see `{standing.home.command('trials', standing.call)}`"
        )
    return find_trial(standing, best.trial)


def find_trial(standing: Standing, name: str) -> Trial:
    """Return the trial of that name or index.

    Raises:
        UsageError: If there is none.
    """
    study = standing.study.metadata.name
    wanted = f"{study}-{int(name)}" if name.isdecimal() and name.isascii() and len(name) < 10 else name
    for trial in standing.trials:
        if trial.metadata.name == wanted:
            return trial
    if not standing.trials:
        raise UsageError(f"--trial is {name!r}, but {study} has no trial yet")
    last = standing.trials[-1].metadata.name
    raise UsageError(
        f"--trial is {name!r}, but the trials are {study}-0 to {last}; see `{standing.home.command('trials', standing.call)}`"
    )


# ---- formats -----------------------------------------------------------------------------------------------------------


def _variables(study: Study, trial: Trial) -> dict[str, str]:
    """Return Seatrial's variables, without those that name places of the original run."""
    nowhere = TrialPaths(termination="")
    given = build_environment(study, trial, trial.status.attempt, nowhere)
    return {name: text for name, text in given.items() if name in _CARRIED or name.startswith(wire.PARAMETER_PREFIX)}


def environment_lines(trial: Trial) -> list[str]:
    """Return ``NAME=value`` lines that a shell reads back exactly, whatever the values hold."""
    assignment = trial.spec.assignment
    found = {wire.PARAMETER_PREFIX + name: write_value(value) for name, value in assignment.items()}
    found |= {wire.PARAMETERS: json.dumps(assignment, ensure_ascii=False), wire.SEED: str(trial.spec.seed)}
    return [f"{name}={shlex.quote(text)}" for name, text in found.items()]


def command_line(study: Study, trial: Trial) -> str:
    """Return one line for a POSIX shell that runs the trial's container command with these parameters.

    Placeholders are filled in, and the container's own ``env`` is part of it.

    Raises:
        SpecError: If the command needs something that a laptop does not have.
    """
    container = read_container(study)
    machine = read_machine(os.environ)
    pod = ImaginaryPod(
        container=container,
        study=study,
        trial=trial,
        attempt=trial.status.attempt,
        machine={"cpu": float(machine.cores), "memory": float(machine.memory_bytes)},
    )
    variables = read_environment(pod, _variables(study, trial))
    words = ["env", *(f"{name}={text}" for name, text in variables.items())]
    line = shlex.join([*words, *(expand(text, variables) for text in container.command)])
    folder = study.metadata.annotations.get(FOLDER_ANNOTATION)
    return f"cd {shlex.quote(folder)} && {line}" if folder else line


def trial_document(standing: Standing, trial: Trial) -> dict[str, object]:
    """Return everything that is needed to use or repeat a trial."""
    metrics = [objective.metric for objective in standing.study.spec.objectives]
    _, container = select_container(standing.study)
    return {
        "study": standing.study.metadata.name,
        "trial": trial.metadata.name,
        "state": reason_of(trial).value,
        "assignment": trial.spec.assignment,
        "values": {m: write_number(v) for m, v in zip(metrics, values_of(trial), strict=False)},
        "step": trial.status.observation.step if trial.status.observation else None,
        "seed": trial.spec.seed,
        "checkpoint": checkpoint_path(standing, trial.metadata.name),
        "image": container.get("image"),
    }
