"""A Prometheus that answers badly, too much, late or not at all: each has a name, and nothing is lost or held up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from adapters.metrics_cluster.faulty_server import Asked, FaultyServer, Reply, matrix
from adapters.metrics_cluster.worlds import HandClock, a_cluster_study, an_ended_attempt, points, running_attempts
from decide.builders import NOON, a_report
from seatrial.adapters.metrics.fetching import Fetcher
from seatrial.adapters.metrics.prometheus import Polling, PrometheusSource

T0 = NOON.timestamp()


@asynccontextmanager
async def a_source(clock: HandClock, **polling: float) -> AsyncIterator[PrometheusSource]:
    fetcher = Fetcher()
    settings = Polling(**({"timeout_seconds": 5.0, "patience_seconds": 5.0} | polling))  # type: ignore[arg-type]
    source = PrometheusSource(fetcher=fetcher, clock=clock, polling=settings)
    try:
        yield source
    finally:
        await source.close()
        await fetcher.close()


def of(trial: str, attempt: int = 0, **labels: str) -> dict[str, str]:
    return {"trial": trial, "attempt": str(attempt), "study_uid": "u-1", "namespace": "lab", **labels}


def step_series(trial: str, *samples: tuple[float, float], attempt: int = 0) -> tuple[dict[str, str], list[object]]:
    return of(trial, attempt, __name__="seatrial_trial_step"), [[T0 + at, str(step)] for at, step in samples]


def loss_series(trial: str, *samples: tuple[float, float], attempt: int = 0) -> tuple[dict[str, str], list[object]]:
    labels = of(trial, attempt, __name__="seatrial_trial_metric", metric="loss")
    return labels, [[T0 + at, str(value)] for at, value in samples]


def error(status: int, kind: str, text: str, **headers: str) -> Reply:
    body = json.dumps({"status": "error", "errorType": kind, "error": text}).encode()
    return Reply(status=status, body=body, headers=headers)


# ---- the question ------------------------------------------------------------------------------------------------------


async def test_one_question_about_the_whole_study_is_asked_and_only_what_is_new(faulty: FaultyServer):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    attempts = running_attempts("s-0", "s-1")
    faulty.answer = lambda _: matrix()
    async with a_source(clock) as source:
        await source.read(study, attempts)
        await source.read(study, attempts)
        first = len(faulty.asked)
        clock.move(10)
        await source.read(study, attempts)

    assert first == 1
    assert [asked.path for asked in faulty.asked] == ["/api/v1/query", "/api/v1/query"]
    assert faulty.asked[1].form == {
        "query": '{__name__=~"seatrial_trial_metric|seatrial_trial_step|seatrial_trial_rung_metric",namespace="lab",study_uid="u-1"}[40000ms]',
        "timeout": "5s",
    }


async def test_samples_of_one_scrape_are_joined_by_their_time_and_count_once(faulty: FaultyServer):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    attempts = running_attempts("s-0")
    rung = (
        of("s-0", __name__="seatrial_trial_rung_metric", metric="loss", step="3"),
        [[T0 + 10, "0.5"], [T0 + 15, "0.5"]],
    )
    faulty.answer = lambda _: matrix(
        step_series("s-0", (5, 1), (10, 4), (15, 6)), loss_series("s-0", (5, 0.9), (10, 0.4), (15, 0.2)), rung
    )
    async with a_source(clock) as source:
        await source.read(study, attempts)
        clock.move(6)
        curves = await source.read(study, attempts)

    assert points(curves["s-0"]["loss"]) == [(1, 0.9), (3, 0.5), (4, 0.4), (6, 0.2)]
    assert curves["s-0"]["loss"].count == 4


async def test_attempts_follow_one_another_and_steps_go_back(faulty: FaultyServer):
    clock, study = HandClock(NOON + timedelta(seconds=60)), a_cluster_study(faulty.url)
    faulty.answer = lambda _: matrix(
        step_series("s-0", (30, 3), (35, 5), attempt=1),
        loss_series("s-0", (30, 0.35), (35, 0.3), attempt=1),
        step_series("s-0", (5, 2), (10, 4), attempt=0),
        loss_series("s-0", (5, 0.9), (10, 0.4), attempt=0),
    )
    async with a_source(clock) as source:
        curves = await source.read(study, running_attempts("s-0", number=1))

    assert points(curves["s-0"]["loss"]) == [(2, 0.9), (3, 0.35), (5, 0.3)]


async def test_trials_that_nobody_asked_for_and_labels_that_are_none_are_left_out(faulty: FaultyServer):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    faulty.answer = lambda _: matrix(
        step_series("s-9", (5, 1)),
        loss_series("s-9", (5, 1)),
        ({"__name__": "seatrial_trial_step", "trial": "s-0", "attempt": "x"}, [[T0, "1"]]),
        ({}, [[T0, "1"]]),
        step_series("s-0", (5, 1)),
        loss_series("s-0", (5, 0.5)),
    )
    async with a_source(clock) as source:
        curves = await source.read(study, running_attempts("s-0"))

    assert {name: points(found["loss"]) for name, found in curves.items()} == {"s-0": [(1, 0.5)]}


async def test_what_a_pod_says_of_its_next_attempt_before_its_labels_have_followed_is_left_out(faulty: FaultyServer):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    labels, samples = step_series("s-0", (5, 3))
    late, strange = step_series("s-0", (10, 1))
    faulty.answer = lambda _: matrix(
        (labels | {"of": "s-0/0"}, samples),
        (late | {"of": "s-1/0"}, strange),
        loss_series("s-0", (5, 0.5), (10, 9.0)),
    )
    async with a_source(clock) as source:
        curves = await source.read(study, running_attempts("s-0"))

    assert points(curves["s-0"]["loss"]) == [(3, 0.5)]


async def test_a_restarted_operator_reads_the_whole_story_in_pieces(faulty: FaultyServer):
    day = 86_400
    clock, study = HandClock(NOON + timedelta(days=9)), a_cluster_study(faulty.url)
    told = [(float(at), at // 3600) for at in range(3600, 9 * day, 3600)]

    def answer(asked: Asked) -> Reply:
        end = float(asked.form.get("time", clock.now().timestamp())) - T0
        start = end - int(asked.form["query"].rpartition("[")[2][:-3]) / 1000
        inside = [(at, step) for at, step in told if start <= at <= end]
        return matrix(step_series("s-0", *inside), loss_series("s-0", *((at, -step) for at, step in inside)))

    faulty.answer = answer
    async with a_source(clock) as source:
        curves = await source.read(study, running_attempts("s-0", number=2))

    assert points(curves["s-0"]["loss"]) == [(step, -float(step)) for _, step in told]
    assert len(faulty.asked) == 4
    assert all('trial=~"s-0"' in asked.form["query"] for asked in faulty.asked)


async def test_what_prometheus_missed_while_it_was_away_is_read_when_it_is_back(faulty: FaultyServer):
    clock, study, attempts = (
        HandClock(NOON + timedelta(seconds=20)),
        a_cluster_study(faulty.url),
        running_attempts("s-0"),
    )
    faulty.answer = lambda _: matrix()
    async with a_source(clock) as source:
        await source.read(study, attempts)
        faulty.answer = lambda _: Reply(status=500)
        clock.move(1000)
        await source.read(study, attempts)
        away = source.degraded()
        faulty.answer = lambda _: matrix(step_series("s-0", (400, 7)), loss_series("s-0", (400, 0.5)))
        clock.move(1000)
        curves = await source.read(study, attempts)
        back = source.degraded()

    assert away is not None
    assert away.reason == "PrometheusFailed"
    assert back is None or back.reason == "PrometheusHasNoSamples"
    assert points(curves["s-0"]["loss"]) == [(7, 0.5)]


# ---- too much ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(
            error(422, "execution", "query processing would load too many samples into memory"), id="max-samples"
        ),
        pytest.param(Reply(status=413), id="413"),
        pytest.param(Reply(body=b" " * (1 << 16), endless=True), id="an answer of more than 16 MiB"),
    ],
)
async def test_an_answer_that_is_too_large_is_asked_for_in_parts(faulty: FaultyServer, refusal: Reply):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    names = [f"s-{i}" for i in range(4)]

    def answer(asked: Asked) -> Reply:
        asked_for = [n for n in names if f'"{n}"' in asked.form["query"] or f'"{n}|' in asked.form["query"]]
        if asked.form["query"].count("|") != 2 or not asked_for:
            return refusal
        name = asked_for[0]
        return matrix(step_series(name, (5, 1)), loss_series(name, (5, 0.5)))

    faulty.answer = answer
    async with a_source(clock) as source:
        curves = await source.read(study, running_attempts(*names))
        trouble = source.degraded()

    assert {name: points(found["loss"]) for name, found in curves.items()} == {name: [(1, 0.5)] for name in names}
    assert trouble is None


async def test_a_trial_with_too_many_series_is_left_out_and_named_and_others_are_read(faulty: FaultyServer):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    attempts = running_attempts("s-0", "s-1")

    def answer(asked: Asked) -> Reply:
        if 'trial=~"s-0"' in asked.form["query"]:
            return matrix(step_series("s-0", (5, 1)), loss_series("s-0", (5, 0.5)))
        return error(422, "execution", "query processing would load too many samples into memory")

    faulty.answer = answer
    async with a_source(clock) as source:
        await source.read(study, attempts)
        clock.move(6)
        curves = await source.read(study, attempts)
        questions = len(faulty.asked)
        clock.move(6)
        await source.read(study, attempts)
        trouble = source.degraded()

    assert points(curves["s-0"]["loss"]) == [(1, 0.5)]
    assert curves["s-1"] == {}
    assert len(faulty.asked) == questions + 1
    assert trouble is not None
    assert (trouble.reason, trouble.message.split()[0]) == ("TooManySeries", "s-1")


# ---- bad answers -------------------------------------------------------------------------------------------------------


def _rubbish(value: object) -> Reply:
    return Reply(body=json.dumps(value).encode())


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(Reply(body=b"<html>hello</html>"), "PrometheusAnswerUnreadable", id="a web page"),
        pytest.param(Reply(body=b""), "PrometheusAnswerUnreadable", id="nothing"),
        pytest.param(Reply(body=b"[" * 100_000), "PrometheusAnswerUnreadable", id="deep brackets"),
        pytest.param(Reply(body=b'{"status": "success", "data": '), "PrometheusAnswerUnreadable", id="half an answer"),
        pytest.param(_rubbish([1]), "PrometheusAnswerUnreadable", id="a list"),
        pytest.param(_rubbish({"status": "success"}), "PrometheusAnswerUnreadable", id="no data"),
        pytest.param(
            _rubbish({"status": "success", "data": {"result": "x"}}), "PrometheusAnswerUnreadable", id="no result"
        ),
        pytest.param(Reply(status=301, headers={"Location": "/elsewhere"}), "PrometheusRefused", id="a redirect"),
        pytest.param(Reply(status=401), "PrometheusRefused", id="401"),
        pytest.param(error(400, "bad_data", "parse error"), "PrometheusRefused", id="400"),
        pytest.param(error(422, "execution", "vector cannot contain metrics"), "PrometheusRefused", id="another 422"),
        pytest.param(Reply(status=429), "PrometheusBusy", id="429"),
        pytest.param(error(503, "timeout", "query timed out"), "PrometheusBusy", id="503"),
        pytest.param(Reply(status=500), "PrometheusFailed", id="500"),
        pytest.param(Reply(raw=b"SSH-2.0-x\r\n"), "PrometheusUnreachable", id="no HTTP"),
        pytest.param(Reply(raw=b""), "PrometheusUnreachable", id="hung up"),
        pytest.param(Reply(silent=True), "PrometheusUnreachable", id="silence"),
    ],
)
async def test_every_bad_answer_has_a_name_and_holds_nothing_up(faulty: FaultyServer, reply: Reply, reason: str):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    faulty.answer = lambda _: reply
    async with a_source(clock, timeout_seconds=reply.timeout_seconds, patience_seconds=60.0) as source:
        curves = await source.read(study, running_attempts("s-0"))
        trouble = source.degraded()

    assert curves == {"s-0": {}}
    assert trouble is not None
    assert trouble.reason == reason
    assert faulty.url in trouble.message


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([1, None, "x", []], id="no series"),
        pytest.param([{"metric": [], "values": []}, {"metric": {}}, {"values": []}], id="halves of series"),
        pytest.param(
            [
                {
                    "metric": of("s-0", __name__="seatrial_trial_step"),
                    "values": [1, [1], ["a", "b"], [1, {}], [T0, None]],
                }
            ],
            id="no samples",
        ),
        pytest.param([{"metric": of("s-0", __name__=["x"], metric={}), "values": [[T0, "1"]]}], id="labels of no text"),  # type: ignore[arg-type]
        pytest.param([{"metric": of("s-0", __name__="up"), "values": [[1e400, "1"], [T0, "9" * 5000]]}], id="huge"),
    ],
)
async def test_rows_that_are_none_are_left_out(faulty: FaultyServer, rows: list[object]):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    faulty.answer = lambda _: _rubbish({"status": "success", "data": {"result": rows}})
    async with a_source(clock) as source:
        curves = await source.read(study, running_attempts("s-0"))

    assert curves == {"s-0": {}}


async def test_another_servers_page_is_never_told_on(faulty: FaultyServer):
    clock, study = HandClock(), a_cluster_study(faulty.url)
    faulty.answer = lambda _: Reply(status=403, body=b'{"secret": "swordfish", "error": "swordfish"}')
    async with a_source(clock) as source:
        await source.read(study, running_attempts("s-0"))
        trouble = source.degraded()

    assert trouble is not None
    assert "swordfish" not in trouble.message


async def test_a_study_without_any_address_says_so():
    async with a_source(HandClock()) as source:
        await source.read(a_cluster_study(), running_attempts("s-0"))
        trouble = source.degraded()

    assert trouble is not None
    assert trouble.reason == "PrometheusNotNamed"


async def test_a_warning_is_told_and_what_was_missing_is_asked_for_again(faulty: FaultyServer):
    clock, study, attempts = (
        HandClock(NOON + timedelta(seconds=20)),
        a_cluster_study(faulty.url),
        running_attempts("s-0"),
    )
    faulty.answer = lambda _: matrix(warnings=["store x is away"])
    async with a_source(clock) as source:
        await source.read(study, attempts)
        trouble = source.degraded()
        faulty.answer = lambda _: matrix(step_series("s-0", (5, 1)), loss_series("s-0", (5, 0.5)))
        clock.move(200)
        curves = await source.read(study, attempts)

    assert trouble is not None
    assert (trouble.reason, trouble.message) == ("PrometheusAnswerPartial", f"{faulty.url} warns: store x is away")
    assert int(faulty.asked[-1].form["query"].rpartition("[")[2][:-3]) >= 220_000
    assert points(curves["s-0"]["loss"]) == [(1, 0.5)]


async def test_a_server_that_fails_is_asked_less_and_less(faulty: FaultyServer):
    clock, study, attempts = HandClock(), a_cluster_study(faulty.url), running_attempts("s-0")
    faulty.answer = lambda _: Reply(status=500)
    async with a_source(clock) as source:
        for _ in range(300):
            await source.read(study, attempts)
            clock.move(1)

    assert len(faulty.asked) == 8


async def test_a_busy_server_is_left_alone_as_long_as_it_asks(faulty: FaultyServer):
    clock, study, attempts = HandClock(), a_cluster_study(faulty.url), running_attempts("s-0")
    faulty.answer = lambda _: Reply(status=429, headers={"Retry-After": "40"})
    async with a_source(clock) as source:
        await source.read(study, attempts)
        due = source.due_at()

    assert due == NOON + timedelta(seconds=40)


async def test_a_silent_server_holds_a_reading_up_for_its_patience_only(faulty: FaultyServer):
    clock, study, attempts = HandClock(), a_cluster_study(faulty.url), running_attempts("s-0")
    faulty.answer = lambda _: Reply(silent=True)
    async with a_source(clock, timeout_seconds=30.0, patience_seconds=0.01) as source:
        for _ in range(20):
            assert await source.read(study, attempts) == {"s-0": {}}

    assert len(faulty.asked) <= 1


# ---- ends --------------------------------------------------------------------------------------------------------------


async def test_an_end_without_a_message_is_asked_for_at_once(faulty: FaultyServer):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    faulty.answer = lambda _: matrix()
    async with a_source(clock) as source:
        await source.read(study, running_attempts("s-0"))
        faulty.answer = lambda _: matrix(step_series("s-0", (21, 9)), loss_series("s-0", (21, 0.5)))
        clock.move(2)
        curves = await source.read(study, {"s-0": an_ended_attempt("s-0", finished=NOON + timedelta(seconds=21.5))})

    assert points(curves["s-0"]["loss"]) == [(9, 0.5)]


async def test_an_end_whose_result_only_prometheus_knows_waits_for_it_but_not_for_ever(faulty: FaultyServer):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    ended = {"s-0": an_ended_attempt("s-0", finished=NOON + timedelta(seconds=19))}
    faulty.answer = lambda _: Reply(status=500)
    async with a_source(clock, hold_seconds=30.0) as source:
        await source.read(study, ended)
        unread = source.unread()
        clock.move(31)
        curves = await source.read(study, ended)

        assert list(unread) == ["s-0"]
        assert curves == {"s-0": {}}
        assert source.unread() == {}


@pytest.mark.parametrize("code", [0, 1])
async def test_an_end_that_has_its_result_or_failed_waits_for_nothing(faulty: FaultyServer, code: int):
    clock, study = HandClock(NOON + timedelta(seconds=20)), a_cluster_study(faulty.url)
    report = None if code else a_report(loss=0.5)
    ended = {"s-0": an_ended_attempt("s-0", finished=NOON + timedelta(seconds=19), report=report, code=code)}
    faulty.answer = lambda _: Reply(status=500)
    async with a_source(clock) as source:
        assert await source.read(study, ended) == {"s-0": {}}


# ---- what is missing ---------------------------------------------------------------------------------------------------


async def test_running_trials_that_prometheus_does_not_know_are_named(faulty: FaultyServer):
    clock, study, attempts = HandClock(), a_cluster_study(faulty.url), running_attempts("s-0")
    faulty.answer = lambda _: matrix()
    async with a_source(clock, grace_seconds=90.0) as source:
        await source.read(study, attempts)
        early = source.degraded()
        clock.move(91)
        await source.read(study, attempts)
        late = source.degraded()

    assert early is None
    assert late is not None
    assert late.reason == "PrometheusHasNoSamples"
    assert "1 running trials, such as s-0" in late.message


async def test_an_edited_stopping_rule_reads_everything_again(faulty: FaultyServer):
    clock, attempts = HandClock(NOON + timedelta(seconds=20)), running_attempts("s-0")
    rung = (of("s-0", __name__="seatrial_trial_rung_metric", metric="loss", step="3"), [[T0 + 10, "0.5"]])
    faulty.answer = lambda _: matrix(step_series("s-0", (10, 4)), loss_series("s-0", (10, 0.4)), rung)
    async with a_source(clock) as source:
        await source.read(a_cluster_study(faulty.url), attempts)
        curves = await source.read(a_cluster_study(faulty.url, stopping={"rule": "median"}), attempts)

    assert points(curves["s-0"]["loss"]) == [(3, 0.5), (4, 0.4)]


# ---- expressions of the author -----------------------------------------------------------------------------------------


def with_queries(url: str, **more: object) -> dict[str, object]:
    queries = [{"metric": "loss", "query": "my_loss"}]
    return {"metrics": {"source": "prometheus", "prometheus": {"url": url, "queries": queries, **more}}}


async def test_metrics_come_from_the_authors_expressions(faulty: FaultyServer):
    clock = HandClock(NOON + timedelta(seconds=20))
    study = a_cluster_study(**with_queries(faulty.url, stepQuery="my_epoch"))  # type: ignore[arg-type]

    def answer(asked: Asked) -> Reply:
        steps = {"my_epoch": ("2", "3"), "my_loss": ("0.9", "0.8")}[asked.form["query"]]
        return matrix(({"trial": "s-0"}, [[T0 + 5, steps[0]], [T0 + 10, steps[1]]]))

    faulty.answer = answer
    async with a_source(clock) as source:
        curves = await source.read(study, running_attempts("s-0"))

    assert points(curves["s-0"]["loss"]) == [(2, 0.9), (3, 0.8)]
    assert {asked.path for asked in faulty.asked} == {"/api/v1/query_range"}
    assert all(float(asked.form["start"]) % 5 == 0 for asked in faulty.asked)


async def test_without_a_step_expression_changes_are_counted_and_other_studies_values_left_out(faulty: FaultyServer):
    clock = HandClock(NOON + timedelta(seconds=20))
    study = a_cluster_study(**with_queries(faulty.url))  # type: ignore[arg-type]
    faulty.answer = lambda _: matrix(
        ({"trial": "s-0", "study_uid": "u-0"}, [[T0 + 5, "7"]]),
        ({"trial": "s-0", "namespace": "other"}, [[T0 + 5, "7"]]),
        ({"trial": "s-5"}, [[T0 + 5, "7"]]),
        ({"trial": "s-0", "study_uid": "u-1"}, [[T0 + 5, "0.9"], [T0 + 10, "0.9"], [T0 + 15, "0.7"]]),
    )
    async with a_source(clock) as source:
        curves = await source.read(study, running_attempts("s-0"))

    assert points(curves["s-0"]["loss"]) == [(1, 0.9), (2, 0.7)]
