"""Simulated kubelets for thousands of Pods: slower to look and faster to write than the one for single tests, and with moods."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from control_plane.access import Access
from control_plane.kubelet import Kubelet, completed

__all__ = ["Nodes"]

_FORGOTTEN_SECONDS = 600
_METRICS = ("loss", "val/acc", "ms", "mb")


class Nodes(Kubelet):
    """Ends trial Pods after a while; one in twenty badly.

    Args:
        access: How to reach the API server.
        namespace: Of the Pods.
        seconds: How long a Pod of a study runs.
        seed: Of what goes wrong.
        pause: Between two looks, seconds.
    """

    def __init__(
        self, access: Access, namespace: str, *, seconds: Callable[[str], float], seed: int, pause: float = 0.15
    ) -> None:
        super().__init__(access, namespace, self._end)
        self._seconds, self._chance, self._pause = seconds, random.Random(seed), pause  # noqa: S311 - no secret
        self._since: dict[str, float] = {}

    def _run(self) -> None:
        try:
            while not self._halt.wait(self._pause):
                try:
                    self._look()
                except (OSError, HTTPException):
                    # The API server is away for a while: so it would be for a real node.
                    self._client.close()
                old = time.monotonic() - _FORGOTTEN_SECONDS
                self._since = {name: since for name, since in self._since.items() if since > old}
        except BaseException as error:  # noqa: BLE001 - told by whoever ends the thread
            self.failure = error

    def _look(self) -> None:
        super()._look()
        # The names of all Pods of a long run are not to be remembered.
        if len(self.seen) > 50_000:
            self.seen = dict(list(self.seen.items())[-10_000:])

    def _step(self, path: str, pod: dict[str, Any]) -> bool:
        # No node ever sees a Pod that waits at a gate.
        return False if pod["spec"].get("schedulingGates") else super()._step(path, pod)

    def _end(self, pod: dict[str, Any], _: dict[str, Any]) -> dict[str, Any] | None:
        name, labels = pod["metadata"]["name"], pod["metadata"].get("labels") or {}
        since = self._since.setdefault(name, time.monotonic())
        if time.monotonic() - since < self._seconds(str(labels.get("seatrial.dev/study", ""))):
            return None
        self._since.pop(name, None)
        draw = self._chance.random()
        values = {metric: self._chance.random() for metric in _METRICS}
        good = completed("loss", 0.0)
        if draw < 0.95:
            return good | {"message": json.dumps(values)}
        if draw < 0.97:
            return good | {"exitCode": self._chance.choice([1, 2, 137, 143]), "reason": "Error", "message": "boom"}
        if draw < 0.98:
            return good | {"exitCode": 137, "reason": "OOMKilled", "message": ""}
        return good | {
            "message": self._chance.choice(['{"loss": NaN}', "\x00\xff", "{", json.dumps({"loss": "x" * 2000})])
        }
