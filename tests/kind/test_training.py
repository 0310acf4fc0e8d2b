"""Real training on a cluster: torch, pretended GPUs, a Prometheus that scrapes, a volume of checkpoints."""

from __future__ import annotations

import json
from typing import Any

from kind.installation import Installation, condition
from kind.laptop import laptop_suggestions
from kind.stories import Told

GPUS = 2
ENDS = ("Completed", "Stopped")


def is_placed(pod: dict[str, Any]) -> bool:
    return bool(pod["spec"].get("nodeName")) and pod["status"].get("phase") not in {"Succeeded", "Failed"}


def test_a_study_trains_to_its_end(gpus: Told) -> None:
    summary = condition(gpus.study, "Succeeded")
    assert summary["status"] == "True", summary
    assert len(gpus.trials) == 12
    assert {condition(trial, "Succeeded")["reason"] for trial in gpus.trials} <= set(ENDS)
    # Ten classes: chance is 0.1.
    assert float(gpus.study["status"]["bestValue"]) > 0.8


def test_no_more_trials_hold_a_gpu_than_there_are(gpus: Told) -> None:
    placed = [sum(map(is_placed, look.pods)) for look in gpus.looks]
    assert max(placed) == GPUS
    assert max(len(look.pods) for look in gpus.looks) >= 4


def test_trials_that_wait_for_a_gpu_say_so(gpus: Told) -> None:
    summaries = [condition(look.study, "Succeeded").get("message", "") for look in gpus.looks]
    seen = "\n".join(dict.fromkeys(summaries))
    assert "2 run, 2 wait: Insufficient nvidia.com/gpu" in seen, seen
    told = [condition(trial, "Succeeded") for look in gpus.looks for trial in look.trials]
    waiting = {each["reason"]: each["message"] for each in told if "Insufficient" in each.get("message", "")}
    assert set(waiting) == {"Pending"}
    assert "1 Insufficient nvidia.com/gpu" in waiting["Pending"]


def test_hopeless_trials_are_stopped_by_what_prometheus_saw(hopeless: Told) -> None:
    assert condition(hopeless.study, "MetricsAvailable")["reason"] == "ReadFromPrometheus"
    ended = {reason: [t for t in hopeless.trials if condition(t, "Succeeded")["reason"] == reason] for reason in ENDS}
    assert sum(map(len, ended.values())) == 8
    assert ended["Stopped"]
    for trial in ended["Stopped"]:
        assert "only the best" in condition(trial, "Succeeded")["message"]
        assert trial["status"]["observation"]["step"] < 27
    # Torch has trained those that were let go on.
    assert max(float(trial["status"]["observation"]["values"][0]) for trial in ended["Completed"]) > 0.8


def test_the_first_suggestions_are_those_of_a_laptop(gpus: Told) -> None:
    first = [trial["spec"]["assignment"] for trial in gpus.trials[:4]]
    assert first == laptop_suggestions("digits-gpu", 4)


def test_the_winners_checkpoint_is_on_the_volume(seatrial: Installation, gpus: Told) -> None:
    best = gpus.study["status"]["best"]

    (node,) = [node["metadata"]["name"] for node in seatrial.kind.get("nodes")["items"]]
    place = f"/var/lib/seatrial/checkpoints/{gpus.study['metadata']['uid']}/{best['trial']}/{best['checkpoint']}"
    manifest = json.loads(seatrial.kind.run("docker", "exec", node, "cat", f"{place}/manifest.json").stdout)
    listed = seatrial.kind.run("docker", "exec", node, "ls", place).stdout.split()
    assert manifest["step"] == 27
    assert sorted(file["path"] for file in manifest["files"]) == sorted(set(listed) - {"manifest.json"})


def test_a_pod_that_has_done_its_work_is_gone_and_holds_no_gpu(seatrial: Installation, gpus: Told) -> None:
    seatrial.kind.wait_until(lambda: seatrial.pods(gpus.namespace) == [], what="the last Pod to go")
