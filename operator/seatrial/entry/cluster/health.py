"""``/healthz`` and ``/readyz``: 200 as long as every loop shows life and is ready, 503 with the reasons otherwise.

Kopf's own probe exists only while Kopf runs, which is only where this process leads: docs/adr/0007-own-health-endpoint.md.
"""

import json
from collections.abc import Callable, Sequence

from aiohttp import web

__all__ = ["HealthServer"]


class HealthServer:
    """Answers probes. Belongs to one event loop: when that hangs, no answer is the answer.

    Args:
        troubles: Returns in words what is wrong.
        waits: Returns in words why the process is not ready; a candidate for leadership is.
    """

    def __init__(self, troubles: Callable[[], Sequence[str]], waits: Callable[[], Sequence[str]]) -> None:
        self._troubles, self._waits = troubles, waits
        self._runner: web.AppRunner | None = None
        self.port = 0
        """Where it listens; 0 before :meth:`open`."""

    async def open(self, port: int, address: str = "0.0.0.0") -> None:  # noqa: S104 - the kubelet asks from outside
        """Begin to listen; port 0 takes a free one."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1.0, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self._troubles())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer([*self._troubles(), *self._waits()])


def _answer(reasons: Sequence[str]) -> web.Response:
    body = {"status": "unwell" if reasons else "ok", "reasons": list(reasons)}
    return web.Response(text=json.dumps(body) + "\n", status=503 if reasons else 200, content_type="application/json")
