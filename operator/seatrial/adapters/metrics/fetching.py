"""HTTP that ends: every request has a deadline and every answer a size, and what goes wrong has a name.

Follows no redirect: an address of a study is asked itself or not at all. Must not know what is asked for.
"""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from weakref import WeakValueDictionary

import aiohttp

__all__ = ["Answer", "Fetcher", "Unreachable"]


_SMALL_BYTES = 1 << 20
_LARGE_AT_ONCE = 4
_LARGE_OF_ONE = 2


class Unreachable(Exception):  # noqa: N818 - what it says reads as a word of the sentence
    """No answer came: no such host, nobody listens, too late, or no HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back.

    Attributes:
        body: At most the limit and one byte.
        cut: Whether there was more than the limit.
        retry_after_seconds: What a busy server asked for.
    """

    status: int
    body: bytes
    cut: bool
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked for, how much of the answer is read, and for whom."""

    method: str
    url: str
    form: Mapping[str, str] | None
    limit_bytes: int
    account: str


class Fetcher:
    """Asks by HTTP; one for the whole operator.

    However many servers answer without end, a few large answers are held at once: the others wait after their first MiB. Of one
    account it is half of these, so that who lets large answers stand still does not hold up everybody.
    """

    def __init__(self, *, connections: int = 64) -> None:
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._large_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def get(self, url: str, *, seconds: float, limit_bytes: int, account: str = "") -> Answer:
        """Ask for a page.

        Args:
            url: Where.
            seconds: Time for all of it.
            limit_bytes: How much of the answer is read.
            account: Who wants to know: a namespace.

        Raises:
            Unreachable: If no answer came in time.
        """
        return await self._ask(_Request("GET", url, None, limit_bytes, account), seconds)

    async def post(
        self, url: str, form: Mapping[str, str], *, seconds: float, limit_bytes: int, account: str = ""
    ) -> Answer:
        """Send a form; as :meth:`get`."""
        return await self._ask(_Request("POST", url, form, limit_bytes, account), seconds)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, request: "_Request", seconds: float) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(request)
        except TimeoutError as error:
            raise Unreachable(f"no answer within {seconds:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # aiohttp tells some malformed answers and addresses as a ValueError.
            raise Unreachable(_describe(error)) from error

    async def _exchange(self, request: "_Request") -> Answer:
        limit = request.limit_bytes
        async with AsyncExitStack() as held:
            response = await held.enter_async_context(
                self._open().request(request.method, request.url, data=request.form, allow_redirects=False)
            )
            body, is_large = bytearray(), False
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > limit:
                    break
                if len(body) > _SMALL_BYTES and not is_large:
                    # First its account's own: who waits for that must not hold a place of all.
                    own = self._large_of.setdefault(request.account, asyncio.Semaphore(_LARGE_OF_ONE))
                    await held.enter_async_context(own)
                    await held.enter_async_context(self._large)
                    is_large = True
            return Answer(
                status=response.status,
                body=bytes(memoryview(body)[: limit + 1]),
                cut=len(body) > limit,
                retry_after_seconds=_seconds(response.headers.get("Retry-After", "")),
            )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Made here and not earlier: a session belongs to the running loop.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, limit_per_host=16),
                # A small answer may unpack to a huge one: it comes as it is.
                headers={"Accept-Encoding": "identity", "Accept": "*/*", "User-Agent": "seatrial"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() and text.isascii() and len(text) < 6 else None


def _describe(error: Exception) -> str:
    cause = error
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(cause, socket.gaierror):
        return "no such host"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | ConnectionResetError):
        return "the connection broke off"
    if isinstance(error, aiohttp.InvalidURL):
        return "the address is none"
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return "the answer is no HTTP"
    return (getattr(cause, "strerror", None) or type(cause).__name__).lower()
