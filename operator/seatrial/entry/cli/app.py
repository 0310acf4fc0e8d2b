"""The commands with their options and help. Bodies are one call: what they need is imported when they run, not before."""

from pathlib import Path
from typing import Annotated

import typer

from seatrial.entry.cli import options
from seatrial.entry.cli.exits import EPILOG, ExitCode, guarded
from seatrial.entry.cli.launching import show_version

__all__ = ["app"]

app = typer.Typer(
    name="seatrial",
    help="Hyperparameter studies: one YAML, on this machine or on a cluster.\n\nStart with: seatrial run examples/digits.yaml",
    epilog=EPILOG,
    no_args_is_help=True,
    # rich's help alone would take longer to import than everything else together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _complete_study(incomplete: str) -> list[str]:
    """Return names of studies below the current folder, for the shell's completion."""
    root = Path(".seatrial")
    names = [entry.name for entry in root.iterdir() if entry.is_dir()] if root.is_dir() else []
    return sorted(name for name in names if name.startswith(incomplete))


StudyPlace = Annotated[
    str,
    typer.Argument(
        metavar="NAME|DIR",
        help="Name of a study below .seatrial/, or its directory.",
        autocompletion=_complete_study,
        show_default=False,
    ),
]


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Hyperparameter studies: one YAML, on this machine or on a cluster."""
    if version:
        show_version("seatrial")


@app.command("run")
@guarded
def run_(
    file: options.StudyFile,
    directory: options.Directory = None,
    parallel: options.Parallel = None,
    max_trials: options.MaxTrials = None,
    no_gpu: options.NoGpu = False,
    restart: options.Restart = False,
    output: options.TextOrJson = "text",
    quiet: options.Quiet = False,
    report: options.Report = True,
) -> ExitCode:
    """Run a study on this machine, or go on with it.

    Ctrl-C stops the running trials after they have written a checkpoint; the same command goes on later. A study that is complete
    prints its winner again. With --output json standard output carries exactly one JSON document, progress goes to standard error.

    \b
    Examples:
      seatrial run examples/digits.yaml
      seatrial run examples/digits.yaml --parallel 4 --max-trials 100
      seatrial run study.yaml --quiet --output json | jq .best.assignment
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.running import RunCall, run_command

    call = RunCall(
        file=file,
        directory=directory,
        parallel=parallel,
        max_trials=max_trials,
        ignore_gpus=no_gpu,
        restart=restart,
        as_json=output == "json",
        quiet=quiet,
        report=report,
    )
    return run_command(call)


@app.command(short_help="Check studies without running anything.")
@guarded
def validate(files: options.StudyFiles, output: options.TextOrJson = "text") -> ExitCode:
    """Check studies without running anything: every problem with its place, value, rule and next step.

    \b
    Examples:
      seatrial validate digits.yaml
      seatrial validate studies/*.yaml --output json
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.validating import validate_command

    return validate_command(files, as_json=output == "json")


@app.command(short_help="Tell how a study stands and what to do next.")
@guarded
def show(study: StudyPlace, output: options.TextOrJson = "text") -> ExitCode:
    """Tell how a study stands: state, best trial, budget, what to do next. Works while it runs and afterwards.

    \b
    Example:
      seatrial show digits
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.showing import show_command
    from seatrial.entry.cli.sources import DirectorySource

    return show_command(DirectorySource(), study, as_json=output == "json")


@app.command()
@guarded
def trials(
    study: StudyPlace,
    sort: options.Order = "index",
    state: options.States = None,
    output: options.Table = "text",
) -> ExitCode:
    """List the trials of a study.

    \b
    Examples:
      seatrial trials digits --sort value | head
      seatrial trials digits --state failed --state diverged
      seatrial trials digits --output csv > digits.csv
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.listing import trials_command
    from seatrial.entry.cli.sources import DirectorySource

    return trials_command(DirectorySource(), study, sort=sort, states=state or [], output=output)


@app.command(short_help="Write the report of a study: one HTML file.")
@guarded
def report(
    study: StudyPlace, file: options.ReportFile = None, png: options.Png = None, open_: options.OpenIt = False
) -> ExitCode:
    """Write the report of a study: one HTML file that opens without a network. Without --file it is report.html in the study's directory.

    \b
    Examples:
      seatrial report digits --open
      seatrial report digits --file digits.html --png plots/
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.reporting import report_command
    from seatrial.entry.cli.sources import DirectorySource

    return report_command(DirectorySource(), study, file=file, png=png, open_it=open_)


@app.command(short_help="Tell whose weights a trial trained on, and its parameters by step.")
@guarded
def lineage(
    study: StudyPlace,
    trial: options.TrialName = None,
    schedule: options.ScheduleFile = None,
    replay: options.ReplayFile = None,
    output: options.TextOrJson = "text",
) -> ExitCode:
    """Tell whose weights a trial trained on, and its parameters by step; without --trial the winner's.

    \b
    Examples:
      seatrial lineage digits-pbt
      seatrial lineage digits-pbt --schedule schedule.yaml
      seatrial lineage digits-pbt --replay replay.yaml && seatrial run replay.yaml
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.lineage import LineageCall, lineage_command
    from seatrial.entry.cli.sources import DirectorySource

    call = LineageCall(study=study, trial=trial, as_json=output == "json", schedule=schedule, replay=replay)
    return lineage_command(DirectorySource(), call)


@app.command("export")
@guarded
def export_(
    study: StudyPlace,
    best: options.Best = False,
    trial: options.TrialName = None,
    front: options.Front = False,
    form: options.Format = None,
    checkpoint: options.CheckpointTarget = None,
) -> ExitCode:
    """Print a trial's parameters for use elsewhere.

    \b
    Examples:
      seatrial export digits --best
      set -a; eval "$(seatrial export digits --best)"; python train.py
      seatrial export digits --best --format command | sh
      seatrial export digits --trial digits-3 --format json
      seatrial export digits --best --checkpoint winner/
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.exporting import ExportCall, export_command
    from seatrial.entry.cli.sources import DirectorySource

    call = ExportCall(study=study, best=best, trial=trial, front=front, form=form, checkpoint=checkpoint)
    return export_command(DirectorySource(), call)
