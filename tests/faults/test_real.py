"""That what plays the node and asks the server in the sweep over a real API server puts up with outages, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from http.client import RemoteDisconnected
from types import SimpleNamespace
from typing import Any

import pytest

from control_plane.access import Access, Authority
from control_plane.client import Answer, Client
from control_plane.cluster import wait_until
from control_plane.kubelet import Kubelet
from faults import real
from faults.real import _PatientClient

Said = Answer | Exception


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Access:
    """Access to a server that is not there."""
    return Authority.create(tmp_path_factory.mktemp("authority")).admit("https://127.0.0.1:1", "admin", [])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let a server say these things, the last one for ever; return the methods that it is asked by."""
    monkeypatch.setattr(real, "_PAUSE_SECONDS", 0)

    def begin(*said: Said) -> list[str]:
        left, methods = [*said], []

        def request(_self: Client, method: str, *_: object, **__: object) -> Answer:
            methods.append(method)
            word = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(word, Exception):
                raise word
            return word

        monkeypatch.setattr(Client, "request", request)
        return methods

    return begin


def an_answer(code: int, **body: Any) -> Answer:
    return Answer(code=code, body=body)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_write_whose_answer_is_lost_is_not_sent_again(
    asked: Callable[..., list[str]], access: Access, method: str
) -> None:
    methods = asked(RemoteDisconnected("no answer"), an_answer(409))

    with pytest.raises(RemoteDisconnected):
        _PatientClient(access).request(method, "/x", {})

    assert methods == [method]


def test_a_read_is_asked_again_a_few_times(asked: Callable[..., list[str]], access: Access) -> None:
    methods = asked(TimeoutError("busy"), an_answer(404))

    assert _PatientClient(access).get("/x").code == 404
    assert methods == ["GET", "GET"]

    methods = asked(TimeoutError("busy"))
    with pytest.raises(TimeoutError, match="busy"):
        _PatientClient(access).get("/x")
    assert len(methods) == real._TRIES + 1


def test_what_is_gone_when_its_deletion_is_asked_for_again_was_deleted(
    asked: Callable[..., list[str]], access: Access
) -> None:
    methods = asked(RemoteDisconnected("no answer"), an_answer(404))

    assert _PatientClient(access).delete("/x").is_accepted
    assert methods == ["DELETE", "DELETE"]

    asked(an_answer(404))
    assert _PatientClient(access).delete("/x").code == 404
    asked(RemoteDisconnected("no answer"), an_answer(403))
    assert _PatientClient(access).delete("/x").code == 403


@pytest.mark.parametrize(
    ("said", "words"),
    [
        pytest.param(ConnectionRefusedError(111, "Connection refused"), "Connection refused", id="no server"),
        pytest.param(an_answer(403, message="pods is forbidden"), "403: pods is forbidden", id="a server that refuses"),
    ],
)
def test_a_kubelet_that_can_do_nothing_for_long_fails_its_test(
    asked: Callable[..., list[str]], access: Access, said: Said, words: str
) -> None:
    asked(said)
    kubelet = Kubelet(access, "default", lambda _pod, _parameters: None, patience_seconds=0.2)

    with pytest.raises(TimeoutError, match=rf"could do nothing for 0.2 s: .*{words}"), kubelet:
        wait_until(lambda: kubelet.failure is not None, what="the kubelet to give up", seconds=20)


def test_a_kubelet_puts_up_with_outages_that_end(monkeypatch: pytest.MonkeyPatch, access: Access) -> None:
    asked = 0

    def request(_self: Client, *_: object, **__: object) -> Answer:
        nonlocal asked
        asked += 1
        # Away for longer than the kubelet's patience in sum, but never at a time.
        if asked % 5:
            raise ConnectionResetError
        return an_answer(200, items=[])

    monkeypatch.setattr(Client, "request", request)
    # Each request takes half a second of its time, and none of how busy the machine is.
    monkeypatch.setattr("control_plane.kubelet.time", SimpleNamespace(monotonic=lambda: asked * 0.5))
    with Kubelet(access, "default", lambda _pod, _parameters: None, patience_seconds=2.2) as kubelet:
        wait_until(lambda: asked > 11, what="two outages that end", seconds=30)

        assert kubelet.failure is None
