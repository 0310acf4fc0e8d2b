"""Options that several commands have, each written once; and those of ``run``, which are many."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "Best",
    "CheckpointTarget",
    "Directory",
    "Format",
    "Front",
    "MaxTrials",
    "NoGpu",
    "OpenIt",
    "Order",
    "Parallel",
    "Png",
    "Quiet",
    "ReplayFile",
    "Report",
    "ReportFile",
    "Restart",
    "ScheduleFile",
    "States",
    "StudyFile",
    "StudyFiles",
    "Table",
    "TextOrJson",
    "TrialName",
]

# ---- run and validate --------------------------------------------------------------------------------------------------

StudyFile = Annotated[
    str, typer.Argument(metavar="STUDY.yaml", help="File of the study, - for standard input.", show_default=False)
]
StudyFiles = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="Files of studies, - for standard input.", show_default=False)
]
Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        "-d",
        help="Where the study is kept. Default: .seatrial/NAME below the current folder.",
        show_default=False,
    ),
]
Parallel = Annotated[
    int | None,
    typer.Option(
        "--parallel",
        "-p",
        min=1,
        help="Trials at the same time, in place of budget.parallelTrials.",
        show_default=False,
    ),
]
MaxTrials = Annotated[
    int | None,
    typer.Option(
        "--max-trials",
        "-n",
        min=1,
        help="Number of trials, in place of budget.maxTrials; more than before extends the study.",
        show_default=False,
    ),
]
NoGpu = Annotated[bool, typer.Option("--no-gpu", help="Run trials that ask for GPUs without any.")]
Restart = Annotated[bool, typer.Option("--restart", help="Put the earlier trials of this study aside and begin anew.")]
Report = Annotated[bool, typer.Option("--report/--no-report", help="Write report.html when the study rests.")]

# ---- output ------------------------------------------------------------------------------------------------------------

TextOrJson = Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="How the result is printed.")]
Table = Annotated[Literal["text", "json", "csv"], typer.Option("--output", "-o", help="How the table is printed.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress, only the result.")]

# ---- trials ------------------------------------------------------------------------------------------------------------

Order = Annotated[
    Literal["value", "index"], typer.Option("--sort", "-s", help="value: best first; index: oldest first.")
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        help="Only trials in this state (completed, stopped, failed …). May be given several times.",
        show_default=False,
    ),
]

# ---- report ------------------------------------------------------------------------------------------------------------

ReportFile = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="Where the HTML file goes, in place of its usual place.", show_default=False),
]
Png = Annotated[
    Path | None,
    typer.Option(
        "--png", metavar="FOLDER", help="Write the main plots as PNG into this folder, too.", show_default=False
    ),
]
OpenIt = Annotated[bool, typer.Option("--open", help="Open the report in the browser.")]

# ---- lineage -----------------------------------------------------------------------------------------------------------

ScheduleFile = Annotated[
    Path | None,
    typer.Option("--schedule", help="Write the parameters by step into this YAML file.", show_default=False),
]
ReplayFile = Annotated[
    Path | None,
    typer.Option(
        "--replay", help="Write a study into this YAML file that trains one model along them.", show_default=False
    ),
]

# ---- export ------------------------------------------------------------------------------------------------------------

Best = Annotated[bool, typer.Option("--best", help="The winner (with several objectives: one point of the front).")]
TrialName = Annotated[
    str | None,
    typer.Option("--trial", metavar="TRIAL", help="This trial: its name or its index.", show_default=False),
]
Front = Annotated[bool, typer.Option("--front", help="Every point of the Pareto front (--format json or yaml).")]
Format = Annotated[
    Literal["env", "json", "yaml", "command"] | None,
    typer.Option(
        "--format",
        "-f",
        help="env (the default): NAME=value lines for a shell; json; yaml; command: one runnable line.",
        show_default=False,
    ),
]
CheckpointTarget = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FOLDER",
        help="Copy the trial's last checkpoint into this new folder, too, and verify it.",
        show_default=False,
    ),
]
