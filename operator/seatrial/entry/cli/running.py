"""``seatrial run``: from a file to a winner, watched."""

import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from seatrial.adapters.local.files import is_locked
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.api.study import Study
from seatrial.decide.curves import Curves
from seatrial.entry.cli.exits import ExitCode, error, mark_warnings, state_problems
from seatrial.entry.cli.exporting import FOLDER_ANNOTATION
from seatrial.entry.cli.homes import DirectoryHome
from seatrial.entry.cli.observers import build_observer
from seatrial.entry.cli.places import ROOT, call_name
from seatrial.entry.cli.printing import print_json, print_text
from seatrial.entry.cli.reading import STANDARD_INPUT, read_text, source_name
from seatrial.entry.cli.reporting import write_report
from seatrial.entry.cli.sources import Found
from seatrial.entry.cli.summary import Standing, build_document, read_standing, summary_lines
from seatrial.entry.session import RunOptions, open_study, run_study
from seatrial.errors import SpecError, TransientError, UsageError
from seatrial.search.checks import load_study

__all__ = ["RunCall", "exit_code", "run_command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCall:
    """What the user asked for.

    Attributes:
        directory: None for the default below ``.seatrial/``.
        parallel: In place of budget.parallelTrials.
        max_trials: In place of budget.maxTrials.
        report: Whether the report is written when the study rests.
    """

    file: str
    directory: Path | None
    parallel: int | None
    max_trials: int | None
    ignore_gpus: bool
    restart: bool
    as_json: bool
    quiet: bool
    report: bool = True


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


def _run(call: RunCall, study: Study) -> ExitCode:
    directory = call.directory or ROOT / study.metadata.name
    workdir = Path.cwd() if call.file == STANDARD_INPUT else Path(call.file).absolute().parent
    study = _with_folder(study, workdir)
    options = RunOptions(directory=directory, workdir=workdir, ignore_gpus=call.ignore_gpus, restart=call.restart)
    console = Console(stderr=call.as_json, highlight=False)
    try:
        with build_observer(console, now=_now, quiet=call.quiet) as observer:
            outcome = run_study(study, options, observer)
    except UsageError as err:
        if is_locked(StudyDirectory(directory).lock):
            # Somebody else's run is nothing that the user did wrong: later the same call works.
            raise TransientError(str(err)) from err
        raise
    opened = open_study(directory)
    standing = Standing(
        study=opened.study,
        trials=opened.trials,
        home=DirectoryHome(directory),
        call=call_name(directory),
        again=shlex.join(["seatrial", "run", call.file, *(["--directory", str(directory)] if call.directory else [])]),
    )
    if call.report and read_standing(standing)[0].terminal:
        standing = _with_report(standing, opened.curves)
    if call.as_json:
        print_json(build_document(standing))
    else:
        print_text(*summary_lines(standing, now=_now()))
    return exit_code(outcome.signal, standing)


def _with_report(standing: Standing, curves: Mapping[str, Curves]) -> Standing:
    """Write the report of a study that rests; a full disk costs the report, not the result."""
    target = standing.home.report_file(standing.study.metadata.name)
    try:
        write_report(Found(standing=standing, curves=curves), target)
    except OSError as err:
        error(
            f"the report could not be written to {target}: {err.strerror}; seatrial report {standing.call} --file ELSEWHERE"
        )
        return standing
    return replace(standing, report=target)


def _with_folder(study: Study, folder: Path) -> Study:
    """Note where trials run, so that a trial's command can be repeated there later."""
    annotations = {**study.metadata.annotations, FOLDER_ANNOTATION: str(folder)}
    return study.model_copy(update={"metadata": study.metadata.model_copy(update={"annotations": annotations})})


def exit_code(interrupted_by: signal.Signals | None, standing: Standing) -> ExitCode:
    """Return what the shell is told about a run; a study that came to its end counts by its result, interrupted or not."""
    reason, _ = read_standing(standing)
    if reason.terminal:
        return ExitCode.DONE if reason.status == "True" else ExitCode.FAILED
    if interrupted_by is None:
        return ExitCode.BUSY  # suspended: it goes on when its file says so
    return ExitCode.TERMINATED if interrupted_by is signal.SIGTERM else ExitCode.INTERRUPTED


def _now() -> datetime:
    return datetime.now(UTC)
