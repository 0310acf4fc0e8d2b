"""Real training on a cluster: torch, pretended GPUs, a Prometheus that scrapes, a volume of checkpoints."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from kind.cluster import ROOT
from kind.installation import NAMESPACE, Installation, condition
from seatrial.api.load import parse_study
from seatrial.decide.snapshot import Snapshotter
from seatrial.reconcile import ThreadSuggester

GPUS = 2


def laptop_suggestions(example: str, count: int) -> list[dict[str, Any]]:
    """Return the first assignments of a study as `seatrial run` would try them."""
    study = parse_study((ROOT / "examples" / f"{example}.yaml").read_bytes(), source=example).study
    snapshot = Snapshotter().build(study=study, trials=[], attempts={}, curves={}, now=datetime.now(UTC))
    proposals = asyncio.run(ThreadSuggester().propose(snapshot, count)).proposals
    return [dict(proposal.assignment) for proposal in proposals]


def is_placed(pod: dict[str, Any]) -> bool:
    return bool(pod["spec"].get("nodeName")) and pod["status"].get("phase") not in {"Succeeded", "Failed"}


@pytest.fixture(scope="module")
def gpu_study(seatrial: Installation) -> Any:
    """The study of four GPUs on a cluster that has two, from its first Pod to its end."""
    kind, namespace = seatrial.kind, "training"
    kind.kubectl("create", "namespace", namespace)
    kind.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    seatrial.add_checkpoints(namespace)
    name = seatrial.apply_example(namespace, "digits-gpu")
    seen = list(seatrial.watch(namespace, name, seconds=600))
    yield namespace, seen, seatrial.trials(namespace, name)
    kind.kubectl("delete", "namespace", namespace, "--timeout=60s")
    kind.kubectl("delete", "pv", f"checkpoints-{namespace}", "--wait=false")


def test_a_study_trains_to_its_end(gpu_study: Any) -> None:
    _, seen, trials = gpu_study

    summary = condition(seen[-1][0], "Succeeded")
    assert summary["status"] == "True", summary
    assert len(trials) == 12
    assert {condition(trial, "Succeeded")["reason"] for trial in trials} <= {"Completed", "Stopped"}
    # Ten classes: chance is 0.1.
    assert float(seen[-1][0]["status"]["bestValue"]) > 0.8


def test_no_more_trials_hold_a_gpu_than_there_are(gpu_study: Any) -> None:
    _, seen, _ = gpu_study

    placed = [sum(map(is_placed, pods)) for _, pods in seen]
    assert max(placed) == GPUS


def test_trials_that_wait_for_a_gpu_say_so(gpu_study: Any) -> None:
    _, seen, _ = gpu_study

    summaries = [condition(study, "Succeeded").get("message", "") for study, _ in seen]
    assert any("2 run, 2 wait: Insufficient nvidia.com/gpu" in message for message in summaries), summaries


def test_hopeless_trials_are_stopped_by_what_prometheus_saw(gpu_study: Any) -> None:
    _, seen, trials = gpu_study

    stopped = [trial for trial in trials if condition(trial, "Succeeded")["reason"] == "Stopped"]
    assert stopped
    assert all("only the best" in condition(trial, "Succeeded")["message"] for trial in stopped)
    assert condition(seen[-1][0], "MetricsAvailable")["reason"] == "ReadFromPrometheus"
    assert any(trial["status"]["observation"]["step"] < 27 for trial in stopped)


def test_the_first_suggestions_are_those_of_a_laptop(gpu_study: Any) -> None:
    _, _, trials = gpu_study

    first = [trial["spec"]["assignment"] for trial in trials[:4]]
    assert first == laptop_suggestions("digits-gpu", 4)


def test_the_winners_checkpoint_is_on_the_volume(seatrial: Installation, gpu_study: Any) -> None:
    _, seen, _ = gpu_study
    study = seen[-1][0]
    best = study["status"]["best"]

    (node,) = [node["metadata"]["name"] for node in seatrial.kind.get("nodes")["items"]]
    place = f"/var/lib/seatrial/checkpoints/{study['metadata']['uid']}/{best['trial']}/{best['checkpoint']}"
    manifest = json.loads(seatrial.kind.run("docker", "exec", node, "cat", f"{place}/manifest.json").stdout)
    listed = seatrial.kind.run("docker", "exec", node, "ls", place).stdout.split()
    assert manifest["step"] == 27
    assert sorted(file["path"] for file in manifest["files"]) == sorted(set(listed) - {"manifest.json"})


def test_a_pod_that_has_done_its_work_is_gone_and_holds_no_gpu(seatrial: Installation, gpu_study: Any) -> None:
    namespace, _, _ = gpu_study

    seatrial.kind.wait_until(lambda: seatrial.pods(namespace) == [], what="the last Pod to go")


def test_the_laptops_file_runs_unchanged_and_ends_without_prometheus(seatrial: Installation, namespace: str) -> None:
    seatrial.add_checkpoints(namespace)
    name = seatrial.apply_example(namespace, "digits")
    seatrial.wait_for(
        namespace,
        name,
        lambda study: condition(study, "MetricsAvailable").get("status") == "True" and done(study) >= 12,
        what="half of the trials to end",
        seconds=300,
    )

    seatrial.scale("seatrial-prometheus", 0)
    try:
        degraded = seatrial.wait_for(
            namespace,
            name,
            lambda study: condition(study, "MetricsAvailable").get("status") == "False",
            what="the study to notice that Prometheus is gone",
        )
        study = seatrial.wait_done(namespace, name, seconds=600)
    finally:
        seatrial.scale("seatrial-prometheus", 1)

    assert condition(degraded, "MetricsAvailable")["reason"] == "PrometheusUnreachable"
    assert condition(study, "Succeeded")["status"] == "True"
    trials = seatrial.trials(namespace, name)
    assert len(trials) == 24
    assert all(trial["status"]["observation"]["values"] for trial in trials)
    assert [trial["spec"]["assignment"] for trial in trials[:2]] == laptop_suggestions("digits", 2)
    assert f"{NAMESPACE}" in condition(degraded, "MetricsAvailable")["message"]


def done(study: dict[str, Any]) -> int:
    return int((study.get("status") or {}).get("progress", "0/0").split("/")[0])
