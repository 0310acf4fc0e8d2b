"""Pods that go on to the next trial: on a real kubelet, through the downward API there and the container's log back."""

from __future__ import annotations

from typing import Any

from kind.installation import Installation, condition, reusing_study

TRIALS, PARALLEL = 10, 2


def watch(seatrial: Installation, namespace: str, name: str) -> dict[str, set[str]]:
    """Return which trials each Pod had, as seen until the study had ended and its Pods were gone."""
    seen: dict[str, set[str]] = {}

    def over() -> bool:
        pods = seatrial.pods(namespace)
        for pod in pods:
            seen.setdefault(pod["metadata"]["name"], set()).add(pod["metadata"]["labels"]["seatrial.dev/trial"])
        ended = condition(seatrial.study(namespace, name), "Succeeded").get("status") in {"True", "False"}
        return ended and not pods

    seatrial.kind.wait_until(over, what=f"study {name} to end and its Pods to go", seconds=300)
    return seen


def values(trials: list[dict[str, Any]]) -> list[float]:
    return [trial["status"]["observation"]["values"][0] for trial in trials]


def test_two_pods_have_all_trials_one_after_another_and_no_value_is_lost(
    seatrial: Installation, namespace: str
) -> None:
    study = reusing_study("relay", trials=TRIALS, parallel=PARALLEL)
    seatrial.kind.apply(namespace, study)

    seen = watch(seatrial, namespace, "relay")

    trials = seatrial.trials(namespace, "relay")
    accepted = condition(seatrial.study(namespace, "relay"), "TemplateAccepted")
    assert "Pods are handed on" in accepted["message"]
    assert set(seen) == {"relay-0-0", "relay-1-0"}
    assert len(set.union(*seen.values())) > PARALLEL
    assert {condition(trial, "Succeeded")["reason"] for trial in trials} == {"Completed"}
    # Each has told the value of its own parameter, not that of the trial that had its Pod before.
    told = [trial["spec"]["assignment"]["x"] * 3 for trial in trials]
    assert [round(value, 9) for value in values(trials)] == [round(value, 9) for value in told]
    assert {trial["status"]["attempt"] for trial in trials} == {0}
    assert [trial["status"]["stepsTrained"] for trial in trials] == [3] * TRIALS


def test_an_operator_that_is_killed_finds_the_pods_and_who_has_them(seatrial: Installation, namespace: str) -> None:
    study = reusing_study("relay", trials=TRIALS, parallel=PARALLEL)
    seatrial.kind.apply(namespace, study)
    seatrial.kind.wait_until(
        lambda: any(pod["metadata"]["annotations"].get("seatrial.dev/handed-at") for pod in seatrial.pods(namespace)),
        what="a Pod to be handed on",
        seconds=120,
    )

    seatrial.kill_operator()
    watch(seatrial, namespace, "relay")

    trials = seatrial.trials(namespace, "relay")
    assert [trial["spec"]["index"] for trial in trials] == list(range(TRIALS))
    assert {condition(trial, "Succeeded")["reason"] for trial in trials} == {"Completed"}
    assert {trial["status"]["attempt"] for trial in trials} == {0}
    assert [trial["status"]["stepsTrained"] for trial in trials] == [3] * TRIALS


def test_a_trial_that_is_stopped_leaves_its_pod_running(seatrial: Installation, namespace: str) -> None:
    study = reusing_study("halt", trials=4, parallel=1, seconds=600.0)
    study["spec"]["trial"]["timeout"] = "3s"
    seatrial.kind.apply(namespace, study)

    seen = watch(seatrial, namespace, "halt")

    trials = seatrial.trials(namespace, "halt")
    assert set(seen) == {"halt-0-0"}
    assert [condition(trial, "Succeeded")["reason"] for trial in trials] == ["Failed"] * 4
    assert all("Timeout" in condition(trial, "Succeeded")["message"] for trial in trials)
