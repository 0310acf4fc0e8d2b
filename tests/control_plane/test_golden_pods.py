"""The Pods of golden files, which hold what Seatrial adds and leaves, before a real API server and under Pod Security's strictest level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.client import Client
from control_plane.cluster import wait_until
from control_plane.in_force import restrict

GOLDEN = Path(__file__).parents[1] / "adapters" / "kubernetes" / "golden"


@pytest.mark.parametrize("name", ["plain", "rich"])
def test_the_api_server_takes_the_pod_of_a_golden_file_field_by_field(api: Client, namespace: str, name: str) -> None:
    pod: dict[str, Any] = yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())
    pod["metadata"]["namespace"] = namespace
    # What this API server cannot know yet; all else has to be there, with every field known.
    pod["spec"].pop("fieldOfTomorrow", None)
    if wanted := pod["spec"].get("priorityClassName"):
        pod["spec"]["priorityClassName"] = namespace
        body = {"metadata": {"name": namespace}, "value": 1}
        assert wanted == "low"
        assert api.create("/apis/scheduling.k8s.io/v1/priorityclasses", body).is_accepted
    restrict(api, namespace)
    path = f"/api/v1/namespaces/{namespace}/pods"

    def is_known() -> bool:
        # The class is known some moments after it was made.
        return "no PriorityClass with name" not in api.create(path, pod, dryRun="All").message

    wait_until(is_known, what="the class of priority")
    answer = api.create(path, pod, dryRun="All")
    api.delete(f"/apis/scheduling.k8s.io/v1/priorityclasses/{namespace}")

    assert answer.code == 201, answer.message
    taken = answer.body["spec"]
    for field, value in pod["spec"].items():
        if isinstance(value, str | int | bool):
            assert taken[field] == value, field
    given, found = pod["spec"]["containers"][-1], taken["containers"][-1]
    assert [found.get(field) for field in ("env", "command", "args")] == [
        given.get(field) for field in ("env", "command", "args")
    ]
    for kind, value in given.get("resources", {}).get("limits", {}).items():
        # A quantity is a text there.
        assert found["resources"]["limits"][kind] == str(value)
    assert found["resources"].get("claims") == given.get("resources", {}).get("claims")
