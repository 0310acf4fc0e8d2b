"""What the operator says of itself in numbers, for Prometheus. docs/operator-metrics.md lists it.

The registry is its own, so that nothing that another library registers comes along. Series are bounded: labels are verbs, kinds,
codes, algorithms and states, and of studies at most :data:`STUDIES_SHOWN` have series, which go when the study goes.
"""

import contextlib
from collections import Counter as Counts
from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import start_http_server
from prometheus_client.process_collector import ProcessCollector

from seatrial.adapters.kubernetes.port import Call
from seatrial.api.conditions import find_condition
from seatrial.api.study import Study
from seatrial.decide.actions import Action
from seatrial.ports import StudyKey

__all__ = ["STUDIES_SHOWN", "EventOutcome", "MetricsServer", "ReconcileOutcome", "Telemetry"]

STUDIES_SHOWN = 1000
"""Most studies that have series of their own."""

_RECONCILE_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DECISION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_CALL_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_STUDY_LABELS = ("namespace", "study")
_STATES = ("pending", "running", "paused", "completed", "stopped", "failed", "diverged", "infeasible", "cancelled")


class ReconcileOutcome(StrEnum):
    """How a pass over a study ended."""

    DONE = "done"
    RETRIED = "retried"  # The world was not ready; it is tried again.
    FAILED = "failed"  # A bug.


class EventOutcome(StrEnum):
    """What became of a Kubernetes Event."""

    WRITTEN = "written"
    LIMITED = "rate_limited"
    FAILED = "failed"
    OVERFLOWED = "queue_full"


class MetricsServer:
    """A running HTTP server of ``/metrics``."""

    def __init__(self, registry: CollectorRegistry, port: int, address: str) -> None:
        """Begin to serve, in a thread of its own.

        Raises:
            OSError: If the port is taken.
        """
        self._server, self._thread = start_http_server(port, address, registry)

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Telemetry:
    """All metrics of one operator process."""

    def __init__(self) -> None:
        """Register everything; each series of a plain counter starts at 0, so that its first increase is seen."""
        self.registry = CollectorRegistry()
        self._studies: dict[StudyKey, str] = {}
        self._states_seen: set[str] = set()
        self._metrics_of: dict[StudyKey, tuple[str, ...]] = {}
        self._declare_work()
        self._declare_studies()
        ProcessCollector(registry=self.registry)
        built = Gauge("seatrial_build_info", "Version of the operator; always 1.", ["version"], registry=self.registry)
        built.labels(version("seatrial")).set(1)

    def _declare_work(self) -> None:
        registry = self.registry
        self._reconciles = Histogram(
            "seatrial_reconcile_duration_seconds",
            "Seconds that a pass over a study took, by how it ended.",
            ["outcome"],
            buckets=_RECONCILE_BUCKETS,
            registry=registry,
        )
        for ending in ReconcileOutcome:
            self._reconciles.labels(ending.value)
        self._decisions = Histogram(
            "seatrial_decision_duration_seconds",
            "Seconds from asking an algorithm for trials to its answer, by algorithm.",
            ["algorithm"],
            buckets=_DECISION_BUCKETS,
            registry=registry,
        )
        self._calls = Counter(
            "seatrial_api_requests_total",
            "Calls to the API server, by verb, kind and HTTP status; code 0 is no answer.",
            ["verb", "resource", "code"],
            registry=registry,
        )
        self._call_seconds = Histogram(
            "seatrial_api_request_duration_seconds",
            "Seconds until the API server answered, by verb and kind.",
            ["verb", "resource"],
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self._depth = Gauge("seatrial_queue_depth", "Studies that wait for a pass.", registry=registry)
        self._tasks = Gauge("seatrial_tasks", "Tasks of the event loop.", registry=registry)
        self._leader = Gauge("seatrial_leader", "1 while this process is the one that works.", registry=registry)
        self._staleness = Gauge(
            "seatrial_informer_staleness_seconds",
            "Seconds since the API server was last heard of by the cache of a kind.",
            ["resource"],
            registry=registry,
        )
        self._actions = Counter(
            "seatrial_actions_total", "Actions that were applied, by kind.", ["action"], registry=registry
        )
        self._restarts = Counter(
            "seatrial_ask_worker_restarts_total",
            "How often the process that asks algorithms was started again.",
            registry=registry,
        )
        self._events = Counter(
            "seatrial_events_total", "Kubernetes Events, by what became of them.", ["outcome"], registry=registry
        )
        for outcome in EventOutcome:
            self._events.labels(outcome.value)

    def _declare_studies(self) -> None:
        self._by_state = Gauge(
            "seatrial_studies",
            "Studies by state: the reason of the condition Succeeded.",
            ["state"],
            registry=self.registry,
        )
        self._trials = Gauge(
            "seatrial_trials", "Trials of a study by state.", [*_STUDY_LABELS, "state"], registry=self.registry
        )
        self._best = Gauge(
            "seatrial_study_best_value",
            "Objective values of the winner so far, as the user states them.",
            [*_STUDY_LABELS, "metric"],
            registry=self.registry,
        )
        self._unshown = Gauge(
            "seatrial_studies_without_series",
            "Studies beyond the number that have series of their own.",
            registry=self.registry,
        )

    # ---- work --------------------------------------------------------------------------------------------------------

    def observe_call(self, call: Call) -> None:
        """Count a call to the API server; a :data:`~seatrial.adapters.kubernetes.port.CallObserver`."""
        self._calls.labels(call.verb, call.resource, str(call.code)).inc()
        if call.verb != "watch":
            # How long a watch lasts is no latency.
            self._call_seconds.labels(call.verb, call.resource).observe(call.seconds)

    def observe_reconcile(self, seconds: float, outcome: ReconcileOutcome = ReconcileOutcome.DONE) -> None:
        """Count a pass over a study."""
        self._reconciles.labels(outcome.value).observe(seconds)

    def observe_decision(self, algorithm: str, seconds: float) -> None:
        """Count a question to an algorithm.

        Args:
            algorithm: Its name in the table: one of a few.
            seconds: From the question to the answer.
        """
        self._decisions.labels(algorithm).observe(seconds)

    def observe_action(self, action: Action) -> None:
        """Count an applied action."""
        self._actions.labels(type(action).__name__).inc()

    def observe_event(self, outcome: EventOutcome, number: int = 1) -> None:
        """Count what became of Kubernetes Events."""
        self._events.labels(outcome.value).inc(number)

    def observe_restart(self) -> None:
        """Count a new start of the process that asks algorithms."""
        self._restarts.inc()

    def show_leader(self, leads: bool) -> None:
        """Show whether this process is the one that works."""
        self._leader.set(1 if leads else 0)

    def watch_queue(self, depth: Callable[[], float]) -> None:
        """Read the queue's depth at every scrape."""
        self._depth.set_function(depth)

    def watch_tasks(self, number: Callable[[], float]) -> None:
        """Read at every scrape how many tasks there are."""
        self._tasks.set_function(number)

    def watch_cache(self, resource: str, staleness_seconds: Callable[[], float]) -> None:
        """Read at every scrape how old a cache is.

        Args:
            resource: Plural of its kind.
            staleness_seconds: Returns the age; infinite before the first list.
        """
        self._staleness.labels(resource).set_function(staleness_seconds)

    # ---- studies -----------------------------------------------------------------------------------------------------

    def show_study(self, key: StudyKey, study: Study) -> None:
        """Show what a study's status says; one beyond :data:`STUDIES_SHOWN` only counts."""
        summary = find_condition(study.status.conditions, "Succeeded") if study.status else None
        self.show_state(key, summary.reason if summary else "New")
        shown = len(self._metrics_of) < STUDIES_SHOWN or key in self._metrics_of
        if not shown or study.status is None:
            return
        metrics = tuple(objective.metric for objective in study.spec.objectives)
        if self._metrics_of.get(key, metrics) != metrics:
            self._remove_series(key)
        self._metrics_of[key] = metrics
        self._unshown.set(len(self._studies) - len(self._metrics_of))
        for state in _STATES:
            self._trials.labels(*key, state).set(getattr(study.status.trials, state))
        best = study.status.best
        if best is not None:
            for metric, value in zip(metrics, best.values, strict=False):
                self._best.labels(*key, metric).set(value)

    def show_state(self, key: StudyKey, state: str) -> None:
        """Show the state of a study of which nothing else is known, such as one that is not valid."""
        if self._studies.get(key) != state:
            self._studies[key] = state
            self._show_states()

    def forget_study(self, key: StudyKey) -> None:
        """Remove everything about a study that is gone."""
        if self._studies.pop(key, None) is not None:
            self._remove_series(key)
            self._show_states()

    def forget_all_studies(self) -> None:
        """Remove everything about studies: another process works now."""
        for key in list(self._studies):
            self.forget_study(key)

    def _remove_series(self, key: StudyKey) -> None:
        metrics = self._metrics_of.pop(key, None)
        if metrics is None:
            return
        for state in _STATES:
            self._trials.remove(*key, state)
        for metric in metrics:
            # There is none before the first result.
            with contextlib.suppress(KeyError):
                self._best.remove(*key, metric)

    def _show_states(self) -> None:
        numbers = Counts(self._studies.values())
        # A state that nobody is in any more shows 0.
        self._states_seen |= numbers.keys()
        for state in self._states_seen:
            self._by_state.labels(state).set(numbers[state])
        self._unshown.set(len(self._studies) - len(self._metrics_of))

    # ---- serving -----------------------------------------------------------------------------------------------------

    def serve(self, port: int, address: str = "0.0.0.0") -> MetricsServer | None:  # noqa: S104 - to be scraped
        """Serve ``/metrics`` on a port of its own; 0 serves nothing.

        Raises:
            OSError: If the port is taken.
        """
        return None if port == 0 else MetricsServer(self.registry, port, address)
