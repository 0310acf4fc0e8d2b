"""The client port with a plan between it and a cluster in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from faults.injector import Decision, Injector, Strike
from seatrial.adapters.kubernetes.fake.client import FakeClient
from seatrial.adapters.kubernetes.fake.patching import copy_json
from seatrial.adapters.kubernetes.fake.server import FakeServer, matches
from seatrial.adapters.kubernetes.faults import AlreadyExists, Gone, to_error
from seatrial.adapters.kubernetes.port import PODS, KubeObject, Page, PatchKind, Resource, WatchEvent
from seatrial.errors import TransientError

__all__ = ["FaultyClient", "Past"]

T = TypeVar("T")

_CALL_SECONDS, _LIST_SECONDS, _SILENCE_SECONDS = 30.0, 60.0, 90.0
_LATE_SECONDS = 20.0
_RETRY_AFTER_SECONDS = 3


class Past:
    """Remembers a server at every version."""

    def __init__(self, server: FakeServer) -> None:
        self._server, self._known = server, {0: {}}
        server.listeners.append(self._remember)
        self._remember()

    def _remember(self) -> None:
        # A write makes a new object, so that the old one can be kept as it is.
        self._known[self._server.version] = dict(self._server._objects)

    def list(self, version: int, resource: Resource, namespace: str | None, selector: str) -> Page:
        """Return a list as it was."""
        items = [
            copy_json(found)
            for (plural, within, _), found in self._known[version].items()
            if plural == resource.plural
            and namespace in {None, within}
            and matches(selector, found["metadata"].get("labels") or {})
        ]
        return Page(items=items, version=str(version))


class FaultyClient:
    """One life's client; when that life ends, nothing it still wants reaches the server.

    Args:
        server: The cluster.
        past: Its earlier versions.
        injector: The plan.
        die: Called when the process is to be killed.
        later: Runs what the server still does although nobody waits for it.
        logs: What the container of a Pod has printed.
    """

    def __init__(
        self,
        server: FakeServer,
        past: Past,
        injector: Injector,
        *,
        die: Callable[[], None],
        later: Callable[[Awaitable[object]], None],
        logs: Callable[[str, str], str],
    ) -> None:
        self._inner, self._server = FakeClient(server, logs=logs), server
        self._past, self._injector, self._die, self._later = past, injector, die, later
        self.dead = False

    async def get(self, resource: Resource, namespace: str, name: str) -> KubeObject:
        return await self._do("get", resource, lambda: self._inner.get(resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        selector: str = "",
        limit: int = 500,
        next: str = "",  # noqa: A002 - as Page has it
    ) -> Page:
        self._check_alive()
        decision = self._injector.on_call("list", resource.plural)
        if decision.version is not None:
            return self._past.list(decision.version, resource, namespace, selector)
        return await self._carry_out(
            decision,
            "list",
            resource,
            lambda: self._inner.list(resource, namespace, selector=selector, limit=limit, next=next),
            _LIST_SECONDS,
        )

    async def create(
        self, resource: Resource, namespace: str, body: KubeObject, *, dry_run: bool = False, strict: bool = False
    ) -> KubeObject:
        verb = "rehearse" if dry_run else "create"
        return await self._do(
            verb, resource, lambda: self._inner.create(resource, namespace, body, dry_run=dry_run, strict=strict)
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
        return await self._do(
            "patch",
            resource,
            lambda: self._inner.patch(
                resource, namespace, name, body, kind=kind, subresource=subresource, manager=manager
            ),
        )

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> KubeObject | None:
        return await self._do(
            "delete",
            resource,
            lambda: self._inner.delete(resource, namespace, name, uid=uid, grace_seconds=grace_seconds),
        )

    async def delete_all(self, resource: Resource, namespace: str, *, selector: str) -> None:
        await self._do("delete", resource, lambda: self._inner.delete_all(resource, namespace, selector=selector))

    async def read_log(
        self, namespace: str, pod: str, container: str, *, tail_lines: int | None = None, limit_bytes: int | None = None
    ) -> str:
        return await self._do(
            "get", PODS, lambda: self._inner.read_log(namespace, pod, container, tail_lines=tail_lines)
        )

    async def close(self) -> None:
        """Do nothing."""

    # ---- watches -----------------------------------------------------------------------------------------------------

    async def watch(
        self, resource: Resource, namespace: str | None, *, version: str, selector: str = "", timeout_seconds: int = 300
    ) -> AsyncIterator[WatchEvent]:
        self._check_alive()
        decision = self._injector.on_call("watch", resource.plural)
        if decision.strike is not Strike.PASS:
            await self._carry_out(decision, "watch", resource, _nothing, _SILENCE_SECONDS)
        queue: asyncio.Queue[WatchEvent | BaseException | None] = asyncio.Queue()
        events = self._inner.watch(
            resource, namespace, version=version, selector=selector, timeout_seconds=timeout_seconds
        )
        pump = asyncio.ensure_future(_pump(events, queue))

        def interrupt(gone: bool) -> None:
            queue.put_nowait(Gone("too old", code=410, reason="Expired") if gone else _broken("watch", resource))

        self._injector.breakers[interrupt] = None
        sieve = self._injector.filter()
        try:
            while True:
                item = await _next(queue, sieve.wait_seconds())
                self._check_alive()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                told = sieve.due() if item is _TIME else sieve.take(item.type, item.object)
                for kind, found in told:
                    yield WatchEvent(type=kind, object=found)
        finally:
            self._injector.breakers.pop(interrupt, None)
            pump.cancel()

    # ---- calls -------------------------------------------------------------------------------------------------------

    async def _do(self, verb: str, resource: Resource, act: Callable[[], Awaitable[T]]) -> T:
        self._check_alive()
        decision = self._injector.on_call(verb, resource.plural)
        return await self._carry_out(decision, verb, resource, act, _CALL_SECONDS)

    async def _carry_out(
        self, decision: Decision, verb: str, resource: Resource, act: Callable[[], Awaitable[T]], seconds: float
    ) -> T:
        match decision.strike:
            case Strike.PASS:
                done = await self._act(act)
                # The answer is under way.
                await asyncio.sleep(0)
                self._check_alive()
                return done
            case Strike.DIE_BEFORE:
                return await self._end()
            case Strike.DIE_AFTER:
                await self._act(act)
                return await self._end()
            case Strike.ANSWER:
                raise _refuse(decision.code, verb, resource)
            case Strike.LATE:
                self._later(_after(_LATE_SECONDS, act))
            case Strike.LOSE | Strike.CUT:
                await self._act(act)
            case Strike.HANG:
                if decision.done:
                    await self._act(act)
                left = self._injector.ends - self._injector.now()
                await asyncio.sleep(min(seconds, max(left, 0.0)))
            case Strike.REFUSE:
                await asyncio.sleep(0)
        raise _broken(verb, resource)

    async def _act(self, act: Callable[[], Awaitable[T]]) -> T:
        before = self._server.version
        done = await act()
        if self._server.version != before:
            self._injector.on_version(self._server.version)
        return done

    async def _end(self) -> Any:
        self._die()
        await asyncio.Event().wait()

    def _check_alive(self) -> None:
        if self.dead:
            raise asyncio.CancelledError


_TIME = WatchEvent(type="TIME", object={})


async def _next(
    queue: asyncio.Queue[WatchEvent | BaseException | None], seconds: float | None
) -> WatchEvent | BaseException | None:
    """Return what comes next, or that what was held is due; a watch that is silent for too long breaks."""
    try:
        async with asyncio.timeout(_SILENCE_SECONDS if seconds is None else min(seconds, _SILENCE_SECONDS)):
            return await queue.get()
    except TimeoutError:
        if seconds is None:
            # Bookmarks come once a minute from a server that lives; this one sends none while nothing happens.
            return _TIME
        return _TIME if seconds <= _SILENCE_SECONDS else TransientError("the watch is silent")


async def _pump(events: AsyncIterator[WatchEvent], queue: asyncio.Queue[WatchEvent | BaseException | None]) -> None:
    try:
        async for event in events:
            queue.put_nowait(event)
        queue.put_nowait(None)
    except (Exception, asyncio.CancelledError) as error:
        queue.put_nowait(error)
        raise


async def _nothing() -> None:
    return None


async def _after(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    await asyncio.sleep(seconds)
    await act()


def _refuse(code: int, verb: str, resource: Resource) -> Exception:
    """Return the error that the real client raises for an answer."""
    body = json.dumps({"kind": "Status", "code": code, "message": f"injected {code}"})
    error = to_error(code, body, what=f"{verb} {resource.plural}", retry_after=str(_RETRY_AFTER_SECONDS))
    if code == 409 and verb == "create":
        return AlreadyExists(str(error), code=409)
    return error


def _broken(verb: str, resource: Resource) -> TransientError:
    return TransientError(f"{verb} {resource.plural}: the connection broke", retry_after_seconds=2.0)
