"""A real Prometheus scrapes real trials by the chart's own relabelling, and the operator's source reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.metrics_cluster.real_prometheus import RunningTrial, TestPrometheus, eventually, pod_labels
from adapters.metrics_cluster.worlds import a_cluster_study, points, running_attempts
from harness.ports import closed_port
from seatrial.adapters.local.clock import SystemClock
from seatrial.adapters.metrics.fetching import Fetcher
from seatrial.adapters.metrics.prometheus import Polling, PrometheusSource
from seatrial.api.study import Study
from seatrial.decide.attempts import Attempt
from seatrial.decide.curves import Curve, Curves

pytestmark = pytest.mark.prometheus

Start = Callable[..., RunningTrial]


@asynccontextmanager
async def a_source() -> AsyncIterator[PrometheusSource]:
    fetcher = Fetcher()
    polling = Polling(every_seconds=0.1, scrape_seconds=1.0, patience_seconds=10.0, grace_seconds=2.0)
    source = PrometheusSource(fetcher=fetcher, clock=SystemClock(), polling=polling)
    try:
        yield source
    finally:
        await source.close()
        await fetcher.close()


def now_study(url: str, **more: object) -> Study:
    return a_cluster_study(url, started=datetime.now(UTC) - timedelta(seconds=5), **more)  # type: ignore[arg-type]


def now_attempts(*names: str, number: int = 0) -> dict[str, Attempt]:
    return running_attempts(*names, number=number, started=datetime.now(UTC) - timedelta(seconds=2))


async def read_until(
    source: PrometheusSource, study: Study, attempts: dict[str, Attempt], reached: Callable[[dict[str, Curves]], bool]
) -> dict[str, Curves]:
    async def look() -> dict[str, Curves] | None:
        curves = dict(await source.read(study, attempts))
        return curves if reached(curves) else None

    return await eventually(look)  # type: ignore[no-any-return]


def at_step(step: int, *trials: str) -> Callable[[dict[str, Curves]], bool]:
    return lambda curves: all(curves[trial].get("loss", Curve()).step == step for trial in trials)


async def test_curves_of_two_trials_are_read_with_exact_rungs(prometheus: TestPrometheus, start_trial: Start):
    trials = {name: start_trial(name) for name in ("s-0", "s-1")}
    prometheus.scrape([pod_labels(name, trial.port) for name, trial in trials.items()])
    study, attempts = now_study(prometheus.url), now_attempts(*trials)
    async with a_source() as source:
        for number, trial in enumerate(trials.values()):
            trial.report(1, loss=0.9 + number)
            trial.report(2, loss=0.8 + number)
        await read_until(source, study, attempts, at_step(2, *trials))
        for number, trial in enumerate(trials.values()):
            for step in range(3, 11):
                trial.report(step, loss=step / 100 + number, other=float("nan"))
        curves = await read_until(source, study, attempts, at_step(10, *trials))
        trouble = source.degraded()

    # Scrapes may catch steps between; at rungs and where the test waited all is exact.
    for number, name in enumerate(trials):
        found = dict(points(curves[name]["loss"]))
        assert found.keys() >= {1, 2, 3, 9, 10}
        assert {s: v for s, v in found.items() if s > 2} == {s: s / 100 + number for s in found if s > 2}
        assert (found[1], found[2]) == (0.9 + number, 0.8 + number)
        assert curves[name]["other"].points[-1].value != curves[name]["other"].points[-1].value
    assert trouble is None


async def test_a_new_attempt_goes_on_from_its_checkpoint(prometheus: TestPrometheus, start_trial: Start):
    study = now_study(prometheus.url)
    first = start_trial("s-0")
    prometheus.scrape([pod_labels("s-0", first.port)])
    first.report(4, loss=0.5)
    first.report(5, loss=0.4)
    async with a_source() as source:
        await read_until(source, study, now_attempts("s-0"), at_step(5, "s-0"))
        first.end()
        second = start_trial("s-0", attempt=1)
        prometheus.scrape([pod_labels("s-0", second.port, attempt=1)])
        second.report(5, loss=0.3)
        curves = await read_until(
            source, study, now_attempts("s-0", number=1), lambda c: points(c["s-0"]["loss"])[-1] == (5, 0.3)
        )
    async with a_source() as restarted:
        again = await read_until(restarted, study, now_attempts("s-0", number=1), lambda c: at_step(5, "s-0")(c))

    assert points(again["s-0"]["loss"]) == points(curves["s-0"]["loss"])


async def test_prometheus_killed_in_the_middle_costs_a_hole_and_a_condition(
    prometheus: TestPrometheus, start_trial: Start
):
    trial = start_trial("s-0")
    prometheus.scrape([pod_labels("s-0", trial.port)])
    study, attempts = now_study(prometheus.url), now_attempts("s-0")
    async with a_source() as source:
        trial.report(1, loss=0.9)
        await read_until(source, study, attempts, at_step(1, "s-0"))
        prometheus.kill()
        trial.report(2, loss=0.8)
        trial.report(3, loss=0.7)
        trial.report(4, loss=0.6)

        async def told() -> str:
            await source.read(study, attempts)
            return getattr(source.degraded(), "reason", "")

        away = await eventually(told)
        meanwhile = await source.read(study, attempts)
        prometheus.start()
        curves = await read_until(source, study, attempts, at_step(4, "s-0"))

        async def well() -> bool:
            await source.read(study, attempts)
            return source.degraded() is None

        await eventually(well)

    assert away == "PrometheusUnreachable"
    assert points(meanwhile["s-0"]["loss"]) == [(1, 0.9)]
    # The second step was seen by nobody; the rung is exact all the same.
    assert points(curves["s-0"]["loss"]) == [(1, 0.9), (3, 0.7), (4, 0.6)]


async def test_prometheus_that_was_never_there_is_a_condition():
    with closed_port() as port:
        study = now_study(f"http://127.0.0.1:{port}")
        async with a_source() as source:
            curves = await source.read(study, now_attempts("s-0"))
            trouble = source.degraded()

    assert curves == {"s-0": {}}
    assert trouble is not None
    assert trouble.reason == "PrometheusUnreachable"
    assert "connection refused" in trouble.message


async def test_a_trial_that_nobody_scrapes_is_a_condition(prometheus: TestPrometheus):
    study, attempts = now_study(prometheus.url), now_attempts("s-0")

    async def told(source: PrometheusSource) -> str:
        await source.read(study, attempts)
        return getattr(source.degraded(), "reason", "")

    async with a_source() as source:
        reason = await eventually(lambda: told(source))

    assert reason == "PrometheusHasNoSamples"


async def test_pods_of_other_namespaces_and_earlier_studies_are_not_read(
    prometheus: TestPrometheus, start_trial: Start
):
    mine, foreign, earlier = start_trial("s-0"), start_trial("s-0"), start_trial("s-0")
    prometheus.scrape(
        [
            pod_labels("s-0", foreign.port, namespace="elsewhere"),
            pod_labels("s-0", earlier.port, uid="u-0"),
            pod_labels("s-0", mine.port),
        ]
    )
    foreign.report(26, loss=-1.0)
    earlier.report(27, loss=-2.0)
    study, attempts = now_study(prometheus.url), now_attempts("s-0")
    async with a_source() as source:
        await eventually(lambda: series_count(source, study, 2))
        mine.report(1, loss=0.5)
        curves = await read_until(source, study, attempts, at_step(1, "s-0"))

    assert points(curves["s-0"]["loss"]) == [(1, 0.5)]


async def series_count(source: PrometheusSource, study: Study, count: int) -> bool:
    """Whether Prometheus has so many steps, whoever they are of."""
    found = await source._api(study).query("seatrial_trial_step[1m]")
    return len(found.series) >= count


async def test_too_many_samples_are_read_in_parts(tmp_path: Path, start_trial: Start):
    server = TestPrometheus(tmp_path / "small", more_flags=("--query.max-samples=12",))
    server.start()
    try:
        trials = {f"s-{i}": start_trial(f"s-{i}", rungs="[]") for i in range(3)}
        server.scrape([pod_labels(name, trial.port) for name, trial in trials.items()])
        study, attempts = now_study(server.url), now_attempts(*trials)
        async with a_source() as source:
            for trial in trials.values():
                trial.report(1, loss=0.5)
            curves = await read_until(source, study, attempts, at_step(1, *trials))
    finally:
        server.kill()

    assert {name: points(found["loss"]) for name, found in curves.items()} == {name: [(1, 0.5)] for name in trials}


async def test_an_authors_expression_is_evaluated(prometheus: TestPrometheus, start_trial: Start):
    trial = start_trial("s-0")
    prometheus.scrape([pod_labels("s-0", trial.port)])
    trial.report(7, val=0.25)
    queries = [{"metric": "loss", "query": '1 - seatrial_trial_metric{metric="val"}'}]
    settings = {"url": prometheus.url, "queries": queries, "stepQuery": "seatrial_trial_step"}
    study = now_study(prometheus.url, metrics={"source": "prometheus", "prometheus": settings})
    async with a_source() as source:
        curves = await read_until(source, study, now_attempts("s-0"), at_step(7, "s-0"))

    assert points(curves["s-0"]["loss"]) == [(7, 0.75)]


async def test_a_wrong_expression_is_a_condition_in_the_words_of_prometheus(prometheus: TestPrometheus):
    settings = {"url": prometheus.url, "queries": [{"metric": "loss", "query": "sum by ("}]}
    study = now_study(prometheus.url, metrics={"source": "prometheus", "prometheus": settings})
    async with a_source() as source:
        await source.read(study, now_attempts("s-0"))
        trouble = source.degraded()

    assert trouble is not None
    assert trouble.reason == "PrometheusRefused"
    assert "parse error" in trouble.message
