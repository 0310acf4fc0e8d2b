"""Prometheus is taken away while a study trains: nothing that counts is lost, and the study says what it lacks."""

from __future__ import annotations

from kind.installation import NAMESPACE, condition
from kind.laptop import laptop_suggestions
from kind.stories import Told


def test_the_laptops_file_runs_unchanged_and_ends_without_prometheus(no_prometheus: Told) -> None:
    with_it, without_it = (condition(look.study, "MetricsAvailable") for look in no_prometheus.looks)

    assert with_it["reason"] == "ReadFromPrometheus"
    assert without_it["reason"] == "PrometheusUnreachable"
    assert NAMESPACE in without_it["message"]
    assert condition(no_prometheus.study, "Succeeded")["status"] == "True"
    assert len(no_prometheus.trials) == 24
    assert all(trial["status"]["observation"]["values"] for trial in no_prometheus.trials)


def test_its_first_suggestions_are_those_of_a_laptop(no_prometheus: Told) -> None:
    assert [trial["spec"]["assignment"] for trial in no_prometheus.trials[:2]] == laptop_suggestions("digits", 2)
