"""Raw samples of many series back into the scrapes that they came from: samples of one scrape share its timestamp.

Labels of the target say whose they are. Those of a Pod that was handed on come some seconds late: a sample that says itself that it is
another attempt's rules out its scrape. Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from seatrial.adapters.metrics.exposition import put_sample
from seatrial.adapters.metrics.prometheus_api import Series
from seatrial.adapters.metrics.scraped import Scrape
from seatrial.api import wire

__all__ = ["Timed", "join_scrapes", "parse_attempt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One scrape of an attempt.

    Attributes:
        time: Unix seconds, of whoever scraped.
    """

    trial: str
    attempt: int
    time: float
    scrape: Scrape


def join_scrapes(series: Iterable[Series], newest: Callable[[str, int], float]) -> Iterator[Timed]:
    """Yield the scrapes, by trial, attempt and time.

    Args:
        series: Raw samples of the step, the metrics and the values at rungs.
        newest: Tells the time of the newest scrape of an attempt that is known already; older ones are left out.
    """
    found: dict[tuple[str, int], dict[float, Scrape]] = {}
    strange: dict[tuple[str, int], set[float]] = {}
    for one in series:
        trial, attempt = one.labels.get("trial"), parse_attempt(one.labels.get("attempt", ""))
        if trial is None or attempt is None:
            continue
        if one.labels.get("of") not in {None, "", f"{trial}/{attempt}"}:
            strange.setdefault((trial, attempt), set()).update(time for time, _ in one.read(newest(trial, attempt)))
            continue
        scrapes = found.setdefault((trial, attempt), {})
        _join(scrapes, one, newest(trial, attempt))
    for (trial, attempt), scrapes in sorted(found.items()):
        for time, scrape in sorted(scrapes.items()):
            if time not in strange.get((trial, attempt), ()):
                yield Timed(trial=trial, attempt=attempt, time=time, scrape=scrape)


def parse_attempt(text: str) -> int | None:
    """Return the number of an attempt, None for what is none."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= 9 else None


def _join(scrapes: dict[float, Scrape], series: Series, after: float) -> None:
    labels = series.labels
    name, metric, rung = labels.get("__name__", ""), labels.get("metric"), labels.get("step")
    if name == wire.METRIC_RUNG:
        # Values at rungs stay: only where one changes does a scrape say something new.
        _join_changes(scrapes, series, after)
        return
    for time, value in series.read(after):
        scrape = scrapes.get(time)
        if scrape is None:
            scrape = scrapes[time] = Scrape()
        put_sample(scrape, name, metric, rung, value)


def _join_changes(scrapes: dict[float, Scrape], series: Series, after: float) -> None:
    """Put a rung's value into the scrape that first shows it."""
    labels, known = series.labels, None
    for time, value in series.read(after):
        written = repr(value)
        if written != known:
            known = written
            scrape = scrapes.setdefault(time, Scrape())
            put_sample(scrape, labels.get("__name__", ""), labels.get("metric"), labels.get("step"), value)
