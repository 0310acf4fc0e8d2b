"""A trial that writes another's name into its /metrics changes its own curve at most, whoever reads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.metrics_cluster.faulty_server import FaultyServer, Reply
from adapters.metrics_cluster.real_prometheus import RunningTrial, TestPrometheus, eventually, pod_labels
from adapters.metrics_cluster.test_prometheus_real import (
    a_source,
    at_step,
    now_attempts,
    now_study,
    read_until,
    series_count,
)
from adapters.metrics_cluster.test_scrape_source import SCRAPED, Addresses
from adapters.metrics_cluster.test_scrape_source import a_source as a_scraping_source
from adapters.metrics_cluster.worlds import HandClock, points, running_attempts

pytestmark = pytest.mark.slow

Start = Callable[..., RunningTrial]

VICTIM = {
    "namespace": "lab",
    "pod": "s-0-0",
    "study": "s",
    "study_uid": "u-1",
    "trial": "s-0",
    "attempt": "0",
    "job": "seatrial-trials",
    "instance": "127.0.0.1:1",
}
"""All that tells the victim's series from others."""


def forged(**labels: str) -> list[str]:
    """Return the lines of a training that is at its last step with the best of all values, under these labels."""
    written = "".join(f',{name}="{value}"' for name, value in labels.items())
    return [
        f'seatrial_trial_step{{x="y"{written}}} 27',
        f'seatrial_trial_metric{{metric="loss"{written}}} -1',
        f'seatrial_trial_rung_metric{{metric="loss",step="9"{written}}} -1',
    ]


WAYS: dict[str, list[str]] = {
    "all its labels": forged(**VICTIM),
    "its trial and attempt": forged(trial="s-0", attempt="0"),
    "its labels as exported ones": forged(**{f"exported_{name}": value for name, value in VICTIM.items()}),
    "both": forged(**VICTIM, **{f"exported_{name}": value for name, value in VICTIM.items()}),
    "labels of discovery": forged(
        __meta_kubernetes_pod_label_seatrial_dev_trial="s-0", __address__="127.0.0.1:1", __name="x"
    ),
    "its labels, long ago and far ahead": [
        f"{line} {at}" for line in forged(**VICTIM) for at in (1, 4_102_444_800_000)
    ],
    "an escaped name": forged(trial='s-0\\",attempt=\\"0', attempt="0"),
    "a label twice": ['seatrial_trial_step{trial="s-1",trial="s-0"} 27'],
}


@pytest.fixture
def imposter() -> Iterator[FaultyServer]:
    """The Pod of trial s-1, which serves what it likes."""
    with closing(FaultyServer()) as server:
        yield server


def port_of(server: FaultyServer) -> int:
    return int(server.url.rpartition(":")[2])


def page(lines: list[str]) -> Reply:
    return Reply(body="".join(f"{line}\n" for line in lines).encode(), headers={"Content-Type": "text/plain"})


@pytest.mark.prometheus
async def test_prometheus_keeps_an_imposters_series_apart(
    prometheus: TestPrometheus, start_trial: Start, imposter: FaultyServer
):
    """Every way at once would be one scrape that fails for one of them: they come in turn, each to be scraped several times."""
    victim = start_trial("s-0")
    prometheus.scrape([pod_labels("s-0", victim.port), pod_labels("s-1", port_of(imposter))])
    study, attempts = now_study(prometheus.url), now_attempts("s-0", "s-1")
    async with a_source() as source:
        for number, way in enumerate(sorted(WAYS), 1):
            imposter.answer = lambda _, way=way: page(WAYS[way])
            await eventually(_scraped_again(imposter, 2))
            victim.report(number, loss=1 / number)
            curves = await read_until(source, study, attempts, at_step(number, "s-0"))

    assert dict(points(curves["s-0"]["loss"])).items() <= {(number, 1 / number) for number in range(1, len(WAYS) + 1)}
    # It has harmed itself alone.
    assert points(curves["s-1"]["loss"])[-1] == (27, -1.0)


def _scraped_again(server: FaultyServer, times: int) -> Callable[[], Awaitable[bool]]:
    """Return what says whether a server was asked so many times from now on."""
    wanted = len(server.asked) + times

    async def look() -> bool:
        return len(server.asked) >= wanted

    return look


@pytest.mark.prometheus
async def test_with_honor_labels_an_imposter_would_be_believed(
    tmp_path: Path, start_trial: Start, imposter: FaultyServer
):
    """What the chart's ``honor_labels: false`` is for; without it the tests here would hold nothing."""
    server = TestPrometheus(tmp_path / "trusting", changes={"honor_labels": True})
    server.start()
    try:
        imposter.answer = lambda _: page(forged(trial="s-0", attempt="0"))
        server.scrape([pod_labels("s-1", port_of(imposter))])
        study, attempts = now_study(server.url), now_attempts("s-0", "s-1")
        async with a_source() as source:
            await eventually(lambda: series_count(source, study, 1))
            curves = await read_until(source, study, attempts, at_step(27, "s-0"))
    finally:
        server.kill()

    assert points(curves["s-0"]["loss"])[-1] == (27, -1.0)


@pytest.mark.parametrize("way", sorted(WAYS))
async def test_a_scraped_page_speaks_of_its_own_pod_alone(start_trial: Start, imposter: FaultyServer, way: str):
    clock, addresses = HandClock(), Addresses()
    victim = start_trial("s-0")
    addresses.add("s-0", victim.port)
    addresses.add("s-1", port_of(imposter))
    imposter.answer = lambda _: page(WAYS[way])
    async with a_scraping_source(clock, addresses) as source:
        for step in range(1, 4):
            victim.report(step, loss=1 / step)
            clock.move(20)
            curves = await source.read(SCRAPED, running_attempts("s-0", "s-1"))

    assert points(curves["s-0"]["loss"]) == [(step, 1 / step) for step in range(1, 4)]
    assert len(imposter.asked) >= 3


async def test_a_page_that_points_to_another_pod_is_not_followed(start_trial: Start, imposter: FaultyServer):
    """A redirect would make another trial's curve one's own."""
    clock, addresses = HandClock(), Addresses()
    victim = start_trial("s-0")
    addresses.add("s-1", port_of(imposter))
    imposter.answer = lambda _: Reply(status=302, headers={"Location": f"http://127.0.0.1:{victim.port}/metrics"})
    victim.report(1, loss=0.5)
    async with a_scraping_source(clock, addresses) as source:
        curves = await source.read(SCRAPED, running_attempts("s-1"))

    assert curves == {"s-1": {}}


@pytest.mark.prometheus
async def test_a_trial_of_a_hundred_thousand_series_is_not_scraped_and_named_and_its_neighbour_is_read(
    prometheus: TestPrometheus, start_trial: Start, imposter: FaultyServer
):
    neighbour = start_trial("s-0")
    flood = page([f'seatrial_trial_metric{{metric="m{number}"}} 1' for number in range(100_000)])
    imposter.answer = lambda _: flood
    prometheus.scrape([pod_labels("s-0", neighbour.port), pod_labels("s-1", port_of(imposter))])
    study, attempts = now_study(prometheus.url), now_attempts("s-0", "s-1")
    async with a_source() as source:
        neighbour.report(1, loss=0.5)
        await read_until(source, study, attempts, at_step(1, "s-0"))
        await eventually(_scraped_again(imposter, 3))

        async def told() -> str:
            await source.read(study, attempts)
            message: str = getattr(source.degraded(), "message", "")
            # Something else may be told before, such as that Prometheus is busy with the first of these pages.
            return message if "nothing new of 1 running trials, such as s-1" in message else ""

        message = await eventually(told)
        curves = dict(await source.read(study, attempts))

    assert points(curves["s-0"]["loss"]) == [(1, 0.5)]
    assert curves["s-1"] == {}
    assert "nothing new of 1 running trials, such as s-1" in message
