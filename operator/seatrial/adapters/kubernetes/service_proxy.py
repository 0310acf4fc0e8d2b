"""Prometheus as a person reaches it: an address inside the cluster through the API server's proxy, any other one itself.

Must not know what is asked for.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from seatrial.adapters.kubernetes.user_client import UserClient
from seatrial.adapters.metrics.fetching import Answer, Fetcher, Unreachable
from seatrial.errors import TransientError

__all__ = ["InsideService", "RoutedFetcher", "parse_service"]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_WORDS_LIMIT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class InsideService:
    """An address that only Pods can use.

    Attributes:
        certain: Whether it can be nothing else; ``prometheus.example`` may also be a host somewhere.
    """

    namespace: str
    name: str
    scheme: str
    port: int
    certain: bool

    def path(self, rest: str) -> str:
        """Return the path of the API server's proxy to *rest* in the Service."""
        service = f"https:{self.name}" if self.scheme == "https" else self.name
        return f"/api/v1/namespaces/{self.namespace}/services/{service}:{self.port}/proxy{quote(rest)}"


def parse_service(url: str, namespace: str) -> InsideService | None:
    """Return the Service that an address names, None when it names a host.

    Args:
        url: ``http://prometheus.monitoring.svc:9090/prefix``; a bare name is a Service beside the study.
        namespace: The study's.
    """
    parts = urlsplit(url)
    labels = (parts.hostname or "").rstrip(".").split(".")
    if (
        parts.username
        or not all(map(_LABEL.fullmatch, labels))
        or labels == ["localhost"]
        or _is_address(parts.hostname)
    ):
        return None
    certain = labels[2:3] == ["svc"]
    if len(labels) > 2 and not certain:
        return None
    return InsideService(
        namespace=labels[1] if len(labels) > 1 else namespace,
        name=labels[0],
        scheme=parts.scheme,
        port=parts.port or (443 if parts.scheme == "https" else 80),
        certain=certain,
    )


class RoutedFetcher(Fetcher):
    """Asks Services through the API server and other hosts directly.

    Args:
        client: The API server.
        namespace: The study's.

    Attributes:
        proxied: Whether the last answer came through the API server.
    """

    def __init__(self, client: UserClient, namespace: str) -> None:
        super().__init__(connections=4)
        self._client, self._namespace = client, namespace
        self._outside: set[str] = set()
        self.proxied = False

    async def post(
        self, url: str, form: Mapping[str, str], *, seconds: float, limit_bytes: int, account: str = ""
    ) -> Answer:
        """Ask; through the proxy with the form in the address, which needs no right to create anything."""
        service = None if url in self._outside else parse_service(url, self._namespace)
        self.proxied = service is not None
        if service is None:
            return await super().post(url, form, seconds=seconds, limit_bytes=limit_bytes, account=account)
        path = service.path(urlsplit(url).path)
        try:
            answer = await self._client.ask_service(path, form, seconds=seconds, limit_bytes=limit_bytes)
        except TransientError as error:
            raise Unreachable(str(error)) from error
        refusal = _refusal(answer)
        if refusal is None:
            return answer
        if answer.status == 404 and not service.certain:
            self._outside.add(url)
            return await self.post(url, form, seconds=seconds, limit_bytes=limit_bytes, account=account)
        raise Unreachable(_describe(answer.status, refusal, service))


def _is_address(host: str | None) -> bool:
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return True


def _refusal(answer: Answer) -> str | None:
    """Return the words of the API server itself, None when the Service has answered."""
    if answer.status < 400:
        return None
    try:
        status = json.loads(answer.body)
    except ValueError:
        return None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        return None
    return str(status.get("message", ""))[:_WORDS_LIMIT]


def _describe(code: int, words: str, service: InsideService) -> str:
    name, where = service.name, service.namespace
    if code == 403:
        return (
            f"it is the Service {name} inside the cluster, and you may not get services/proxy in namespace {where}; ask for that "
            f"right, or run kubectl port-forward -n {where} service/{name} {service.port} and give --prometheus-url http://127.0.0.1:{service.port}"
        )
    if code == 404:
        return f"there is no Service {name} with Pods in namespace {where} ({words})"
    if code == 503:
        return f"the Service {name} in namespace {where} has no Pod that answers ({words})"
    return f"the API server's proxy to Service {name} in namespace {where} says: {words}"
