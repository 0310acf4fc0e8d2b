"""What every client of an API server must do, and what every API server must do for it; a test module brings one and inherits the suite."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.faults import AlreadyExists, Conflict, Gone, Invalid, NotFound
from seatrial.adapters.kubernetes.port import (
    LEASES,
    PODS,
    STUDIES,
    TRIALS,
    KubeClient,
    KubeObject,
    PatchKind,
    WatchEvent,
)

Connect = Callable[[], KubeClient]
_LONGEST_SECONDS = 30


def live(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Give a test a client of its own and an event loop."""

    async def body(self: object, connect: Connect, namespace: str) -> None:
        client = connect()
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                await test(self, client, namespace)
        finally:
            await client.close()

    @functools.wraps(test)
    def run(self: object, connect: Connect, namespace: str) -> None:
        asyncio.run(body(self, connect, namespace))

    del run.__wrapped__
    run.__signature__ = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("self", "connect", "namespace")]
    )
    return run


def a_lease(name: str = "one", **labels: str) -> KubeObject:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"holderIdentity": "me"}}


def a_pod(name: str = "one", *, node: str | None = None, finalizer: bool = False, **labels: str) -> KubeObject:
    spec: KubeObject = {"containers": [{"name": "main", "image": "example.invalid/none:1"}]}
    metadata: KubeObject = {"name": name, "labels": labels}
    if node:
        spec["nodeName"] = node
    if finalizer:
        metadata["finalizers"] = [names.FINALIZER]
    return {"metadata": metadata, "spec": spec}


def owned_by(owner: KubeObject, held: KubeObject) -> KubeObject:
    identity = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
    held["metadata"]["ownerReferences"] = [{**identity, "uid": owner["metadata"]["uid"], "controller": True}]
    return held


async def until_gone(client: KubeClient, namespace: str, pod: KubeObject) -> str:
    """Return the name of the first Pod that goes after this one has come."""
    version = pod["metadata"]["resourceVersion"]
    async with aclosing(client.watch(PODS, namespace, version=version)) as events:
        async for event in events:
            if event.type == "DELETED":
                return str(event.object["metadata"]["name"])
    raise AssertionError("the watch ended, and nothing had gone")


def a_study_object(name: str = "s", **spec: object) -> KubeObject:
    body: KubeObject = {
        "objectives": [{"metric": "loss", "goal": "minimize"}],
        "parameters": [{"name": "x", "type": "float", "min": 0, "max": 1}],
        "budget": {"maxTrials": 10},
        "trial": {"template": {"spec": {"containers": [{"name": "main", "image": "example.invalid/none:1"}]}}},
    }
    return {"apiVersion": STUDIES.api_version, "kind": "Study", "metadata": {"name": name}, "spec": body | spec}


def a_trial_object(name: str = "s-0") -> KubeObject:
    spec = {"study": "s", "index": 0, "assignment": {"x": 0.5}, "seed": 7, "origin": {"algorithm": "random"}}
    return {"apiVersion": TRIALS.api_version, "kind": "Trial", "metadata": {"name": name}, "spec": spec}


async def take(events: AsyncIterator[WatchEvent], number: int) -> list[WatchEvent]:
    """Return the next events that are no bookmarks."""
    found: list[WatchEvent] = []
    async for event in events:
        if event.type != "BOOKMARK":
            found.append(event)
        if len(found) == number:
            break
    return found


class ClientContract:
    """Needs fixtures ``connect``, which returns a new client each time it is called, and ``namespace``, an empty namespace."""

    # ---- objects -----------------------------------------------------------------------------------------------------

    @live
    async def test_what_was_created_is_read_back_with_an_identity(self, client: KubeClient, namespace: str):
        created = await client.create(LEASES, namespace, a_lease())

        found = await client.get(LEASES, namespace, "one")
        assert found == created
        assert found["spec"]["holderIdentity"] == "me"
        assert found["metadata"]["uid"]
        assert found["metadata"]["creationTimestamp"].endswith("Z")
        assert int(found["metadata"]["resourceVersion"]) > 0

    @live
    async def test_a_taken_name_is_refused_as_such(self, client: KubeClient, namespace: str):
        await client.create(LEASES, namespace, a_lease())

        with pytest.raises(AlreadyExists, match="already exists"):
            await client.create(LEASES, namespace, a_lease())

    @live
    async def test_what_does_not_exist_is_not_found_by_any_verb(self, client: KubeClient, namespace: str):
        for call in (
            client.get(PODS, namespace, "none"),
            client.patch(PODS, namespace, "none", {"metadata": {}}, kind=PatchKind.MERGE),
            client.delete(PODS, namespace, "none"),
        ):
            with pytest.raises(NotFound, match="not found"):
                await call

    @live
    async def test_a_dry_run_stores_nothing(self, client: KubeClient, namespace: str):
        answered = await client.create(PODS, namespace, a_pod(), dry_run=True, strict=True)

        assert answered["metadata"]["name"] == "one"
        with pytest.raises(NotFound):
            await client.get(PODS, namespace, "one")

    @live
    async def test_a_status_is_written_only_through_its_own_door(self, client: KubeClient, namespace: str):
        await client.create(TRIALS, namespace, {**a_trial_object(), "status": {"attempt": 3}})
        ignored = await client.patch(TRIALS, namespace, "s-0", {"status": {"attempt": 4}}, kind=PatchKind.MERGE)

        written = await client.patch(
            TRIALS, namespace, "s-0", {"status": {"attempt": 5}}, kind=PatchKind.MERGE, subresource="status"
        )

        assert ignored.get("status", {}).get("attempt", 0) == 0
        assert written["status"]["attempt"] == 5
        assert written["spec"] == ignored["spec"]

    @live
    async def test_only_a_new_specification_counts_as_a_generation(self, client: KubeClient, namespace: str):
        await client.create(STUDIES, namespace, a_study_object())
        status = await client.patch(
            STUDIES, namespace, "s", {"status": {"gpuHours": 1.5}}, kind=PatchKind.MERGE, subresource="status"
        )

        edited = await client.patch(STUDIES, namespace, "s", {"spec": {"suspend": True}}, kind=PatchKind.MERGE)

        assert status["metadata"]["generation"] == 1
        assert edited["metadata"]["generation"] == 2
        assert edited["status"]["gpuHours"] == 1.5

    # ---- patches -----------------------------------------------------------------------------------------------------

    @live
    async def test_a_merge_patch_changes_what_it_names_and_null_removes(self, client: KubeClient, namespace: str):
        await client.create(LEASES, namespace, a_lease(kept="yes", dropped="yes"))

        patched = await client.patch(
            LEASES, namespace, "one", {"metadata": {"labels": {"dropped": None, "new": "yes"}}}, kind=PatchKind.MERGE
        )

        assert patched["metadata"]["labels"] == {"kept": "yes", "new": "yes"}

    @live
    async def test_a_patch_of_an_old_version_is_a_conflict(self, client: KubeClient, namespace: str):
        old = await client.create(TRIALS, namespace, a_trial_object())
        version = old["metadata"]["resourceVersion"]
        await client.patch(TRIALS, namespace, "s-0", {"metadata": {"labels": {"a": "b"}}}, kind=PatchKind.MERGE)
        operations = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/status", "value": {"attempt": 1}},
        ]

        with pytest.raises(Conflict):
            await client.patch(TRIALS, namespace, "s-0", operations, kind=PatchKind.JSON, subresource="status")
        with pytest.raises(Conflict):
            await client.patch(
                TRIALS, namespace, "s-0", {"metadata": {"resourceVersion": version}}, kind=PatchKind.MERGE
            )

    @live
    async def test_a_json_patch_replaces_a_whole_status(self, client: KubeClient, namespace: str):
        created = await client.create(TRIALS, namespace, a_trial_object())

        found = created
        for status in ({"attempt": 1, "progress": "1/9"}, {"attempt": 2}):
            version = found["metadata"]["resourceVersion"]
            operations = [
                {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
                {"op": "add", "path": "/status", "value": status},
            ]
            found = await client.patch(TRIALS, namespace, "s-0", operations, kind=PatchKind.JSON, subresource="status")

        assert found["status"]["attempt"] == 2
        assert found["status"].get("progress", "") == ""

    @live
    async def test_a_json_patch_whose_test_fails_is_a_conflict_and_changes_nothing(
        self, client: KubeClient, namespace: str
    ):
        await client.create(PODS, namespace, a_pod(finalizer=True))
        path = "/metadata/finalizers/0"

        with pytest.raises(Conflict):
            await client.patch(
                PODS,
                namespace,
                "one",
                [{"op": "test", "path": path, "value": "another.dev/one"}, {"op": "remove", "path": path}],
                kind=PatchKind.JSON,
            )

        assert (await client.get(PODS, namespace, "one"))["metadata"]["finalizers"] == [names.FINALIZER]
        await self._free(client, namespace, "one")

    @live
    async def test_a_status_applied_again_loses_what_is_not_in_it_any_more(self, client: KubeClient, namespace: str):
        study = await client.create(STUDIES, namespace, a_study_object())
        identity = {"name": "s", "namespace": namespace, "uid": study["metadata"]["uid"]}

        found = study
        for status in ({"gpuHours": 1.5, "progress": "1/9"}, {"gpuHours": 2.5}):
            body = {"apiVersion": STUDIES.api_version, "kind": "Study", "metadata": identity, "status": status}
            found = await client.patch(
                STUDIES, namespace, "s", body, kind=PatchKind.APPLY, subresource="status", manager="tester"
            )

        assert found["status"]["gpuHours"] == 2.5
        assert found["status"].get("progress", "") == ""
        assert found["spec"]["objectives"] == study["spec"]["objectives"]

    @live
    async def test_a_status_of_any_text_is_applied_as_it_is(self, client: KubeClient, namespace: str):
        await client.create(STUDIES, namespace, a_study_object())
        texts = {
            "a": "😀 \U0010fffd",
            "b": "\x1b[2J\x00\x7f\x85\x9f",
            "c": "\u2028\u2029\ufeff\ufffe\uffff",
            "d": "{[#&*!|>'\"%@`: - \\\n\t",
        }
        best = {"trial": "s-0", "index": 0, "values": [1.0], "assignment": texts}
        body = {
            "apiVersion": STUDIES.api_version,
            "kind": "Study",
            "metadata": {"name": "s", "namespace": namespace},
            "status": {"best": best},
        }

        found = await client.patch(
            STUDIES, namespace, "s", body, kind=PatchKind.APPLY, subresource="status", manager="tester"
        )

        assert found["status"]["best"]["assignment"] == texts

    @live
    async def test_applying_a_status_to_an_old_version_is_a_conflict(self, client: KubeClient, namespace: str):
        study = await client.create(STUDIES, namespace, a_study_object())
        version = study["metadata"]["resourceVersion"]
        await client.patch(STUDIES, namespace, "s", {"spec": {"suspend": True}}, kind=PatchKind.MERGE)
        body = {
            "apiVersion": STUDIES.api_version,
            "kind": "Study",
            "metadata": {"name": "s", "namespace": namespace, "resourceVersion": version},
            "status": {"gpuHours": 1.5},
        }

        with pytest.raises(Conflict):
            await client.patch(
                STUDIES, namespace, "s", body, kind=PatchKind.APPLY, subresource="status", manager="tester"
            )

    # ---- deletion ----------------------------------------------------------------------------------------------------

    @live
    async def test_what_nothing_holds_is_gone_at_once(self, client: KubeClient, namespace: str):
        await client.create(PODS, namespace, a_pod())

        left = await client.delete(PODS, namespace, "one", grace_seconds=0)

        assert left is None or left["metadata"]["name"] == "one"
        with pytest.raises(NotFound):
            await client.get(PODS, namespace, "one")

    @live
    async def test_a_finalizer_holds_a_pod_until_it_is_taken_away(self, client: KubeClient, namespace: str):
        await client.create(PODS, namespace, a_pod(finalizer=True))

        left = await client.delete(PODS, namespace, "one", grace_seconds=0)

        assert left is not None
        assert left["metadata"]["deletionTimestamp"]
        freed = await self._free(client, namespace, "one")
        assert not freed["metadata"].get("finalizers")
        with pytest.raises(NotFound):
            await client.get(PODS, namespace, "one")

    @live
    async def test_a_placed_pod_has_its_grace_period_and_shortening_it_keeps_the_moment_of_the_request(
        self, client: KubeClient, namespace: str
    ):
        await client.create(PODS, namespace, a_pod(node="node-0", finalizer=True))

        first = await client.delete(PODS, namespace, "one", grace_seconds=30)
        second = await client.delete(PODS, namespace, "one", grace_seconds=0)

        assert first is not None
        assert second is not None
        assert first["metadata"]["deletionGracePeriodSeconds"] == 30
        assert second["metadata"]["deletionGracePeriodSeconds"] == 0
        assert second["metadata"]["deletionTimestamp"] < first["metadata"]["deletionTimestamp"]
        await self._free(client, namespace, "one")

    @live
    async def test_the_object_of_another_identity_is_not_deleted(self, client: KubeClient, namespace: str):
        await client.create(PODS, namespace, a_pod())

        with pytest.raises(Conflict):
            await client.delete(PODS, namespace, "one", uid="11111111-1111-4111-8111-111111111111")

    @live
    async def test_all_that_a_selector_finds_is_deleted_by_one_call_and_what_is_held_stays(
        self, client: KubeClient, namespace: str
    ):
        for name, labels, held in (("a", {"gone": "true"}, False), ("b", {"gone": "true"}, True), ("c", {}, False)):
            await client.create(PODS, namespace, a_pod(name, finalizer=held, **labels))

        await client.delete_all(PODS, namespace, selector="gone=true")

        left = (await client.list(PODS, namespace)).items
        assert {pod["metadata"]["name"]: "deletionTimestamp" in pod["metadata"] for pod in left} == {
            "b": True,
            "c": False,
        }
        await self._free(client, namespace, "b")

    @live
    async def test_a_selector_that_finds_everything_is_a_mistake(self, client: KubeClient, namespace: str):
        await client.create(PODS, namespace, a_pod())

        with pytest.raises(ValueError, match="empty"):
            await client.delete_all(PODS, namespace, selector="")
        assert (await client.get(PODS, namespace, "one"))["metadata"]["name"] == "one"

    @live
    async def test_what_an_object_owned_goes_with_it(self, client: KubeClient, namespace: str):
        owner = await client.create(TRIALS, namespace, a_trial_object())
        created = await client.create(PODS, namespace, owned_by(owner, a_pod()))

        await client.delete(TRIALS, namespace, "s-0")

        assert await until_gone(client, namespace, created) == "one"

    @live
    async def test_what_is_created_for_an_owner_that_is_gone_goes_too(self, client: KubeClient, namespace: str):
        owner = await client.create(TRIALS, namespace, a_trial_object())
        await client.delete(TRIALS, namespace, "s-0")

        created = await client.create(PODS, namespace, owned_by(owner, a_pod()))

        assert await until_gone(client, namespace, created) == "one"

    # ---- lists and watches -------------------------------------------------------------------------------------------

    @live
    async def test_a_list_comes_in_parts_and_by_selector(self, client: KubeClient, namespace: str):
        for number in range(5):
            await client.create(LEASES, namespace, a_lease(f"n{number}", kind="odd" if number % 2 else "even"))

        first = await client.list(LEASES, namespace, limit=3)
        rest = await client.list(LEASES, namespace, limit=3, next=first.next)
        even = await client.list(LEASES, namespace, selector="kind=even")

        found = [item["metadata"]["name"] for item in (*first.items, *rest.items)]
        assert found == [f"n{number}" for number in range(5)]
        assert first.version == rest.version
        assert (bool(first.next), bool(rest.next)) == (True, False)
        assert [item["metadata"]["name"] for item in even.items] == ["n0", "n2", "n4"]

    @live
    async def test_a_watch_tells_all_that_happens_after_its_version_in_order(self, client: KubeClient, namespace: str):
        before = await client.create(LEASES, namespace, a_lease("before"))
        start = (await client.list(LEASES, namespace)).version
        await client.create(LEASES, namespace, a_lease("one"))
        label = {"metadata": {"labels": {"a": "b"}}}
        changed = await client.patch(LEASES, namespace, "one", label, kind=PatchKind.MERGE)
        await client.delete(LEASES, namespace, "before", uid=before["metadata"]["uid"])

        async with aclosing(client.watch(LEASES, namespace, version=start)) as events:
            found = await take(events, 3)

        told = [(event.type, event.object["metadata"]["name"]) for event in found]
        assert told == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "before")]
        assert found[1].object == changed
        assert int(found[2].version) > int(found[1].version)

    @live
    async def test_an_object_that_leaves_a_selector_is_told_as_deleted(self, client: KubeClient, namespace: str):
        await client.create(LEASES, namespace, a_lease("one", kind="odd"))
        start = (await client.list(LEASES, namespace)).version
        await client.patch(LEASES, namespace, "one", {"metadata": {"labels": {"kind": "even"}}}, kind=PatchKind.MERGE)

        async with aclosing(client.watch(LEASES, namespace, version=start, selector="kind=odd")) as events:
            found = await take(events, 1)

        assert [event.type for event in found] == ["DELETED"]

    @pytest.mark.slow
    @live
    async def test_a_watch_waits_for_what_comes_and_ends_at_its_timeout(self, client: KubeClient, namespace: str):
        start = (await client.list(LEASES, namespace)).version

        async def follow() -> list[WatchEvent]:
            return [
                event
                async for event in client.watch(LEASES, namespace, version=start, timeout_seconds=2)
                if event.type != "BOOKMARK"
            ]

        following = asyncio.ensure_future(follow())
        await client.create(LEASES, namespace, a_lease("late"))

        assert [event.object["metadata"]["name"] for event in await following] == ["late"]

    @live
    async def test_a_watch_from_a_version_of_long_ago_is_gone(self, client: KubeClient, namespace: str):
        await self.forget_history(client)

        with pytest.raises(Gone):
            async with aclosing(client.watch(TRIALS, namespace, version="1", timeout_seconds=5)) as events:
                await take(events, 1)

    async def forget_history(self, client: KubeClient) -> None:
        """Let the server compact its history; nothing where it has done so."""

    async def _free(self, client: KubeClient, namespace: str, name: str) -> KubeObject:
        path = "/metadata/finalizers/0"
        operations = [{"op": "test", "path": path, "value": names.FINALIZER}, {"op": "remove", "path": path}]
        return await client.patch(PODS, namespace, name, operations, kind=PatchKind.JSON)


class StrictContract:
    """What only a server with schemas can do; needs the same fixtures."""

    @live
    async def test_a_field_that_nobody_knows_is_refused_by_its_name(self, client: KubeClient, namespace: str):
        pod = a_pod()
        pod["spec"]["containers"][0]["imagePullPolice"] = "Always"

        with pytest.raises(Invalid, match=r'unknown field "spec.containers\[0\].imagePullPolice"'):
            await client.create(PODS, namespace, pod, dry_run=True, strict=True)

    @live
    async def test_an_object_that_is_not_valid_is_refused_in_the_servers_words(
        self, client: KubeClient, namespace: str
    ):
        pod = a_pod()
        pod["spec"]["containers"][0]["name"] = "Not A Name"

        with pytest.raises(Invalid, match=r"spec.containers\[0\].name: Invalid value"):
            await client.create(PODS, namespace, pod)
