"""Before an operator is uninstalled: takes the result-tracking finalizer from every Pod, so that none waits for an operator for ever.

``python -m seatrial.entry.cluster.cleanup`` runs once, with the operator's environment and service account. Trials that run go on
and are only no longer watched: their Trials and Studies stay, and an operator that is installed later reads the Pods that are left.
Ends with 0 when no Pod is held any more, 1 when it has to be tried again, 2 when its environment is wrong.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.faults import ApiError, Conflict, NotFound
from seatrial.adapters.kubernetes.lease import LeaseTimes
from seatrial.adapters.kubernetes.pods import build_release
from seatrial.adapters.kubernetes.port import LEASES, PODS, KubeClient, KubeObject, PatchKind
from seatrial.errors import TransientError, UsageError

__all__ = ["HOLDER", "free_pods", "seize_lease", "tidy_up"]

logger = logging.getLogger(__name__)

HOLDER = "uninstalling"
"""Identity that holds the Lease while an installation is taken down."""

_TIMES = LeaseTimes()
_HOLD_SECONDS = 30
_ROUNDS = 10


async def tidy_up(
    client: KubeClient,
    *,
    namespace: str | None,
    lease_namespace: str,
    lease_name: str,
    pause: Callable[[float], Awaitable[None]],
) -> int:
    """Stop whoever leads, then free all Pods; return how many were freed.

    Args:
        client: The API server.
        namespace: Where the operator works; None is everywhere.
        lease_namespace: Where the Lease is.
        lease_name: Its name.
        pause: Waits.

    Raises:
        TransientError: If Pods are still held at the end, or the API server was not there.
        ApiError: If it said no.
    """
    if await seize_lease(client, lease_namespace, lease_name):
        # So long a leader may still work that cannot reach the API server to see that it lost the Lease.
        await pause(_TIMES.deadline_seconds + _TIMES.retry_seconds)
    total = 0
    for _ in range(_ROUNDS):
        freed, held = await free_pods(client, namespace)
        total += freed
        if not held:
            return total
        await pause(1.0)
    raise TransientError("Pods are still held, since others changed their finalizers all the time; try again")


async def seize_lease(client: KubeClient, namespace: str, name: str) -> bool:
    """Take the Lease from whoever holds it; return whether somebody did.

    It runs out by itself half a minute later: an operator that is installed again waits no longer than that.
    """
    while True:
        try:
            found = await client.get(LEASES, namespace, name)
        except NotFound:
            return False
        held = bool((found.get("spec") or {}).get("holderIdentity"))
        spec = {"holderIdentity": HOLDER, "leaseDurationSeconds": _HOLD_SECONDS}
        body = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "spec": spec}
        try:
            await client.patch(LEASES, namespace, name, body, kind=PatchKind.MERGE)
        except Conflict:
            continue  # Its holder renewed it just now.
        return held


async def free_pods(client: KubeClient, namespace: str | None) -> tuple[int, int]:
    """Take our finalizer from all Pods; return how many were freed, and how many others were changed meanwhile."""
    freed = held = 0
    page = await client.list(PODS, namespace, selector=names.LABEL_TRIAL)
    while True:
        for pod in page.items:
            if names.FINALIZER not in (pod["metadata"].get("finalizers") or ()):
                continue
            if await _free(client, pod):
                freed += 1
            else:
                held += 1
        if not page.next:
            return freed, held
        page = await client.list(PODS, namespace, selector=names.LABEL_TRIAL, next=page.next)


async def _free(client: KubeClient, pod: KubeObject) -> bool:
    metadata = pod["metadata"]
    operations = build_release(metadata["uid"], metadata["finalizers"].index(names.FINALIZER))
    try:
        await client.patch(PODS, metadata["namespace"], metadata["name"], operations, kind=PatchKind.JSON)
    except NotFound:
        return True
    except Conflict:
        return False
    return True


def main() -> None:
    """Run once."""
    from seatrial.entry.cluster.logs import set_up_logs
    from seatrial.entry.cluster.settings import read_settings

    try:
        settings = read_settings(os.environ)
    except UsageError as error:
        sys.stderr.write(f"cleanup: {error}\n")
        sys.exit(2)
    set_up_logs(settings.log_format, settings.log_level)
    try:
        freed = asyncio.run(_run(settings.namespace or None, settings.lease_namespace, settings.lease_name))
    except (ApiError, TransientError) as error:
        logger.error("Pods may still be held", extra={"error": str(error)})  # noqa: TRY400 - no bug
        sys.exit(1)
    logger.info("No Pod is held any more", extra={"freed": freed})


async def _run(namespace: str | None, lease_namespace: str, lease_name: str) -> int:
    from seatrial.adapters.kubernetes.client import ApiServerClient
    from seatrial.entry.cluster.serving import find_api_server

    client = ApiServerClient(await find_api_server(), agent="seatrial-cleanup")
    try:
        return await tidy_up(
            client, namespace=namespace, lease_namespace=lease_namespace, lease_name=lease_name, pause=asyncio.sleep
        )
    finally:
        await client.close()


if __name__ == "__main__":
    main()
