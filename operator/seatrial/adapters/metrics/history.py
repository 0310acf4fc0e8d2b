"""All curves of a study from Prometheus, read once: for a report, hours or weeks after the training.

The same questions as those of a running study, but each about a time that is over: from the first start to the last end, in pieces
of bounded size. What is not there (any more) leaves the curve that the trial's record holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from seatrial.adapters.metrics.finals import merge_report
from seatrial.adapters.metrics.joining import Timed, join_scrapes
from seatrial.adapters.metrics.prometheus_api import PrometheusApi, TooMuch
from seatrial.adapters.metrics.promql import asks_by_expression, evaluate, raw_samples
from seatrial.adapters.metrics.reach import Window
from seatrial.adapters.metrics.stories import Stories
from seatrial.api.study import Study, StudySpec
from seatrial.api.trial import Trial
from seatrial.decide.attempts import Attempt, FinalMetric, Phase, Report
from seatrial.decide.curves import Curves
from seatrial.decide.rules import rungs
from seatrial.decide.snapshot import parse_time
from seatrial.decide.values import parse_number

__all__ = ["History", "read_history"]

_TRIALS_AT_ONCE = 200
_SAMPLES_AT_ONCE = 200_000
_SERIES_OF_A_TRIAL = 12
_SCRAPE_SECONDS = 15.0
_SHORTEST_SECONDS = 60.0
_EVERY_SECONDS = 5.0
# Clocks differ a little, and the last scrape comes after the last report.
_MARGIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What Prometheus still knows.

    Attributes:
        curves: By name of the trial; only those of which something was found.
        started: Number of trials that have begun, the most that could be found.
    """

    curves: Mapping[str, Curves]
    started: int


async def read_history(api: PrometheusApi, study: Study, trials: Sequence[Trial], now: datetime) -> History:
    """Return the curves of all trials that have begun.

    Args:
        api: Answers.
        study: As stored, with its uid.
        trials: Its trials. A result that was taken over has no curve of its own.
        now: The time.

    Raises:
        PrometheusError: If it does not answer, with what is no answer, or with more than can be read of an expression of the study's author.
    """
    begun = {trial.metadata.name: trial for trial in trials if trial.status.start_time and trial.spec.reuse_of is None}
    attempts = {name: _attempt(trial) for name, trial in begun.items()}
    stories = Stories(rungs)
    stories.prepare(study, attempts)
    newest: dict[tuple[str, int], float] = {}
    waiting = list(_windows(list(begun.values()), now))
    while waiting:
        window = waiting.pop(0)
        try:
            scrapes = await _ask(api, study, window, attempts)
        except TooMuch:
            parts = _halves(study, window)
            if parts is None and asks_by_expression(study):
                # It brings as much in every other minute, too: thousands of them would be asked for in vain.
                raise
            # One trial whose minute is too large is shown as its record has it.
            waiting[:0] = parts or ()
            continue
        for timed in scrapes:
            key = (timed.trial, timed.attempt)
            if timed.time > newest.get(key, float("-inf")):
                newest[key] = timed.time
                stories.take(timed.trial, timed.attempt, timed.scrape)
    found = {name: curves for name, curves in stories.build().items() if curves}
    exact = rungs(study.spec)
    whole = {name: _with_record(study.spec, curves, begun[name], exact) for name, curves in found.items()}
    return History(curves=whole, started=len(begun))


def _halves(study: Study, window: Window) -> tuple[Window, Window] | None:
    if asks_by_expression(study):
        # An expression names no trial: it would be the same question, asked once for each.
        return window.halves_of_time(_SHORTEST_SECONDS)
    return window.halves(window.trials or (), _SHORTEST_SECONDS)


def _attempt(trial: Trial) -> Attempt:
    started = parse_time(trial.status.start_time) if trial.status.start_time else None
    return Attempt(trial=trial.metadata.name, number=trial.status.attempt, phase=Phase.EXITED, started_at=started)


def _windows(trials: Sequence[Trial], now: datetime) -> Iterator[Window]:
    """Yield the questions, by groups of trials that began one after the other, each group from its begin to its end."""
    ordered = sorted(trials, key=lambda trial: (trial.status.start_time or "", trial.spec.index))
    for place in range(0, len(ordered), _TRIALS_AT_ONCE):
        group = ordered[place : place + _TRIALS_AT_ONCE]
        names = tuple(trial.metadata.name for trial in group)
        start = min(_begin(trial) for trial in group) - _MARGIN_SECONDS
        # The trials' times are the cluster's: a clock here that is behind must not cut them off.
        end = max(_end(trial, now) for trial in group) + _MARGIN_SECONDS
        piece = max(_SAMPLES_AT_ONCE * _SCRAPE_SECONDS / (len(names) * _SERIES_OF_A_TRIAL), _SHORTEST_SECONDS)
        while start < end:
            yield Window(trials=names, start=start, end=min(start + piece, end), present=False)
            start += piece


def _begin(trial: Trial) -> float:
    return parse_time(trial.status.start_time or "").timestamp()


def _end(trial: Trial, now: datetime) -> float:
    return parse_time(trial.status.completion_time).timestamp() if trial.status.completion_time else now.timestamp()


async def _ask(api: PrometheusApi, study: Study, window: Window, attempts: Mapping[str, Attempt]) -> Sequence[Timed]:
    if asks_by_expression(study):
        _, scrapes = await evaluate(api, study, window, attempts, _EVERY_SECONDS)
        return scrapes
    found = await api.query(raw_samples(study, window), time=window.end)
    return list(join_scrapes(found.series, lambda *_: float("-inf")))


def _with_record(spec: StudySpec, curves: Curves, trial: Trial, exact: Sequence[int]) -> Curves:
    """Lay what the trial's record knows over what was scraped: its last values and those at rungs."""
    seen = trial.status.observation
    if seen is None or trial.status.completion_time is None:
        return curves
    finals = tuple(
        FinalMetric(name=one.name, last=parse_number(one.last), low=one.min, high=one.max, last_step=one.last_step)
        for one in seen.metrics
    )
    points = tuple((step, parse_number(value)) for step, value in seen.curve)
    return merge_report(spec, curves, Report(step=seen.step, metrics=finals, curve=points), exact)
