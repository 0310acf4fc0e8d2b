"""How a study stands, in a few lines and as one JSON document; the same words after ``run`` and from ``show``. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from seatrial.api.conditions import StudyReason, TrialReason, find_condition
from seatrial.api.study import Best, Study, StudyStatus, TrialCounts
from seatrial.api.trial import Trial, reason_of
from seatrial.decide.snapshot import Snapshotter, parse_time
from seatrial.decide.status import best_so_far
from seatrial.entry.cli.homes import Home
from seatrial.entry.cli.screen import format_values
from seatrial.report.words import describe_study_reason, format_duration, format_value, plural

__all__ = [
    "Standing",
    "best_measured",
    "build_document",
    "checkpoint_path",
    "read_standing",
    "summary_lines",
    "with_checkpoint_paths",
]

_LABEL = 12
_FRONT_SHOWN = 10
_NEVER = datetime.min.replace(tzinfo=UTC)  # what was measured does not depend on the time


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A study at rest or seen from outside.

    Attributes:
        study: With its status as stored.
        trials: By index.
        home: Where it lies.
        call: How a user names it in a command.
        again: The command that goes on with it, empty when it is not known from here.
        live: Whether a run holds it at this moment.
        report: Where its report was just written, None when it was not.
    """

    study: Study
    trials: Sequence[Trial]
    home: Home
    call: str
    again: str = ""
    live: bool = False
    report: Path | None = None

    @cached_property
    def by_name(self) -> dict[str, Trial]:
        """Trials by name."""
        return {trial.metadata.name: trial for trial in self.trials}

    @property
    def status(self) -> StudyStatus:
        """The stored status, empty when nothing was ever written."""
        return self.study.status or StudyStatus()


def read_standing(standing: Standing) -> tuple[StudyReason, str]:
    """Return reason and sentence of the study's summary condition; a study that never ran is running from its start."""
    condition = find_condition(standing.status.conditions, "Succeeded")
    if condition is None:
        return StudyReason.RUNNING, standing.home.unseen
    return StudyReason(condition.reason), condition.message


# ---- text --------------------------------------------------------------------------------------------------------------


def summary_lines(standing: Standing, *, now: datetime) -> list[str]:
    """Return the summary: state, winner with parameters and checkpoint, counts, duration, and what to do next."""
    reason, message = read_standing(standing)
    status, study = standing.status, standing.study
    # What holds a study up says itself whether it is suspended or was interrupted.
    words = describe_study_reason(reason, message) if reason.terminal else f"{message.rstrip('.')}."
    lines = [f"{study.metadata.name}: {words}", ""]
    if len(study.spec.objectives) > 1 and status.pareto_front:
        lines += _front_lines(standing)
    elif status.best is not None:
        lines += _winner_lines(standing, status.best, final=reason.terminal)
    else:
        lines.append(_labelled("winner" if reason.terminal else "best so far", "none: no trial has a result"))
    lines += _failure_lines(standing)
    lines.append(_labelled("trials", _counts(status.trials)))
    if duration := _duration(status, now):
        lines.append(_labelled("duration", duration))
    if status.gpu_hours:
        lines.append(_labelled("GPU hours", f"{status.gpu_hours:.3g}"))
    lines += [_labelled(label, place) for label, place in standing.home.places()]
    if standing.report is not None:
        lines.append(_labelled("report", str(standing.report)))
    return [*lines, *_next_lines(standing, reason)]


def _winner_lines(standing: Standing, best: Best, *, final: bool) -> list[str]:
    metrics = [objective.metric for objective in standing.study.spec.objectives]
    lines = [_labelled("winner" if final else "best so far", f"{best.trial}   {format_values(metrics, best.values)}")]
    width = max(len(name) for name in best.assignment) if best.assignment else 0
    for i, (name, value) in enumerate(best.assignment.items()):
        lines.append(_labelled("parameters" if i == 0 else "", f"{name:<{width}}  {format_value(value)}"))
    if place := checkpoint_path(standing, best.trial):
        lines.append(_labelled("checkpoint", place))
    if final and (measured := best_measured(standing)) is not None and measured.trial != best.trial:
        algorithm = standing.study.spec.algorithm.name.value
        values = format_values(metrics, measured.values)
        words = f"{measured.trial}   {values}: {algorithm} takes this for luck and expects more of the winner"
        lines.append(_labelled("best value", words))
    return lines


def best_measured(standing: Standing) -> Best | None:
    """Return the trial with the best value as it was measured, which a model need not choose as the winner.

    None while no trial has a result, and with several objectives.
    """
    if len(standing.study.spec.objectives) > 1:
        return None
    snapshot = Snapshotter().build(study=standing.study, trials=standing.trials, attempts={}, curves={}, now=_NEVER)
    found = best_so_far(snapshot)
    if found is None:
        return None
    values = [sign * value for sign, value in zip(snapshot.signs, found.values, strict=True) if value is not None]
    return Best(trial=found.name, index=found.index, values=values, assignment=found.assignment)


def _front_lines(standing: Standing) -> list[str]:
    metrics = [objective.metric for objective in standing.study.spec.objectives]
    front = standing.status.pareto_front
    lines = [_labelled("front", f"{plural(len(front), 'trial')} that no other one beats in all objectives:")]
    lines += [
        _labelled("", f"{point.trial}   {format_values(metrics, point.values)}") for point in front[:_FRONT_SHOWN]
    ]
    if len(front) > _FRONT_SHOWN:
        lines.append(_labelled("", f"and {len(front) - _FRONT_SHOWN} more"))
    return lines


def _failure_lines(standing: Standing) -> list[str]:
    failed = [trial for trial in standing.trials if reason_of(trial) is TrialReason.FAILED]
    if not failed:
        return []
    condition = find_condition(failed[-1].status.conditions, "Succeeded")
    words = condition.message if condition else ""
    lines = [_labelled("last failure", f"{failed[-1].metadata.name}: {words}")]
    return [*lines, _labelled("", f"its output: {standing.home.output(failed[-1])}")]


def _counts(counts: TrialCounts) -> str:
    numbers = {
        "completed": counts.completed,
        "stopped": counts.stopped,
        "failed": counts.failed,
        "diverged": counts.diverged,
        "infeasible": counts.infeasible,
        "cancelled": counts.cancelled,
        "running": counts.running,
        "waiting": counts.pending,
        "paused": counts.paused,
    }
    parts = [f"{number} {word}" for word, number in numbers.items() if number]
    return f"{counts.total}" + (f": {', '.join(parts)}" if parts else "")


def _duration(status: StudyStatus, now: datetime) -> str:
    if status.start_time is None:
        return ""
    end = parse_time(status.completion_time) if status.completion_time else now
    since = format_duration((end - parse_time(status.start_time)).total_seconds())
    return since if status.completion_time else f"{since} since its first trial"


def _next_lines(standing: Standing, reason: StudyReason) -> list[str]:
    home, call, lines = standing.home, standing.call, [""]
    if reason.terminal:
        lines.append(_labelled("next", home.command("report", call, "--open")))
        if standing.status.best is not None:
            lines.append(_labelled("", home.command("export", call, "--best", "--format", "command")))
    else:
        suspended = standing.study.spec.suspend
        words = home.continuing(call, suspended=suspended, live=standing.live, again=standing.again)
        lines.append(_labelled("next", words))
        lines.append(_labelled("", home.command("report", call)))
    lines.append(_labelled("", home.command("trials", call, "--sort", "value")))
    return lines


def _labelled(label: str, text: str) -> str:
    return f"{label:<{_LABEL}} {text}".rstrip()


# ---- checkpoint --------------------------------------------------------------------------------------------------------


def checkpoint_path(standing: Standing, name: str) -> str | None:
    """Return where the last checkpoint of a trial lies, None when it has none."""
    trial = standing.by_name.get(name)
    if trial is None or trial.status.checkpoint is None:
        return None
    # A result that was taken over lies with the trial that earned it.
    return standing.home.checkpoint(standing.study, trial.spec.reuse_of or name, trial.status.checkpoint.path)


def with_checkpoint_paths(standing: Standing) -> tuple[Trial, ...]:
    """Return the trials with checkpoints as a user finds them, not as the trials themselves name them."""
    found = []
    for trial in standing.trials:
        place, saved = checkpoint_path(standing, trial.metadata.name), trial.status.checkpoint
        if place is not None and saved is not None:
            status = trial.status.model_copy(update={"checkpoint": saved.model_copy(update={"path": place})})
            trial = trial.model_copy(update={"status": status})
        found.append(trial)
    return tuple(found)


# ---- JSON --------------------------------------------------------------------------------------------------------------


def build_document(standing: Standing) -> dict[str, object]:
    """Return the summary as one JSON document; a field keeps its name and meaning between versions."""
    reason, message = read_standing(standing)
    status = standing.status
    metrics = [objective.metric for objective in standing.study.spec.objectives]
    measured = best_measured(standing)
    return {
        "study": standing.study.metadata.name,
        "state": _STATES[reason.status],
        "reason": reason.value,
        "message": message,
        "trials": status.trials.to_wire(),
        "best": None if status.best is None else _point(standing, status.best, metrics),
        "bestMeasured": None if measured is None else _point(standing, measured, metrics),
        "paretoFront": [_point(standing, point, metrics) for point in status.pareto_front],
        "startTime": status.start_time,
        "completionTime": status.completion_time,
        "gpuHours": status.gpu_hours,
        "live": standing.live,
        **standing.home.document(),
        "report": standing.home.command("report", standing.call),
        "reportFile": str(standing.report) if standing.report else None,
    }


_STATES: Mapping[str, str] = {"True": "Succeeded", "False": "Failed", "Unknown": "Open"}


def _point(standing: Standing, best: Best, metrics: Sequence[str]) -> dict[str, object]:
    return {
        "trial": best.trial,
        "index": best.index,
        "values": dict(zip(metrics, best.values, strict=False)),
        "assignment": best.assignment,
        "checkpoint": checkpoint_path(standing, best.trial),
    }
