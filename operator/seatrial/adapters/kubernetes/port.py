"""The port to an API server: eight verbs over plain JSON objects. The real client and the fake one both pass its contract suite.

Objects are ``dict[str, Any]`` here on purpose: typed models refuse or drop the fields of Pods newer than themselves.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from seatrial.api.base import GROUP, VERSION

__all__ = [
    "EVENTS",
    "LEASES",
    "PODS",
    "STUDIES",
    "TRIALS",
    "Call",
    "CallObserver",
    "KubeClient",
    "KubeObject",
    "Page",
    "PatchKind",
    "Resource",
    "WatchEvent",
]

KubeObject = dict[str, Any]
"""One object as JSON, as the API server has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A namespaced kind of object and where it lives.

    Attributes:
        group: Empty for the core group.
        plural: As in paths: ``pods``.
    """

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As objects carry it: ``v1``, ``seatrial.dev/v1alpha1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the path of a collection (of all namespaces when *namespace* is None) or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root, *(["namespaces", namespace] if namespace else []), self.plural, name, subresource]
        return "/".join(part for part in parts if part)


STUDIES = Resource(group=GROUP, version=VERSION, plural="studies", kind="Study")
TRIALS = Resource(group=GROUP, version=VERSION, plural="trials", kind="Trial")
PODS = Resource(group="", version="v1", plural="pods", kind="Pod")
EVENTS = Resource(group="", version="v1", plural="events", kind="Event")
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")


class PatchKind(StrEnum):
    """How a patch is to be read; the value is its content type."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a list.

    Attributes:
        version: Version of the whole list: a watch goes on from here.
        next: What asks for the next part, empty after the last one.
    """

    items: Sequence[KubeObject]
    version: str
    next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """One line of a watch.

    Attributes:
        type: ADDED, MODIFIED, DELETED or BOOKMARK.
        object: As it is now; as it was last for DELETED; only its version for BOOKMARK.
    """

    type: str
    object: KubeObject

    @property
    def version(self) -> str:
        """Version that a watch goes on from after this event."""
        return str(self.object["metadata"]["resourceVersion"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that was made, for telemetry.

    Attributes:
        verb: get, list, watch, create, patch, apply, delete, deletecollection.
        code: HTTP status; 0 when there was no answer.
        seconds: Until the answer was read; for a watch, until it began.
    """

    verb: str
    resource: str
    code: int
    seconds: float


CallObserver = Callable[[Call], None]


class KubeClient(Protocol):
    """Calls an API server.

    All methods raise :class:`~seatrial.errors.TransientError` when the server was not ready or not there, and the exceptions of
    :mod:`seatrial.adapters.kubernetes.faults` when it said no. No call is tried again by itself.
    """

    async def get(self, resource: Resource, namespace: str, name: str) -> KubeObject:
        """Return one object, as the quorum has it."""
        ...

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        selector: str = "",
        limit: int = 500,
        next: str = "",  # noqa: A002 - as Page has it
    ) -> Page:
        """Return a part of a list, as the quorum has it."""
        ...

    def watch(
        self, resource: Resource, namespace: str | None, *, version: str, selector: str = "", timeout_seconds: int = 300
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happens after *version*, with bookmarks; ends when the server ends it.

        Raises:
            Gone: If *version* is no longer kept.
        """
        ...

    async def create(
        self, resource: Resource, namespace: str, body: KubeObject, *, dry_run: bool = False, strict: bool = False
    ) -> KubeObject:
        """Create an object.

        Args:
            resource: Its kind.
            namespace: Where.
            body: The object.
            dry_run: Whether to go through admission and validation without storing anything.
            strict: Whether unknown and repeated fields are errors.
        """
        ...

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: KubeObject | Sequence[Mapping[str, Any]],
        *,
        kind: PatchKind,
        subresource: str = "",
        manager: str = "",
    ) -> KubeObject:
        """Change an object; an applied one is created when it does not exist, and its conflicts are forced.

        A ``metadata.resourceVersion`` or ``metadata.uid`` in the patch that is not the object's raises Conflict.
        """
        ...

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> KubeObject | None:
        """Delete an object; return it when it is only being deleted (a grace period, a finalizer), None when it is gone.

        Args:
            resource: Its kind.
            namespace: Where.
            name: Its name.
            uid: Raises Conflict when the object has another one.
            grace_seconds: Instead of the object's own grace period.
        """
        ...

    async def delete_all(self, resource: Resource, namespace: str, *, selector: str) -> None:
        """Delete all objects that a label selector finds, by one call.

        Raises:
            ValueError: If *selector* is empty.
        """
        ...

    async def read_log(
        self, namespace: str, pod: str, container: str, *, tail_lines: int | None = None, limit_bytes: int | None = None
    ) -> str:
        """Return what a container printed."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
