"""Which Pods can be handed on to the next attempt, and how the attempts in them ended.

An attempt that has ended in a container that goes on leaves no trace in its Pod but that the container is not ready any more. How it ended
is in the container's log, which is read then, and again by whoever comes after this process.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from seatrial.adapters.kubernetes.faults import ApiError
from seatrial.adapters.kubernetes.pod_view import end_within
from seatrial.adapters.kubernetes.pods import PodRecord, read_attempt
from seatrial.adapters.kubernetes.port import KubeClient
from seatrial.adapters.kubernetes.slot_pods import find_end, has_begun
from seatrial.decide.attempts import Attempt, Phase
from seatrial.errors import TransientError
from seatrial.ports import Clock, StudyKey

__all__ = ["HOLD_SECONDS", "Slots", "find_doubles"]

logger = logging.getLogger(__name__)

HOLD_SECONDS = 10.0
"""How long a Pod whose attempt is dealt with is kept for another one: an algorithm may think, and a GPU must not stand idle."""

_PACES = ((5.0, 0.5), (30.0, 1.0), (float("inf"), 5.0))
"""Seconds for which a container has not been ready, and seconds between two looks at its log until then.

An attempt of a second may be over before the kubelet has seen that it ran. A container that is never ready may be one whose port the kubelet does not reach.
"""

_SHARE, _SLOWEST_SECONDS, _LOGS_A_SECOND = 0.02, 10.0, 20.0
"""While an attempt runs its container's log is looked at after each fiftieth of the time that it has run, half a second at least and this long at most,
and those of a study together not oftener than so often a second. Beyond that readiness tells of its end.

Readiness alone would tell late: the kubelet looks some seconds apart, and writes no new directive within a second after it has changed readiness.
"""

_LOG_LINES = 20
_AT_ONCE = 8
_LOG_SECONDS, _WAIT_SECONDS = 10.0, 0.25
_UNHEARD_SECONDS = 1.0
"""How long a container may not have begun what it was given, or ended what it was to stop, before its node is nudged; then twice as long, and so on."""

_LONGEST_UNHEARD_SECONDS = 60.0

_UNSTOPPED_SECONDS = 15.0
"""How long after its grace period a container may still not have stopped its attempt before the Pod is deleted."""


@dataclass(slots=True, kw_only=True)
class _Known:
    """What is known of the attempt that a Pod has now.

    Attributes:
        still_since: Since when its container was seen to be not ready.
        pace: Seconds between two looks at its log.
        asked_at: When the log was read last.
        begun: Whether its container has said that it begins, or that it is busy.
        nudged_at: When its node was nudged last.
        nudges: How often it was.
        ended: The attempt, once the log tells how it ended.
        free_since: Since when its result is stored.
    """

    still_since: datetime | None = None
    pace: float = 0.5
    asked_at: datetime | None = None
    begun: bool = False
    nudged_at: datetime | None = None
    nudges: int = 0
    ended: Attempt | None = None
    free_since: datetime | None = None


class Slots:
    """Keeps track of the Pods of all studies that can be handed on. Belongs to one event loop.

    Args:
        client: The API server.
        clock: The time.
    """

    def __init__(self, client: KubeClient, *, clock: Clock) -> None:
        self._client, self._clock = client, clock
        # By Pod and attempt: what is said of a Pod that has been given away since is not said of its new attempt.
        self._known: dict[StudyKey, dict[tuple[str, str], _Known]] = {}
        self._reading: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def look(self, key: StudyKey, pods: Iterable[PodRecord]) -> None:
        """Find out which attempts have ended in containers that go on.

        Args:
            key: A study.
            pods: All of its Pods.
        """
        slots = [pod for pod in pods if pod.slot is not None]
        if not slots:
            self._known.pop(key, None)
            return
        known = self._known.setdefault(key, {})
        for gone in known.keys() - {_place(pod) for pod in slots}:
            del known[gone]
        now = self._clock.now()
        due = [pod for pod in slots if self._is_due(pod, now, len(slots))]
        readings = {_place(pod): asyncio.create_task(self._read_log(pod)) for pod in due}
        self._reading |= readings
        if readings:
            # A node that does not answer must not hold up what the others have to tell: its answer is there at a later look.
            await asyncio.wait(readings.values(), timeout=_WAIT_SECONDS)

    def read(self, pod: PodRecord, now: datetime) -> Attempt:
        """Return the attempt that a Pod has, as it is at *now*."""
        attempt = read_attempt(pod, now)
        if pod.slot is None or attempt.phase is not Phase.RUNNING:
            return attempt
        return self._of(pod).ended or attempt

    def idle(self, pod: PodRecord) -> bool:
        """Whether a Pod's attempt has ended, and its container waits for another one."""
        waits = pod.slot is not None and pod.attempt.phase is Phase.RUNNING and pod.held and not pod.deleting
        return waits and self._of(pod).ended is not None

    def free(self, pod: PodRecord) -> bool:
        """Whether a Pod's attempt is dealt with, so that nothing of it is to be seen any more."""
        return pod.slot is not None and self._of(pod).free_since is not None

    def set_free(self, pod: PodRecord) -> None:
        """Note that the result of the attempt that a Pod has is stored."""
        known = self._of(pod)
        known.free_since = known.free_since or self._clock.now()

    def give_up(self, pod: PodRecord) -> None:
        """Note that no attempt will want a Pod whose attempt is dealt with, so that it is not kept any longer."""
        self._of(pod).free_since = self._clock.now() - timedelta(seconds=HOLD_SECONDS)

    def overdue(self, pods: Sequence[PodRecord], *, rests: bool) -> list[PodRecord]:
        """Return the Pods that wait for an attempt in vain: for too long, at all if the study *rests*, or because they have ended."""
        now, hold = self._clock.now(), timedelta(seconds=0 if rests else HOLD_SECONDS)
        found = []
        for pod in pods:
            since = self._of(pod).free_since if pod.slot is not None else None
            over = pod.deleting or pod.attempt.phase is not Phase.RUNNING
            if since is not None and pod.held and (over or now - since >= hold):
                found.append(pod)
        return found

    def obeys(self, pod: PodRecord) -> bool:
        """Whether an attempt can be stopped without its Pod: not one that was told so and goes on, and not in a container that never said what it runs."""
        if pod.slot is None or pod.attempt.phase is not Phase.RUNNING or not (pod.slot.busy or self._of(pod).begun):
            return False
        told = pod.slot.stop_at
        patience = timedelta(seconds=pod.slot.grace_seconds + _UNSTOPPED_SECONDS)
        return told is None or self._clock.now() - told < patience

    def unheard(self, pods: Sequence[PodRecord]) -> list[PodRecord]:
        """Return the Pods whose nodes seem to have missed what their containers were told, and note that they are nudged now."""
        now, found = self._clock.now(), []
        for pod in pods:
            if pod.slot is None or pod.attempt.phase is not Phase.RUNNING or pod.deleting or not pod.held:
                continue
            known = self._of(pod)
            told = pod.slot.stop_at or (None if known.begun else pod.slot.handed_at)
            last = max((time for time in (told, known.nudged_at) if time is not None), default=now)
            # One that is heard of by nothing may print a great deal, on a node that reaches no port of it: it need not be nudged for ever.
            patience = min(_UNHEARD_SECONDS * 2.0 ** min(known.nudges, 10), _LONGEST_UNHEARD_SECONDS)
            if told is not None and known.ended is None and (now - last).total_seconds() >= patience:
                known.nudged_at, known.nudges = now, known.nudges + 1
                found.append(pod)
        return found

    def due_seconds(self, key: StudyKey) -> float | None:
        """Return seconds until the study should be looked at again for this; None when nothing is to come."""
        now, waits = self._clock.now(), []
        for known in self._known.get(key, {}).values():
            if known.free_since is not None:
                waits.append(HOLD_SECONDS - (now - known.free_since).total_seconds())
            elif known.asked_at is not None and known.ended is None:
                waits.append(known.pace - (now - known.asked_at).total_seconds())
        return max(0.0, min(waits)) if waits else None

    def forget(self, key: StudyKey) -> None:
        """Drop what is kept of a study that is gone."""
        self._known.pop(key, None)

    def _of(self, pod: PodRecord) -> _Known:
        return self._known.setdefault(pod.study, {}).setdefault(_place(pod), _Known())

    def _is_due(self, pod: PodRecord, now: datetime, slots: int) -> bool:
        known, slot = self._of(pod), pod.slot
        if slot is None or known.ended is not None or pod.attempt.phase is not Phase.RUNNING or not pod.held:
            return False
        if slot.busy:
            known.still_since, known.begun = None, True
            began = pod.attempt.started_at or now
            pace = min(max(0.5, _SHARE * (now - began).total_seconds()), _SLOWEST_SECONDS)
            known.pace = max(pace, slots / _LOGS_A_SECOND)
        else:
            known.still_since = known.still_since or now
            still = (now - known.still_since).total_seconds()
            known.pace = next(pace for until, pace in _PACES if still < until)
        waits = known.asked_at is not None and (now - known.asked_at).total_seconds() < known.pace
        return not waits and _place(pod) not in self._reading

    async def _read_log(self, pod: PodRecord) -> None:
        try:
            await self._take_log(pod, self._of(pod))
        finally:
            self._reading.pop(_place(pod), None)

    async def _take_log(self, pod: PodRecord, known: _Known) -> None:
        namespace = pod.study.namespace
        try:
            async with self._gate, asyncio.timeout(_LOG_SECONDS):
                log = await self._client.read_log(namespace, pod.name, pod.container, tail_lines=_LOG_LINES)
        except (ApiError, TransientError, TimeoutError) as error:
            fields = {"namespace": namespace, "pod": pod.name, "error": str(error)}
            logger.info("Cannot read how an attempt ended; it is read again", extra=fields)
            log = ""
        known.asked_at = self._clock.now()
        known.begun = known.begun or has_begun(log, _place(pod)[1])
        end = find_end(log, _place(pod)[1])
        if end is not None:
            known.ended = end_within(pod.attempt, end)


def find_doubles(pods: Iterable[PodRecord]) -> list[PodRecord]:
    """Return the Pods of attempts that have another one already: a request to give one away may come true after all was given up.

    The Pod that was made for the attempt counts, else the one that it was given first.
    """
    first: dict[str, PodRecord] = {}
    doubles = []
    for pod in pods:
        if pod.slot is None or pod.released:
            continue
        known = first.setdefault(pod.slot.id, pod)
        if known is not pod:
            kept = min(known, pod, key=_given)
            doubles.append(pod if kept is known else known)
            first[pod.slot.id] = kept
    return doubles


def _given(pod: PodRecord) -> float:
    handed_at = pod.slot.handed_at if pod.slot is not None else None
    return handed_at.timestamp() if handed_at is not None else 0.0


def _place(pod: PodRecord) -> tuple[str, str]:
    return pod.uid, pod.slot.id if pod.slot is not None else ""
