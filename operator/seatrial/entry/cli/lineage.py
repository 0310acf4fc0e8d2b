"""``seatrial lineage``: whose weights a trial trained on, its parameters by step, and the schedule as a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from seatrial.api.environment import select_container
from seatrial.api.study import Study
from seatrial.api.trial import reason_of
from seatrial.decide.lifecycle import describe_assignment
from seatrial.decide.lineage import (
    Stretch,
    build_replay,
    build_schedule,
    build_stretches,
    line_of,
    schedule_document,
)
from seatrial.decide.values import write_number
from seatrial.entry.cli.cells import clean, fit
from seatrial.entry.cli.exits import ExitCode, error
from seatrial.entry.cli.exporting import FOLDER_ANNOTATION, find_trial
from seatrial.entry.cli.listing import values_of
from seatrial.entry.cli.printing import print_json, print_text
from seatrial.entry.cli.sources import StudySource
from seatrial.entry.cli.summary import Standing
from seatrial.errors import UsageError
from seatrial.report.words import format_number, plural

__all__ = ["LineageCall", "lineage_command", "lineage_document", "lineage_lines"]

_WIDEST_TREE = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageCall:
    """What the user asked for.

    Attributes:
        trial: Whose line; None for the winner's.
        schedule: File for the parameters by step.
        replay: File for a study that trains along them.
    """

    study: str
    trial: str | None = None
    as_json: bool = False
    schedule: Path | None = None
    replay: Path | None = None


def lineage_command(source: StudySource, call: LineageCall) -> ExitCode:
    """Print a line of descent, and write what is asked for.

    Raises:
        UsageError: If there is no such trial, no winner yet, or a file cannot be written.
    """
    standing = source.open(call.study).standing
    stretches = build_stretches(standing.trials)
    line = line_of(stretches, _index(standing, call.trial))
    schedule = build_schedule(line)
    if call.as_json:
        print_json(lineage_document(standing, stretches, line))
    else:
        print_text(*lineage_lines(standing, stretches, line))
    if call.schedule is not None:
        _write(call.schedule, {"schedule": schedule_document(schedule)})
    if call.replay is not None:
        _write(call.replay, build_replay(_at_home(standing.study), schedule))
        error(f"train one model along it: seatrial run {call.replay}")
    return ExitCode.DONE


def _at_home(study: Study) -> Study:
    """Return the study with the folder in which its trials ran: on a laptop that of its file, and the new file may lie elsewhere."""
    folder = study.metadata.annotations.get(FOLDER_ANNOTATION)
    _, chosen = select_container(study)
    if folder is None or chosen.get("workingDir"):
        return study
    document = study.to_wire()
    for container in document["spec"]["trial"]["template"]["spec"]["containers"]:
        if container.get("name") == chosen.get("name"):
            container["workingDir"] = folder
    return Study.model_validate(document)


def _index(standing: Standing, trial: str | None) -> int:
    if trial is not None:
        return find_trial(standing, trial).spec.index
    best = standing.status.best
    if best is None:
        raise UsageError(f"{standing.study.metadata.name} has no winner yet; name a trial by --trial")
    return best.index


def _write(path: Path, document: object) -> None:
    try:
        path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as err:
        raise UsageError(f"{path} cannot be written: {err.strerror or err}; name another file") from err


def lineage_document(standing: Standing, stretches: Sequence[Stretch], line: Sequence[Stretch]) -> dict[str, object]:
    """Return the tree, one line of it and its schedule."""
    return {
        "study": standing.study.metadata.name,
        "trial": line[-1].trial.metadata.name,
        "line": [stretch.trial.metadata.name for stretch in line],
        "schedule": schedule_document(build_schedule(line)),
        "trials": [_entry(standing, stretch) for stretch in stretches],
    }


def _entry(standing: Standing, stretch: Stretch) -> dict[str, object]:
    trial, place = stretch.trial, stretch.trial.spec.membership
    metrics = [objective.metric for objective in standing.study.spec.objectives]
    return {
        "name": trial.metadata.name,
        "member": place.member if place else None,
        "generation": place.generation if place else None,
        "move": stretch.move,
        "parent": trial.spec.parent.to_wire() if trial.spec.parent else None,
        "fromStep": stretch.from_step,
        "step": stretch.to_step,
        "state": reason_of(trial).value,
        "values": {m: write_number(v) for m, v in zip(metrics, values_of(trial), strict=False)},
        "assignment": trial.spec.assignment,
        "digest": trial.status.checkpoint.digest if trial.status.checkpoint else None,
    }


def lineage_lines(standing: Standing, stretches: Sequence[Stretch], line: Sequence[Stretch]) -> list[str]:
    """Return the line of descent as a table, and the population as a grid of members and generations."""
    metric = standing.study.spec.objectives[0].metric
    rows = [("TRIAL", "MEMBER", "STEPS", "MOVE", metric, "PARAMETERS"), *(_row(stretch) for stretch in line)]
    best = standing.status.best
    whose = "the winner" if best is not None and best.index == line[-1].index else line[-1].trial.metadata.name
    lines = [f"Line of {whose}: {plural(len(line), 'trial')} in a row", "", *_table(rows)]
    if any(stretch.trial.spec.membership for stretch in stretches):
        lines += ["", *_grid(stretches, line)]
    return lines


def _row(stretch: Stretch) -> tuple[str, ...]:
    values = values_of(stretch.trial)
    source = (
        f" of {stretch.trial.spec.parent.trial}" if stretch.trial.spec.parent and stretch.move != "continue" else ""
    )
    return (
        stretch.trial.metadata.name,
        str(stretch.member),
        _steps(stretch),
        f"{stretch.move}{source}",
        format_number(values[0]) if values else reason_of(stretch.trial).value,
        clean(describe_assignment(stretch.assignment)),
    )


def _steps(stretch: Stretch) -> str:
    return f"{stretch.from_step + 1}–{'?' if stretch.to_step is None else stretch.to_step}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    sizes = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return ["  ".join([*(fit(c, size) for c, size in zip(row, sizes, strict=False)), row[-1]]).rstrip() for row in rows]


def _grid(stretches: Sequence[Stretch], line: Sequence[Stretch]) -> list[str]:
    """Return one row a member and one column a generation: its value, whom it took over (``<2``), ``*`` on the line."""
    placed = {(place.member, place.generation): s for s in stretches if (place := s.trial.spec.membership)}
    generations = sorted({generation for _, generation in placed})
    shown = generations[-_WIDEST_TREE:]
    members = {s.index: s.member for s in stretches}
    chosen = {stretch.index for stretch in line}
    heads = [_steps(next(s for (_, g), s in placed.items() if g == generation)) for generation in shown]
    rows = [("MEMBER", *heads)]
    for member in sorted({member for member, _ in placed}):
        cells = [placed.get((member, generation)) for generation in shown]
        rows.append((str(member), *(_cell(cell, members, chosen) for cell in cells)))
    notes = ["<n took over member n; * on the line"]
    if len(shown) < len(generations):
        notes.append(f"the last {len(shown)} of {len(generations)} generations; --output json has all")
    return [*_table(rows), f"({'; '.join(notes)})"]


def _cell(stretch: Stretch | None, members: dict[int, int], chosen: set[int]) -> str:
    if stretch is None:
        return ""
    values, reason = values_of(stretch.trial), reason_of(stretch.trial)
    text = format_number(values[0]) if values else reason.value
    taken = stretch.source is not None and stretch.move in {"exploit", "replace"}
    return (
        text
        + (f"<{members[stretch.source]}" if taken and stretch.source is not None else "")
        + "*" * (stretch.index in chosen)
    )
