"""/metrics, scraped as Prometheus does it."""

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.ports import find_port
from harness.scripts import ATrial

SERVING = """
    trial = seatrial.start()
    for epoch in trial.steps(4):
        trial.report(epoch, val=epoch / 10, loss=float("nan") if epoch == 4 else 0.5)
    print("ready", flush=True)
    input()
"""


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))  # noqa: S104
        listener.listen()
        yield listener


def scrape(port: int) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_metrics_show_the_step_the_last_values_the_rungs_and_the_heartbeat(trial: ATrial) -> None:
    port = find_port()
    process = trial.with_env(SEATRIAL_METRICS_PORT=str(port)).start(SERVING)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    samples = scrape(port)
    process.communicate("\n")

    heartbeat = samples.pop(("seatrial_trial_heartbeat_seconds",))
    assert heartbeat == pytest.approx(trial.observations[-1]["time"], abs=0.01)
    assert str(samples.pop(("seatrial_trial_metric", "loss"))) == "nan"
    assert samples == {
        ("seatrial_trial_step", "digits-3/0"): 4,
        ("seatrial_trial_metric", "val"): 0.4,
        ("seatrial_trial_rung_metric", "val", "1"): 0.1,
        ("seatrial_trial_rung_metric", "val", "3"): 0.3,
        ("seatrial_trial_rung_metric", "loss", "1"): 0.5,
        ("seatrial_trial_rung_metric", "loss", "3"): 0.5,
    }


def test_a_taken_port_is_told_and_training_goes_on(trial: ATrial, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    process = trial.with_env(SEATRIAL_METRICS_PORT=str(port)).start(SERVING)

    out, err = process.communicate("\n")

    assert (process.returncode, out) == (0, "ready\n")
    assert err.count(f"metrics cannot be served on port {port}") == 1
    assert len(trial.observations) == 4
