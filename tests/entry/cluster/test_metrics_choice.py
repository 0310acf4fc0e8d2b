"""How a study's curves are read on a cluster, and what its condition says of it."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from adapters.kubernetes.world import Cluster, Memory
from decide.builders import a_study
from seatrial.adapters.kubernetes.rehearsal import build_rehearsal_trial
from seatrial.adapters.local.simulated import Script
from seatrial.adapters.metrics.fetching import Answer, Unreachable
from seatrial.adapters.metrics.logs import NoLogError
from seatrial.decide.attempts import Attempt
from seatrial.decide.status import Remark
from seatrial.entry.cluster.metrics import MetricSources
from seatrial.entry.cluster.trials import PodLogs, PodTargets

PAGE = b'seatrial_trial_step 3\nseatrial_trial_metric{metric="loss"} 0.5\n'


class Pages:
    """Answers what it is asked by HTTP, and keeps the addresses."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    async def get(self, url: str, *, seconds: float, limit_bytes: int, account: str) -> Answer:
        self._note(url, account)
        return Answer(status=200, body=PAGE, cut=False)

    async def post(self, url: str, form: object, *, seconds: float, limit_bytes: int, account: str) -> Answer:
        self._note(url, account)
        raise Unreachable("connection refused")

    def _note(self, url: str, account: str) -> None:
        # Whose answers wait for each other.
        assert account == "default"
        self.urls.append(url)


class World:
    """A study with one Pod that runs."""

    def __init__(self, url: str | None, **metrics: object) -> None:
        self.cluster = Cluster(lambda *_: Script(duration_seconds=100))
        self.study = a_study(metrics=metrics) if metrics else a_study()
        self.pages = Pages()
        self.memory = Memory(self.cluster)
        self.sources = MetricSources(
            self.memory.client,
            self.memory.pods,
            fetcher=self.pages,
            clock=self.cluster.clock,
            prometheus_url=url,
        )

    async def start(self) -> None:
        key = self.cluster.put_study(self.study)
        await self.memory.settle()
        study = await self.memory.store.read_study(key)
        assert study is not None
        self.study = study

        trial = await self.memory.store.create_trial(key, build_rehearsal_trial(study, self.cluster.clock.now()))
        await self.memory.runner.start(study, trial, 0)
        self.cluster.kubelet.advance(5)
        await self.memory.settle()

    async def attempts(self) -> dict[str, Attempt]:
        return dict(await self.memory.runner.observe(self.study))


def read(world: World, attempts: dict[str, Attempt] | None = None) -> tuple[Remark | None, dict]:
    async def main() -> tuple[Remark | None, dict]:
        await world.start()
        found = world.sources.build()
        assert found.remark(world.study) is None
        curves = dict(await found.read(world.study, await world.attempts() if attempts is None else attempts))
        remark = found.remark(world.study)
        await found.close()
        await world.memory.close()
        return remark, curves

    return asyncio.run(main())


def test_a_study_that_wants_prometheus_where_none_is_known_is_scraped():
    world = World(None)

    remark, curves = read(world)

    assert remark is not None
    assert (remark.status, remark.reason) == ("True", "ScrapedByOperator")
    assert world.pages.urls
    assert world.pages.urls[0].endswith(":9464/metrics")
    assert curves["s-0"]["loss"].points[-1].value == 0.5


@pytest.mark.parametrize(
    ("url", "metrics"),
    [
        ("http://default:9090", {}),
        (None, {"source": "prometheus", "prometheus": {"url": "http://own:9090"}}),
    ],
)
def test_a_prometheus_that_does_not_answer_is_a_condition(url: str | None, metrics: dict):
    world = World(url, **metrics)

    remark, _ = read(world)

    assert remark is not None
    assert (remark.status, remark.reason) == ("False", "PrometheusUnreachable")
    assert all(("own" if metrics else "default") in asked for asked in world.pages.urls)


def test_queries_cannot_do_without_prometheus():
    queries = [{"metric": "loss", "query": "loss"}]

    remark, _ = read(World(None, source="prometheus", prometheus={"queries": queries}))

    assert remark is not None
    assert (remark.status, remark.reason) == ("False", "PrometheusNotNamed")


def test_a_study_without_curves_is_told_so():
    remark, curves = read(World(None, source="termination-message"))

    assert remark is not None
    assert (remark.status, remark.reason, curves) == ("True", "FinalValuesOnly", {})


def test_only_running_pods_of_this_very_study_are_targets():
    async def main() -> None:
        world = World(None)
        await world.start()
        finder = PodTargets(world.memory.pods)
        (target,) = finder.find(world.study)
        assert (target.trial, target.attempt) == ("s-0", 0)
        other = world.study.metadata.model_copy(update={"uid": "another"})
        assert finder.find(world.study.model_copy(update={"metadata": other})) == []
        world.cluster.kubelet.advance(200)
        await world.memory.settle()
        assert finder.find(world.study) == []
        await world.memory.close()

    asyncio.run(main())


def test_logs_are_those_of_the_attempts_container():
    async def main() -> None:
        world = World(None)
        await world.start()
        asked: list[tuple] = []

        async def read_log(namespace: str, pod: str, container: str, **limits: object) -> str:
            asked.append((namespace, pod, container))
            return "loss=0.25\n"

        world.memory.client.read_log = read_log
        reader = PodLogs(world.memory.client, world.memory.pods)
        assert [piece async for piece in reader.read(world.study, "s-0", 0)] == [b"loss=0.25\n"]
        assert asked == [("default", "s-0-0", "main")]
        with pytest.raises(NoLogError, match="s-0-7 is gone"):
            await anext(reader.read(world.study, "s-0", 7))
        await world.memory.close()

    asyncio.run(main())


def test_a_long_log_is_not_held_twice_while_it_is_read():
    async def main() -> None:
        world = World(None)
        await world.start()
        # What is no UTF-8 takes twice as much as text, and thrice as bytes.
        text = "\N{REPLACEMENT CHARACTER}" * (4 << 20)

        async def read_log(namespace: str, pod: str, container: str, **limits: object) -> str:
            return text

        world.memory.client.read_log = read_log
        reader = PodLogs(world.memory.client, world.memory.pods)
        tracemalloc.start()
        try:
            read = sum([len(piece) async for piece in reader.read(world.study, "s-0", 0)])
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await world.memory.close()

        assert read == 12 << 20
        assert most < 4 << 20

    asyncio.run(main())
