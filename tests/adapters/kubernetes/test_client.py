"""The fake server, and the real client over HTTP, under the contract of all clients; and what goes wrong on a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from adapters.kubernetes.contract import ClientContract, a_lease, a_pod, take
from adapters.kubernetes.http_front import Front, serve
from harness.ports import closed_port
from seatrial.adapters.kubernetes.client import ApiServerClient
from seatrial.adapters.kubernetes.fake.client import FakeClient
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.faults import Forbidden, Gone, Invalid, Unauthorized
from seatrial.adapters.kubernetes.port import LEASES, PODS, Call, KubeClient
from seatrial.adapters.local.clock import SystemClock
from seatrial.errors import TransientError


@pytest.fixture
def server():
    return FakeServer(SystemClock())


@pytest.fixture
def namespace():
    return "default"


class TestFakeClient(ClientContract):
    @pytest.fixture
    def connect(self, server: FakeServer):
        self.server = server
        return lambda: FakeClient(server)

    async def forget_history(self, client: KubeClient) -> None:
        for name in ("one", "two"):
            self.server.create(LEASES, "default", a_lease(name))
        self.server.compact()


def configured(url: str) -> Configuration:
    configuration = Configuration()
    configuration.host = url
    configuration.api_key = {"BearerToken": "Bearer secret"}
    return configuration


class TestClientOverHttp(ClientContract):
    @pytest.fixture
    def connect(self, server: FakeServer):
        self.server = server
        with serve(server) as front:
            yield lambda: ApiServerClient(configured(front.url))

    async def forget_history(self, client: KubeClient) -> None:
        for name in ("one", "two"):
            self.server.create(LEASES, "default", a_lease(name))
        self.server.compact()


# ---- what goes over the wire, and what goes wrong on it ----------------------------------------------------------------


@pytest.fixture
def front(server: FakeServer):
    with serve(server) as front:
        yield front


def run(front: Front, act: Callable[[ApiServerClient], Coroutine], calls: list[Call] | None = None) -> object:
    async def main() -> object:
        client = ApiServerClient(configured(front.url), observer=([] if calls is None else calls).append, agent="me/1")
        try:
            async with asyncio.timeout(20):
                return await act(client)
        finally:
            await client.close()

    return asyncio.run(main())


def answering(front: Front, status: int, text: str = "", **headers: str) -> None:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    front.answer = lambda _: web.Response(status=status, text=text, headers=headers)


def test_who_we_are_and_that_the_server_shall_be_strict_is_told(front: Front):
    run(front, lambda client: client.create(PODS, "default", a_pod(), dry_run=True, strict=True))

    method, path, headers = front.requests[0]
    assert (method, path) == ("POST", "/api/v1/namespaces/default/pods?dryRun=All&fieldValidation=Strict")
    assert headers["Authorization"] == "Bearer secret"
    assert headers["User-Agent"] == "me/1"
    assert headers["Content-Type"] == "application/json"


async def list_pods(url: str) -> None:
    client = ApiServerClient(configured(url))
    try:
        await client.list(PODS, "default")
    finally:
        await client.close()


async def test_the_proxy_of_the_environment_is_used(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", front.url)
    monkeypatch.setenv("no_proxy", "")

    await list_pods("http://api.example.invalid")

    assert [path.partition("?")[0] for _, path, _ in front.requests] == ["/api/v1/namespaces/default/pods"]


async def test_a_server_that_needs_no_proxy_is_asked_itself(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://proxy.example.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")

    await list_pods(front.url)

    assert len(front.requests) == 1


async def test_a_password_for_the_server_in_netrc_is_not_ours(
    front: Front, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {urlsplit(front.url).hostname} login somebody password else")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    await list_pods(front.url)

    assert front.requests[0][2]["Authorization"] == "Bearer secret"


def test_fields_that_no_library_knows_arrive_as_they_are(front: Front):
    pod = a_pod()
    pod["spec"] |= {"fieldOfTomorrow": {"depth": [1, {"x": None}]}, "priority": 10}

    created = run(front, lambda client: client.create(PODS, "default", pod))

    assert created["spec"] == pod["spec"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthorized), (403, Forbidden), (410, Gone), (413, Invalid), (422, Invalid)]
)
def test_a_refusal_carries_the_servers_words(front: Front, status: int, kind: type[Exception]):
    answering(front, status, '{"kind": "Status", "message": "exceeded quota: q", "reason": "Forbidden"}')

    with pytest.raises(kind, match=r"^exceeded quota: q$"):
        run(front, lambda client: client.create(PODS, "default", a_pod()))


def test_being_asked_to_wait_is_told_with_the_time(front: Front):
    answering(front, 429, "slow down", Retry_After="7")

    with pytest.raises(TransientError, match="slow down") as caught:
        run(front, lambda client: client.get(PODS, "default", "one"))

    assert caught.value.retry_after_seconds == 7


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_that_is_not_well_is_tried_again_later(front: Front, status: int):
    answering(front, status, "<html>bad gateway</html>")

    with pytest.raises(TransientError, match="bad gateway"):
        run(front, lambda client: client.get(PODS, "default", "one"))


def test_a_namespace_that_is_going_is_no_refusal(front: Front):
    answering(
        front,
        403,
        '{"message": "namespace is being terminated", "reason": "Forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}',
    )

    with pytest.raises(TransientError, match="being terminated"):
        run(front, lambda client: client.create(PODS, "default", a_pod()))


def test_a_server_that_is_not_there_is_tried_again_later(server: FakeServer):
    front = Front(server)
    calls: list[Call] = []

    with closed_port() as port:
        front.url = f"http://127.0.0.1:{port}"
        with pytest.raises(TransientError, match="does not answer"):
            run(front, lambda client: client.get(PODS, "default", "one"), calls)

    assert [(call.verb, call.resource, call.code) for call in calls] == [("get", "pods", 0)]


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", '"text"'])
def test_an_answer_that_is_no_object_is_tried_again_later(front: Front, text: str):
    answering(front, 200, text)

    with pytest.raises(TransientError, match="no object"):
        run(front, lambda client: client.get(PODS, "default", "one"))


def test_a_watch_that_speaks_no_json_ends_as_a_fault(front: Front):
    answering(front, 200, "<html>\n")

    with pytest.raises(TransientError, match="a line is no event"):
        run(front, lambda client: take(client.watch(PODS, None, version="1"), 1))


def test_a_watch_whose_last_line_is_torn_ends_without_it(front: Front):
    answering(front, 200, '{"type": "ADDED", "object": {"metadata": {"resourceVersion": "2"}}}\n{"type": "ADD')

    found = run(front, lambda client: take(client.watch(PODS, None, version="1"), 2))

    assert [event.version for event in found] == ["2"]


def test_a_long_object_is_one_event(front: Front, server: FakeServer):
    server.create(LEASES, "default", {"metadata": {"name": "big", "annotations": {"text": "x" * 3_000_000}}})

    found = run(front, lambda client: take(client.watch(LEASES, "default", version="0"), 1))

    assert len(found[0].object["metadata"]["annotations"]["text"]) == 3_000_000


def test_calls_are_told_by_verb_and_code(front: Front):
    calls: list[Call] = []

    async def act(client: ApiServerClient) -> None:
        await client.create(LEASES, "default", a_lease())
        with pytest.raises(Exception, match="already exists"):
            await client.create(LEASES, "default", a_lease())
        await client.list(LEASES, None)
        await client.delete(LEASES, "default", "one")

    run(front, act, calls)

    assert [(call.verb, call.code) for call in calls] == [
        ("create", 201),
        ("create", 409),
        ("list", 200),
        ("delete", 200),
    ]


def test_what_a_container_printed_is_read(front: Front):
    front.client._logs = lambda namespace, pod: f"{namespace}/{pod}\n"

    text = run(front, lambda client: client.read_log("default", "one", "main", tail_lines=5))

    assert text == "default/one\n"
    assert front.requests[0][1] == "/api/v1/namespaces/default/pods/one/log?container=main&tailLines=5"
