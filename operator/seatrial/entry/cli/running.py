"""``seatrial run``: from a file to a winner, watched."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from seatrial.api.study import Study
from seatrial.entry.cli.exits import ExitCode, error, state_problems
from seatrial.entry.cli.observers import build_observer
from seatrial.entry.cli.places import ROOT, call_name
from seatrial.entry.cli.printing import print_json, print_text
from seatrial.entry.cli.reading import STANDARD_INPUT, read_text, source_name
from seatrial.entry.cli.summary import Standing, build_document, read_standing, summary_lines
from seatrial.entry.session import RunOptions, open_study, run_study
from seatrial.errors import Problem, SpecError
from seatrial.search.checks import load_study

__all__ = ["RunCall", "run_command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCall:
    """What the user asked for.

    Attributes:
        directory: None for the default below ``.seatrial/``.
        parallel: In place of budget.parallelTrials.
        max_trials: In place of budget.maxTrials.
    """

    file: str
    directory: Path | None
    parallel: int | None
    max_trials: int | None
    ignore_gpus: bool
    restart: bool
    as_json: bool
    quiet: bool


def run_command(call: RunCall) -> ExitCode:
    """Run the study of a file to its end, or as far as the user lets it."""
    source = source_name(call.file)
    try:
        return _run(call, _load(call, source))
    except SpecError as err:
        for line in state_problems(err, source=source):
            error(line)
        return ExitCode.USAGE


def _load(call: RunCall, source: str) -> Study:
    parsed = load_study(read_text(call.file), source=source)
    if not call.quiet:
        for line in state_problems(SpecError(mark_warnings(parsed.warnings)), source=source):
            error(line)
    changes = {"parallel_trials": call.parallel, "max_trials": call.max_trials}
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        return parsed.study
    budget = parsed.study.spec.budget.model_copy(update=given)
    return parsed.study.model_copy(update={"spec": parsed.study.spec.model_copy(update={"budget": budget})})


def mark_warnings(warnings: tuple[Problem, ...]) -> list[Problem]:
    """Return warnings as problems whose text says that they are warnings."""
    return [
        Problem(path="", message=f"warning: {warning.path} {warning.message}".replace("  ", " "), line=warning.line)
        for warning in warnings
    ]


def _run(call: RunCall, study: Study) -> ExitCode:
    directory = call.directory or ROOT / study.metadata.name
    workdir = Path.cwd() if call.file == STANDARD_INPUT else Path(call.file).absolute().parent
    options = RunOptions(directory=directory, workdir=workdir, ignore_gpus=call.ignore_gpus, restart=call.restart)
    console = Console(stderr=call.as_json, highlight=False)
    with build_observer(console, now=lambda: datetime.now(UTC), quiet=call.quiet) as observer:
        outcome = run_study(study, options, observer)
    opened = open_study(directory)
    standing = Standing(study=opened.study, trials=opened.trials, directory=directory, call=call_name(directory))
    if call.as_json:
        print_json(build_document(standing))
    else:
        print_text(*summary_lines(standing, now=datetime.now(UTC)))
    return _code(outcome, standing)


def _code(outcome: object, standing: Standing) -> ExitCode:
    reason, _ = read_standing(standing)
    return ExitCode.DONE if reason.status == "True" else ExitCode.FAILED
