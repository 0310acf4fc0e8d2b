"""The tests' own connection to the API server."""

from __future__ import annotations

import socket
import ssl

import pytest

from control_plane import client
from control_plane.cluster import ControlPlane

PATH = "/api/v1/namespaces/default"


def test_a_connection_that_the_server_may_have_closed_is_opened_anew(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_IDLE_SECONDS", 0)
    with control_plane.client() as api:
        api.get(PATH)
        api._connection.sock.shutdown(socket.SHUT_RDWR)

        assert api.get(PATH).is_accepted


def test_a_connection_that_breaks_fails_one_request_and_not_all_after_it(control_plane: ControlPlane) -> None:
    with control_plane.client() as api:
        api.get(PATH)
        api._connection.sock.shutdown(socket.SHUT_RDWR)

        # What it is called depends on how far the closing has come.
        with pytest.raises((ConnectionError, ssl.SSLError)):
            api.get(PATH)
        assert api.get(PATH).is_accepted
