"""Kubernetes Events on a real API server, which has rules of its own for them."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config

from control_plane.client import Client
from control_plane.cluster import ControlPlane
from seatrial.adapters.kubernetes.client import ApiServerClient
from seatrial.adapters.kubernetes.port import TRIALS
from seatrial.adapters.local.memory import SimulatedClock
from seatrial.entry.cluster.events import EventRecorder, Told, Weight
from seatrial.entry.cluster.telemetry import EventOutcome
from seatrial.ports import StudyKey

UID = "7e9c2a6e-5a51-4d6d-9d0a-3f0c7a3a9f10"


def test_an_event_is_accepted_counted_and_found_as_describe_looks_for_it(
    control_plane: ControlPlane, api: Client, namespace: str
):
    outcomes: list[EventOutcome] = []

    async def main() -> None:
        configuration = Configuration()
        await load_kube_config(str(control_plane.admin.kubeconfig), client_configuration=configuration)
        client, clock = ApiServerClient(configuration), SimulatedClock()
        recorder = EventRecorder(
            client, identify=lambda *_: UID, clock=clock, time=time.monotonic, observe=outcomes.append
        )
        try:
            for words in ("0.1 is below 0.5", "0.2 is below 0.5"):
                told = Told(resource=TRIALS, name="s-1", weight=Weight.WARNING, reason="BelowMedian", message=words)
                recorder.tell(StudyKey(namespace, "s"), told)
                await recorder.flush()
                clock.advance(timedelta(minutes=1).total_seconds())
        finally:
            await client.close()

    asyncio.run(main())

    fields = f"involvedObject.kind=Trial,involvedObject.name=s-1,involvedObject.uid={UID}"
    (event,) = api.get(f"/api/v1/namespaces/{namespace}/events", fieldSelector=fields).body["items"]
    assert (event["reason"], event["count"], event["message"]) == ("BelowMedian", 2, "0.2 is below 0.5")
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2030-01-01T00:00:00Z", "2030-01-01T00:01:00Z")
    assert outcomes == [EventOutcome.WRITTEN, EventOutcome.WRITTEN]
