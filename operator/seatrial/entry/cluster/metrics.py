"""Chooses how the curves of each study are read on a cluster: builds the sources and decides between Prometheus and the Pods."""

import asyncio
from collections.abc import Mapping

from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.pods import PodRecord
from seatrial.adapters.kubernetes.port import KubeClient
from seatrial.adapters.metrics.composite import ClusterMetricSource
from seatrial.adapters.metrics.fetching import Fetcher
from seatrial.adapters.metrics.logs import LogSource
from seatrial.adapters.metrics.prometheus import PrometheusSource
from seatrial.adapters.metrics.scrape import ScrapeSource
from seatrial.api.study import MetricsSource, Study
from seatrial.decide.attempts import Attempt
from seatrial.decide.curves import Curves
from seatrial.decide.status import Remark
from seatrial.entry.cluster.trials import PodLogs, PodTargets
from seatrial.ports import Clock, Degraded, MetricSource

__all__ = ["MetricSources", "StudyMetrics"]

CONDITION = "MetricsAvailable"

# Logs at a time, of all studies: each may be 64 MiB.
_LOGS = 8

_READ_BY = {
    MetricsSource.PROMETHEUS: ("ReadFromPrometheus", "curves are read from Prometheus"),
    MetricsSource.SCRAPE: ("ScrapedByOperator", "the operator reads the Pods itself"),
    MetricsSource.TERMINATION_MESSAGE: ("FinalValuesOnly", "values come with the end of each trial"),
    MetricsSource.LOGS: ("FinalValuesOnly", "what a trial printed is read at its end"),
}


class MetricSources:
    """Builds the metrics of studies.

    Args:
        client: For logs.
        pods: Cache of Pods.
        fetcher: Asks Prometheus and Pods.
        clock: The time.
        prometheus_url: Prometheus of studies that name none; None when there is none.
    """

    def __init__(
        self,
        client: KubeClient,
        pods: Informer[PodRecord],
        *,
        fetcher: Fetcher,
        clock: Clock,
        prometheus_url: str | None,
    ) -> None:
        self._client, self._pods, self._fetcher, self._clock = client, pods, fetcher, clock
        self._url = prometheus_url
        self._logs = asyncio.Semaphore(_LOGS)

    def build(self) -> "StudyMetrics":
        """Return the metrics of one study."""
        scrape = ScrapeSource(targets=PodTargets(self._pods), fetcher=self._fetcher, clock=self._clock)
        prometheus = PrometheusSource(fetcher=self._fetcher, clock=self._clock, default_url=self._url)
        logs = LogSource(reader=PodLogs(self._client, self._pods), clock=self._clock, gate=self._logs)
        return StudyMetrics(prometheus, scrape, logs, prometheus_url=self._url)


class StudyMetrics:
    """A :class:`~seatrial.ports.MetricSource` of one study.

    A study that wants Prometheus where none is known is scraped instead: the same series by another way. Only queries in PromQL
    cannot do without.
    """

    def __init__(
        self, prometheus: PrometheusSource, scrape: ScrapeSource, logs: LogSource, *, prometheus_url: str | None
    ) -> None:
        self._prometheus, self._scrape, self._logs, self._url = prometheus, scrape, logs, prometheus_url
        sources: Mapping[MetricsSource, MetricSource] = {
            MetricsSource.PROMETHEUS: prometheus,
            MetricsSource.SCRAPE: scrape,
            MetricsSource.LOGS: logs,
        }
        self._direct = ClusterMetricSource(sources, printed=logs)
        self._instead = ClusterMetricSource({**sources, MetricsSource.PROMETHEUS: scrape}, printed=logs)
        self._chosen = self._direct
        self._read = False

    async def read(self, study: Study, attempts: Mapping[str, Attempt]) -> Mapping[str, Curves]:
        """Return the curves so far; see :class:`~seatrial.ports.MetricSource`."""
        self._read = True
        self._chosen = self._instead if self._lacks_prometheus(study) else self._direct
        return await self._chosen.read(study, attempts)

    def unread(self) -> Mapping[str, float]:
        """Return ended trials whose values may still come."""
        return self._chosen.unread()

    def degraded(self) -> Degraded | None:
        """Return what was wrong with the newest reading."""
        return self._chosen.degraded()

    def remark(self, study: Study) -> Remark | None:
        """Return the condition that says how curves are read; None as long as there were none to read."""
        if not self._read:
            return None
        trouble = self.degraded()
        if trouble is not None:
            return Remark(type=CONDITION, status="False", reason=trouble.reason, message=trouble.message)
        if self._lacks_prometheus(study):
            words = (
                "no Prometheus is named by the study or the operator's installation: the operator reads the Pods itself"
            )
            return Remark(type=CONDITION, status="True", reason="ScrapedByOperator", message=words)
        reason, words = _READ_BY[study.spec.metrics.source]
        return Remark(type=CONDITION, status="True", reason=reason, message=words)

    async def close(self) -> None:
        """Give up what goes on."""
        await self._prometheus.close()
        await self._scrape.close()
        await self._logs.close()

    def _lacks_prometheus(self, study: Study) -> bool:
        metrics = study.spec.metrics
        own = metrics.prometheus
        return (
            metrics.source is MetricsSource.PROMETHEUS and self._url is None and not (own and (own.url or own.queries))
        )
