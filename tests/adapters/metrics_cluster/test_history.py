"""All curves of a study that is over, from a real Prometheus and from one that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from adapters.metrics_cluster.faulty_server import Asked, FaultyServer, Reply, matrix
from adapters.metrics_cluster.real_prometheus import RunningTrial, TestPrometheus, eventually, pod_labels
from adapters.metrics_cluster.worlds import a_cluster_study, points
from decide.builders import NOON
from seatrial.adapters.metrics.fetching import Fetcher
from seatrial.adapters.metrics.history import History, read_history
from seatrial.adapters.metrics.prometheus_api import PrometheusApi, PrometheusError
from seatrial.api.meta import Metadata
from seatrial.api.study import Study
from seatrial.api.trial import MetricSummary, Observation, Origin, Trial, TrialSpec, TrialStatus
from seatrial.decide.snapshot import format_time


def a_trial(
    index: int, start: datetime, end: datetime | None = None, *, observation: Observation | None = None
) -> Trial:
    spec = TrialSpec(study="s", index=index, assignment={}, seed=1, origin=Origin(algorithm="random"))
    status = TrialStatus(
        start_time=format_time(start),
        completion_time=format_time(end) if end else None,
        observation=observation,
    )
    return Trial(metadata=Metadata(name=f"s-{index}", namespace="lab"), spec=spec, status=status)


async def read(url: str, trials: Sequence[Trial], now: datetime, study: Study | None = None) -> History:
    fetcher = Fetcher()
    try:
        api = PrometheusApi(url, fetcher, timeout_seconds=5)
        return await read_history(api, study or a_cluster_study(url), trials, now)
    finally:
        await fetcher.close()


@pytest.mark.prometheus
async def test_curves_of_trials_that_ended_are_read_whole_and_end_as_their_records_say(
    prometheus: TestPrometheus, start_trial: Callable[..., RunningTrial]
) -> None:
    began = datetime.now(UTC)
    running = {name: start_trial(name) for name in ("s-0", "s-1")}
    prometheus.scrape([pod_labels(name, trial.port) for name, trial in running.items()])
    for step in range(1, 6):
        for number, trial in enumerate(running.values()):
            trial.report(step, loss=1 / step + number, other=float(step))

    observation = Observation(
        values=[0.1], step=9, metrics=[MetricSummary(name="loss", last=0.1, last_step=9)], curve=[(1, 1.0), (9, 0.1)]
    )

    async def found() -> History | None:
        now = datetime.now(UTC)
        trials = [a_trial(0, began, now, observation=observation), a_trial(1, began)]
        history = await read(prometheus.url, trials, now)
        return history if len(history.curves) == 2 and history.curves["s-1"]["loss"].step == 5 else None

    history: History = await eventually(found)

    assert history.started == 2
    assert points(history.curves["s-0"]["loss"])[-1] == (9, 0.1)
    assert points(history.curves["s-1"]["loss"])[-1] == (5, 1.2)
    assert "other" in history.curves["s-0"]


LABELS = {"trial": "s-0", "attempt": "0"}


def answer_by_time(asked: Asked) -> Reply:
    """Two series of one scrape at the end of each window that was asked for."""
    if "/query" not in asked.path:
        return Reply(status=404)
    end = float(asked.form["time"])
    step = round(end - NOON.timestamp())
    return matrix(
        ({"__name__": "seatrial_trial_step"} | LABELS, [[end, str(max(step, 0))]]),
        ({"__name__": "seatrial_trial_metric", "metric": "loss"} | LABELS, [[end, "0.5"]]),
    )


def test_a_study_of_weeks_ago_is_asked_for_its_own_time_alone(faulty: FaultyServer) -> None:
    faulty.answer = answer_by_time

    asyncio.run(read(faulty.url, [a_trial(0, NOON, NOON + timedelta(minutes=5))], NOON + timedelta(days=30)))

    times = [float(asked.form["time"]) for asked in faulty.asked]
    assert times == [(NOON + timedelta(minutes=6)).timestamp()]


def test_trials_that_never_began_are_not_asked_for(faulty: FaultyServer) -> None:
    waiting = a_trial(0, NOON).model_copy(update={"status": TrialStatus()})

    assert asyncio.run(read(faulty.url, [waiting], NOON)) == History(curves={}, started=0)
    assert faulty.asked == []


def test_an_answer_that_is_too_large_is_asked_for_in_parts(faulty: FaultyServer) -> None:
    def answer(asked: Asked) -> Reply:
        if "s-0|s-1" in asked.form["query"]:
            return Reply(status=422, body=b'{"status": "error", "error": "query would load too many samples"}')
        return answer_by_time(asked)

    faulty.answer = answer
    trials = [a_trial(0, NOON, NOON + timedelta(minutes=5)), a_trial(1, NOON, NOON + timedelta(minutes=5))]

    history = asyncio.run(read(faulty.url, trials, NOON + timedelta(hours=1)))

    assert [points(history.curves["s-0"]["loss"])] == [[(360, 0.5)]]
    assert (len(history.curves), history.started) == (1, 2)


def test_a_trial_whose_answer_is_always_too_large_is_left_to_its_record(faulty: FaultyServer) -> None:
    faulty.answer = lambda _: Reply(status=413)

    history = asyncio.run(read(faulty.url, [a_trial(0, NOON, NOON + timedelta(minutes=5))], NOON + timedelta(hours=1)))

    assert history == History(curves={}, started=1)
    assert len(faulty.asked) < 40


def test_an_expression_that_always_brings_too_much_is_named_after_a_few_questions(faulty: FaultyServer) -> None:
    faulty.answer = lambda _: Reply(status=413)
    trials = [a_trial(index, NOON, NOON + timedelta(hours=1)) for index in range(30)]
    settings = {"url": faulty.url, "queries": [{"metric": "loss", "query": "rate(http_requests_total[5m])"}]}
    study = a_cluster_study(metrics={"source": "prometheus", "prometheus": settings})

    with pytest.raises(PrometheusError, match="the query of loss brings too much"):
        asyncio.run(read(faulty.url, trials, NOON + timedelta(hours=2), study))

    assert len(faulty.asked) < 10


def test_an_expression_that_brings_too_much_at_once_is_asked_for_in_parts_of_its_time(faulty: FaultyServer) -> None:
    def answer(asked: Asked) -> Reply:
        start, end = float(asked.form["start"]), float(asked.form["end"])
        if end - start > 600:
            return Reply(status=413)
        labels = {"trial": "s-0", "attempt": "0", "study_uid": "u-1", "namespace": "lab"}
        return matrix((labels, [[start, str(start)]]))

    faulty.answer = answer
    settings = {"url": faulty.url, "queries": [{"metric": "loss", "query": "max by (trial) (loss)"}]}
    study = a_cluster_study(metrics={"source": "prometheus", "prometheus": settings})

    history = asyncio.run(
        read(faulty.url, [a_trial(0, NOON, NOON + timedelta(hours=1))], NOON + timedelta(hours=2), study)
    )

    assert len(points(history.curves["s-0"]["loss"])) >= 6
    assert all("s-0" not in asked.form["query"] for asked in faulty.asked)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=500), "HTTP 500"),
        (Reply(body=b"<html>"), "no answer of Prometheus"),
        (Reply(status=404), "HTTP 404"),
    ],
)
def test_what_is_no_answer_is_told(faulty: FaultyServer, reply: Reply, words: str) -> None:
    faulty.answer = lambda _: reply

    with pytest.raises(PrometheusError, match=words):
        asyncio.run(read(faulty.url, [a_trial(0, NOON)], NOON))
