"""Studies, attempts and clocks for sources of metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from decide.builders import NOON, a_study
from seatrial.api.study import Study, StudyStatus
from seatrial.decide.attempts import Attempt, Phase, Report
from seatrial.decide.curves import Curve

__all__ = ["HandClock", "a_cluster_study", "an_ended_attempt", "points", "running_attempts"]


@dataclass
class HandClock:
    """Stands still until it is moved."""

    time: datetime = field(default=NOON)

    def now(self) -> datetime:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def a_cluster_study(url: str | None = None, *, uid: str = "u-1", started: datetime = NOON, **spec: object) -> Study:
    """A study as the API server returns it."""
    metrics: dict[str, object] = {"source": "prometheus", "prometheus": {"url": url}} if url else {}
    asha = {"rule": "asha", "asha": {"eta": 3, "minStep": 1}}
    study = a_study(**({"metrics": metrics, "stopping": asha, "steps": {"max": 27}} | spec))
    metadata = study.metadata.model_copy(
        update={"uid": uid, "namespace": "lab", "creation_timestamp": started.isoformat()}
    )
    status = StudyStatus(start_time=started.isoformat())
    return study.model_copy(update={"metadata": metadata, "status": status})


def running_attempts(*names: str, number: int = 0, started: datetime = NOON) -> dict[str, Attempt]:
    return {n: Attempt(trial=n, number=number, phase=Phase.RUNNING, started_at=started) for n in names}


def an_ended_attempt(
    name: str, *, finished: datetime, report: Report | None = None, code: int = 0, started: datetime = NOON
) -> Attempt:
    return Attempt(
        trial=name,
        number=0,
        phase=Phase.EXITED,
        exit_code=code,
        report=report,
        started_at=started,
        finished_at=finished,
    )


def points(curve: Curve) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in curve.points]
