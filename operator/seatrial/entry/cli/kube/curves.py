"""Whole curves for a report: from Prometheus where the user can reach it, else thinned ones from the trials' records."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from seatrial.adapters.kubernetes.faults import ApiError
from seatrial.adapters.kubernetes.port import Resource
from seatrial.adapters.kubernetes.service_proxy import RoutedFetcher
from seatrial.adapters.metrics.history import read_history
from seatrial.adapters.metrics.prometheus_api import PrometheusApi, PrometheusError
from seatrial.api.study import MetricsSource, Study
from seatrial.api.trial import Trial
from seatrial.decide.curves import Curves
from seatrial.entry.cli.kube.connection import Connection
from seatrial.errors import TransientError

__all__ = ["Drawn", "find_prometheus", "read_curves"]

_SERVICES = Resource(group="", version="v1", plural="services", kind="Service")
_BUNDLED = "app.kubernetes.io/part-of=seatrial,app.kubernetes.io/component=prometheus"
_TIMEOUT_SECONDS = 20.0
_RECORDS = "the trials' records: at most 64 points of the first objective each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Curves and where they come from."""

    curves: Mapping[str, Curves]
    source: str


async def find_prometheus(connection: Connection, study: Study, given: str | None) -> str | None:
    """Return the address of the Prometheus of a study, None when nobody names one.

    That is what the user gave, else what the study names, else the one that Seatrial's chart brings.
    """
    settings = study.spec.metrics.prometheus
    if given or (settings and settings.url):
        return given or (settings.url if settings else None)
    try:
        page = await connection.client.list(_SERVICES, None, selector=_BUNDLED)
    except (ApiError, TransientError):
        return None  # who may not look for it can still name it
    for item in page.items:
        ports = item["spec"].get("ports") or [{}]
        metadata = item["metadata"]
        return f"http://{metadata['name']}.{metadata['namespace']}.svc:{ports[0].get('port', 9090)}"
    return None


async def read_curves(
    connection: Connection, study: Study, trials: tuple[Trial, ...], given: str | None, now: datetime
) -> Drawn:
    """Return the curves of all trials.

    Args:
        connection: The cluster.
        study: As stored.
        trials: Its trials.
        given: Address of a Prometheus that the user names.
        now: The time.
    """
    if given is None and study.spec.metrics.source is not MetricsSource.PROMETHEUS:
        return Drawn(curves={}, source=f"{_RECORDS} (metrics.source is {study.spec.metrics.source.value}).")
    url = await find_prometheus(connection, study, given)
    if url is None:
        return Drawn(curves={}, source=f"{_RECORDS}; no Prometheus is known, --prometheus-url names one.")
    fetcher = RoutedFetcher(connection.client, connection.namespace)
    api = PrometheusApi(url, fetcher, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        history = await read_history(api, study, trials, now)
    except PrometheusError as error:
        return Drawn(curves={}, source=f"{_RECORDS}; Prometheus cannot be read: {error}.")
    finally:
        await fetcher.close()
    way = " through the API server" if fetcher.proxied else ""
    found = len(history.curves)
    rest = "" if found == history.started else f"; the other {history.started - found} from {_RECORDS}"
    return Drawn(
        curves=history.curves,
        source=f"Prometheus at {url}{way} ({found} of {history.started} trials that began){rest}.",
    )
