"""Kopf's part of the operator on a real control plane: it tells of Studies and writes nothing."""

from __future__ import annotations

import asyncio

import kopf
import pytest

from adapters.kubernetes.contract import a_study_object
from control_plane.client import STUDIES, Client
from control_plane.cluster import ControlPlane
from seatrial.entry.cluster.handlers import build_registry, build_settings
from seatrial.ports import StudyKey


def test_kopf_tells_of_studies_and_leaves_them_as_they_are(
    control_plane: ControlPlane, api: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.admin.kubeconfig))
    path = STUDIES.format(namespace=namespace)
    told: asyncio.Queue[StudyKey] = asyncio.Queue()
    calls: list[str] = []

    async def begin() -> None:
        calls.append("start")

    async def end() -> None:
        calls.append("stop")

    async def main() -> None:
        halt = asyncio.Event()
        registry = build_registry(told.put_nowait, start=begin, stop=end)
        task = asyncio.ensure_future(
            kopf.operator(
                registry=registry,
                settings=build_settings(),
                standalone=True,
                namespaces=[namespace],
                stop_flag=halt,
            )
        )
        async with asyncio.timeout(60):
            api.create(path, a_study_object("before"))
            assert await told.get() == (namespace, "before")
            api.create(path, a_study_object("after"))
            while await told.get() != (namespace, "after"):
                pass
            api.delete(f"{path}/after")
            while await told.get() != (namespace, "after"):
                pass
            halt.set()
            await task

    asyncio.run(main())

    left = api.get(f"{path}/before").body["metadata"]
    assert calls == ["start", "stop"]
    assert "finalizers" not in left
    assert "annotations" not in left
    assert [one["manager"] for one in left["managedFields"]] != []
    assert not any("kopf" in one["manager"] for one in left["managedFields"])
    assert api.get(f"/api/v1/namespaces/{namespace}/events").body["items"] == []
