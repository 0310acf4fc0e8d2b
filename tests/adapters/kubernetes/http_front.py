"""A fake server behind real HTTP on loopback, so that the real client can be tested without a cluster."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from seatrial.adapters.kubernetes.fake.client import FakeClient
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.faults import ApiError
from seatrial.adapters.kubernetes.port import EVENTS, LEASES, PODS, STUDIES, TRIALS, PatchKind

RESOURCES = {resource.plural: resource for resource in (PODS, LEASES, STUDIES, TRIALS, EVENTS)}


class Front:
    """Routes requests to a fake server.

    Attributes:
        requests: (method, path with query, headers) of every request.
        answer: Answers a request itself when it returns something, perhaps something to await.
    """

    def __init__(self, server: FakeServer) -> None:
        self.client = FakeClient(server)
        self.watches: set[asyncio.Task[object]] = set()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.answer: Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse] | None] = lambda _: None
        self.url = ""
        self.drop: Callable[[], None] = lambda: None
        """Cuts the watches that are open now."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, dict(request.headers)))
        if (special := self.answer(request)) is not None:
            return special if isinstance(special, web.StreamResponse) else await special
        parts = request.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = parts[1] if parts[0] == "namespaces" else None
        resource, *rest = parts[2:] if namespace else parts
        name, subresource = [*rest, "", ""][:2]
        if resource not in RESOURCES:
            return web.json_response({"kind": "Status", "reason": "NotFound", "code": 404}, status=404)
        try:
            if request.query.get("watch"):
                return await self._watch(request, RESOURCES[resource], namespace)
            return await self._answer(request, RESOURCES[resource], namespace, name, subresource)
        except ApiError as error:
            status = {"kind": "Status", "message": str(error), "reason": error.reason, "code": error.code}
            return web.json_response(status, status=error.code)

    async def _answer(self, request, resource, namespace, name, subresource) -> web.Response:
        query, client = request.query, self.client
        body = json.loads(await request.text() or "null")
        match request.method, bool(name):
            case "GET", True if subresource == "log":
                return web.Response(text=await client.read_log(namespace, name, query.get("container", "")))
            case "GET", True:
                return web.json_response(await client.get(resource, namespace, name))
            case "GET", False:
                page = await client.list(
                    resource,
                    namespace,
                    selector=query.get("labelSelector", ""),
                    limit=int(query["limit"]),
                    next=query.get("continue", ""),
                )
                metadata = {"resourceVersion": page.version, "continue": page.next}
                return web.json_response({"metadata": metadata, "items": list(page.items)})
            case "POST", False:
                dry = query.get("dryRun") == "All"
                return web.json_response(await client.create(resource, namespace, body, dry_run=dry), status=201)
            case "PATCH", True:
                kind = PatchKind(request.content_type)
                manager = query.get("fieldManager", "")
                return web.json_response(
                    await client.patch(
                        resource, namespace, name, body, kind=kind, subresource=subresource, manager=manager
                    )
                )
            case "DELETE", False:
                await client.delete_all(resource, namespace, selector=query.get("labelSelector", ""))
                return web.json_response({"kind": "PodList", "metadata": {}, "items": []})
            case "DELETE", True:
                uid = (body.get("preconditions") or {}).get("uid", "")
                left = await client.delete(
                    resource, namespace, name, uid=uid, grace_seconds=body.get("gracePeriodSeconds")
                )
                return web.json_response(left or {"kind": "Status", "metadata": {}, "status": "Success"})
        return web.Response(status=405)

    async def _watch(self, request, resource, namespace) -> web.StreamResponse:
        response = web.StreamResponse()
        query = request.query
        events = self.client.watch(
            resource,
            namespace,
            version=query["resourceVersion"],
            selector=query.get("labelSelector", ""),
            timeout_seconds=int(query["timeoutSeconds"]),
        )
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self.watches.add(task)
        task.add_done_callback(self.watches.discard)
        try:
            async for event in events:
                line = json.dumps({"type": event.type, "object": event.object}) + "\n"
                # Lines need not come in whole pieces.
                middle = len(line) // 2
                await response.write(line[:middle].encode())
                await response.write(line[middle:].encode())
        except ApiError as error:
            status = {"kind": "Status", "message": str(error), "reason": error.reason, "code": error.code}
            await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
        return response


@contextmanager
def serve(server: FakeServer) -> Iterator[Front]:
    """Serve in a thread of its own."""
    front, started = Front(server), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", front.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        front.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        front.drop = lambda: loop.call_soon_threadsafe(lambda: [task.cancel() for task in list(front.watches)])
        started.set()
        await stop.wait()
        await runner.cleanup()
        # Handlers of watches whose client went away end with the loop.
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield front
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
