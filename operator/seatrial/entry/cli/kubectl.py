"""``kubectl seatrial``: the commands that look at a study, for studies of a cluster. kubectl finds the program by its name on PATH."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from seatrial.entry.cli import options
from seatrial.entry.cli.exits import ExitCode, error, finish, guarded
from seatrial.entry.cli.launching import launch, show_version

if TYPE_CHECKING:
    from seatrial.entry.cli.kube.source import ClusterSource

__all__ = ["app", "main"]

_EPILOG = """
\b
Exit codes:
    0  done; for watch: the study succeeded
    1  the study ended without success
    2  a wrong call, or the cluster refuses
    3  the cluster cannot be reached: try again later
   70  a bug in Seatrial
  130  interrupted by Ctrl-C; the study goes on
  143  ended by SIGTERM; the study goes on
"""

app = typer.Typer(
    name="kubectl seatrial",
    help="Studies of a cluster, with your own kubeconfig and rights.\n\nStart with: kubectl seatrial list",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the study.", show_default=False)]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace. Default: the context's own.", show_default=False),
]
Context = Annotated[
    str | None,
    typer.Option("--context", help="Context of the kubeconfig. Default: the current one.", show_default=False),
]
Kubeconfig = Annotated[
    str | None,
    typer.Option("--kubeconfig", help="Default: KUBECONFIG, else ~/.kube/config.", show_default=False),
]
PrometheusUrl = Annotated[
    str | None,
    typer.Option(
        "--prometheus-url",
        metavar="URL",
        help="Where the curves are. Default: the study's own Prometheus, else that of Seatrial's chart; inside the cluster it is "
        "reached through the API server.",
        show_default=False,
    ),
]
All = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Studies of all namespaces.")]


def _open(
    namespace: str | None, context: str | None, kubeconfig: str | None, prometheus_url: str | None = None
) -> "ClusterSource":
    """Return the studies of the cluster that the options name."""
    from seatrial.entry.cli.kube.connection import Flags
    from seatrial.entry.cli.kube.source import ClusterSource

    flags = Flags(namespace=namespace, context=context, kubeconfig=kubeconfig)
    return ClusterSource(flags=flags, prometheus_url=prometheus_url)


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Studies of a cluster, with your own kubeconfig and rights."""
    if version:
        show_version("kubectl-seatrial")
    if find_spec("kubernetes") is None or find_spec("aiohttp") is None:
        error("seatrial: speaking to clusters takes further packages: pip install 'seatrial[cluster]'")
        finish(ExitCode.USAGE)


@app.command("list")
@guarded
def list_(
    everywhere: All = False,
    output: options.TextOrJson = "text",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> ExitCode:
    """List studies.

    \b
    Example:
      kubectl seatrial list -A
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.kube.connection import Flags
    from seatrial.entry.cli.kube.studies import list_command

    flags = Flags(namespace=namespace, context=context, kubeconfig=kubeconfig)
    return list_command(flags, everywhere=everywhere, as_json=output == "json")


@app.command(short_help="Watch a study until it is complete.")
@guarded
def watch(
    study: Name,
    output: options.TextOrJson = "text",
    quiet: options.Quiet = False,
    prometheus_url: PrometheusUrl = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> ExitCode:
    """Watch a study until it is complete, then print its winner. Ctrl-C ends the watching, not the study.

    \b
    Examples:
      kubectl seatrial watch digits
      kubectl seatrial watch digits --quiet --output json | jq .best.assignment
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.kube.connection import Flags
    from seatrial.entry.cli.kube.watching import WatchCall, watch_command

    flags = Flags(namespace=namespace, context=context, kubeconfig=kubeconfig)
    call = WatchCall(study=study, flags=flags, prometheus_url=prometheus_url, as_json=output == "json", quiet=quiet)
    return watch_command(call)


@app.command(short_help="Tell how a study stands and what to do next.")
@guarded
def status(
    study: Name,
    output: options.TextOrJson = "text",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> ExitCode:
    """Tell how a study stands: state, best trial, budget, what to do next. The same as `seatrial show`.

    \b
    Example:
      kubectl seatrial status digits -n lab
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.showing import show_command

    source = _open(namespace, context, kubeconfig)
    return show_command(source, study, as_json=output == "json")


@app.command()
@guarded
def trials(
    study: Name,
    sort: options.Order = "index",
    state: options.States = None,
    output: options.Table = "text",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> ExitCode:
    """List the trials of a study.

    \b
    Examples:
      kubectl seatrial trials digits --sort value | head
      kubectl seatrial trials digits --state failed --output json
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.listing import trials_command

    source = _open(namespace, context, kubeconfig)
    return trials_command(source, study, sort=sort, states=state or [], output=output)


@app.command(short_help="Write the report of a study: one HTML file.")
@guarded
def report(
    study: Name,
    file: options.ReportFile = None,
    png: options.Png = None,
    open_: options.OpenIt = False,
    prometheus_url: PrometheusUrl = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> ExitCode:
    """Write the report of a study: one HTML file that opens without a network. Without --file it is NAME-report.html here.

    Curves come from Prometheus, which takes the right to get services/proxy where it is a Service of the cluster. Without it the
    report shows the thinned curves of the trials' records, and says so.

    \b
    Examples:
      kubectl seatrial report digits --open
      kubectl seatrial report digits --prometheus-url http://127.0.0.1:9090
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.reporting import report_command

    source = _open(namespace, context, kubeconfig, prometheus_url)
    return report_command(source, study, file=file, png=png, open_it=open_)


@app.command(short_help="Tell whose weights a trial trained on, and its parameters by step.")
@guarded
def lineage(
    study: Name,
    trial: options.TrialName = None,
    schedule: options.ScheduleFile = None,
    replay: options.ReplayFile = None,
    output: options.TextOrJson = "text",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> ExitCode:
    """Tell whose weights a trial trained on, and its parameters by step; without --trial the winner's.

    \b
    Examples:
      kubectl seatrial lineage digits-pbt
      kubectl seatrial lineage digits-pbt --replay replay.yaml && kubectl apply -f replay.yaml
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.lineage import LineageCall, lineage_command

    source = _open(namespace, context, kubeconfig)
    call = LineageCall(study=study, trial=trial, as_json=output == "json", schedule=schedule, replay=replay)
    return lineage_command(source, call)


@app.command()
@guarded
def export(
    study: Name,
    best: options.Best = False,
    trial: options.TrialName = None,
    front: options.Front = False,
    form: options.Format = None,
    checkpoint: options.CheckpointTarget = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> ExitCode:
    """Print a trial's parameters for use elsewhere, and copy its checkpoint.

    --checkpoint reads the volume through a short-lived Pod with the trial's image, deleted afterwards. It takes the rights to create,
    list, watch and delete pods and to create and get pods/exec in the study's namespace, and `tar` in the image.

    \b
    Examples:
      kubectl seatrial export digits --best --format yaml
      kubectl seatrial export digits --best --checkpoint winner/
    """  # noqa: D301 - \b keeps the lines below as they are
    from seatrial.entry.cli.exporting import ExportCall, export_command

    source = _open(namespace, context, kubeconfig)
    call = ExportCall(study=study, best=best, trial=trial, front=front, form=form, checkpoint=checkpoint)
    return export_command(source, call)


def main() -> None:
    """Run the command line."""
    launch(app, "kubectl seatrial")


if __name__ == "__main__":
    main()
