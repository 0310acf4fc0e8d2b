"""Addresses inside a cluster are asked through the API server, others directly, and refusals say what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from seatrial.adapters.kubernetes.service_proxy import RoutedFetcher, parse_service
from seatrial.adapters.metrics.fetching import Answer, Unreachable
from seatrial.errors import TransientError


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://prometheus:9090/api/v1/query", "/api/v1/namespaces/lab/services/prometheus:9090/proxy/api/v1/query"),
        ("http://prom.monitoring:9090/x", "/api/v1/namespaces/monitoring/services/prom:9090/proxy/x"),
        ("http://prom.monitoring.svc/x", "/api/v1/namespaces/monitoring/services/prom:80/proxy/x"),
        ("https://prom.monitoring.svc.cluster.local/a/x", "/api/v1/namespaces/monitoring/services/https:prom:443/proxy/a/x"),
        ("http://prom.monitoring.svc.corp.example:9090/x", "/api/v1/namespaces/monitoring/services/prom:9090/proxy/x"),
        ("http://127.0.0.1:9090/x", None),
        ("http://[::1]:9090/x", None),
        ("http://localhost:9090/x", None),
        ("https://prometheus.corp.example/x", None),
        ("https://me:secret@prometheus.monitoring/x", None),
    ],
)  # fmt: skip
def test_an_address_is_a_service_or_a_host(url: str, path: str | None) -> None:
    service = parse_service(url, "lab")

    assert (service and service.path("/" + url.split("/", 3)[3])) == path


class FakeUserClient:
    """Answers for Services; remembers what it was asked."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self._answer = answer
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def ask_service(self, path: str, query: dict[str, str], *, seconds: float, limit_bytes: int) -> Answer:
        self.asked.append((path, dict(query)))
        return self._answer(path)


def status(code: int, message: str = "words of the server") -> Answer:
    return Answer(status=code, body=f'{{"kind": "Status", "message": "{message}"}}'.encode(), cut=False)


def ask(client: FakeUserClient, url: str = "http://prom.monitoring.svc:9090") -> Answer:
    async def run() -> Answer:
        fetcher = RoutedFetcher(client, "lab")  # type: ignore[arg-type]
        try:
            return await fetcher.post(f"{url}/api/v1/query", {"query": "up"}, seconds=5, limit_bytes=1000)
        finally:
            await fetcher.close()

    return asyncio.run(run())


def test_a_service_is_asked_by_get_with_the_form_in_the_address() -> None:
    client = FakeUserClient(lambda _: Answer(status=200, body=b"{}", cut=False))

    assert ask(client).status == 200
    assert client.asked == [("/api/v1/namespaces/monitoring/services/prom:9090/proxy/api/v1/query", {"query": "up"})]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            403,
            "you may not get services/proxy in namespace monitoring; .*kubectl port-forward -n monitoring service/prom 9090",
        ),
        (404, "there is no Service prom with Pods in namespace monitoring"),
        (503, "has no Pod that answers"),
        (500, "words of the server"),
    ],
)
def test_a_refusal_of_the_api_server_says_what_is_missing(code: int, words: str) -> None:
    with pytest.raises(Unreachable, match=words):
        ask(FakeUserClient(lambda _: status(code)))


def test_a_refusal_of_prometheus_itself_is_its_answer() -> None:
    refused = Answer(status=422, body=b'{"status": "error", "error": "too many samples"}', cut=False)

    assert ask(FakeUserClient(lambda _: refused)) == refused


def test_a_name_that_is_no_service_is_asked_as_a_host() -> None:
    client = FakeUserClient(lambda _: status(404))

    with pytest.raises(Unreachable, match="no such host"):
        ask(client, "http://prometheus.invalid:9")
    assert len(client.asked) == 1


def test_an_api_server_that_is_away_is_told() -> None:
    def away(_: str) -> Answer:
        raise TransientError("the API server does not answer")

    with pytest.raises(Unreachable, match="the API server does not answer"):
        ask(FakeUserClient(away))
