"""ASHA with promotion on a cluster: trials pause at rungs without a Pod, and the best go on from their checkpoints."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from kind.installation import condition
from kind.stories import Told

RUNGS = (1, 3, 9, 27)


def name(trial: dict[str, Any]) -> str:
    return str(trial["metadata"]["name"])


def is_paused(trial: dict[str, Any]) -> bool:
    return bool(condition(trial, "Succeeded").get("reason") == "Paused")


def holds(pod: dict[str, Any]) -> bool:
    """Whether something of it is still to run: a kubelet says for a moment of one whose containers have ended that it is Running."""
    states = [status["state"] for status in pod["status"].get("containerStatuses", [])]
    ended = bool(states) and all("terminated" in state for state in states)
    return (
        pod["status"].get("phase") in {"Pending", "Running"}
        and "deletionTimestamp" not in pod["metadata"]
        and not ended
    )


def test_it_ends_with_a_winner_that_was_trained_in_full(promotion: Told) -> None:
    reasons = [condition(trial, "Succeeded")["reason"] for trial in promotion.trials]
    best = promotion.study["status"]["best"]["trial"]

    assert condition(promotion.study, "Succeeded")["status"] == "True"
    assert len(reasons) == 9
    assert "Completed" in reasons
    (winner,) = [trial for trial in promotion.trials if name(trial) == best]
    assert winner["status"]["observation"]["step"] == RUNGS[-1]


def test_a_paused_trial_has_no_pod(promotion: Told) -> None:
    seen = 0
    for before, now in pairwise(promotion.looks):
        # The Pods were listed between the two looks at the trials: who was paused at both was paused then.
        earlier, later = (
            [(name(t), t["status"]["attempt"]) for t in look.trials if is_paused(t)] for look in (before, now)
        )
        resting = {each for each, _ in set(earlier) & set(later)}
        seen += len(resting)
        holding = [pod for pod in now.pods if holds(pod) and pod["metadata"]["labels"]["seatrial.dev/trial"] in resting]
        assert [(pod["metadata"]["name"], pod["status"]) for pod in holding] == []
    assert seen


def test_no_step_is_trained_twice(promotion: Told) -> None:
    promoted = [trial for trial in promotion.trials if trial["status"]["attempt"] > 0]

    assert promoted
    for trial in promotion.trials:
        assert trial["status"]["observation"]["step"] in RUNGS
        assert trial["status"]["stepsTrained"] == trial["status"]["observation"]["step"]
    for trial in promoted:
        assert {past["reason"] for past in trial["status"]["attempts"]} == {"Paused"}
    assert promotion.study["status"]["stepsTrained"] == sum(
        trial["status"]["stepsTrained"] for trial in promotion.trials
    )
    assert condition(promotion.study, "Resumable")["reason"] == "CheckpointSaved"
