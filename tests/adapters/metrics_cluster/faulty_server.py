"""An HTTP server that answers as it is told to: well, badly, without end, or not at all."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Asked", "FaultyServer", "Reply", "matrix"]


_CHUNK = 1 << 16


@dataclass
class Reply:
    """What is answered.

    Attributes:
        endless: Repeat the body until the other side hangs up.
        silent: Say nothing until the server closes.
        stalls: Send the body, and then nothing more until the server closes.
        raw: Bytes instead of HTTP.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    endless: bool = False
    silent: bool = False
    stalls: bool = False
    raw: bytes | None = None

    @property
    def timeout_seconds(self) -> float:
        """For how long to wait for it: only silence has to be waited out; all else may take its time."""
        return 0.5 if self.silent else 30.0


@dataclass
class Asked:
    path: str
    form: dict[str, str]


def matrix(*series: tuple[dict[str, str], list[object]], **more: object) -> Reply:
    """A good answer of Prometheus."""
    result = [{"metric": labels, "values": values} for labels, values in series]
    document = {"status": "success", "data": {"resultType": "matrix", "result": result}, **more}
    return Reply(body=json.dumps(document).encode())


class FaultyServer:
    """Runs until it is closed; :attr:`answer` may be replaced at any time.

    Attributes:
        asked: What it was asked.
        sent: Bytes of bodies that somebody took, or that the sockets between hold.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.sent = 0
        self._counting = threading.Lock()
        self.answer: Callable[[Asked], Reply] = lambda _: Reply(status=404)
        self._closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._serve(self, "")

            def do_POST(self) -> None:
                outer._serve(self, self.rfile.read(int(self.headers["Content-Length"])).decode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler, form: str) -> None:
        asked = Asked(handler.path, dict(urllib.parse.parse_qsl(form)))
        self.asked.append(asked)
        reply = self.answer(asked)
        try:
            if reply.silent:
                self._closing.wait(60)
            elif reply.raw is not None:
                handler.wfile.write(reply.raw)
            else:
                self._write(handler, reply)
        except OSError:
            pass
        handler.close_connection = True

    def _write(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        handler.send_response(reply.status)
        for name, text in reply.headers.items():
            handler.send_header(name, text)
        if not reply.endless and "Content-Length" not in reply.headers:
            handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        self._send(handler, reply.body)
        if reply.stalls:
            self._closing.wait(60)
        while reply.endless and not self._closing.is_set():
            self._send(handler, reply.body)

    def _send(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        for start in range(0, len(body), _CHUNK):
            taken = handler.wfile.write(body[start : start + _CHUNK])
            with self._counting:
                self.sent += taken
