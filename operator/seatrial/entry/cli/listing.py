"""``seatrial trials``: the trials of a study as a table, JSON or CSV."""

import csv
import io
import math
import shutil
import sys
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from seatrial.api.conditions import TrialReason, find_condition
from seatrial.api.study import Goal, Study
from seatrial.api.trial import Trial, reason_of
from seatrial.api.wording import list_words, nearest
from seatrial.decide.lifecycle import describe_assignment
from seatrial.decide.values import parse_number, write_number
from seatrial.entry.cli.cells import clean, fit
from seatrial.entry.cli.exits import ExitCode
from seatrial.entry.cli.printing import print_json, print_text
from seatrial.entry.cli.sources import StudySource
from seatrial.entry.cli.summary import Standing, checkpoint_path
from seatrial.errors import UsageError
from seatrial.report.words import format_duration, format_number

__all__ = ["choose", "sort_trials", "table_lines", "trials_command"]


def trials_command(source: StudySource, study: str, *, sort: str, states: Sequence[str], output: str) -> ExitCode:
    """Print the trials that are asked for."""
    standing = source.open(study).standing
    chosen = choose(standing.trials, parse_states(states))
    if sort == "value":
        chosen = sort_trials(standing.study, chosen)
    match output:
        case "json":
            print_json([_document(standing, trial) for trial in chosen])
        case "csv":
            sys.stdout.write(build_csv(standing, chosen))
        case _:
            # A pipe gets whole lines, a terminal what fits.
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            print_text(*table_lines(standing.study, chosen, width=width))
    return ExitCode.DONE


def parse_states(states: Sequence[str]) -> frozenset[TrialReason]:
    """Return the states that the user named, in any case.

    Raises:
        UsageError: If one is unknown.
    """
    known = {reason.value.lower(): reason for reason in TrialReason}
    for state in states:
        if state.lower() not in known:
            near = nearest(state, list(known))
            hint = f"did you mean {near}? " if near else ""
            raise UsageError(f"--state is {state!r}; {hint}it must be one of: {list_words(known)}")
    return frozenset(known[state.lower()] for state in states)


def choose(trials: Sequence[Trial], states: frozenset[TrialReason]) -> list[Trial]:
    """Return the trials in one of *states*, all when none is named."""
    return [trial for trial in trials if not states or reason_of(trial) in states]


def sort_trials(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials by their first objective, best first; those without a finite value come last, by index."""
    sign = -1 if study.spec.objectives[0].goal is Goal.MAXIMIZE else 1

    def key(trial: Trial) -> tuple[bool, float, int]:
        values = values_of(trial)
        good = bool(values) and math.isfinite(values[0])
        return not good, sign * values[0] if good else 0.0, trial.spec.index

    return sorted(trials, key=key)


def values_of(trial: Trial) -> list[float]:
    """Return the objective values as the user states them, empty when there are none."""
    seen = trial.status.observation
    return [parse_number(value) for value in seen.values] if seen else []


def message_of(trial: Trial) -> str:
    """Return the sentence of the trial's summary condition."""
    condition = find_condition(trial.status.conditions, "Succeeded")
    return condition.message if condition else ""


# ---- text --------------------------------------------------------------------------------------------------------------


def table_lines(study: Study, trials: Sequence[Trial], *, width: int | None) -> list[str]:
    """Return the table; every column is as wide as it must be, the last one is cut at *width* where that is given."""
    metrics = [objective.metric for objective in study.spec.objectives]
    most = f"/{study.spec.steps.max}" if study.spec.steps else ""
    rows = [("NAME", "STATE", "STEP", *metrics, "TIME", "PARAMETERS")]
    rows += [_row(trial, len(metrics), most) for trial in trials]
    sizes = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        line = "  ".join([*(fit(cell, size) for cell, size in zip(row, sizes, strict=False)), row[-1]]).rstrip()
        lines.append(line if width is None else _cut(line, width))
    return lines


def _cut(line: str, width: int) -> str:
    return line if cell_len(line) <= width else set_cell_size(line, max(0, width - 1)).rstrip() + "…"


def _row(trial: Trial, metrics: int, most: str) -> tuple[str, ...]:
    values = [format_number(value) for value in values_of(trial)]
    step = trial.status.observation.step if trial.status.observation else None
    message = message_of(trial)
    words = clean(describe_assignment(trial.spec.assignment))
    # A result speaks for itself; any other end needs its reason.
    if message and reason_of(trial) not in {TrialReason.COMPLETED, TrialReason.RUNNING}:
        words = f"{words}  ({clean(message)})"
    return (
        trial.metadata.name,
        reason_of(trial).value,
        "" if step is None else f"{step}{most}",
        *[*values, *[""] * (metrics - len(values))],
        format_duration(trial.status.run_seconds) if trial.status.run_seconds else "",
        words,
    )


# ---- JSON and CSV ------------------------------------------------------------------------------------------------------


def _document(standing: Standing, trial: Trial) -> dict[str, object]:
    metrics = [objective.metric for objective in standing.study.spec.objectives]
    seen, status = trial.status.observation, trial.status
    return {
        "name": trial.metadata.name,
        "index": trial.spec.index,
        "state": reason_of(trial).value,
        "message": message_of(trial),
        "values": {m: write_number(v) for m, v in zip(metrics, values_of(trial), strict=False)},
        "step": seen.step if seen else None,
        "assignment": trial.spec.assignment,
        "seed": trial.spec.seed,
        "origin": trial.spec.origin.to_wire(),
        "reuseOf": trial.spec.reuse_of,
        "attempts": status.attempt + 1,
        "checkpoint": checkpoint_path(standing, trial.metadata.name),
        "startTime": status.start_time,
        "completionTime": status.completion_time,
        "runSeconds": status.run_seconds,
        "gpuSeconds": status.gpu_seconds,
    }


def build_csv(standing: Standing, trials: Sequence[Trial]) -> str:
    """Return a table with one column for each objective and each parameter (``HP_`` before its name)."""
    metrics = [objective.metric for objective in standing.study.spec.objectives]
    parameters = [parameter.name for parameter in standing.study.spec.parameters]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_header(metrics, parameters))
    for trial in trials:
        values = [str(write_number(value)) for value in values_of(trial)]
        seen, status = trial.status.observation, trial.status
        writer.writerow(
            [trial.metadata.name, trial.spec.index, reason_of(trial).value, seen.step if seen else None]
            + [*values, *[""] * (len(metrics) - len(values))]
            + [_cell(trial.spec.assignment.get(name)) for name in parameters]
            + [trial.spec.seed, status.attempt + 1, status.run_seconds, status.gpu_seconds]
            + [checkpoint_path(standing, trial.metadata.name), message_of(trial)]
        )
    return stream.getvalue()


def _header(metrics: Sequence[str], parameters: Sequence[str]) -> list[str]:
    first = ["name", "index", "state", "step", *metrics, *(f"HP_{name}" for name in parameters)]
    return [*first, "seed", "attempts", "runSeconds", "gpuSeconds", "checkpoint", "message"]


def _cell(value: bool | int | float | str | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
