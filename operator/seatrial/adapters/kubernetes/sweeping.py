"""Deletes the Pods that nothing needs any more: many by one call, instead of one by one.

A Pod whose result is stored loses its finalizer and gets a label in one write. From then on it holds nothing, and whoever comes later, also
another process, finds it by that label: so its deletion may wait until there are more of them.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.faults import ApiError
from seatrial.adapters.kubernetes.port import PODS, KubeClient
from seatrial.errors import TransientError
from seatrial.ports import Clock, StudyKey

__all__ = ["SWEEP_PODS", "SWEEP_SECONDS", "Sweeper"]

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 10.0
"""How long a Pod that nothing needs waits for others at most, while its study runs."""

SWEEP_PODS = 50
"""So many are not kept waiting: the API server deletes them one by one, and each stays in the caches until then."""


@dataclass(slots=True)
class _Heap:
    """The Pods of one study that may go.

    Attributes:
        since: Since when there are any.
        number: How many there were at the last look.
        broom: The call that is under way.
    """

    since: datetime
    number: int = 0
    broom: asyncio.Task[None] | None = None


class Sweeper:
    """Sweeps studies one by one. Belongs to one event loop.

    Args:
        client: The API server.
        clock: The time.
    """

    def __init__(self, client: KubeClient, *, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._heaps: dict[StudyKey, _Heap] = {}

    def look(self, key: StudyKey, uid: str, number: int, *, at_once: bool) -> None:
        """Begin to delete a study's Pods that may go, if it is time. Nothing waits for it.

        Args:
            key: The study.
            uid: Its identity.
            number: How many of its Pods may go.
            at_once: Whether no more are to be waited for: the study rests.
        """
        heap, now = self._heaps.get(key), self._clock.now()
        if heap is not None and heap.broom is not None:
            if not heap.broom.done():
                return
            broom, heap.broom, heap.since = heap.broom, None, now
            broom.result()
        if number == 0:
            self._heaps.pop(key, None)
            return
        if heap is None:
            heap = self._heaps[key] = _Heap(since=now)
        heap.number = number
        old = now - heap.since >= timedelta(seconds=SWEEP_SECONDS)
        if uid and (at_once or old or number >= SWEEP_PODS):
            heap.broom = asyncio.create_task(self._sweep(key, uid))

    def due_seconds(self, key: StudyKey) -> float | None:
        """Return seconds until the study should be looked at again for this; None when there is nothing to sweep."""
        heap = self._heaps.get(key)
        if heap is None:
            return None
        if heap.broom is not None:
            return 1.0
        return max(0.0, SWEEP_SECONDS - (self._clock.now() - heap.since).total_seconds())

    def forget(self, key: StudyKey) -> None:
        """Drop what is kept of a study that is gone: its Pods go with it."""
        self._heaps.pop(key, None)

    async def _sweep(self, key: StudyKey, uid: str) -> None:
        selector = f"{names.LABEL_STUDY_UID}={uid},{names.LABEL_RELEASED}=true"
        try:
            await self._client.delete_all(PODS, key.namespace, selector=selector)
        except (ApiError, TransientError) as error:
            # They hold nothing; they are swept another time.
            fields = {"namespace": key.namespace, "study": key.name, "error": str(error)}
            logger.warning("Cannot delete Pods that nothing needs", extra=fields)
