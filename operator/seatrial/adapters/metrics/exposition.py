"""The text of one trial's ``/metrics``: from bytes of unknown goodness to a scrape, and a note of what was left out.

Never raises and never works long: only lines that begin with Seatrial's names are parsed, and only so many. Who the trial is
comes from its address, never from labels of its own text.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from seatrial.adapters.metrics.scraped import NAME_LIMIT, Scrape
from seatrial.api import wire

__all__ = ["LIMIT_BYTES", "LIMIT_SERIES", "Exposition", "parse_exposition", "parse_step", "put_sample"]

LIMIT_BYTES = 1 << 20
"""What goes beyond it is not looked at."""

LIMIT_SERIES = 5000
"""Most lines of Seatrial's metrics that are parsed."""

_LAST_STEP = 2**53
_LINE = re.compile(rb"^seatrial_trial_[^\n]{0,4096}$", re.MULTILINE)
_NAMES = frozenset({wire.METRIC_STEP, wire.METRIC_VALUE, wire.METRIC_RUNG, wire.METRIC_HEARTBEAT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposition:
    """What was read.

    Attributes:
        scrape: What the trial says.
        note: What was left out, in words; empty when nothing was.
    """

    scrape: Scrape
    note: str = ""


def parse_exposition(body: bytes) -> Exposition:
    """Read the text format 0.0.4 of Prometheus.

    Args:
        body: What the trial answered. Its last line does not count when it is longer than :data:`LIMIT_BYTES`.
    """
    notes: list[str] = []
    if len(body) > LIMIT_BYTES:
        notes.append(f"/metrics is longer than {LIMIT_BYTES >> 20} MiB and was cut")
        body = body[: body.rfind(b"\n", 0, LIMIT_BYTES) + 1]
    scrape, bad = Scrape(), 0
    for count, match in enumerate(_LINE.finditer(body)):
        if count == LIMIT_SERIES:
            notes.append(f"/metrics has more than {LIMIT_SERIES} series of Seatrial; later ones are not read")
            break
        bad += not _take_line(scrape, match.group())
    if bad:
        notes.append(f"{bad} lines of /metrics are no metrics and were skipped")
    if scrape.empty and not notes:
        notes.append(f"/metrics has no {wire.METRIC_VALUE} yet")
    return Exposition(scrape=scrape, note="; ".join(notes))


def put_sample(scrape: Scrape, name: str, metric: str | None, rung: str | None, value: float) -> bool:
    """Put one sample into a scrape; return whether it is one.

    Args:
        scrape: Is changed.
        name: Name of the series.
        metric: Its label ``metric``, None when it has none.
        rung: Its label ``step``, None when it has none.
        value: Its value.
    """
    if name == wire.METRIC_STEP:
        step = parse_step(value)
        if step is not None:
            scrape.step = step
        return step is not None
    if name == wire.METRIC_HEARTBEAT:
        scrape.heartbeat = value if math.isfinite(value) else None
        return scrape.heartbeat is not None
    if not metric or len(metric) > NAME_LIMIT:
        return False
    if name == wire.METRIC_VALUE:
        scrape.metrics[metric] = value
        return True
    if rung is None or not rung.isdecimal() or not rung.isascii() or len(rung) > 16 or int(rung) > _LAST_STEP:
        return False
    scrape.rungs[metric, int(rung)] = value
    return True


def parse_step(value: float) -> int | None:
    """Return a step, None for a number that is none: negative, broken, not finite or beyond 2^53."""
    return int(value) if 0 <= value <= _LAST_STEP and value.is_integer() else None


def _take_line(scrape: Scrape, line: bytes) -> bool:
    try:
        families = list(_families(line.decode()))
    # The parser's errors on garbage are of these kinds; it is asked line by line, so that one spoils no other.
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        return False
    samples = [sample for family in families for sample in family.samples]
    scrape.of = next((sample.labels["of"] for sample in samples if sample.labels.get("of")), scrape.of)
    # Other series of these words (seatrial_trial_gpu_utilisation) are for people, not for decisions.
    return bool(samples) and all(
        sample.name not in _NAMES
        or put_sample(scrape, sample.name, sample.labels.get("metric"), sample.labels.get("step"), float(sample.value))
        for sample in samples
    )


def _families(text: str) -> Iterator[Metric]:
    found: Iterable[Metric] = text_string_to_metric_families(text)
    yield from found
