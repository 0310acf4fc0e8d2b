"""Serves ``/metrics`` from the record, computed only when somebody asks.

prometheus-client is imported here and only when a port is given. Must not end a training because a port is taken.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from seatrial_harness import wire
from seatrial_harness.notices import Notices
from seatrial_harness.record import Record

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["serve_metrics"]


def serve_metrics(record: Record, port: int, notices: Notices, *, of: str = "") -> Callable[[], None]:
    """Serve on all interfaces in a daemon thread.

    Args:
        record: What was reported.
        port: Where.
        notices: Take what goes wrong.
        of: Whose metrics these are, ``trial/attempt``: where a Pod goes on to another trial, Prometheus knows that some seconds late.

    Returns:
        A function that stops serving.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_RecordCollector(record, of))
        server, _ = start_http_server(port, registry=registry)
    except (OSError, OverflowError, ImportError) as error:
        notices.once("metrics", f"metrics cannot be served on port {port}: {error}; training goes on without /metrics")
        return lambda: None

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop


class _RecordCollector:
    def __init__(self, record: Record, of: str) -> None:
        self._record, self._of = record, of

    def collect(self) -> "Iterable[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        record = self._record
        if record.step is not None:
            steps = GaugeMetricFamily(wire.METRIC_STEP, "Last reported training step.", labels=["of"])
            steps.add_metric([self._of], record.step)
            yield steps
            yield GaugeMetricFamily(
                wire.METRIC_HEARTBEAT, "Unix time of the last report, in seconds.", value=record.heartbeat
            )
        values = GaugeMetricFamily(wire.METRIC_VALUE, "Last reported value of a metric.", labels=["metric"])
        # list() of a dict's items is one step for the interpreter: a report in the training thread cannot tear it.
        for name, tally in list(record.tallies.items()):
            values.add_metric([name], tally.last)
        yield values
        rungs = GaugeMetricFamily(
            wire.METRIC_RUNG, "Value of a metric at a rung; stays once reported.", labels=["metric", "step"]
        )
        for (name, step), value in list(record.rung_values.items()):
            rungs.add_metric([name, str(step)], value)
        yield rungs
