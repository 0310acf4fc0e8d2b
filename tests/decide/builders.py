"""Builders for studies, trials and attempts, so that a test says only what it is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from seatrial.api.conditions import TrialReason
from seatrial.api.study import Study
from seatrial.decide.attempts import Attempt, FinalMetric, Phase, Report, ReportStatus
from seatrial.decide.curves import CurveBuilder
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot, build_limits
from seatrial.search.base import Exhausted

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_study(name: str = "s", **spec: object) -> Study:
    """Return a small valid study; keyword arguments replace parts of its specification (camelCase)."""
    body: dict[str, object] = {
        "objectives": [{"metric": "loss", "goal": "minimize"}],
        "parameters": [{"name": "x", "type": "float", "min": 0, "max": 1}],
        "algorithm": {"name": "random"},
        "budget": {"maxTrials": 10, "parallelTrials": 2},
        "trial": {"template": {"spec": {"containers": [{"name": "main", "command": ["true"]}]}}},
    }
    body.update(spec)
    return Study.model_validate(
        {"apiVersion": "seatrial.dev/v1alpha1", "kind": "Study", "metadata": {"name": name}, "spec": body}
    )


def a_trial(
    index: int = 0,
    *,
    reason: TrialReason = TrialReason.PENDING,
    curve: list[tuple[int, float]] | None = None,
    value: float | None = None,
    live: Attempt | None = None,
    **changes: object,
) -> TrialSnapshot:
    """Return a trial; *curve* is minimised and gives the value unless that is given."""
    builder = CurveBuilder()
    builder.extend(curve or [])
    if value is None and curve:
        value = curve[-1][1]
    trial = TrialSnapshot(
        index=index,
        name=f"s-{index}",
        assignment={"x": index / 100},
        reason=reason,
        message="",
        attempt=0,
        reuse_of=None,
        values=(value,),
        violations=(),
        curve=builder.build(),
        step=curve[-1][0] if curve else None,
        failures=0,
        losses=0,
        rung=None,
        stop=None,
        stop_message="",
        started_at=NOON,
        gpu_seconds=0.0,
        live=live,
    )
    return replace(trial, **changes)  # type: ignore[arg-type]


def running(index: int, curve: list[tuple[int, float]] | None = None, **changes: object) -> TrialSnapshot:
    """Return a trial whose record and whose attempt say that it runs."""
    changes.setdefault("live", an_attempt(index, Phase.RUNNING))
    return a_trial(index, reason=TrialReason.RUNNING, curve=curve, **changes)  # type: ignore[arg-type]


def done(index: int, value: float, **changes: object) -> TrialSnapshot:
    """Return a completed trial."""
    return a_trial(index, reason=TrialReason.COMPLETED, value=value, **changes)  # type: ignore[arg-type]


def an_attempt(index: int, phase: Phase, number: int = 0, **changes: object) -> Attempt:
    """Return an attempt that started at noon; an exited one ended a minute later with code 0."""
    ended = phase is Phase.EXITED
    attempt = Attempt(
        trial=f"s-{index}",
        number=number,
        phase=phase,
        exit_code=0 if ended else None,
        started_at=NOON if phase is not Phase.WAITING else None,
        finished_at=NOON + timedelta(minutes=1) if ended else None,
    )
    return replace(attempt, **changes)  # type: ignore[arg-type]


def a_report(status: ReportStatus | None = ReportStatus.SUCCEEDED, **finals: float) -> Report:
    """Return a termination message with last values."""
    metrics = tuple(FinalMetric(name=name, last=value) for name, value in finals.items())
    return Report(status=status, metrics=metrics)


@dataclass
class Now:
    """A moment after noon."""

    seconds: float = 60.0

    @property
    def time(self) -> datetime:
        """The moment."""
        return NOON + timedelta(seconds=self.seconds)


def a_snapshot(
    *trials: TrialSnapshot,
    study: Study | None = None,
    seconds: float = 60.0,
    exhausted: Exhausted | None = None,
    interrupted: bool = False,
    **spec: object,
) -> StudySnapshot:
    """Return a snapshot of a study that started at noon, *seconds* ago."""
    study = study or a_study(**spec)
    signs = tuple(-1 if objective.goal.value == "maximize" else 1 for objective in study.spec.objectives)
    return StudySnapshot(
        name="s",
        spec=study.spec,
        limits=build_limits(study.spec),
        trials=trials,
        now=Now(seconds).time,
        started_at=NOON,
        exhausted=exhausted,
        interrupted=interrupted,
        signs=signs,
    )


__all__ = ["NOON", "Now", "a_report", "a_snapshot", "a_study", "a_trial", "an_attempt", "done", "running"]
