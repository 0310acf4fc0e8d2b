"""``export --checkpoint`` from a cluster: a short-lived Pod opens the volume, ``tar`` runs in it, and the archive is verified here.

Whatever happens, Ctrl-C included, the Pod is deleted. Should this process be killed, the Pod ends by its own deadline.
"""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

from seatrial.adapters.checkpoint import unpack_checkpoint
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.faults import ApiError, Forbidden, NotFound
from seatrial.adapters.kubernetes.pods import build_pod_record
from seatrial.adapters.kubernetes.port import PODS, KubeObject
from seatrial.adapters.kubernetes.reader_pod import CONTAINER, LABEL, build_reader, checkpoint_folder
from seatrial.adapters.kubernetes.user_client import UserClient
from seatrial.api.environment import checkpoint_url
from seatrial.api.study import Study
from seatrial.api.trial import Checkpoint, Trial
from seatrial.entry.cli.exits import error
from seatrial.entry.cli.kube.connection import Flags, connected
from seatrial.entry.cli.sources import in_object_store
from seatrial.errors import TransientError, UsageError

__all__ = ["copy_from_cluster"]

_START_SECONDS = 300
_RIGHTS = (
    "copying a checkpoint takes the rights to create, list, watch and delete pods and to create and get pods/exec in the study's "
    "namespace (the role edit has them); without them ask an administrator to copy"
)


async def copy_from_cluster(flags: Flags, study: Study, trial: Trial, target: Path) -> None:
    """Copy the last checkpoint of a trial into *target* and verify it.

    Raises:
        UsageError: If there is none, it may not be read, or it is not whole; nothing is left behind, here or there.
        TransientError: If the Pod does not start or the connection breaks off.
    """
    saved = trial.status.checkpoint
    if saved is None:
        raise UsageError(f"{trial.metadata.name} has no checkpoint; name another trial by --trial")
    owner = trial.spec.reuse_of or trial.metadata.name
    if url := checkpoint_url(study):
        raise UsageError(in_object_store(f"{url}/{owner}/{saved.path}"))
    pod = build_reader(study, f"{study.metadata.name[:40]}-reader-{secrets.token_hex(3)}")
    folder = checkpoint_folder(study, owner, saved.path)
    with _interruptible():
        async with connected(flags) as connection:
            try:
                async with _running(connection.client, pod):
                    await _receive(connection.client, pod, folder, saved, target)
            except Forbidden as refused:
                raise UsageError(f"{refused}; {_RIGHTS}") from refused


@contextlib.asynccontextmanager
async def _running(client: UserClient, pod: KubeObject) -> AsyncIterator[None]:
    """Have the Pod run, and delete it."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    refused = False
    try:
        try:
            version = str((await client.create(PODS, namespace, pod))["metadata"]["resourceVersion"])
        except ApiError:
            refused = True
            raise
        error(f"reading the volume through Pod {namespace}/{name}, which is deleted afterwards")
        await _wait_running(client, namespace, name, version)
        yield
    finally:
        # Whoever is interrupted before the answer came does not know whether the Pod is there.
        if not refused:
            await _delete(client, namespace, name)


async def _delete(client: UserClient, namespace: str, name: str) -> None:
    try:
        await client.delete(PODS, namespace, name, grace_seconds=0)
    except NotFound:
        pass
    except (ApiError, TransientError) as trouble:
        words = f"it ends by itself within the hour, or: kubectl delete pod -n {namespace} {name}"
        error(f"Pod {name} could not be deleted ({trouble}); {words}")


async def _wait_running(client: UserClient, namespace: str, name: str, version: str) -> None:
    """Return when the Pod runs; say what it waits for where that takes longer.

    Raises:
        TransientError: If it does not run in time.
        UsageError: If it ends instead.
    """
    state = "nothing happened yet"
    try:
        async with (
            asyncio.timeout(_START_SECONDS),
            contextlib.aclosing(_changes(client, namespace, name, version)) as changes,
        ):
            async for pod in changes:
                before, state = state, _why(pod)
                phase = (pod.get("status") or {}).get("phase")
                if phase == "Running":
                    return
                if phase in {"Succeeded", "Failed"}:
                    raise UsageError(f"Pod {name} ended instead of waiting for us: {state}")
                if state not in {before, ""} and not state.startswith("ContainerCreating"):
                    error(f"Pod {name} waits: {state}")
    except TimeoutError:
        raise TransientError(
            f"Pod {name} did not start within {_START_SECONDS // 60} min: {state}; is the volume held by a trial on another node?"
        ) from None
    raise UsageError(f"Pod {name} was deleted by somebody else; try again")


async def _changes(client: UserClient, namespace: str, name: str, version: str) -> AsyncGenerator[KubeObject]:
    """Yield the Pod whenever it changes, until it is deleted."""
    while True:
        events = client.watch(PODS, namespace, version=version, selector=f"{LABEL}={name}", timeout_seconds=60)
        async for event in events:
            version = event.version
            if event.type == "DELETED":
                return
            if event.type != "BOOKMARK":
                yield event.object


def _why(pod: KubeObject) -> str:
    """Return the Pod's state in the words that trials have."""
    metadata = pod["metadata"]
    # Read as a trial's Pod, which it is not.
    labels = {names.LABEL_TRIAL: metadata["name"], names.LABEL_ATTEMPT: "0", names.LABEL_STUDY: ""}
    attempt = build_pod_record(pod | {"metadata": metadata | {"labels": labels}}).attempt
    return ": ".join(word for word in (attempt.reason, attempt.message) if word)


async def _receive(client: UserClient, pod: KubeObject, folder: str, saved: Checkpoint, target: Path) -> None:
    """Let ``tar`` write into a pipe that is unpacked at its other end, so that nothing is held twice."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    source, sink = os.pipe()
    unpacking = asyncio.create_task(asyncio.to_thread(_unpack, source, target, saved.digest))
    failure: BaseException | None = None
    try:
        command = ["tar", "-C", folder, "-c", "-f", "-", "."]
        async for chunk in client.execute(namespace, name, CONTAINER, command):
            # Blocks in a thread while the disk is slower than the network.
            await asyncio.to_thread(_write_all, sink, chunk)
    except BrokenPipeError:
        pass  # the other end says why
    except BaseException as error_:
        failure = error_
        raise
    finally:
        os.close(sink)
        # A torn archive leaves nothing behind; what tore it is what the user is told.
        done = await asyncio.gather(unpacking, return_exceptions=True)
        if failure is None and isinstance(done[0], BaseException):
            raise done[0]


def _unpack(source: int, target: Path, digest: str) -> None:
    with os.fdopen(source, "rb") as stream:
        unpack_checkpoint(stream, target, digest=digest)


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM clear up as Ctrl-C does."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
