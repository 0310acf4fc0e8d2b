"""The operator's metrics: what they are called, what they say, and that they stay few."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from decide.builders import a_study
from seatrial.adapters.kubernetes.port import Call
from seatrial.api.conditions import Condition
from seatrial.api.study import Best, Study, StudyStatus, TrialCounts
from seatrial.decide.actions import PassRung
from seatrial.entry.cluster import telemetry as module
from seatrial.entry.cluster.telemetry import EventOutcome, ReconcileOutcome, Telemetry
from seatrial.ports import StudyKey

KEY = StudyKey("ml", "digits")
PAGE = Path(__file__).parents[3] / "docs" / "operator-metrics.md"


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


def studied(reason: str = "Running", *, best: float | None = 0.5, **counts: int) -> Study:
    summary = Condition.model_validate(
        {"type": "Succeeded", "status": "Unknown", "reason": reason, "lastTransitionTime": "2030-01-01T00:00:00Z"}
    )
    winner = None if best is None else Best(trial="digits-1", index=1, values=[best], assignment={"x": 0.5})
    status = StudyStatus(conditions=[summary], trials=TrialCounts(**counts), best=winner)
    return a_study("digits").model_copy(update={"status": status})


def series(telemetry: Telemetry, study: str) -> list[str]:
    """Return the names of all series that name a study."""
    return [
        sample.name
        for family in telemetry.registry.collect()
        for sample in family.samples
        if sample.labels.get("study") == study
    ]


def test_a_study_is_shown_by_state_with_its_trials_and_its_best_value():
    telemetry = Telemetry()
    telemetry.show_study(KEY, studied(total=5, running=2, completed=3))

    assert value(telemetry, "seatrial_trials", namespace="ml", study="digits", state="running") == 2
    assert value(telemetry, "seatrial_trials", namespace="ml", study="digits", state="completed") == 3
    assert value(telemetry, "seatrial_trials", namespace="ml", study="digits", state="failed") == 0
    assert value(telemetry, "seatrial_study_best_value", namespace="ml", study="digits", metric="loss") == 0.5
    assert value(telemetry, "seatrial_studies", state="Running") == 1


def test_a_study_without_a_result_has_no_best_value():
    telemetry = Telemetry()
    telemetry.show_study(KEY, studied(best=None))

    assert value(telemetry, "seatrial_study_best_value", namespace="ml", study="digits", metric="loss") is None


def test_a_state_that_a_study_has_left_is_zero():
    telemetry = Telemetry()
    telemetry.show_study(KEY, studied("Running"))
    telemetry.show_study(KEY, studied("MaxTrialsReached"))

    assert value(telemetry, "seatrial_studies", state="Running") == 0
    assert value(telemetry, "seatrial_studies", state="MaxTrialsReached") == 1


def test_nothing_stays_of_a_study_that_is_gone():
    telemetry = Telemetry()
    other = StudyKey("ml", "other")
    telemetry.show_study(KEY, studied())
    telemetry.show_study(other, studied())
    telemetry.forget_study(KEY)
    telemetry.forget_study(KEY)

    assert series(telemetry, "digits") == []
    assert series(telemetry, "other") != []
    assert value(telemetry, "seatrial_studies", state="Running") == 1


def test_a_study_gone_before_its_first_result_leaves_nothing_either():
    telemetry = Telemetry()
    telemetry.show_study(KEY, studied(best=None))
    telemetry.forget_study(KEY)

    assert series(telemetry, "digits") == []


def test_series_of_a_metric_that_is_no_objective_any_more_go():
    telemetry = Telemetry()
    telemetry.show_study(KEY, studied())
    again = a_study("digits", objectives=[{"metric": "accuracy", "goal": "maximize"}])
    telemetry.show_study(KEY, again.model_copy(update={"status": studied().status}))

    assert value(telemetry, "seatrial_study_best_value", namespace="ml", study="digits", metric="loss") is None
    assert value(telemetry, "seatrial_study_best_value", namespace="ml", study="digits", metric="accuracy") == 0.5


def test_only_so_many_studies_have_series_and_the_others_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "STUDIES_SHOWN", 3)
    telemetry = Telemetry()
    for number in range(5):
        telemetry.show_study(StudyKey("ml", f"s{number}"), studied())

    assert [bool(series(telemetry, f"s{number}")) for number in range(5)] == [True] * 3 + [False] * 2
    assert value(telemetry, "seatrial_studies_without_series") == 2
    assert value(telemetry, "seatrial_studies", state="Running") == 5

    telemetry.forget_study(StudyKey("ml", "s0"))
    telemetry.show_study(StudyKey("ml", "s4"), studied())
    assert bool(series(telemetry, "s4"))
    assert value(telemetry, "seatrial_studies_without_series") == 1


def test_calls_are_counted_by_verb_kind_and_code_and_a_watch_has_no_latency():
    telemetry = Telemetry()
    for code in (201, 201, 409):
        telemetry.observe_call(Call(verb="create", resource="pods", code=code, seconds=0.02))
    telemetry.observe_call(Call(verb="watch", resource="pods", code=200, seconds=300.0))

    assert value(telemetry, "seatrial_api_requests_total", verb="create", resource="pods", code="201") == 2
    assert value(telemetry, "seatrial_api_requests_total", verb="create", resource="pods", code="409") == 1
    assert value(telemetry, "seatrial_api_requests_total", verb="watch", resource="pods", code="200") == 1
    assert value(telemetry, "seatrial_api_request_duration_seconds_count", verb="create", resource="pods") == 3
    assert value(telemetry, "seatrial_api_request_duration_seconds_count", verb="watch", resource="pods") is None


def test_what_is_read_at_a_scrape_is_as_it_is_then():
    telemetry, queue = Telemetry(), ["a"]
    telemetry.watch_queue(lambda: len(queue))
    telemetry.watch_tasks(lambda: 30 + len(queue))
    telemetry.watch_cache("pods", lambda: 7.5)
    queue.append("b")

    assert value(telemetry, "seatrial_queue_depth") == 2
    assert value(telemetry, "seatrial_tasks") == 32
    assert value(telemetry, "seatrial_informer_staleness_seconds", resource="pods") == 7.5


def test_work_is_counted():
    telemetry = Telemetry()
    telemetry.observe_reconcile(0.03)
    telemetry.observe_reconcile(0.03, ReconcileOutcome.FAILED)
    telemetry.observe_decision("tpe", 0.2)
    telemetry.observe_action(PassRung(trial="digits-1", rung=3, reason="RungPassed", message=""))
    telemetry.observe_event(EventOutcome.LIMITED)
    telemetry.observe_restart()
    telemetry.show_leader(leads=True)

    assert value(telemetry, "seatrial_reconcile_duration_seconds_count", outcome="done") == 1
    assert value(telemetry, "seatrial_reconcile_duration_seconds_count", outcome="failed") == 1
    assert value(telemetry, "seatrial_decision_duration_seconds_sum", algorithm="tpe") == pytest.approx(0.2)
    assert value(telemetry, "seatrial_actions_total", action="PassRung") == 1
    assert value(telemetry, "seatrial_events_total", outcome="rate_limited") == 1
    assert value(telemetry, "seatrial_ask_worker_restarts_total") == 1
    assert value(telemetry, "seatrial_leader") == 1


def test_two_operators_of_one_process_do_not_share_a_registry():
    one, other = Telemetry(), Telemetry()
    one.observe_restart()

    assert value(other, "seatrial_ask_worker_restarts_total") == 0


def test_metrics_are_served_and_are_gone_afterwards():
    telemetry = Telemetry()
    telemetry.show_leader(leads=True)
    assert telemetry.serve(0) is None
    server = module.MetricsServer(telemetry.registry, 0, "127.0.0.1")
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    server.close()

    assert "seatrial_leader 1.0" in text
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10)


def test_every_name_follows_the_conventions_and_is_in_the_documentation():
    telemetry = Telemetry()
    telemetry.show_study(KEY, studied())
    families = list(text_string_to_metric_families(generate_latest(telemetry.registry).decode()))
    names = {family.name for family in families if not family.name.endswith("_created")}

    assert all(re.fullmatch(r"(seatrial|process)_[a-z_]+", name) for name in names)
    assert all(family.documentation for family in families)
    page = PAGE.read_text()
    for family in families:
        if family.name.startswith("seatrial_") and not family.name.endswith("_created"):
            shown = f"{family.name}_total" if family.type == "counter" else family.name
            assert f"`{shown}`" in page
    # And nothing there that does not exist.
    listed = set(re.findall(r"^\| `(seatrial_[a-z_]+)`", page, re.MULTILINE))
    assert {name.removesuffix("_total") for name in listed} == {n for n in names if n.startswith("seatrial_")}
