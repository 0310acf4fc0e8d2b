"""The complete table of trials as data: the page's script draws, sorts, filters and pages it."""

from seatrial.report.embed import Json
from seatrial.report.trials import TrialView
from seatrial.report.view import StudyView
from seatrial.report.words import format_time_of_day

__all__ = ["build_table"]


def build_table(view: StudyView) -> Json:
    """Return columns and rows.

    A column has a label, a kind (``number``, ``text``, ``state``, ``seconds``) and says whether it is shown in the table or only in a
    trial's own page. A row is a list in the order of the columns; what a trial does not have is null.
    """
    columns: list[Json] = [_column("Trial", "number"), _column("State", "state")]
    columns += [_column(objective.metric, "number", role="objective") for objective in view.objectives]
    columns += [_column(view.step_unit, "number"), _column("Duration", "seconds")]
    columns += [
        _column(axis.name, "number" if axis.numeric else "text", role="parameter", shown=axis.varies)
        for axis in view.axes
    ]
    columns += [_column("What happened", "text", role="words")]
    columns += [_column(label, kind, shown=False) for label, kind in _DETAILS]
    return {"columns": columns, "rows": [_row(view, trial) for trial in view.trials]}


_DETAILS = (
    ("Reason", "text"),
    ("Suggested by", "text"),
    ("Name", "text"),
    ("Seed", "number"),
    ("Attempts", "number"),
    ("Started", "text"),
    ("Ended", "text"),
    ("GPU seconds", "number"),
    ("Starts from", "text"),
    ("Takes over the result of", "text"),
    ("Checkpoint", "text"),
    ("Metrics", "text"),
)


def _column(label: str, kind: str, *, role: str = "", shown: bool = True) -> Json:
    return {"label": label, "kind": kind, "role": role, "shown": shown}


def _row(view: StudyView, trial: TrialView) -> Json:
    cells: list[Json] = [trial.index, trial.state.value, *trial.values, trial.step, trial.seconds]
    cells += [trial.assignment.get(axis.name) for axis in view.axes]
    cells += [
        trial.words,
        trial.reason,
        trial.origin,
        trial.name,
        trial.seed,
        trial.attempts,
        format_time_of_day(trial.started) if trial.started else None,
        format_time_of_day(trial.finished) if trial.finished else None,
        trial.gpu_seconds or None,
        trial.parent,
        trial.reuse_of,
        trial.checkpoint,
        ", ".join(f"{name}={value:.6g}" for name, value in trial.metrics) or None,
    ]
    return cells
