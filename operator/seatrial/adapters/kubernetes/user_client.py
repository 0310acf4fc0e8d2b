"""What a person's commands ask of an API server beyond what an operator does: Services behind its proxy, programs in a Pod."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence

import aiohttp
from kubernetes.aio.client.configuration import Configuration

from seatrial.adapters.kubernetes.client import ApiServerClient
from seatrial.adapters.kubernetes.faults import to_error
from seatrial.adapters.kubernetes.port import PODS, CallObserver
from seatrial.adapters.metrics.fetching import Answer
from seatrial.errors import TransientError, UsageError

__all__ = ["UserClient"]

_STDOUT, _STDERR, _STATUS = 1, 2, 3
_PROTOCOLS = ("v4.channel.k8s.io",)
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 30.0
_STDERR_LIMIT = 2000


class UserClient(ApiServerClient):
    """An API server as a person reaches it. Belongs to one event loop.

    Args:
        configuration: Where the server is and who we are.

    Attributes:
        on_call: Told every call.
    """

    def __init__(self, configuration: Configuration) -> None:
        super().__init__(configuration, observer=lambda call: self.on_call(call), agent="kubectl-seatrial")
        self._configuration = configuration
        self.on_call: CallObserver = lambda _: None

    async def ask_service(self, path: str, query: Mapping[str, str], *, seconds: float, limit_bytes: int) -> Answer:
        """Ask a Service behind the API server's proxy.

        Args:
            path: Of the proxy and in the Service.
            query: Goes into the address: a GET needs fewer rights than a POST.
            seconds: Time for all of it.
            limit_bytes: How much of the answer is read.

        Returns:
            Whatever came back, from the Service or from the API server itself.

        Raises:
            TransientError: If the API server does not answer.
        """
        request = await self._api.param_serialize(
            method="GET",
            resource_path=path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        try:
            answer = await self._api.call_api(*request, _request_timeout=aiohttp.ClientTimeout(total=seconds))
            response: aiohttp.ClientResponse = answer.response
            body = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > limit_bytes:
                    response.close()
                    break
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TransientError(f"the API server does not answer: {error or type(error).__name__}") from error
        return Answer(status=response.status, body=bytes(body[: limit_bytes + 1]), cut=len(body) > limit_bytes)

    async def execute(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> AsyncIterator[bytes]:
        """Run a program in a container and yield what it writes to its standard output.

        Raises:
            Forbidden: If that is not allowed.
            UsageError: If the program fails; ends with what it wrote to its standard error.
            TransientError: If the connection breaks off before the program has ended.
        """
        query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", w) for w in command)]
        path = PODS.path(namespace, pod, "exec")
        _, url, headers, *_ = await self._api.param_serialize(
            method="GET", resource_path=path, query_params=query, auth_settings=["BearerToken"]
        )
        complaints, status = bytearray(), b""
        try:
            async with self._session().ws_connect(
                url.replace("http", "ws", 1),
                headers=headers,
                protocols=_PROTOCOLS,
                heartbeat=_SILENCE_SECONDS,
                max_msg_size=0,
                # What the library passes to requests, but not to streams.
                proxy=self._configuration.proxy,
                server_hostname=self._configuration.tls_server_name,
            ) as socket:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                        continue
                    channel, written = message.data[0], message.data[1:]
                    if channel == _STDOUT and written:
                        yield written
                    elif channel == _STDERR:
                        complaints += written[: max(0, _STDERR_LIMIT - len(complaints))]
                    elif channel == _STATUS:
                        status += written
        except aiohttp.WSServerHandshakeError as error:
            raise to_error(error.status, b"", what=f"exec in Pod {namespace}/{pod}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TransientError(f"the connection to Pod {pod} broke off: {error or type(error).__name__}") from error
        _check_status(status, pod, command, complaints.decode("utf-8", "replace").strip())

    def _session(self) -> aiohttp.ClientSession:
        rest = self._api.rest_client
        if rest.pool_manager is None:
            rest.pool_manager = rest._create_pool_manager()  # noqa: SLF001 - as the library's own stream client does
        session: aiohttp.ClientSession = rest.pool_manager
        return session


def _check_status(status: bytes, pod: str, command: Sequence[str], complaints: str) -> None:
    """Raise unless the program has ended well."""
    if not status:
        raise TransientError(f"the connection to Pod {pod} broke off before {command[0]} had ended")
    try:
        told = json.loads(status)
    except ValueError:
        told = {}
    if told.get("status") != "Success":
        words = complaints or told.get("message") or "no reason given"
        raise UsageError(f"{command[0]} failed in Pod {pod}: {words}")
