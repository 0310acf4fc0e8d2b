"""Takes reports into the record and out to the observations file, the terminal or ``/metrics``.

Must not decide how a trial ends. Safe to call from several threads, and to be interrupted by a signal handler that
asks :meth:`Reporter.busy` first.
"""

import contextlib
import math
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from seatrial_harness.notices import Notices
from seatrial_harness.observations import ObservationFile
from seatrial_harness.record import METRICS_LIMIT, Record
from seatrial_harness.scrape import serve_metrics
from seatrial_harness.surroundings import Surroundings

__all__ = ["Reporter", "to_float"]

_METRIC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./:-]{0,119}")


class Reporter:
    """The reports of one trial."""

    def __init__(self, surroundings: Surroundings, notices: Notices, *, quiet: bool) -> None:
        ends = {surroundings.until_step} if surroundings.until_step is not None else set[int]()
        self.record = Record(surroundings.objectives, surroundings.rungs | ends)
        self.quiet = quiet
        self._notices = notices
        self._prints = surroundings.alone
        self._port = surroundings.metrics_port
        self._of = f"{surroundings.trial}/{surroundings.attempt}" if surroundings.trial else ""
        path = surroundings.observations_path
        self._observations = ObservationFile(path, notices, time.perf_counter) if path and not quiet else None
        self._stop_serving: Callable[[], None] | None = None
        self._names: set[str] = set()
        self.lock = threading.RLock()
        self.depth = 0
        self.after: Callable[[], None] | None = None
        """Called once when the current report is over; set by a signal handler that came in its middle."""

    def serve(self) -> None:
        """Serve ``/metrics`` when a port was given."""
        if self._port:
            self._stop_serving = serve_metrics(self.record, self._port, self._notices, of=self._of)

    def silence(self) -> None:
        """Make this process, a fork of the one that reports, say nothing more."""
        self.quiet = True
        self._observations = None
        self.lock = threading.RLock()
        self.depth = 0

    def report(self, step: int, metrics: dict[str, Any]) -> None:
        """Take one report; *metrics* is changed to floats in place.

        Raises:
            TypeError: If a value is no number.
            ValueError: If a name is not allowed.
        """
        names = self._names
        for name, value in metrics.items():
            if type(value) is not float:
                metrics[name] = to_float(name, value)
            if name not in names:
                self._admit(name)
        if self.quiet:
            self._notices.once(
                "quiet", "another process speaks for this trial (or RANK is not 0): the reports of this one are ignored"
            )
            return
        now = time.time()
        # As guarded(), written out: this is the one call that training repeats for ever.
        with self.lock:
            self.depth += 1
            try:
                if self.record.add(step, metrics, now):
                    self._notices.once(
                        "backwards",
                        f"the step went backwards, to {step}: later reports replace earlier ones of the same step",
                    )
                if self._observations is not None:
                    self._observations.append(step, now, metrics)
                elif self._prints:
                    _print_report(step, metrics)
            finally:
                self.depth -= 1
        if self.after is not None:
            self._run_after()

    def write_if_due(self) -> None:
        """Write what is buffered when the last write is long enough ago."""
        if self._observations is not None:
            with self._guarded():
                self._observations.flush_if_due()

    def write(self) -> None:
        """Write what is buffered now."""
        if self._observations is not None:
            with self._guarded():
                self._observations.flush()

    def seal(self) -> dict[str, object]:
        """Write what is buffered, and return what was reported until now."""
        self.write()
        with self.lock:
            return self.record.to_plain()

    def close(self) -> None:
        """Write the rest and stop serving."""
        if self._observations is not None:
            with self._guarded():
                self._observations.close()
        if self._stop_serving is not None:
            self._stop_serving()
            self._stop_serving = None

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        with self.lock:
            self.depth += 1
            try:
                yield
            finally:
                self.depth -= 1
        if self.after is not None:
            self._run_after()

    def _run_after(self) -> None:
        after, self.after = self.after, None
        if after is not None:
            after()

    def _admit(self, name: str) -> None:
        if not _METRIC_NAME.fullmatch(name):
            raise ValueError(
                f"the metric name {name[:200]!r} must begin with a letter and have at most 120 letters, digits and _ . / : -"
            )
        if len(self._names) < METRICS_LIMIT:
            self._names.add(name)
        else:
            self._notices.once(
                "names",
                f"more than {METRICS_LIMIT} different metric names: {name} and later ones are not in the final message",
            )


def to_float(name: str, value: object) -> float:
    """Return *value* as a float: numbers, booleans and one-element arrays and tensors.

    Raises:
        TypeError: If it is no number; names metric and value.
    """
    with contextlib.suppress(TypeError, ValueError, RuntimeError):
        # Text is refused even where it reads as a number: it would hide a mistake.
        if not isinstance(value, str | bytes):
            try:
                return float(value)  # type: ignore[arg-type]
            except OverflowError:
                return math.inf
    raise TypeError(f"the metric {name} is {str(value)[:80]!r} of type {type(value).__name__}, but must be one number")


def _print_report(step: int, metrics: Mapping[str, float]) -> None:
    sys.stdout.write(" ".join([f"step={step}", *(f"{name}={value:.6g}" for name, value in metrics.items())]) + "\n")
    sys.stdout.flush()
