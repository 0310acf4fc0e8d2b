"""The commands with their options and help. Bodies are one call: what they need is imported when they run, not before."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from seatrial.entry.cli.exits import EPILOG, ExitCode, finish, guarded

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
TextOrJson = Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="How the result is printed.")]
Table = Annotated[Literal["text", "json", "csv"], typer.Option("--output", "-o", help="How the table is printed.")]


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Hyperparameter studies: one YAML, on this machine or on a cluster."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"seatrial {version_of('seatrial')}")
        finish(ExitCode.DONE)


@app.command("run")
@guarded
def run_(
    file: Annotated[
        str, typer.Argument(metavar="STUDY.yaml", help="File of the study, - for standard input.", show_default=False)
    ],
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory",
            "-d",
            help="Where the study is kept. Default: .seatrial/NAME below the current folder.",
            show_default=False,
        ),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel",
            "-p",
            min=1,
            help="Trials at the same time, in place of budget.parallelTrials.",
            show_default=False,
        ),
    ] = None,
    max_trials: Annotated[
        int | None,
        typer.Option(
            "--max-trials",
            "-n",
            min=1,
            help="Number of trials, in place of budget.maxTrials; more than before extends the study.",
            show_default=False,
        ),
    ] = None,
    no_gpu: Annotated[bool, typer.Option("--no-gpu", help="Run trials that ask for GPUs without any.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Put the earlier trials of this study aside and begin anew.")
    ] = False,
    output: TextOrJson = "text",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress, only the result.")] = False,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html when the study rests.")
    ] = True,
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
def validate(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files of studies, - for standard input.", show_default=False)
    ],
    output: TextOrJson = "text",
) -> ExitCode:
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
def show(study: StudyPlace, output: TextOrJson = "text") -> ExitCode:
    """Tell how a study stands: state, best trial, budget, what to do next. Works while it runs and afterwards.

    \b
    Example:
      seatrial show digits
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.showing import show_command

    return show_command(study, as_json=output == "json")


@app.command()
@guarded
def trials(
    study: StudyPlace,
    sort: Annotated[
        Literal["value", "index"], typer.Option("--sort", "-s", help="value: best first; index: oldest first.")
    ] = "index",
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            help="Only trials in this state (completed, stopped, failed …). May be given several times.",
            show_default=False,
        ),
    ] = None,
    output: Table = "text",
) -> ExitCode:
    """List the trials of a study.

    \b
    Examples:
      seatrial trials digits --sort value | head
      seatrial trials digits --state failed --state diverged
      seatrial trials digits --output csv > digits.csv
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.listing import trials_command

    return trials_command(study, sort=sort, states=state or [], output=output)


@app.command(short_help="Write the report of a study: one HTML file.")
@guarded
def report(
    study: StudyPlace,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help="Where the HTML file goes. Default: report.html in the study's directory.",
            show_default=False,
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png", metavar="FOLDER", help="Write the main plots as PNG into this folder, too.", show_default=False
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
) -> ExitCode:
    """Write the report of a study: one HTML file that opens without a network.

    \b
    Examples:
      seatrial report digits --open
      seatrial report digits --file digits.html --png plots/
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.reporting import report_command

    return report_command(study, file=file, png=png, open_it=open_)


@app.command("export")
@guarded
def export_(
    study: StudyPlace,
    best: Annotated[
        bool, typer.Option("--best", help="The winner (with several objectives: one point of the front).")
    ] = False,
    trial: Annotated[
        str | None,
        typer.Option("--trial", metavar="TRIAL", help="This trial: its name or its index.", show_default=False),
    ] = None,
    front: Annotated[
        bool, typer.Option("--front", help="Every point of the Pareto front (--format json only).")
    ] = False,
    form: Annotated[
        Literal["env", "json", "command"] | None,
        typer.Option(
            "--format",
            "-f",
            help="env (the default): NAME=value lines for a shell; json; command: one runnable line.",
            show_default=False,
        ),
    ] = None,
) -> ExitCode:
    """Print a trial's parameters for use elsewhere.

    \b
    Examples:
      seatrial export digits --best
      set -a; eval "$(seatrial export digits --best)"; python train.py
      seatrial export digits --best --format command | sh
      seatrial export digits --trial digits-3 --format json
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.exporting import ExportCall, export_command

    return export_command(ExportCall(study=study, best=best, trial=trial, front=front, form=form))
