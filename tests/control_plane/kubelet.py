"""A simulated kubelet: a thread that writes the status of trial Pods as a node would, at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any

from control_plane.access import Access
from control_plane.client import Client

__all__ = ["PATIENCE_SECONDS", "Ending", "Kubelet"]

PATIENCE_SECONDS = 180.0
"""No test takes the server away for so long, and on a busy machine it is there again a minute after its start."""

_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.2

Pod = dict[str, Any]

Ending = Callable[[Pod, dict[str, Any]], dict[str, Any] | None]
"""From a Pod and its parameters to the state of its ended container; None lets it run on."""


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def completed(metric: str, value: float) -> dict[str, Any]:
    """Return a good end with a termination message."""
    return {"exitCode": 0, "reason": "Completed", "message": json.dumps({metric: value}), "finishedAt": _time()}


class Kubelet:
    """Lets every trial Pod of one namespace run, and end as *ending* says.

    Pods that are being deleted lose their containers, and then nothing but finalizers keeps them. A server that is away is asked
    again, until that has been in vain for *patience_seconds*: then :attr:`failure` says why, and leaving the block raises it.
    """

    def __init__(
        self, access: Access, namespace: str, ending: Ending, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._client, self._namespace, self.ending = Client(access), namespace, ending
        self._patience_seconds = patience_seconds
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.most_running = 0
        self.seen: dict[str, str] = {}
        """Uid by name of every Pod that was ever seen."""
        self.doubled: list[str] = []
        """Names under which more than one Pod was seen."""
        self.left_alone: set[str] = set()
        """Names of Pods whose status a test writes itself."""
        self.failure: BaseException | None = None

    def __enter__(self) -> Kubelet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self._thread.join()
        self._client.close()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        succeeded, pause = time.monotonic(), _PAUSE_SECONDS
        try:
            while not self._halt.wait(pause):
                began = time.monotonic()
                try:
                    self._look()
                    succeeded = time.monotonic()
                    # Nearly as long as the look took: hundreds of Pods are not to be listed all the time.
                    pause = min(max(_PAUSE_SECONDS, succeeded - began), _LONGEST_PAUSE_SECONDS)
                except (OSError, HTTPException) as error:
                    # The server is away, or has too much to do.
                    self._client.close()
                    if time.monotonic() - succeeded > self._patience_seconds:
                        words = f"the simulated kubelet could do nothing for {self._patience_seconds:g} s: {error!r}"
                        raise TimeoutError(words) from error
        except BaseException as error:  # noqa: BLE001 - told by whoever ends the thread
            self.failure = error

    def _look(self) -> None:
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        running, answer = 0, self._client.get(path)
        if not answer.is_accepted:
            raise ConnectionError(f"{path} is answered by {answer.code}: {answer.message}")
        for pod in answer.body["items"]:
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            if self.seen.setdefault(name, uid) != uid:
                self.doubled.append(name)
            if name not in self.left_alone:
                running += self._step(f"{path}/{name}", pod)
        self.most_running = max(self.most_running, running)

    def _step(self, path: str, pod: Pod) -> bool:
        """Bring one Pod forward; return whether it runs."""
        phase, deleting = pod["status"].get("phase"), pod["metadata"].get("deletionTimestamp")
        if phase in {"Succeeded", "Failed"}:
            if deleting and pod["metadata"].get("deletionGracePeriodSeconds"):
                self._client.request("DELETE", path, {"gracePeriodSeconds": 0})
            return False
        if deleting:
            state = {"exitCode": 143, "reason": "Error", "finishedAt": _time()}
            self._write(path, pod, "Failed", {"terminated": state})
            return False
        if phase == "Pending":
            self._write(path, pod, "Running", {"running": {"startedAt": _time()}})
            return True
        ended = self.ending(pod, _parameters(pod))
        if ended is not None:
            self._write(path, pod, "Succeeded" if ended["exitCode"] == 0 else "Failed", {"terminated": ended})
        return ended is None

    def _write(self, path: str, pod: Pod, phase: str, state: dict[str, Any]) -> None:
        name = pod["spec"]["containers"][0]["name"]
        container = {"name": name, "image": "x", "imageID": "x", "ready": False, "restartCount": 0, "state": state}
        self._client.merge(f"{path}/status", {"status": {"phase": phase, "containerStatuses": [container]}})


def _parameters(pod: Pod) -> dict[str, Any]:
    for variable in pod["spec"]["containers"][0].get("env", []):
        if variable["name"] == "SEATRIAL_PARAMETERS":
            found: dict[str, Any] = json.loads(variable["value"])
            return found
    return {}
