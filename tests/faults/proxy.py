"""A proxy with a plan between an operator process and a real API server, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
from aiohttp import web

from control_plane.access import Access
from faults.injector import WRITES, Decision, Injector, Strike
from faults.plans import Plan

__all__ = ["FaultyProxy", "run_proxy"]

_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "PUT": "patch", "DELETE": "delete"}
_LATE_SECONDS = 3.0
_RETRY_AFTER_SECONDS = 1
_OWN_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
_START_SECONDS = 20


class FaultyProxy:
    """Passes everything on as the admin of an API server, but for what a plan says.

    Attributes:
        url: Where it listens, without TLS: it is on this machine.
        on_kill: Kills the operator; called in the proxy's thread, and done when it returns.
        calls: Number of requests.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self.injector = Injector(None, time.monotonic)
        self.on_kill: Callable[[], None] = lambda: None
        self.calls = 0
        self.url = ""
        self._later: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready, self._halt = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="faulty-proxy", daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise RuntimeError("the proxy does not start")

    def stop(self) -> None:
        """End."""
        self._loop.call_soon_threadsafe(self._halt.set)
        self._thread.join(_START_SECONDS)

    def arm(self, plan: Plan | None) -> Injector:
        """Let a plan begin with the next request; return what carries it out."""
        injector = Injector(plan, time.monotonic)

        def replace() -> None:
            injector.breakers |= self.injector.breakers
            self.injector = injector

        self._loop.call_soon_threadsafe(replace)
        while self.injector is not injector:
            time.sleep(0.001)
        return injector

    def write_kubeconfig(self, path: Path) -> Access:
        """Write a kubeconfig file that leads through the proxy; return the access that it means."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "operator", "user": {"token": "any"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "operator"}}],
        }
        path.write_text(json.dumps(content))
        old = self._access
        return Access(
            server=self.url, authority=old.authority, certificate=old.certificate, key=old.key, kubeconfig=path
        )

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        context = ssl.create_default_context(cafile=str(self._access.authority))
        context.load_cert_chain(str(self._access.certificate), str(self._access.key))
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            self._session = session
            app = web.Application(client_max_size=32 << 20)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            self._ready.set()
            await self._halt.wait()
            await runner.cleanup()
            # Watches that nobody has closed, and what was to be done later.
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    # ---- requests ----------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        verb, resource = _read_call(request)
        injector = self.injector
        decision = injector.on_call(verb, resource)
        if decision.version is not None:
            return await self._relay(request, version=decision.version)
        if decision.strike is Strike.PASS:
            if verb == "watch":
                return await self._watch(request)
            return await self._relay(request, note=verb in WRITES)
        return await self._strike(request, decision, injector)

    async def _strike(self, request: web.Request, decision: Decision, injector: Injector) -> web.StreamResponse:
        match decision.strike:
            case Strike.ANSWER:
                return _refuse(decision.code)
            case Strike.CUT:
                return await self._cut(request)
            case Strike.LATE:
                body = await request.read()
                self._keep(self._do_later(request, body))
            case Strike.DIE_AFTER | Strike.LOSE:
                await self._relay(request, note=True)
            case Strike.HANG:
                if decision.done:
                    await self._relay(request, note=True)
                await asyncio.sleep(max(0.0, injector.ends - injector.now()))
        if decision.strike in {Strike.DIE_BEFORE, Strike.DIE_AFTER}:
            self.on_kill()
        _abort(request)
        return web.Response(status=503)

    async def _ask(
        self, request: web.Request, body: bytes | None = None, **query: str
    ) -> tuple[int, dict[str, str], bytes]:
        sent = await request.read() if body is None else body
        async with self._open(request, sent, query) as answer:
            return answer.status, dict(answer.headers), await answer.read()

    def _open(self, request: web.Request, body: bytes, query: dict[str, str]) -> aiohttp.client._RequestContextManager:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS}
        # The admin's certificate speaks for the operator.
        headers.pop("Authorization", None)
        headers["Accept-Encoding"] = "identity"
        return self._session.request(
            request.method,
            self._access.server + request.path,
            params={**request.query, **query},
            headers=headers,
            data=body or None,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def _relay(self, request: web.Request, *, note: bool = False, version: int | None = None) -> web.Response:
        query = {} if version is None else {"resourceVersion": str(version), "resourceVersionMatch": "Exact"}
        status, headers, body = await self._ask(request, **query)
        if note and status < 300:
            self._note(body)
        return web.Response(status=status, body=body, headers=_passed(headers))

    def _note(self, body: bytes) -> None:
        with suppress(ValueError, KeyError, TypeError):
            self.injector.on_version(int(json.loads(body)["metadata"]["resourceVersion"]))

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        """Answer with half of the server's answer."""
        status, headers, body = await self._ask(request)
        response = web.StreamResponse(status=status, headers=_passed(headers))
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        _abort(request)
        return response

    async def _do_later(self, request: web.Request, body: bytes) -> None:
        await asyncio.sleep(_LATE_SECONDS)
        await self._ask(request, body)

    def _keep(self, work: AsyncIterator[None] | object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    # ---- watches -----------------------------------------------------------------------------------------------------

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        broken: asyncio.Future[bool] = self._loop.create_future()

        def interrupt(gone: bool) -> None:
            if not broken.done():
                broken.set_result(gone)

        self.injector.breakers[interrupt] = None
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            async with self._open(request, b"", {}) as answer:
                if answer.status >= 400:
                    body = await answer.read()
                    return web.Response(status=answer.status, body=body, headers=_passed(dict(answer.headers)))
                await response.prepare(request)
                await self._pass_on(answer.content, response, broken)
                if broken.done() and broken.result():
                    await response.write(_line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}))
        except (aiohttp.ClientError, ConnectionError):
            _abort(request)
        else:
            if broken.done() and not broken.result():
                _abort(request)
        finally:
            self.injector.breakers.pop(interrupt, None)
        return response

    async def _pass_on(
        self, content: aiohttp.StreamReader, response: web.StreamResponse, broken: asyncio.Future[bool]
    ) -> None:
        """Pass lines on until the watch ends or is broken."""
        injector, sieve = self.injector, self.injector.filter()
        reading: asyncio.Future[bytes] = asyncio.ensure_future(_read_line(content))
        try:
            while True:
                if injector is not self.injector:
                    # Another plan: what was held is told now.
                    for kind, found in sieve.due():
                        await response.write(_line(kind, found))
                    injector, sieve = self.injector, self.injector.filter()
                await asyncio.wait(
                    {reading, broken}, timeout=_soon(sieve.wait_seconds()), return_when=asyncio.FIRST_COMPLETED
                )
                if broken.done():
                    return
                told = list(sieve.due())
                if reading.done():
                    line = reading.result()
                    if not line:
                        return
                    event = json.loads(line)
                    told += sieve.take(event["type"], event["object"])
                    reading = asyncio.ensure_future(_read_line(content))
                for kind, found in told:
                    await response.write(_line(kind, found))
        finally:
            reading.cancel()


def _soon(seconds: float | None) -> float:
    return 0.5 if seconds is None else min(0.5, seconds + 0.001)


async def _read_line(content: aiohttp.StreamReader) -> bytes:
    """Return the next line however long it is, empty at the end."""
    found = bytearray()
    while not found.endswith(b"\n"):
        try:
            piece = await content.readuntil(b"\n")
        except ValueError:
            piece = await content.readany()
        if not piece:
            break
        found += piece
    return bytes(found)


def _line(kind: str, found: object) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


def _read_call(request: web.Request) -> tuple[str, str]:
    """Return verb and plural of a request; a rehearsal is no write."""
    parts = request.path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"]:
        parts = parts[2:]
    resource, name = [*parts, "", ""][:2]
    verb = _VERBS.get(request.method, "get")
    if verb == "get" and resource and not name:
        verb = "watch" if request.query.get("watch") in {"true", "1"} else "list"
    return ("rehearse" if request.query.get("dryRun") else verb), resource


def _refuse(code: int) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": f"injected {code}"}
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if code == 429 else {}
    return web.json_response(status, status=code, headers=headers)


def _passed(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in {"content-type", "warning"}}


def _abort(request: web.Request) -> None:
    """Break the connection."""
    if request.transport is not None:
        request.transport.abort()


@contextmanager
def run_proxy(access: Access) -> Iterator[FaultyProxy]:
    """Give a proxy that listens until the end of the block."""
    proxy = FaultyProxy(access)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
