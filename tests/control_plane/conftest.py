"""One control plane for each test process, started when its first test needs it; a namespace for each test."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.client import Client
from control_plane.cluster import LONGEST_SECONDS, ControlPlane, run_control_plane, wait_until
from control_plane.helm import CHART, Helm

_HERE = Path(__file__).parent
# The first test of all waits for the control plane too: the limits of its start, each of which says what did not come, make up 900 s.
_LONGEST_SECONDS = 900 + 2 * LONGEST_SECONDS
_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test in this folder, before ``-m`` chooses."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("cluster")
            item.add_marker(pytest.mark.timeout(_LONGEST_SECONDS))


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running control plane with the CRDs installed, shared by the tests of one process."""
    with run_control_plane(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[Client]:
    """The admin's connection."""
    with control_plane.client() as client:
        yield client


@pytest.fixture
def namespace(api: Client) -> Iterator[str]:
    """A namespace of the test's own, in which Pods may be created; deleted, not awaited, at the end."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    assert api.create("/api/v1/namespaces", {"metadata": {"name": name}}).is_accepted
    # The controller manager adds it, and no Pod is admitted without.
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until(lambda: api.get(account).is_accepted, what=f"the service account of {name}")
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm at the pinned version, built where it is missing."""
    subprocess.run([CHART.parents[1] / "scripts" / "cluster-tools", "helm"], check=True)
    return Helm(tmp_path_factory.mktemp("helm"))
