"""One kind cluster for all tests of this folder, and a namespace for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kind.cluster import KindCluster, run_kind_cluster
from kind.installation import Installation

_HERE = Path(__file__).parent
# The first run ever builds a node image.
_LONGEST_SECONDS = 1800
_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test in this folder, before ``-m`` chooses."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("kind")
            item.add_marker(pytest.mark.timeout(_LONGEST_SECONDS))


@pytest.fixture(scope="session")
def kind() -> Iterator[KindCluster]:
    """A cluster that is up, with two pretended GPUs."""
    with run_kind_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def seatrial(kind: KindCluster) -> Installation:
    """Seatrial on that cluster, as a user installs it; the tests leave it as they found it."""
    return Installation.create(kind)


@pytest.fixture
def namespace(kind: KindCluster) -> Iterator[str]:
    """A namespace of the test's own that enforces Pod Security's level restricted; deleted, not awaited, at the end."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    kind.kubectl("create", "namespace", name)
    kind.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    kind.wait_until(
        lambda: not kind.run("kubectl", "get", "serviceaccount", "default", "-n", name, check=False).returncode,
        what=f"the service account of {name}",
    )
    yield name
    kind.kubectl("delete", "namespace", name, "--wait=false")
    # A volume belongs to no namespace, and would stay.
    kind.kubectl("delete", "pv", f"checkpoints-{name}", "--ignore-not-found", "--wait=false")
