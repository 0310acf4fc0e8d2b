"""The real client against a real API server, under the contract that the fake one passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config

from adapters.kubernetes.contract import ClientContract, StrictContract
from control_plane.cluster import ControlPlane
from seatrial.adapters.kubernetes.client import ApiServerClient


@pytest.fixture
def connect(control_plane: ControlPlane) -> Callable[[], ApiServerClient]:
    configuration = Configuration()
    asyncio.run(load_kube_config(str(control_plane.admin.kubeconfig), client_configuration=configuration))
    return lambda: ApiServerClient(configuration)


class TestRealApiServer(ClientContract, StrictContract):
    pass
