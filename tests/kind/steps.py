"""What tests of studies in a cluster do again and again."""

from __future__ import annotations

from typing import Any

from kind.installation import Installation

__all__ = ["apply", "assignments", "let_end", "values", "wait_running"]


def apply(seatrial: Installation, namespace: str, study: dict[str, Any]) -> str:
    """Apply a study and return its name."""
    seatrial.kind.apply(namespace, study)
    return str(study["metadata"]["name"])


def wait_running(seatrial: Installation, namespace: str, count: int) -> list[str]:
    """Return the names of the Pods of a namespace once so many run."""
    seen: list[str] = []

    def look() -> bool:
        seen[:] = sorted(seatrial.running(namespace))
        return len(seen) == count

    seatrial.kind.wait_until(look, what=f"{count} Pods to run")
    return seen


def let_end(seatrial: Installation, namespace: str, pods: list[str]) -> None:
    """Let the trials of a slow study end, each by its own last words."""
    for pod in pods:
        # Whatever still runs in a container that ends is killed, so the trial waits for the process that speaks to it.
        seatrial.kind.kubectl("exec", "-n", namespace, pod, "--", "sh", "-c", "echo $$ > /tmp/end")


def values(trials: list[dict[str, Any]]) -> dict[str, float]:
    """Return what each trial found, by name."""
    return {trial["metadata"]["name"]: trial["status"]["observation"]["values"][0] for trial in trials}


def assignments(trials: list[dict[str, Any]]) -> dict[str, float]:
    """Return what each trial was to find, by name."""
    return {trial["metadata"]["name"]: trial["spec"]["assignment"]["x"] for trial in trials}
