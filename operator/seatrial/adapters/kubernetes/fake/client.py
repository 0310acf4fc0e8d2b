# ruff: noqa: ARG002 - the port knows more than a server in memory needs
"""The client port over a :class:`~seatrial.adapters.kubernetes.fake.server.FakeServer`, with a place for faults."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from seatrial.adapters.kubernetes.fake.patching import copy_json
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.faults import ApiError
from seatrial.adapters.kubernetes.port import (
    PODS,
    Call,
    CallObserver,
    KubeObject,
    Page,
    PatchKind,
    Resource,
    WatchEvent,
)
from seatrial.errors import TransientError

__all__ = ["FakeClient", "Faults", "Moment"]

T = TypeVar("T")


class Moment(StrEnum):
    """When a fault may strike."""

    BEFORE = "before"  # The call never reaches the server.
    AFTER = "after"  # The server has done it, but its answer is lost.
    EVENT = "event"  # Before each event of a watch is handed over.


Faults = Callable[[Moment, str, Resource, str], None]
"""Called with (moment, verb, resource, name); raises what is to go wrong."""


class FakeClient:
    """A client of a cluster in memory.

    Args:
        server: The cluster; any number of clients share it.
        faults: What goes wrong.
        observer: Is told every call.
        logs: What containers printed, by (namespace, Pod).
    """

    def __init__(
        self,
        server: FakeServer,
        *,
        faults: Faults = lambda *_: None,
        observer: CallObserver = lambda _: None,
        logs: Callable[[str, str], str] = lambda *_: "",
    ) -> None:
        self._server, self._faults, self._observer, self._logs = server, faults, observer, logs

    async def get(self, resource: Resource, namespace: str, name: str) -> KubeObject:
        """Return one object."""
        return await self._do("get", resource, name, lambda: self._server.get(resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        selector: str = "",
        limit: int = 500,
        next: str = "",  # noqa: A002 - as Page has it
    ) -> Page:
        """Return a part of a list."""
        return await self._do(
            "list", resource, "", lambda: self._server.list(resource, namespace, selector, limit, next)
        )

    async def watch(
        self, resource: Resource, namespace: str | None, *, version: str, selector: str = "", timeout_seconds: int = 300
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happens after *version*; a bookmark comes whenever other objects have moved on."""
        self._faults(Moment.BEFORE, "watch", resource, "")
        self._observer(Call(verb="watch", resource=resource.plural, code=200, seconds=0.0))
        seen = told = int(version)
        news, loop = asyncio.Event(), asyncio.get_running_loop()
        ends = loop.time() + timeout_seconds
        self._server.listeners.append(news.set)
        try:
            while True:
                news.clear()
                for written in list(self._server.history(resource, namespace, seen)):
                    self._faults(Moment.EVENT, "watch", resource, "")
                    seen = written.version
                    event = written.event(selector)
                    if event is not None:
                        told = seen
                        yield event
                if told < self._server.version:
                    seen = told = self._server.version
                    yield WatchEvent(type="BOOKMARK", object={"metadata": {"resourceVersion": str(seen)}})
                if seen == self._server.version and not await _heard(news, ends - loop.time()):
                    return
        finally:
            self._server.listeners.remove(news.set)

    async def create(
        self, resource: Resource, namespace: str, body: KubeObject, *, dry_run: bool = False, strict: bool = False
    ) -> KubeObject:
        """Create an object."""
        sent = _send(body)
        name = sent["metadata"]["name"]
        return await self._do(
            "create", resource, name, lambda: self._server.create(resource, namespace, sent, dry_run=dry_run)
        )

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
        """Change an object."""
        sent, verb = _send(body), "apply" if kind is PatchKind.APPLY else "patch"
        return await self._do(
            verb,
            resource,
            name,
            lambda: self._server.patch(
                resource, namespace, name, sent, kind=kind, subresource=subresource, manager=manager
            ),
        )

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> KubeObject | None:
        """Delete an object."""
        return await self._do(
            "delete",
            resource,
            name,
            lambda: self._server.delete(resource, namespace, name, uid=uid, grace_seconds=grace_seconds),
        )

    async def delete_all(self, resource: Resource, namespace: str, *, selector: str) -> None:
        """Delete all objects that a label selector finds."""
        if not selector:
            raise ValueError("a selector is empty: that would delete everything")
        await self._do("deletecollection", resource, "", lambda: self._server.delete_all(resource, namespace, selector))

    async def read_log(
        self, namespace: str, pod: str, container: str, *, tail_lines: int | None = None, limit_bytes: int | None = None
    ) -> str:
        """Return what a container printed."""
        text = await self._do("get", PODS, pod, lambda: self._logs(namespace, pod))
        if tail_lines is not None:
            text = "".join(text.splitlines(keepends=True)[-tail_lines:])
        return text if limit_bytes is None else text[:limit_bytes]

    async def close(self) -> None:
        """Do nothing."""

    async def _do(self, verb: str, resource: Resource, name: str, act: Callable[[], T]) -> T:
        code = 200
        try:
            self._faults(Moment.BEFORE, verb, resource, name)
            # As over a network: others may come in between.
            await asyncio.sleep(0)
            done = act()
            self._faults(Moment.AFTER, verb, resource, name)
        except ApiError as error:
            code = error.code
            raise
        except TransientError:
            code = 503
            raise
        else:
            return done
        finally:
            self._observer(Call(verb=verb, resource=resource.plural, code=code, seconds=0.0))


def _send(body: T) -> T:
    """Return what arrives at the server: a copy."""
    return copy_json(body)


async def _heard(news: asyncio.Event, timeout_seconds: float) -> bool:
    try:
        async with asyncio.timeout(timeout_seconds):
            return await news.wait()
    except TimeoutError:
        return False
