"""What the operator's environment may say, and what it is told where that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial.adapters.kubernetes.removal import Retention
from seatrial.entry.cluster.logs import LogFormat
from seatrial.entry.cluster.settings import PREFIX, read_settings
from seatrial.errors import UsageError

NOWHERE = Path("/nonexistent")


def read(own_namespace: Path = NOWHERE, **variables: str):
    return read_settings({PREFIX + name: value for name, value in variables.items()}, own_namespace=own_namespace)


def test_without_any_variable_everything_has_a_default():
    settings = read()

    assert (settings.namespace, settings.lease_name, settings.lease_namespace) == ("", "seatrial-operator", "default")
    assert (settings.health_port, settings.metrics_port, settings.workers) == (8080, 9090, 8)
    assert (settings.prometheus_url, settings.retention) == (None, Retention.FAILED)
    assert (settings.log_format, settings.log_level) == (LogFormat.JSON, "INFO")


def test_every_variable_counts():
    settings = read(
        NAMESPACE="team",
        LEASE_NAME="l",
        LEASE_NAMESPACE="ops",
        IDENTITY="me",
        HEALTH_PORT="1",
        METRICS_PORT="0",
        PROMETHEUS_URL="http://p:9090",
        RETENTION="all",
        LOG_FORMAT="text",
        LOG_LEVEL="debug",
        ASK_DEADLINE_SECONDS="2.5",
        WORKERS="3",
    )

    assert (settings.namespace, settings.lease_name, settings.lease_namespace) == ("team", "l", "ops")
    assert (settings.identity, settings.health_port, settings.metrics_port) == ("me", 1, 0)
    assert (settings.prometheus_url, settings.retention) == ("http://p:9090", Retention.ALL)
    assert (settings.log_format, settings.log_level) == (LogFormat.TEXT, "DEBUG")
    assert (settings.ask_deadline_seconds, settings.workers) == (2.5, 3)


def test_what_is_empty_is_as_good_as_not_set():
    assert read(PROMETHEUS_URL="", WORKERS=" ", RETENTION="").workers == 8


def test_a_pod_keeps_its_lease_in_its_own_namespace(tmp_path: Path):
    file = tmp_path / "namespace"
    file.write_text("seatrial-system\n")

    assert read(file).lease_namespace == "seatrial-system"
    assert read(file, LEASE_NAMESPACE="ops").lease_namespace == "ops"


def test_no_two_processes_have_one_identity():
    assert read().identity != read().identity


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WORKERS", "0", "is '0', but must be a whole number from 1 to 64"),
        ("WORKERS", "2.5", "is '2.5', but must be a whole number"),
        ("ASK_DEADLINE_SECONDS", "soon", "is 'soon', but must be a number from 1 to 3600"),
        ("ASK_DEADLINE_SECONDS", "nan", "is 'nan', but must be a number from 1 to 3600"),
        ("HEALTH_PORT", "70000", "is '70000', but must be a whole number from 0 to 65535"),
        ("RETENTION", "some", "is 'some', but must be one of: none, failed, all"),
        ("LOG_FORMAT", "xml", "is 'xml', but must be one of: json, text"),
        ("LOG_LEVEL", "loud", "is 'loud', but must be one of: debug, info, warning, error"),
        ("PROMETHEUS_URL", "prometheus:9090", "must begin with http:// or https://"),
        ("WORKER", "3", "is set, but there is no such setting; there are SEATRIAL_OPERATOR_ASK_DEADLINE_SECONDS"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable_and_the_rule(name: str, value: str, words: str):
    with pytest.raises(UsageError) as caught:
        read(**{name: value})

    assert str(caught.value).startswith(PREFIX + name)
    assert words in str(caught.value)
