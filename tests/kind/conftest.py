"""One kind cluster for all tests of this folder, and a namespace for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from kind.cluster import KindCluster, run_kind_cluster
from kind.installation import Installation
from kind.stories import STORIES, Stories, Told, start

_HERE = Path(__file__).parent
# The first run ever builds a node image.
_LONGEST_SECONDS = 1800
# The order that takes least time: beside studies that train runs what harms them not.
_ORDER = [
    "test_events_of_life",
    "test_training",
    "test_kubectl_plugin",
    "test_population",
    "test_promotion",
    # Kills the operator too, which the studies before have to stand.
    "test_handing_on",
    # From here on no study needs the GPUs, and none kills the operator.
    "test_kind",
    "test_operators",
    "test_without_prometheus",
    # Stands between Pods, which the studies before should not feel.
    "test_network_policies",
    # Takes Seatrial away: nothing else runs.
    "test_release",
]
_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test in this folder, before ``-m`` chooses, and put them into their order."""
    ours = [item for item in items if _HERE in item.path.parents]
    for item in ours:
        item.add_marker("kind")
        item.add_marker(pytest.mark.timeout(_LONGEST_SECONDS))
    others = [item for item in items if _HERE not in item.path.parents]
    items[:] = others + sorted(ours, key=lambda item: _ORDER.index(item.path.stem))


@pytest.fixture(scope="session")
def kind() -> Iterator[KindCluster]:
    """A cluster that is up, with two pretended GPUs."""
    with run_kind_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def seatrial(kind: KindCluster) -> Installation:
    """Seatrial on that cluster, as a user installs it; the tests leave it as they found it."""
    return Installation.create(kind)


@contextmanager
def a_namespace(kind: KindCluster, name: str) -> Iterator[str]:
    kind.add_namespace(name)
    yield name
    # A node takes seconds for it: the next test need not wait.
    kind.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
    # A volume belongs to no namespace, and would stay.
    kind.kubectl("delete", "pv", f"checkpoints-{name}", "--ignore-not-found", "--wait=false")


@pytest.fixture
def namespace(kind: KindCluster) -> Iterator[str]:
    """A namespace of the test's own that enforces Pod Security's level restricted; deleted, not awaited, at the end."""
    with a_namespace(kind, f"test-{os.getpid()}-{next(_numbers)}") as name:
        yield name


@pytest.fixture(scope="session", autouse=True)
def stories(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    """The long studies that some test of this run asks for; they begin with the first test."""
    asked = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    running = Stories(running={})
    with ExitStack() as namespaces:
        for name in [name for name in STORIES if name in asked]:
            seatrial: Installation = request.getfixturevalue("seatrial")
            place = namespaces.enter_context(a_namespace(seatrial.kind, f"{name.replace('_', '-')}-{os.getpid()}"))
            tell = partial(STORIES[name], seatrial, place, tmp_path_factory.mktemp(name), running)
            running.running[name] = start(tell)
        yield running


@pytest.fixture(scope="session")
def gpus(stories: Stories) -> Told:
    """The study of four GPUs on a cluster that has two, from its first Pod to its end."""
    return stories.end_of("gpus")


@pytest.fixture(scope="session")
def hopeless(stories: Stories) -> Told:
    """A study whose trials Prometheus sees long enough to stop some."""
    return stories.end_of("hopeless")


@pytest.fixture(scope="session")
def population(stories: Stories) -> Told:
    """The example of a population, whose operator was killed twice."""
    return stories.end_of("population")


@pytest.fixture(scope="session")
def promotion(stories: Stories) -> Told:
    """The example of ASHA with promotion, looked at while it ran."""
    return stories.end_of("promotion")


@pytest.fixture(scope="session")
def no_prometheus(stories: Stories) -> Told:
    """The laptop's example, whose Prometheus was taken away on the way."""
    return stories.end_of("no_prometheus")
