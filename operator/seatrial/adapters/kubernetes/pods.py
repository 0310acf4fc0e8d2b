"""What is kept of a Pod, and what passing time adds to it. What a Pod tells of its attempt is in :mod:`seatrial.adapters.kubernetes.pod_view`."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.pod_view import PodView, parse_time
from seatrial.adapters.kubernetes.port import KubeObject
from seatrial.adapters.kubernetes.slot_pods import SlotRecord, expect_attempt
from seatrial.decide.attempts import Attempt, Phase
from seatrial.ports import StudyKey

__all__ = [
    "LOST_AFTER_SECONDS",
    "STARTING_SECONDS",
    "PodRecord",
    "build_pod_record",
    "build_release",
    "find_turn",
    "read_attempt",
]

LOST_AFTER_SECONDS = 60.0
"""How long after the end of its grace period a deleted Pod may stay before its node is taken for lost."""

STARTING_SECONDS = 10.0
"""How long after its creation a Pod may wait for what every Pod waits for, before that is called waiting."""

# A record of each would cost two writes a trial, and be out of date when it is read.
_ORDINARY_WAITS = frozenset({"Pending", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRecord:
    """What is kept of a Pod: a hundredth of it.

    Attributes:
        study: Key of its study.
        study_uid: Identity of its study: another study may have had the same name before.
        trial_uid: Identity of the Trial that owns it.
        attempt: What is known of its attempt, but for what only the passing of time shows; see :func:`read_attempt`.
        created: When it was created.
        finalizer: Place of our finalizer among its finalizers; None when it is not (any more) held.
        ended: Whether all of its containers have.
        swept: Whether its result is stored and it is to be deleted, together with others.
        deadline: When it has to be gone, if it is being deleted.
        lost_reason: Why it would be lost after that.
        address: Address for scraping its metrics, ``host:port``; empty when there is none.
        container: Name of the training container.
        slot: What there is to know of one that can be handed on to other attempts; None for any other.
    """

    study: StudyKey
    name: str
    uid: str
    study_uid: str
    trial_uid: str
    attempt: Attempt
    created: datetime | None
    finalizer: int | None
    ended: bool
    swept: bool
    deadline: datetime | None
    lost_reason: str
    address: str
    container: str
    slot: SlotRecord | None = None

    @property
    def held(self) -> bool:
        """Whether it carries our finalizer: its result is not yet stored."""
        return self.finalizer is not None

    @property
    def deleting(self) -> bool:
        """Whether it is being deleted."""
        return self.deadline is not None

    @property
    def released(self) -> bool:
        """Whether its attempt is dealt with: nothing of it is seen any more."""
        return not self.held and (self.ended or self.deleting)


def read_attempt(pod: PodRecord, now: datetime) -> Attempt:
    """Return the attempt as it is at *now*: a deleted Pod whose node stays silent is lost, and a new one that begins waits for nothing."""
    known = pod.attempt
    grown, lost = _grown_at(pod), _lost_at(pod)
    if grown is not None and now < grown:
        return replace(known, reason="", message="")
    if lost is None or now < lost:
        return known
    return Attempt(
        trial=known.trial,
        number=known.number,
        phase=Phase.LOST,
        reason=pod.lost_reason or "NodeLost",
        message="the Pod was deleted, but its node does not say that it ended",
        started_at=known.started_at,
        finished_at=pod.deadline,
        gpus=known.gpus,
        infrastructure=True,
    )


def find_turn(pod: PodRecord, now: datetime) -> datetime | None:
    """Return when :func:`read_attempt` will next say something else though nothing about the Pod changes; None for never."""
    turns = [turn for turn in (_grown_at(pod), _lost_at(pod)) if turn is not None and turn > now]
    return min(turns, default=None)


def _grown_at(pod: PodRecord) -> datetime | None:
    """Return when a Pod that waits for what every new Pod waits for is no longer a new one; None where it does not."""
    known = pod.attempt
    if known.phase is not Phase.WAITING or known.reason not in _ORDINARY_WAITS or pod.created is None:
        return None
    return pod.created + timedelta(seconds=STARTING_SECONDS)


def _lost_at(pod: PodRecord) -> datetime | None:
    """Return when a Pod that is being deleted is taken for lost if its node says nothing until then."""
    if pod.deadline is None or pod.attempt.phase in {Phase.EXITED, Phase.LOST}:
        return None
    return pod.deadline + timedelta(seconds=LOST_AFTER_SECONDS)


def build_pod_record(pod: KubeObject) -> PodRecord:
    """Return what is kept of a Pod.

    Raises:
        ValueError: If it lacks the labels that every Pod of a trial has.
    """
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    try:
        trial, number = labels[names.LABEL_TRIAL], int(labels[names.LABEL_ATTEMPT])
        study = StudyKey(metadata["namespace"], labels[names.LABEL_STUDY])
    except KeyError as error:
        raise ValueError(f"Pod {metadata.get('name')} has no label {error}") from error
    finalizers = list(metadata.get("finalizers") or ())
    view = PodView(pod, trial, number)
    deletion = metadata.get("deletionTimestamp")
    return PodRecord(
        study=study,
        name=metadata["name"],
        uid=metadata["uid"],
        study_uid=labels.get(names.LABEL_STUDY_UID, ""),
        trial_uid=view.owner_uid,
        attempt=view.attempt(),
        created=parse_time(metadata.get("creationTimestamp")),
        finalizer=finalizers.index(names.FINALIZER) if names.FINALIZER in finalizers else None,
        ended=view.phase in {"Succeeded", "Failed"},
        swept=labels.get(names.LABEL_RELEASED) == "true" and names.FINALIZER not in finalizers and not deletion,
        deadline=parse_time(deletion),
        lost_reason=view.disruption()[0],
        address=_address(pod),
        container=view.container,
        slot=view.slot,
    )


def build_release(uid: str, place: int, *, sweep: bool = False, of: tuple[str, int] | None = None) -> list[KubeObject]:
    """Return the JSON patch that takes our finalizer from a Pod, if it is still that Pod and the finalizer still at that place.

    Args:
        uid: Identity of the Pod.
        place: Place of the finalizer.
        sweep: Whether the Pod is to be deleted later, together with others: the same patch labels it.
        of: Trial and number of the attempt that it must still be of; None if it cannot be given to another one.
    """
    path = f"/metadata/finalizers/{place}"
    label = f"/metadata/labels/{names.LABEL_RELEASED.replace('/', '~1')}"
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": path, "value": names.FINALIZER},
        *([] if of is None else expect_attempt(*of)),
        {"op": "remove", "path": path},
        *([{"op": "add", "path": label, "value": "true"}] if sweep else []),
    ]


def _address(pod: KubeObject) -> str:
    host = (pod.get("status") or {}).get("podIP") or ""
    port = (pod["metadata"].get("annotations") or {}).get(names.ANNOTATION_PORT, "")
    if not host or not port:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
