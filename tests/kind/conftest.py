"""One kind cluster for all tests of this folder, and a namespace for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kind.cluster import KindCluster, run_kind_cluster

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


@pytest.fixture
def namespace(kind: KindCluster) -> Iterator[str]:
    """A namespace of the test's own; deleted, not awaited, at the end."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    kind.kubectl("create", "namespace", name)
    kind.wait_until(
        lambda: not kind.run("kubectl", "get", "serviceaccount", "default", "-n", name, check=False).returncode,
        what=f"the service account of {name}",
    )
    yield name
    kind.kubectl("delete", "namespace", name, "--wait=false")
