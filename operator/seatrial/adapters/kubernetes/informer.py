"""A cache of the objects of one kind: list, then watch, and again when the watch says that it lost the thread, or after a while.

A list replaces everything, so that what vanished unseen vanishes here. What this process itself wrote is visible at once: an
object is replaced only by a newer one, whichever way it comes. Only a projection of each object is kept.

It decides nothing and writes nothing to the server.
"""

import asyncio
import contextlib
import logging
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from seatrial.adapters.kubernetes.faults import ApiError, Gone
from seatrial.adapters.kubernetes.port import KubeClient, KubeObject, Resource
from seatrial.errors import TransientError
from seatrial.ports import Clock, StudyKey

__all__ = ["Informer", "Projected"]

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_TOMBSTONES = 4096
_WATCH_SECONDS = 300
# What a server, or a proxy before it, never told is found then; of ten thousand objects a list takes a second.
_RELIST_SECONDS = 1200.0
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Projected(Protocol):
    """What is kept of an object."""

    @property
    def study(self) -> StudyKey:
        """The study that it belongs to."""
        ...


P = TypeVar("P", bound=Projected)

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Entry(Generic[P]):
    """One object in the cache; *kept* is None when it could not be read."""

    uid: str
    version: int
    study: StudyKey | None
    kept: P | None


class Informer(Generic[P]):
    """The cache of one kind. Belongs to one event loop, in which :meth:`run` must run.

    Args:
        client: The API server.
        resource: The kind.
        project: Returns what is kept of an object; raises ValueError for one that cannot be read, which is then only named in the log.
        clock: For :attr:`last_contact`.
        namespace: Where to look; None is everywhere.
        selector: Label selector.
        on_change: Told the study of every object that came, changed or went.
        pause: Waits between two tries.
        chance: Spreads the tries of several processes.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        project: Callable[[KubeObject], P],
        *,
        clock: Clock,
        namespace: str | None = None,
        selector: str = "",
        on_change: Callable[[StudyKey], None] = lambda _: None,
        pause: Pause = asyncio.sleep,
        chance: random.Random | None = None,
    ) -> None:
        self._client, self._resource, self._project = client, resource, project
        self._clock, self._namespace, self._selector = clock, namespace, selector
        self._on_change, self._pause = on_change, pause
        self._chance = chance or random.Random()  # noqa: S311 - no secret
        self._entries: dict[tuple[str, str], _Entry[P]] = {}
        self._studies: dict[StudyKey, dict[str, P]] = {}
        self._shown: dict[StudyKey, Mapping[str, P]] = {}
        self._tombstones: OrderedDict[str, None] = OrderedDict()
        self._synced = asyncio.Event()
        self._version = 0
        self._listed: datetime | None = None
        self.last_contact: datetime | None = None
        """When the server was last heard of; None before the first list."""
        self.relists = 0
        """Number of lists so far."""

    # ---- reading -----------------------------------------------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """Whether a whole list has been read."""
        return self._synced.is_set()

    @property
    def version(self) -> int:
        """Version of the server up to which everything is known; 0 before the first list."""
        return self._version

    async def wait_synced(self, timeout_seconds: float) -> None:
        """Return when a whole list has been read.

        Raises:
            TransientError: If that takes too long.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._synced.wait()
        except TimeoutError:
            words = f"no list of {self._resource.plural} could be read within {timeout_seconds:g} s"
            raise TransientError(words) from None

    def of(self, study: StudyKey) -> Mapping[str, P]:
        """Return the objects of a study by name; the mapping is the same one until something of the study changes."""
        within = self._studies.get(study)
        if not within:
            # Not kept: studies that are gone are asked about too, and would be kept for ever.
            return _NOTHING
        shown = self._shown.get(study)
        if shown is None:
            shown = self._shown[study] = MappingProxyType(dict(within))
        return shown

    def get(self, namespace: str, name: str) -> P | None:
        """Return one object, None when there is none or it cannot be read."""
        entry = self._entries.get((namespace, name))
        return entry.kept if entry else None

    def studies(self) -> tuple[StudyKey, ...]:
        """Return the studies that have an object here."""
        return tuple(self._studies)

    # ---- own writes --------------------------------------------------------------------------------------------------

    def note(self, written: KubeObject) -> P | None:
        """Take over what a write of this process returned, unless something newer is known; return what is known now."""
        metadata = written["metadata"]
        place = (metadata["namespace"], metadata["name"])
        if metadata["uid"] not in self._tombstones:
            self._accept(place, written)
        entry = self._entries.get(place)
        return entry.kept if entry else None

    def note_gone(self, namespace: str, name: str, uid: str) -> None:
        """Take over that an object is gone, as a write of this process was told."""
        entry = self._entries.get((namespace, name))
        if entry is not None and entry.uid == uid:
            self._drop((namespace, name))

    # ---- listing and watching ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """List and watch until cancelled."""
        failures = 0
        while True:
            try:
                if not self._version or self._is_old():
                    await self._list()
                heard = await self._watch()
                failures = 0
                if not heard:
                    # A proxy that ends every watch at once must not be asked all the time.
                    await self._pause(_FIRST_PAUSE_SECONDS)
                continue
            except Gone:
                # Whatever happened meanwhile, the next list shows what is left of it.
                self._version, failures = 0, failures + 1
                if failures == 1:
                    continue
            except (ApiError, TransientError) as error:
                failures += 1
                fields = {"resource": self._resource.plural, "failures": failures, "error": str(error)}
                logger.warning("Cannot follow the API server", extra=fields)
                if isinstance(error, TransientError) and failures == 1 and error.retry_after_seconds:
                    await self._pause(min(error.retry_after_seconds, _LONGEST_PAUSE_SECONDS))
                    continue
            longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10))
            await self._pause(longest * (0.5 + 0.5 * self._chance.random()))

    def _is_old(self) -> bool:
        """Whether the newest list is so old that another one is due, now that no watch is open."""
        age = self._clock.now() - (self._listed or self._clock.now())
        return age.total_seconds() >= _RELIST_SECONDS

    async def _list(self) -> None:
        found: dict[tuple[str, str], KubeObject] = {}
        began = self._clock.now()
        page = await self._client.list(self._resource, self._namespace, selector=self._selector)
        version = page.version
        while True:
            for item in page.items:
                found[item["metadata"]["namespace"], item["metadata"]["name"]] = item
            self._heard()
            if not page.next:
                break
            page = await self._client.list(self._resource, self._namespace, selector=self._selector, next=page.next)
        self._replace(found, int(version))
        self._version, self._listed = int(version), began
        self.relists += 1
        self._synced.set()

    def _replace(self, found: Mapping[tuple[str, str], KubeObject], version: int) -> None:
        for place, item in found.items():
            if item["metadata"]["uid"] not in self._tombstones:
                self._accept(place, item)
        for place, entry in list(self._entries.items()):
            # What is newer than the list was written by this process while the list was on its way.
            if entry.version <= version and (place not in found or found[place]["metadata"]["uid"] != entry.uid):
                self._drop(place)

    async def _watch(self) -> bool:
        """Follow one watch to its end; return whether anything came."""
        heard = False
        # Spread, so that all watches of all processes do not end at the same moment.
        seconds = round(_WATCH_SECONDS * (1.0 + 0.5 * self._chance.random()))
        events = self._client.watch(
            self._resource,
            self._namespace,
            version=str(self._version),
            selector=self._selector,
            timeout_seconds=seconds,
        )
        async with _closing(events):
            async for event in events:
                heard = True
                self._heard()
                self._version = max(self._version, int(event.version))
                if event.type == "BOOKMARK":
                    continue
                metadata = event.object["metadata"]
                place = (metadata["namespace"], metadata["name"])
                if event.type == "DELETED":
                    self._bury(metadata["uid"])
                    self.note_gone(*place, metadata["uid"])
                elif metadata["uid"] not in self._tombstones:
                    self._accept(place, event.object)
        return heard

    def _heard(self) -> None:
        self.last_contact = self._clock.now()

    # ---- the cache ---------------------------------------------------------------------------------------------------

    def _accept(self, place: tuple[str, str], item: KubeObject) -> None:
        metadata = item["metadata"]
        uid, version = metadata["uid"], int(metadata["resourceVersion"])
        old = self._entries.get(place)
        if old is not None and old.version >= version:
            return
        if old is not None and old.uid != uid:
            self._drop(place)
        try:
            kept: P | None = self._project(item)
        except ValueError as error:
            kept = None
            fields = {"resource": self._resource.plural, "object": "/".join(place), "error": str(error)}
            logger.error("Cannot read an object; it is left alone", extra=fields)  # noqa: TRY400 - a wrong object, no bug
        study = kept.study if kept is not None else old.study if old is not None else None
        self._entries[place] = _Entry(uid, version, study, kept)
        if study is None:
            return
        within = self._studies.setdefault(study, {})
        if kept is None:
            within.pop(place[1], None)
        else:
            within[place[1]] = kept
        self._changed(study)

    def _drop(self, place: tuple[str, str]) -> None:
        entry = self._entries.pop(place)
        self._bury(entry.uid)
        if entry.study is None:
            return
        self._studies.get(entry.study, {}).pop(place[1], None)
        self._changed(entry.study)

    def _changed(self, study: StudyKey) -> None:
        if not self._studies.get(study):
            self._studies.pop(study, None)
        self._shown.pop(study, None)
        self._on_change(study)

    def _bury(self, uid: str) -> None:
        """Remember that an object is gone: an answer that was on its way must not bring it back."""
        self._tombstones[uid] = None
        while len(self._tombstones) > _TOMBSTONES:
            self._tombstones.popitem(last=False)


@contextlib.asynccontextmanager
async def _closing(events: AsyncIterator[object]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
