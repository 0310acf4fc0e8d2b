"""Objects with versions, history, finalizers and owners, in memory and synchronous: what an API server keeps in etcd.

It knows Studies, Trials, Pods, Leases and whatever else it is given, and validates nothing but what callers rely on. Admission
that tests wish for is a list of functions.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from seatrial.adapters.kubernetes.fake.patching import (
    apply_json_patch,
    apply_merge_patch,
    copy_json,
    leaf_paths,
    remove_path,
)
from seatrial.adapters.kubernetes.faults import AlreadyExists, Conflict, Gone, Invalid, NotFound
from seatrial.adapters.kubernetes.port import (
    PODS,
    STUDIES,
    TRIALS,
    KubeObject,
    Page,
    PatchKind,
    Resource,
    WatchEvent,
)
from seatrial.ports import Clock

__all__ = ["FakeServer", "Written", "matches", "write_time"]

_STATUS = frozenset({STUDIES.plural, TRIALS.plural, PODS.plural})
_GRACE_SECONDS = 30

Place = tuple[str, str, str]
"""(plural, namespace, name)."""


def write_time(time: datetime) -> str:
    """Write a time as Kubernetes does: whole seconds, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Tell whether labels fulfil a selector of ``key``, ``!key``, ``key=value`` and ``key!=value`` terms."""
    for term in filter(None, selector.split(",")):
        name, unequal, value = term.partition("!=")
        if unequal:
            held = labels.get(name) != value
        elif "=" in term:
            name, _, value = term.replace("==", "=").partition("=")
            held = labels.get(name) == value
        else:
            held = (term.lstrip("!") in labels) is not term.startswith("!")
        if not held:
            return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One change in the history."""

    version: int
    resource: str
    namespace: str
    old: KubeObject | None
    new: KubeObject | None

    def event(self, selector: str) -> WatchEvent | None:
        """Return it as a watch with this selector sees it, None when it does not."""
        was = self.old is not None and matches(selector, self.old["metadata"].get("labels") or {})
        now = self.new is not None and matches(selector, self.new["metadata"].get("labels") or {})
        if now:
            return WatchEvent(type="MODIFIED" if was else "ADDED", object=copy_json(self.new or {}))
        if not was:
            return None
        gone = copy_json(self.old or {})
        gone["metadata"]["resourceVersion"] = str(self.version)
        return WatchEvent(type="DELETED", object=gone)


@dataclass(slots=True)
class FakeServer:
    """The state of a cluster.

    Attributes:
        clock: The time.
        kept: Number of changes that a watch can go back.
        admission: Called with (resource, object) before an object is created, dry runs included; may raise what refuses it.
        listeners: Called after every change.
        log: One line a write: ``create pods default/s-0-0``.
    """

    clock: Clock
    kept: int = 10_000
    admission: list[Callable[[Resource, KubeObject], None]] = field(default_factory=list)
    listeners: list[Callable[[], None]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    version: int = 0
    floor: int = 0
    _objects: dict[Place, KubeObject] = field(default_factory=dict)
    _applied: dict[tuple[Place, str], set[tuple[str, ...]]] = field(default_factory=dict)
    _history: deque[Written] = field(default_factory=deque)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def get(self, resource: Resource, namespace: str, name: str) -> KubeObject:
        """Return a copy of one object."""
        return copy_json(self._find((resource.plural, namespace, name)))

    def all(self, resource: Resource, namespace: str | None = None, selector: str = "") -> list[KubeObject]:
        """Return copies of all objects of a kind, in the order of their creation."""
        return [copy_json(found) for found in self.peek(resource, namespace, selector)]

    def peek(self, resource: Resource, namespace: str | None = None, selector: str = "") -> list[KubeObject]:
        """Return what :meth:`all` does, but the objects themselves: they must not be changed. A write makes a new one."""
        return [
            found
            for (plural, within, _), found in self._objects.items()
            if plural == resource.plural
            and namespace in {None, within}
            and matches(selector, found["metadata"].get("labels") or {})
        ]

    def list(self, resource: Resource, namespace: str | None, selector: str, limit: int, start: str) -> Page:
        """Return a part of a list.

        Raises:
            Gone: If the first part was read so long ago that its version is no longer kept.
        """
        offset, _, version = start.partition("@")
        if version and int(version) < self.floor:
            raise Gone("the continue token is too old", code=410, reason="Expired")
        found = self.all(resource, namespace, selector)
        end = int(offset or 0) + limit
        more = f"{end}@{version or self.version}" if end < len(found) else ""
        return Page(items=found[int(offset or 0) : end], version=version or str(self.version), next=more)

    def history(self, resource: Resource, namespace: str | None, after: int) -> Iterator[Written]:
        """Yield the changes of a kind after a version.

        Raises:
            Gone: If it is no longer kept.
        """
        if after < self.floor:
            raise Gone(f"too old resource version: {after} ({self.floor})", code=410, reason="Expired")
        for written in self._history:
            fits = written.resource == resource.plural and namespace in {None, written.namespace}
            if fits and written.version > after:
                yield written

    def compact(self) -> None:
        """Forget the history, as etcd does after some minutes: watches have to list again."""
        self._history.clear()
        self.floor = self.version

    # ---- writing -----------------------------------------------------------------------------------------------------

    def create(self, resource: Resource, namespace: str, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create an object."""
        new = copy_json(body)
        metadata = new["metadata"]
        place = (resource.plural, namespace, metadata["name"])
        for admit in self.admission:
            admit(resource, new)
        if place in self._objects:
            words = f'{resource.plural} "{metadata["name"]}" already exists'
            raise AlreadyExists(words, code=409, reason="AlreadyExists")
        if metadata.get("resourceVersion"):
            raise Invalid("resourceVersion should not be set on objects to be created", code=400, reason="BadRequest")
        number = self.version + 1
        metadata |= {
            "namespace": namespace,
            "uid": f"00000000-0000-4000-8000-{number:012d}",
            "creationTimestamp": write_time(self.clock.now()),
            "generation": 1,
        }
        new |= {"apiVersion": resource.api_version, "kind": resource.kind}
        if resource.plural in _STATUS:
            new.pop("status", None)
        if resource.plural == PODS.plural:
            new["status"] = {"phase": "Pending"}
        if dry_run:
            return new
        self._write(place, new, f"create {resource.plural} {namespace}/{metadata['name']}")
        if self._is_orphan(new):
            self.delete(resource, namespace, metadata["name"])
        return copy_json(new)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Any,  # noqa: ANN401 - an object or a list of operations
        *,
        kind: PatchKind,
        subresource: str = "",
        manager: str = "",
    ) -> KubeObject:
        """Change an object."""
        place = (resource.plural, namespace, name)
        if kind is PatchKind.APPLY and not subresource and place not in self._objects:
            return self.create(resource, namespace, body)
        old = self._find(place)
        if kind is PatchKind.JSON:
            new = apply_json_patch(old, body)
        else:
            base = self._without_dropped(place, old, body, manager) if kind is PatchKind.APPLY else old
            new = apply_merge_patch(base, body)
        for identity in ("resourceVersion", "uid"):
            if identity == "uid" and subresource:
                # A custom resource's status strategy takes the old metadata before anybody compares.
                continue
            if new["metadata"].get(identity) != old["metadata"].get(identity):
                words = f'Operation cannot be fulfilled on {resource.plural} "{name}": the object has been modified'
                raise Conflict(words, code=409, reason="Conflict")
        new = _keep_apart(resource, old, copy_json(new), subresource)
        suffix = f"/{subresource}" if subresource else ""
        self._write(place, new, f"patch {resource.plural}{suffix} {namespace}/{name}")
        return copy_json(new)

    def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> KubeObject | None:
        """Delete an object; return it when it is only being deleted."""
        place = (resource.plural, namespace, name)
        old = self._find(place)
        metadata = old["metadata"]
        if uid and metadata["uid"] != uid:
            words = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
            raise Conflict(words, code=409, reason="Conflict")
        grace = _grace(resource, old, grace_seconds)
        known = metadata.get("deletionGracePeriodSeconds")
        if metadata.get("deletionTimestamp") and (known is None or grace >= known):
            return copy_json(old)
        new = copy_json(old)
        asked = self.clock.now()
        if known is not None:
            # A shorter grace period counts from the first request.
            asked = datetime.fromisoformat(metadata["deletionTimestamp"]) - timedelta(seconds=known)
        at = write_time(asked + timedelta(seconds=grace))
        new["metadata"] |= {"deletionTimestamp": at, "deletionGracePeriodSeconds": grace}
        self._write(place, new, f"delete {resource.plural} {namespace}/{name}")
        return copy_json(new) if place in self._objects else None

    def delete_all(self, resource: Resource, namespace: str, selector: str) -> None:
        """Delete all objects that a selector finds; one line of the log."""
        self.log.append(f"deletecollection {resource.plural} {namespace}")
        lines = len(self.log)
        for found in self.peek(resource, namespace, selector):
            self.delete(resource, namespace, found["metadata"]["name"])
        del self.log[lines:]

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _find(self, place: Place) -> KubeObject:
        found = self._objects.get(place)
        if found is None:
            raise NotFound(f'{place[0]} "{place[2]}" not found', code=404, reason="NotFound")
        return found

    def _write(self, place: Place, new: KubeObject, note: str) -> None:
        """Store an object; an object that is to go and that nothing holds goes instead."""
        old = self._objects.get(place)
        if old == new:
            return
        self.version += 1
        self.log.append(note)
        metadata = new["metadata"]
        metadata["resourceVersion"] = str(self.version)
        going = metadata.get("deletionTimestamp") and not metadata.get("deletionGracePeriodSeconds")
        if going and not metadata.get("finalizers"):
            self._objects.pop(place, None)
            self._remember(place, old, None)
            self._collect(metadata["uid"])
        else:
            self._objects[place] = new
            self._remember(place, old, new)
        for listener in list(self.listeners):
            listener()

    def _remember(self, place: Place, old: KubeObject | None, new: KubeObject | None) -> None:
        written = Written(version=self.version, resource=place[0], namespace=place[1], old=old, new=new)
        self._history.append(written)
        while len(self._history) > self.kept:
            self.floor = self._history.popleft().version

    def _is_orphan(self, new: KubeObject) -> bool:
        """Tell whether an object has come when all who own it are gone: the garbage collector finds it all the same."""
        owners = {owner["uid"] for owner in new["metadata"].get("ownerReferences") or ()}
        return bool(owners) and not any(found["metadata"]["uid"] in owners for found in self._objects.values())

    def _collect(self, uid: str) -> None:
        """Delete what the object owned, as the garbage collector does."""
        for plural, namespace, name in list(self._objects):
            found = self._objects.get((plural, namespace, name))
            owners = found["metadata"].get("ownerReferences") or () if found else ()
            if any(owner["uid"] == uid for owner in owners):
                resource = Resource(group="", version="", plural=plural, kind="")
                self.delete(resource, namespace, name)

    def _without_dropped(self, place: Place, old: KubeObject, body: KubeObject, manager: str) -> KubeObject:
        """Return the object without what its manager had applied before and does not any more."""
        content = {key: body[key] for key in body if key not in {"apiVersion", "kind", "metadata"}}
        leaves = leaf_paths(content)
        base = copy_json(old)
        for path in self._applied.get((place, manager), set()) - leaves:
            remove_path(base, path)
        self._applied[place, manager] = leaves
        return base


def _grace(resource: Resource, old: KubeObject, asked: int | None) -> int:
    """Return the grace period of a deletion: only Pods that were placed and have not ended have one."""
    pod = old.get("spec", {})
    if resource.plural != PODS.plural or not pod.get("nodeName"):
        return 0
    if old.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    return int(pod.get("terminationGracePeriodSeconds", _GRACE_SECONDS) if asked is None else asked)


def _keep_apart(resource: Resource, old: KubeObject, new: KubeObject, subresource: str) -> KubeObject:
    """Let a write to the status change only that, and any other write everything but that."""
    if resource.plural not in _STATUS:
        return new
    if subresource == "status":
        kept = copy_json(old)
        if "status" in new:
            kept["status"] = new["status"]
        return kept
    new.pop("status", None)
    if "status" in old:
        new["status"] = copy_json(old["status"])
    if new.get("spec") != old.get("spec") and resource.plural != PODS.plural:
        new["metadata"]["generation"] = old["metadata"]["generation"] + 1
    return new
