"""Kubernetes Events about Studies and Trials: what was done, in the words of its condition, where ``kubectl describe`` shows it.

Telling an Event never waits and never fails: it goes into a bounded queue, from where :meth:`EventRecorder.run` writes it. What
happens again to the same object for the same reason raises the count of one Event. Of each study only so many are written; what is
more is counted and dropped, for conditions and logs have it all.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from seatrial.adapters.kubernetes.faults import NotFound
from seatrial.adapters.kubernetes.port import EVENTS, STUDIES, TRIALS, KubeClient, KubeObject, PatchKind, Resource
from seatrial.api.conditions import Condition, TrialReason, find_condition
from seatrial.decide.actions import (
    Action,
    FinishTrial,
    PauseTrial,
    PromoteTrial,
    RecordPhase,
    RequeueTrial,
    StopAttempt,
    shorten,
)
from seatrial.entry.cluster.telemetry import EventOutcome
from seatrial.errors import SeatrialError
from seatrial.ports import Clock, StudyKey

__all__ = ["EventRecorder", "Told", "Weight", "changed_conditions", "describe_action"]

logger = logging.getLogger(__name__)

COMPONENT = "seatrial-operator"
"""Who tells, as Events name it."""

# As client-go has it for one object; a study with its trials is what one person looks at.
_BURST = 25
_REFILL_SECONDS = 10.0
_QUEUE_LIMIT = 1024
_KNOWN_LIMIT = 4096
_NAME_LIMIT = 200
# Every Pod passes through these; they last for moments.
_ORDINARY_WAITS = frozenset({"Pending", "ContainerCreating", "PodInitializing", "Running"})
_BAD_ENDS = frozenset({TrialReason.FAILED, TrialReason.DIVERGED, TrialReason.INFEASIBLE})


class Weight(StrEnum):
    """Type of an Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something to tell.

    Attributes:
        resource: Kind of the object that it is about: Study or Trial.
        name: Name of the object.
        reason: CamelCase.
        message: The same words as in the object's condition.
    """

    resource: Resource
    name: str
    weight: Weight
    reason: str
    message: str


def describe_action(action: Action) -> Told | None:
    """Return what there is to tell about an applied action; None for what the Pod's own Events tell, or nobody asks for."""
    match action:
        case FinishTrial(outcome=TrialReason.COMPLETED | TrialReason.REUSED):
            # A good end is what is expected; its result is in the record, and an Event for each would be one more write a trial.
            return None
        case FinishTrial(trial=trial, outcome=outcome, reason=reason, message=message):
            weight = Weight.WARNING if outcome in _BAD_ENDS else Weight.NORMAL
            words = message if reason == outcome.value else f"{reason}: {message}"
            return Told(resource=TRIALS, name=trial, weight=weight, reason=outcome.value, message=words)
        case RequeueTrial(trial=trial, reason=reason, message=message, attempt=attempt):
            words = f"attempt {attempt} ended: {message}"
            return Told(resource=TRIALS, name=trial, weight=Weight.WARNING, reason=reason, message=words)
        case StopAttempt() | PauseTrial() | PromoteTrial():
            trial, reason, message = action.trial, action.reason, action.message
            return Told(resource=TRIALS, name=trial, weight=Weight.NORMAL, reason=reason, message=message)
        case RecordPhase(trial=trial, state=TrialReason.PENDING, reason=reason, message=message):
            if reason in _ORDINARY_WAITS:
                return None
            return Told(resource=TRIALS, name=trial, weight=Weight.WARNING, reason=reason, message=message)
        case _:
            return None


def changed_conditions(name: str, before: Sequence[Condition], after: Sequence[Condition]) -> tuple[Told, ...]:
    """Return what there is to tell about a study whose conditions changed: each whose status or reason is new.

    Args:
        name: Name of the study.
        before: Conditions as they were.
        after: Conditions as they are.
    """
    found = []
    for condition in after:
        old = find_condition(before, condition.type)
        if old is not None and (old.status, old.reason) == (condition.status, condition.reason):
            continue
        if old is None and condition.type != "Succeeded" and condition.status == "True":
            # That all is well from the beginning is no news.
            continue
        weight = Weight.WARNING if condition.status == "False" else Weight.NORMAL
        words = condition.message or f"{condition.type} is {condition.status}"
        found.append(
            Told(resource=STUDIES, name=name, weight=weight, reason=condition.reason, message=words),
        )
    return tuple(found)


_Place = tuple[str, str, str, str, str]
"""Namespace, kind, name, type and reason: what is counted in one Event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """An Event that is yet to be written; *number* times it happened since it was written last."""

    study: StudyKey
    told: Told
    uid: str
    number: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """An Event that exists."""

    study: StudyKey
    event: str
    uid: str
    count: int


class _Bucket:
    """Tokens that come back with time."""

    def __init__(self, now: float) -> None:
        self._tokens, self._filled_at = float(_BURST), now

    def take(self, now: float) -> bool:
        """Take a token; False when there is none."""
        self._tokens = min(float(_BURST), self._tokens + (now - self._filled_at) / _REFILL_SECONDS)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class EventRecorder:
    """Writes Events. Belongs to one event loop, in which :meth:`run` must run.

    Args:
        client: The API server.
        identify: Returns the uid of an object by (kind, namespace, name), empty when it is not known (any more).
        clock: For the times in Events.
        time: Seconds that never run backwards, for the limits.
        observe: Is told what became of Events.
        instance: Name of this process.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        identify: Callable[[Resource, str, str], str],
        clock: Clock,
        time: Callable[[], float],
        observe: Callable[[EventOutcome], None] = lambda _: None,
        instance: str = COMPONENT,
    ) -> None:
        self._client, self._identify, self._clock, self._time = client, identify, clock, time
        self._observe, self._instance = observe, instance
        self._waiting: OrderedDict[_Place, _Waiting] = OrderedDict()
        self._known: OrderedDict[_Place, _Written] = OrderedDict()
        self._buckets: dict[tuple[StudyKey, Weight], _Bucket] = {}
        self._news = asyncio.Event()
        self._failing = False

    # ---- telling: at once, and never fails ---------------------------------------------------------------------------

    def tell_action(self, key: StudyKey, action: Action) -> None:
        """Tell about an action that was applied to a study or a trial of it."""
        told = describe_action(action)
        if told is not None:
            self.tell(key, told)

    def tell_conditions(self, key: StudyKey, before: Sequence[Condition], after: Sequence[Condition]) -> None:
        """Tell which conditions of a study changed."""
        for told in changed_conditions(key.name, before, after):
            self.tell(key, told)

    def tell(self, key: StudyKey, told: Told) -> None:
        """Tell something about a study or a trial of it."""
        place = (key.namespace, told.resource.kind, told.name, told.weight.value, told.reason)
        now, waiting = self._clock.now(), self._waiting.get(place)
        told = replace(told, message=shorten(told.message))
        if waiting is not None:
            self._waiting[place] = replace(waiting, told=told, number=waiting.number + 1, last=now)
            return
        if len(self._waiting) >= _QUEUE_LIMIT:
            self._observe(EventOutcome.OVERFLOWED)
            return
        if not self._allowed(key, told.weight):
            self._observe(EventOutcome.LIMITED)
            return
        uid = self._identify(told.resource, key.namespace, told.name)
        self._waiting[place] = _Waiting(study=key, told=told, uid=uid, number=1, first=now, last=now)
        self._news.set()

    def forget_study(self, key: StudyKey) -> None:
        """Drop what is remembered of a study that is gone: its limits, and what was written of it and its trials."""
        for weight in Weight:
            self._buckets.pop((key, weight), None)
        for place in [place for place, written in self._known.items() if written.study == key]:
            del self._known[place]

    def _allowed(self, key: StudyKey, weight: Weight) -> bool:
        # Warnings have tokens of their own: a thousand good ends do not hide a bad one.
        now = self._time()
        bucket = self._buckets.setdefault((key, weight), _Bucket(now))
        return bucket.take(now)

    # ---- writing -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write what is told, for ever."""
        while True:
            await self._news.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits."""
        self._news.clear()
        while self._waiting:
            place, waiting = self._waiting.popitem(last=False)
            try:
                await self._write(place, waiting)
            except (SeatrialError, OSError) as error:
                self._observe(EventOutcome.FAILED)
                if not self._failing:
                    logger.warning(
                        "Events cannot be written", extra={"reason": type(error).__name__, "detail": str(error)}
                    )
                self._failing = True
            else:
                self._failing = False
                self._observe(EventOutcome.WRITTEN)

    async def _write(self, place: _Place, waiting: _Waiting) -> None:
        known = self._known.get(place)
        if known is not None and known.uid == waiting.uid and await self._raise(place, known, waiting):
            return
        body = self._build(place, waiting)
        await self._client.create(EVENTS, place[0], body)
        name = body["metadata"]["name"]
        self._remember(place, _Written(study=waiting.study, event=name, uid=waiting.uid, count=waiting.number))

    async def _raise(self, place: _Place, known: _Written, waiting: _Waiting) -> bool:
        """Raise the count of an Event; False when it is gone: they live for an hour."""
        count = known.count + waiting.number
        body = {"count": count, "message": waiting.told.message, "lastTimestamp": _write_time(waiting.last)}
        try:
            await self._client.patch(EVENTS, place[0], known.event, body, kind=PatchKind.MERGE)
        except NotFound:
            # The study may have gone meanwhile, and all that was known of it.
            self._known.pop(place, None)
            return False
        self._remember(place, replace(known, count=count))
        return True

    def _remember(self, place: _Place, written: _Written) -> None:
        self._known[place] = written
        self._known.move_to_end(place)
        while len(self._known) > _KNOWN_LIMIT:
            self._known.popitem(last=False)

    def _build(self, place: _Place, waiting: _Waiting) -> KubeObject:
        told, namespace = waiting.told, place[0]
        # Unlike any other of this object, also after a restart.
        number = hashlib.sha256(f"{place} {waiting.uid} {waiting.first.isoformat()}".encode()).hexdigest()[:16]
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{told.name[:_NAME_LIMIT].rstrip('-.')}.{number}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": told.resource.api_version,
                "kind": told.resource.kind,
                "name": told.name,
                "namespace": namespace,
                "uid": waiting.uid,
            },
            "type": told.weight.value,
            "reason": told.reason,
            "message": told.message,
            "firstTimestamp": _write_time(waiting.first),
            "lastTimestamp": _write_time(waiting.last),
            "count": waiting.number,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }


def _write_time(time: datetime) -> str:
    """Write a time as Events have it, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
