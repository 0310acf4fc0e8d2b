"""What the store does while the cluster changes under it; the rest is in the contract of all stores."""

from __future__ import annotations

import asyncio

from adapters.kubernetes.world import Cluster, Memory
from decide.builders import a_study
from seatrial.adapters.kubernetes.faults import NotFound
from seatrial.adapters.kubernetes.port import STUDIES, Resource
from seatrial.adapters.local.simulated import Script


def test_a_study_that_comes_while_the_one_before_it_is_found_gone_is_kept():
    async def main() -> None:
        cluster = Cluster(lambda *_: Script())
        memory = Memory(cluster)
        key = cluster.put_study(a_study())
        await memory.settle()

        async def answer_late(resource: Resource, namespace: str, name: str) -> None:
            cluster.server.delete(resource, namespace, name)
            cluster.put_study(a_study())
            await memory.settle()
            raise NotFound("studies s not found", code=404, reason="NotFound")

        memory.client.get = answer_late
        await memory.store.refresh_study(key)

        study = await memory.store.read_study(key)
        assert study is not None
        assert study.metadata.uid == cluster.server.get(STUDIES, *key)["metadata"]["uid"]
        await memory.close()

    asyncio.run(main())
