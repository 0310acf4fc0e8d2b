"""A few faults between the operator process and a real API server, one after the other. `make faults` tries more of them."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from control_plane.client import Client
from control_plane.cluster import ControlPlane
from faults.plans import Plan
from faults.real import RealStage, make_namespace, run_real_stage

PLANS = [
    "grid:crash-after@9+0s#1",
    "grid:lost-reply@4+0s#1",
    "grid:unavailable@14+8s#1",
    "grid:stale-list@20+0s#1",
    "grid:time-travel@17+8s#1",
]


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, api: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStage]:
    """An operator behind a proxy, and the run without a fault."""
    # A namespace goes some time after it was deleted; its name is taken until then.
    name = f"faults-{uuid4().hex[:8]}"
    make_namespace(api, name)
    with run_real_stage(control_plane, name, tmp_path_factory.mktemp("faults")) as found:
        found.reference("grid")
        yield found
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize("text", PLANS)
def test_a_fault_before_a_real_server_changes_no_result(stage: RealStage, text: str) -> None:
    result = stage.run_plan(Plan.read(text))

    assert (result.struck, result.violations) == (True, ())
    assert result.kills == ("crash-after" in text or "time-travel" in text)
