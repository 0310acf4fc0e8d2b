"""Questions in PromQL: the one for trials that speak as the harness does, and those that a study's author wrote.

An author's expression is evaluated on a fixed grid of time, so that a restarted operator sees the same values again. Whose a value
is says its label ``trial``; a label that names another study or namespace rules it out.
"""

import re
from collections.abc import Mapping

from seatrial.adapters.metrics.exposition import parse_step
from seatrial.adapters.metrics.joining import Timed, parse_attempt
from seatrial.adapters.metrics.prometheus_api import Found, PrometheusApi, Series, TooMuch
from seatrial.adapters.metrics.reach import Window
from seatrial.adapters.metrics.scraped import Scrape
from seatrial.api import wire
from seatrial.api.study import Study
from seatrial.decide.attempts import Attempt

__all__ = ["asks_by_expression", "evaluate", "raw_samples"]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_SERIES = "|".join((wire.METRIC_VALUE, wire.METRIC_STEP, wire.METRIC_RUNG))
_MOST_POINTS = 10_000
"""Prometheus gives at most 11,000 points of one series."""


def raw_samples(study: Study, window: Window) -> str:
    """Return the expression for all raw samples of a study's trials in a window.

    The namespace is part of it: a Pod elsewhere may carry any labels.
    """
    where = {"namespace": study.metadata.namespace}
    # A study that was deleted and made again has trials of the same names.
    where |= {"study_uid": study.metadata.uid} if study.metadata.uid else {"study": study.metadata.name}
    matchers = [f'__name__=~"{_SERIES}"', *(f'{key}="{_quote(text)}"' for key, text in where.items() if text)]
    if window.trials is not None:
        # Names are letters, digits and dashes: nothing in them is special.
        names = "|".join(name for name in window.trials if _NAME.fullmatch(name))
        matchers.append(f'trial=~"{names}"')
    milliseconds = max(1, int((window.end - window.start) * 1000))
    return f"{{{','.join(matchers)}}}[{milliseconds}ms]"


def asks_by_expression(study: Study) -> bool:
    """Whether its author wrote what is asked."""
    settings = study.spec.metrics.prometheus
    return bool(settings and settings.queries)


async def evaluate(
    api: PrometheusApi, study: Study, window: Window, attempts: Mapping[str, Attempt], every: float
) -> tuple[Found, list[Timed]]:
    """Evaluate the author's expressions over a window.

    Args:
        api: Answers.
        study: Whose expressions.
        window: Pieces of more than ten thousand points are cut to their newest.
        attempts: Newest attempts, for values that name none.
        every: Seconds between two points of the grid.

    Raises:
        TooMuch: If one of them brings more than can be read; its message names the expression.
        PrometheusError: If one of them got no answer.
    """
    settings = study.spec.metrics.prometheus
    end = int(window.end // every) * every
    start = max(int(window.start // every) * every, end - _MOST_POINTS * every)
    found: dict[tuple[str, int, float], Scrape] = {}
    series: list[Series] = []
    warnings: list[str] = []
    for query in settings.queries if settings else ():
        answer = await _ask(api, query.query, f"the query of {query.metric}", start=start, end=end, step=every)
        warnings += answer.warnings
        for one, key in _own(answer, study, attempts):
            series.append(one)
            for time, value in one.read():
                found.setdefault((*key, time), Scrape()).metrics[query.metric] = value
    if settings and settings.step_query:
        answer = await _ask(api, settings.step_query, "stepQuery", start=start, end=end, step=every)
        warnings += answer.warnings
        for one, key in _own(answer, study, attempts):
            for time, value in one.read():
                if (*key, time) in found:
                    found[(*key, time)].step = parse_step(value)
        # A value without its step would be put at a step of its own.
        found = {key: scrape for key, scrape in found.items() if scrape.step is not None}
    scrapes = [
        Timed(trial=key[0], attempt=key[1], time=key[2], scrape=scrape)
        for key, scrape in sorted(found.items(), key=lambda item: item[0])
    ]
    return Found(series=tuple(series), warnings=tuple(warnings)), scrapes


async def _ask(api: PrometheusApi, expression: str, what: str, *, start: float, end: float, step: float) -> Found:
    try:
        return await api.query_range(expression, start=start, end=end, step=step)
    except TooMuch as error:
        advice = "let it give one value a trial, as max by (trial) (…) does"
        raise TooMuch(error.degraded.reason, f"{what} brings too much: {error}; {advice}") from error


def _own(answer: Found, study: Study, attempts: Mapping[str, Attempt]) -> list[tuple[Series, tuple[str, int]]]:
    """Return the series that are of this study's trials, with trial and attempt."""
    mine = {"study": study.metadata.name, "study_uid": study.metadata.uid, "namespace": study.metadata.namespace}
    found = []
    for one in answer.series:
        attempt = attempts.get(one.labels.get("trial", ""))
        if attempt is None or any(own and one.labels.get(label, own) != own for label, own in mine.items()):
            continue
        number = parse_attempt(one.labels["attempt"]) if "attempt" in one.labels else attempt.number
        if number is not None:
            found.append((one, (attempt.trial, number)))
    return found


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
