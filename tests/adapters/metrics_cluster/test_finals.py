"""The termination message over scraped curves, and the source that does it for a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from adapters.metrics_cluster.worlds import a_cluster_study, an_ended_attempt, points, running_attempts
from decide.builders import NOON, a_study
from seatrial.adapters.metrics.composite import ClusterMetricSource
from seatrial.adapters.metrics.finals import merge_report
from seatrial.api.study import MetricsSource, Study
from seatrial.decide.attempts import Attempt, FinalMetric, Report, ReportStatus
from seatrial.decide.curves import Curve, CurveBuilder, Curves
from seatrial.decide.values import read_objective
from seatrial.ports import Degraded


def a_curve(*told: tuple[int, float]) -> Curve:
    builder = CurveBuilder()
    builder.extend(told)
    return builder.build()


def a_message(curve: tuple[tuple[int, float], ...], *metrics: FinalMetric) -> Report:
    return Report(status=ReportStatus.SUCCEEDED, metrics=metrics, curve=curve)


def test_what_scrapes_missed_comes_from_the_message():
    scraped = {"loss": a_curve((2, 0.8), (5, 0.55))}
    report = a_message(((1, 0.9), (3, 0.7), (6, 0.4)), FinalMetric(name="loss", last=0.4, last_step=6))

    merged = merge_report(a_study().spec, scraped, report, (1, 3))

    assert points(merged["loss"]) == [(1, 0.9), (2, 0.8), (3, 0.7), (5, 0.55), (6, 0.4)]


def test_where_both_know_a_step_the_message_wins():
    report = a_message(((5, 0.5),), FinalMetric(name="loss", last=0.5, last_step=5))

    merged = merge_report(a_study().spec, {"loss": a_curve((5, 0.9))}, report, ())

    assert points(merged["loss"]) == [(5, 0.5)]


def test_what_was_scraped_beyond_the_last_step_was_trained_again():
    report = a_message((), FinalMetric(name="loss", last=0.5, last_step=5))

    merged = merge_report(a_study().spec, {"loss": a_curve((4, 0.6), (9, 0.1))}, report, ())

    assert points(merged["loss"]) == [(4, 0.6), (5, 0.5)]


def test_the_best_value_of_a_training_survives_a_message_that_is_thinned():
    study = a_study(objectives=[{"metric": "loss", "goal": "minimize", "summary": "best"}])
    report = a_message(((1, 0.9), (9, 0.5)), FinalMetric(name="loss", last=0.5, low=0.05, high=0.9, last_step=9))

    merged = merge_report(study.spec, {"loss": a_curve((4, 0.6))}, report, ())

    assert read_objective(study.spec.objectives[0], merged, report) == 0.05


def test_a_value_without_a_step_stays_out_of_the_curve_and_still_counts():
    study = a_study()
    report = Report(metrics=(FinalMetric(name="loss", last=0.2),))

    merged = merge_report(study.spec, {"loss": a_curve((4, 0.6))}, report, ())

    assert points(merged["loss"]) == [(4, 0.6)]
    assert read_objective(study.spec.objectives[0], merged, report) == 0.2


def test_a_trial_that_was_never_scraped_has_its_whole_story_in_its_message():
    report = a_message(((1, 0.9), (2, 0.8)), FinalMetric(name="acc", last=0.7, last_step=2))

    merged = merge_report(a_study().spec, {}, report, ())

    assert {name: points(curve) for name, curve in merged.items()} == {"loss": [(1, 0.9), (2, 0.8)], "acc": [(2, 0.7)]}


class FixedSource:
    """Knows one curve."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def read(self, study: Study, attempts: dict[str, Attempt]) -> dict[str, Curves]:
        return {name: {self.name: a_curve((1, 1.0))} for name in attempts}

    def unread(self) -> dict[str, float]:
        return {self.name: 1.0}

    def degraded(self) -> Degraded | None:
        return Degraded(reason="Fixed", message=self.name)


@pytest.mark.parametrize("source", ["prometheus", "scrape", "logs"])
async def test_the_source_that_the_study_names_is_read(source: str):
    composite = ClusterMetricSource({word: FixedSource(word.value) for word in MetricsSource})

    curves = await composite.read(a_cluster_study(metrics={"source": source}), running_attempts("s-0"))

    assert list(curves["s-0"]) == [source]
    assert composite.unread() == {source: 1.0}
    assert composite.degraded() == Degraded(reason="Fixed", message=source)


@dataclass
class Printing:
    """Has read what is in its *logs*, and notes of whom it was asked."""

    logs: dict[str, Curves]
    asked: list[list[str]] = field(default_factory=list)

    async def read(self, study: Study, attempts: dict[str, Attempt]) -> dict[str, Curves]:
        self.asked.append(sorted(attempts))
        return {name: self.logs[name] for name in attempts if name in self.logs}

    def unread(self) -> dict[str, float]:
        return {name: 2.0 for name in self.asked[-1] if name not in self.logs}

    def degraded(self) -> Degraded | None:
        return Degraded(reason="Printing", message="")


@dataclass
class Knowing(Printing):
    """Knows these curves, and waits for those of others."""

    owing: tuple[str, ...] = ()

    def unread(self) -> dict[str, float]:
        return dict.fromkeys(self.owing, 1.0)

    def degraded(self) -> Degraded | None:
        return None


async def test_what_was_printed_counts_for_a_trial_that_ended_well_and_told_nothing_in_any_other_way():
    known, printed = {"loss": a_curve((1, 0.5))}, {"loss": a_curve((1, 0.25)), "acc": a_curve((1, 0.75))}
    attempts = {
        "told": an_ended_attempt("told", finished=NOON, report=a_message((), FinalMetric(name="acc", last=1.0))),
        "known": an_ended_attempt("known", finished=NOON),
        "owing": an_ended_attempt("owing", finished=NOON),
        "failed": replace(an_ended_attempt("failed", finished=NOON), exit_code=1),
        "silent": an_ended_attempt("silent", finished=NOON),
        "late": an_ended_attempt("late", finished=NOON),
        **running_attempts("running"),
    }
    source, logs = Knowing({"known": known}, owing=("owing",)), Printing({"silent": printed, "known": printed})
    composite = ClusterMetricSource({MetricsSource.PROMETHEUS: source}, printed=logs)

    curves = await composite.read(a_cluster_study(), attempts)

    assert logs.asked == [["late", "silent"]]
    assert (curves["silent"], curves["known"]) == (printed, known)
    assert composite.unread() == {"owing": 1.0, "late": 2.0}
    assert composite.degraded() == Degraded(reason="Printing", message="")

    await composite.read(a_cluster_study(), {"known": attempts["known"]})

    assert logs.asked[1:] == [[]]
    assert (composite.unread(), composite.degraded()) == ({"owing": 1.0}, None)


@pytest.mark.parametrize(
    ("source", "reuse", "asked"),
    [
        ("prometheus", False, ["silent"]),
        ("scrape", False, ["silent"]),
        # One log is that of many trials.
        ("scrape", True, []),
    ],
)
async def test_what_was_printed_is_asked_for_whatever_curves_are_read_from(source: str, reuse: bool, asked: list[str]):
    logs = Printing({})
    composite = ClusterMetricSource({word: Knowing({}) for word in MetricsSource}, printed=logs)
    template = {"spec": {"containers": [{"name": "main", "command": ["true"]}]}}
    study = a_cluster_study(metrics={"source": source}, trial={"reuse": reuse, "template": template})

    await composite.read(study, {"silent": an_ended_attempt("silent", finished=NOON)})

    assert logs.asked == [asked]


async def test_what_was_printed_is_nobodys_business_where_only_messages_are_wanted():
    logs = Printing({})
    composite = ClusterMetricSource(
        {word: Knowing({}) for word in MetricsSource if word != "termination-message"}, printed=logs
    )

    await composite.read(
        a_cluster_study(metrics={"source": "termination-message"}), {"s-0": an_ended_attempt("s-0", finished=NOON)}
    )

    assert logs.asked == []


async def test_a_message_is_laid_over_what_any_source_knows_and_needs_none():
    report = a_message((), FinalMetric(name="loss", last=0.4, last_step=6))
    ended = {"s-0": an_ended_attempt("s-0", finished=NOON, report=report)}
    study = a_cluster_study(metrics={"source": "termination-message"})

    composite = ClusterMetricSource({})
    curves = await composite.read(study, ended)

    assert points(curves["s-0"]["loss"]) == [(6, 0.4)]
    assert composite.degraded() is None
