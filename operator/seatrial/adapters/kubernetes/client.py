"""The port over ``kubernetes.aio``: its configuration, TLS and tokens, but neither its typed models nor its watch.

What goes through its low-level calls is not looked at, so fields newer than the library pass; and these calls do not raise for
4xx and 5xx, which is done here. Every wait has a limit.
"""

import asyncio
import contextlib
import copy
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from seatrial.adapters.kubernetes.faults import AlreadyExists, Conflict, Gone, Invalid, to_error
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
from seatrial.adapters.kubernetes.reading import read_json
from seatrial.adapters.kubernetes.writing import write_yaml
from seatrial.errors import SeatrialError, TransientError

__all__ = ["ApiServerClient"]

_CONNECT_SECONDS = 10.0
_REQUEST_SECONDS = 30.0
_LIST_SECONDS = 60.0
# Bookmarks come about once a minute: a watch that is silent for longer is dead, whatever the socket says.
_SILENCE_SECONDS = 90.0
_RETRY_SECONDS = 2.0


class ApiServerClient:
    """The :class:`~seatrial.adapters.kubernetes.port.KubeClient` of a real API server. Belongs to one event loop.

    Args:
        configuration: Where the server is and who we are.
        observer: Is told every call.
        agent: ``User-Agent``: which of several clients of one process this is.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        observer: CallObserver = lambda _: None,
        agent: str = "seatrial",
    ) -> None:
        self._api = ApiClient(_settled(configuration))
        self._api.user_agent = agent
        self._observer = observer

    async def get(self, resource: Resource, namespace: str, name: str) -> KubeObject:
        """Return one object, as the quorum has it."""
        return _object(await self._call("get", "GET", resource, resource.path(namespace, name)))

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
        query = {"labelSelector": selector, "limit": str(limit), "continue": next}
        raw = await self._call("list", "GET", resource, resource.path(namespace), query, seconds=_LIST_SECONDS)
        found = _object(raw)
        metadata = found["metadata"]
        return Page(
            items=found.get("items") or (),
            version=str(metadata.get("resourceVersion", "")),
            next=metadata.get("continue") or "",
        )

    async def watch(
        self, resource: Resource, namespace: str | None, *, version: str, selector: str = "", timeout_seconds: int = 300
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happens after *version*, with bookmarks; ends when the server ends it."""
        query = {
            "watch": "true",
            "labelSelector": selector,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(timeout_seconds),
        }
        path, what = resource.path(namespace), f"watch {resource.plural}"
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
        response = await self._open("watch", "GET", resource, path, query, None, "", limits)
        try:
            async for line in _lines(response, what):
                yield _event(line, what)
        finally:
            response.close()

    async def create(
        self, resource: Resource, namespace: str, body: KubeObject, *, dry_run: bool = False, strict: bool = False
    ) -> KubeObject:
        """Create an object."""
        query = {"dryRun": "All" if dry_run else "", "fieldValidation": "Strict" if strict else ""}
        return _object(await self._call("create", "POST", resource, resource.path(namespace), query, body))

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
        path = resource.path(namespace, name, subresource)
        if kind is PatchKind.APPLY:
            query = {"fieldManager": manager, "force": "true"}
            # The library would write JSON for this content type, were it not for the rest of it.
            content_type = f"{kind.value}; charset=utf-8"
            return _object(await self._call("apply", "PATCH", resource, path, query, write_yaml(body), content_type))
        query = {"fieldManager": manager}
        try:
            return _object(await self._call("patch", "PATCH", resource, path, query, body, kind.value))
        except Invalid as error:
            # A failed test of a JSON patch is told with the code of an invalid object, but without a cause.
            if kind is PatchKind.JSON and "due to an error in our request" in str(error):
                raise Conflict(str(error), code=error.code, reason=error.reason) from error
            raise

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> KubeObject | None:
        """Delete an object; return it when it is only being deleted, None when it is gone."""
        options: KubeObject = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        found = _object(await self._call("delete", "DELETE", resource, resource.path(namespace, name), body=options))
        # An object without a grace period or a finalizer is answered by a Status, or as it was.
        return found if found.get("metadata", {}).get("deletionTimestamp") else None

    async def delete_all(self, resource: Resource, namespace: str, *, selector: str) -> None:
        """Delete all objects that a label selector finds, by one call."""
        if not selector:
            raise ValueError("a selector is empty: that would delete everything")
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        query = {"labelSelector": selector}
        path = resource.path(namespace)
        await self._call("deletecollection", "DELETE", resource, path, query, options, seconds=_LIST_SECONDS)

    async def read_log(
        self, namespace: str, pod: str, container: str, *, tail_lines: int | None = None, limit_bytes: int | None = None
    ) -> str:
        """Return what a container printed."""
        query = {
            "container": container,
            "tailLines": "" if tail_lines is None else str(tail_lines),
            "limitBytes": "" if limit_bytes is None else str(limit_bytes),
        }
        raw = await self._call("get", "GET", PODS, PODS.path(namespace, pod, "log"), query)
        return raw.decode("utf-8", "replace")

    async def close(self) -> None:
        """Let go of all connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def _call(
        self,
        verb: str,
        method: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "",
        seconds: float = _REQUEST_SECONDS,
    ) -> bytes:
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS)
        response = await self._open(verb, method, resource, path, query or {}, body, content_type, limits)
        try:
            return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unreachable(f"{verb} {path}", error) from error
        finally:
            response.release()

    async def _open(
        self,
        verb: str,
        method: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str],
        body: object,
        content_type: str,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send a request; return the response when it is a good one."""
        began, code = time.monotonic(), 0
        headers = {"Accept": "application/json", "Content-Type": content_type or "application/json"}
        try:
            # Refreshing a token may call a program or a server.
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = await self._api.param_serialize(
                    method=method,
                    resource_path=path,
                    query_params=[(name, value) for name, value in query.items() if value],
                    header_params=headers,
                    body=body,
                    auth_settings=["BearerToken"],
                )
            answer = await self._api.call_api(*request, _request_timeout=limits)
            response: aiohttp.ClientResponse = answer.response
            code = response.status
            if code >= 400:
                raise await _refused(response, verb, path)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unreachable(f"{verb} {path}", error) from error
        else:
            return response
        finally:
            self._observer(Call(verb=verb, resource=resource.plural, code=code, seconds=time.monotonic() - began))


async def _refused(response: aiohttp.ClientResponse, verb: str, path: str) -> SeatrialError:
    try:
        body = await response.read()
    finally:
        response.release()
    error = to_error(response.status, body, what=f"{verb} {path}", retry_after=response.headers.get("Retry-After"))
    if isinstance(error, Conflict) and verb == "create":
        return AlreadyExists(str(error), code=error.code, reason=error.reason)
    return error


async def _lines(response: aiohttp.ClientResponse, what: str) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, however long they are."""
    rest = bytearray()
    try:
        async for chunk in response.content.iter_any():
            # Only what is new may end a line.
            end, start = chunk.find(b"\n"), 0
            while end >= 0:
                rest += chunk[start:end]
                if rest:
                    yield bytes(rest)
                rest.clear()
                start = end + 1
                end = chunk.find(b"\n", start)
            rest += chunk[start:]
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise _unreachable(what, error) from error


def _event(line: bytes, what: str) -> WatchEvent:
    try:
        written: Any = read_json(line)
        kind, found = written["type"], written["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise TransientError(
            f"{what}: a line is no event: {line[:200]!r}", retry_after_seconds=_RETRY_SECONDS
        ) from error
    if kind == "ERROR":
        code = int(found.get("code") or 500)
        if code == 410 or found.get("reason") == "Expired":
            raise Gone(str(found.get("message")), code=410, reason="Expired")
        raise to_error(code, json.dumps(found), what=what)
    return WatchEvent(type=kind, object=found)


def _settled(configuration: Configuration) -> Configuration:
    """Return the configuration with all that the environment says of it, read once.

    Left to itself, aiohttp asks two threads before each request, for a proxy and for a password in ~/.netrc: on a busy process
    that takes longer than the request, and the API server knows no such password.
    """
    found = copy.copy(configuration)
    found.client_session_kwargs = {"trust_env": False}
    server = urlsplit(found.host)
    if found.proxy is None and server.hostname and not proxy_bypass(server.hostname):
        found.proxy = getproxies().get(server.scheme)
    return found


def _object(raw: bytes) -> KubeObject:
    found = None
    with contextlib.suppress(ValueError):
        found = read_json(raw)
    if not isinstance(found, dict):
        raise TransientError(f"the API server answered with what is no object: {raw[:200]!r}")
    return found


def _unreachable(what: str, error: Exception) -> TransientError:
    words = str(error) or type(error).__name__
    return TransientError(f"{what}: the API server does not answer: {words}", retry_after_seconds=_RETRY_SECONDS)
