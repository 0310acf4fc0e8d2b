"""The two calls of Prometheus' HTTP API that are used, with a name for everything that can go wrong.

Answers are read as strangers' words: of the wrong shape, endless, or no JSON at all. What a server says of its own error is told
on only where it has the shape of Prometheus' errors, so that a study cannot read other servers' pages by its address.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from seatrial.adapters.metrics.fetching import Answer, Fetcher, Unreachable
from seatrial.ports import Degraded

__all__ = ["HOLE", "Found", "PrometheusApi", "PrometheusError", "Series", "TooMuch"]

_LIMIT_BYTES = 8 << 20
_MOST_SERIES = 20_000
_MOST_PARTS = 400_000
"""Lists and mappings in one answer: an empty one is three bytes on the wire and some sixty in memory."""
_MESSAGE_LIMIT = 300
# Not the label of that name, which each series of the harness has.
_SERIES = re.compile(rb'"metric"\s*:\s*\{')
HOLE = "running trials go on and final values still come, but none is stopped early meanwhile"
"""What missing curves mean to the study, told behind every trouble."""


class PrometheusError(Exception):
    """No usable answer.

    Attributes:
        degraded: The same for people.
        retry_after_seconds: What a busy server asked for.
    """

    def __init__(self, reason: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.degraded = Degraded(reason=reason, message=f"{message}; {HOLE}")
        self.retry_after_seconds = retry_after_seconds


class TooMuch(PrometheusError):  # noqa: N818 - it is no error of anybody's
    """The answer would be too large: ask for less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series.

    Attributes:
        labels: With the name under ``__name__``.
        samples: ``[unix seconds, "value"]`` in order of time, as the server wrote them; :meth:`read` reads them.
    """

    labels: Mapping[str, str]
    samples: list[object]

    def read(self, after: float = float("-inf")) -> Iterator[tuple[float, float]]:
        """Yield (unix seconds, value) of the samples later than *after*; what is no sample is left out."""
        for sample in self.samples:
            if type(sample) is list and len(sample) == 2:
                time, text = sample
                if (type(time) is float or type(time) is int) and time > after:
                    try:
                        value = float(text)
                    except (ValueError, TypeError):
                        continue
                    yield float(time), value


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An answer.

    Attributes:
        warnings: What the server says is missing; the answer may not be whole.
    """

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()


class PrometheusApi:
    """Asks one Prometheus, or what speaks like one.

    Args:
        url: Its address, without ``/api/v1``.
        fetcher: Asks.
        account: Namespace for which it is asked.
        timeout_seconds: Time for one question.
    """

    def __init__(self, url: str, fetcher: Fetcher, *, account: str = "", timeout_seconds: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self._fetcher, self._account = fetcher, account
        self._seconds = timeout_seconds

    async def query(self, expression: str, *, time: float | None = None) -> Found:
        """Ask an instant query.

        Args:
            expression: With a range selector, so that the answer has raw samples.
            time: Unix seconds; None is the server's own present.

        Raises:
            TooMuch: If the answer is or would be too large.
            PrometheusError: If there is none.
        """
        form = {"query": expression} | ({} if time is None else {"time": f"{time:.3f}"})
        return await self._ask("query", form)

    async def query_range(self, expression: str, *, start: float, end: float, step: float) -> Found:
        """Ask for the values of an expression at *start*, *start* + *step*, …; as :meth:`query`."""
        form = {"query": expression, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        return await self._ask("query_range", form)

    async def _ask(self, what: str, form: Mapping[str, str]) -> Found:
        asked = dict(form) | {"timeout": f"{self._seconds:g}s"}
        try:
            answer = await self._fetcher.post(
                f"{self.url}/api/v1/{what}",
                asked,
                seconds=self._seconds,
                limit_bytes=_LIMIT_BYTES,
                account=self._account,
            )
        except Unreachable as error:
            raise PrometheusError("PrometheusUnreachable", f"{self.url}: {error}") from error
        if heavy := _weigh(answer):
            raise TooMuch("PrometheusAnswerTooLarge", f"{self.url} answered {heavy}")
        document = _parse(answer.body)
        if answer.status != 200:
            raise self._refusal(answer, document)
        return self._found(document)

    def _refusal(self, answer: Answer, document: Mapping[str, object]) -> PrometheusError:
        said = document.get("error")
        words = f": {said[:_MESSAGE_LIMIT]}" if isinstance(said, str) and document.get("status") == "error" else ""
        message = f"{self.url} answered HTTP {answer.status}{words}"
        too_much = answer.status == 422 and any(
            word in words for word in ("too many samples", "too large", "exceed", "limit")
        )
        if answer.status in {413, 414} or too_much:
            return TooMuch("PrometheusAnswerTooLarge", message)
        if answer.status in {429, 503}:
            return PrometheusError("PrometheusBusy", message, answer.retry_after_seconds)
        if answer.status >= 500:
            return PrometheusError("PrometheusFailed", message)
        return PrometheusError("PrometheusRefused", f"{message}; see spec.metrics.prometheus.url")

    def _found(self, document: Mapping[str, object]) -> Found:
        held = document.get("data")
        rows = held.get("result") if isinstance(held, dict) else None
        if document.get("status") != "success" or not isinstance(rows, list):
            raise PrometheusError(
                "PrometheusAnswerUnreadable",
                f"what {self.url} answered is no answer of Prometheus; see spec.metrics.prometheus.url",
            )
        series = tuple(one for row in rows if (one := _series(row)) is not None)
        warnings = document.get("warnings")
        told = tuple(str(text)[:_MESSAGE_LIMIT] for text in warnings) if isinstance(warnings, list) else ()
        return Found(series=series, warnings=told)


def _weigh(answer: Answer) -> str:
    """Say what of an answer is too much to be read, empty when nothing is; counted before it is made into objects."""
    if answer.cut:
        return f"more than {_LIMIT_BYTES >> 20} MiB"
    series = sum(1 for _ in _SERIES.finditer(answer.body))
    if series > _MOST_SERIES:
        return f"{series:,} series, and no more than {_MOST_SERIES:,} are read"
    parts = answer.body.count(b"[") + answer.body.count(b"{")
    return f"{parts:,} lists and mappings, and no more than {_MOST_PARTS:,} are read" if parts > _MOST_PARTS else ""


def _parse(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _series(row: object) -> Series | None:
    if not isinstance(row, dict):
        return None
    labels, samples = row.get("metric"), row.get("values")
    if not isinstance(labels, dict) or not isinstance(samples, list):
        return None
    return Series(labels={str(key): str(value) for key, value in labels.items()}, samples=samples)
