"""Lets go of Pods: takes their finalizers, deletes them, or marks them as ones to be swept."""

from enum import StrEnum

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.faults import ApiError, Conflict, NotFound
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.pods import PodRecord, build_release
from seatrial.adapters.kubernetes.port import PODS, KubeClient, PatchKind
from seatrial.decide.attempts import Phase
from seatrial.errors import TransientError

__all__ = ["PodRemover", "Retention"]

_SOON_SECONDS = 1.0


class Retention(StrEnum):
    """Which Pods stay, without holding anything, after their result is stored, so that their logs can be read."""

    NONE = "None"
    FAILED = "Failed"
    ALL = "All"


class PodRemover:
    """Removes Pods from the server and from the cache. Belongs to one event loop.

    Its methods raise TransientError when the API server is not ready, or a Pod is not any more what it is taken for.

    Args:
        client: The API server.
        pods: Cache of the Pods of trials.
        retention: Which Pods stay.
    """

    def __init__(self, client: KubeClient, pods: Informer[PodRecord], retention: Retention) -> None:
        self._client, self._pods, self._retention = client, pods, retention

    async def refresh(self, namespace: str, name: str) -> PodRecord | None:
        """Read a Pod from the server into the cache; None when it is gone or none of Seatrial's."""
        try:
            found = await self._client.get(PODS, namespace, name)
        except NotFound:
            return None
        except ApiError as error:
            raise TransientError(f"Pod {name} cannot be read: {error}") from error
        # The cache is one of Pods with this label.
        return self._pods.note(found) if names.LABEL_TRIAL in (found["metadata"].get("labels") or {}) else None

    async def let_go(self, pod: PodRecord, *, keep: bool = True) -> None:
        """Take the finalizer away, and delete the Pod or mark it as one to be swept, unless it is to stay.

        A Pod that is deleted at once is so before it is free: one that is free and unmarked when this process dies would be nobody's.
        """
        good = pod.attempt.phase is Phase.EXITED and pod.attempt.exit_code == 0
        wanted = self._retention is Retention.ALL or (self._retention is Retention.FAILED and not good)
        # A Pod whose other containers still run would hold its node's resources, and one whose study is gone a namespace.
        waits = keep and pod.ended
        if not waits and not pod.deleting:
            await self.delete(pod)
        await self._take_finalizer(pod, sweep=waits and not wanted and not pod.deleting)

    async def dismiss(self, pod: PodRecord) -> None:
        """Delete a Pod of which nothing is wanted, unless it has been given another attempt.

        It is marked first, by a write that fails if it has: who dies before the deletion leaves it to be swept.
        """
        await self._take_finalizer(pod, sweep=not pod.deleting)
        left = self._pods.get(pod.study.namespace, pod.name)
        if left is not None and left.uid == pod.uid and not left.deleting:
            await self.delete(left)

    async def _take_finalizer(self, pod: PodRecord, *, sweep: bool) -> None:
        if pod.finalizer is None:
            return
        of = (pod.attempt.trial, pod.attempt.number) if pod.slot is not None else None
        namespace, operations = pod.study.namespace, build_release(pod.uid, pod.finalizer, sweep=sweep, of=of)
        try:
            freed = await self._client.patch(PODS, namespace, pod.name, operations, kind=PatchKind.JSON)
        except NotFound:
            self._pods.note_gone(namespace, pod.name, pod.uid)
            return
        except Conflict as error:
            await self.refresh(namespace, pod.name)
            words = f"Pod {pod.name} was changed by somebody else; look again"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS) from error
        except ApiError as error:
            raise TransientError(f"Pod {pod.name} cannot be released: {error}") from error
        metadata = freed["metadata"]
        waits = metadata.get("deletionGracePeriodSeconds") or metadata.get("finalizers")
        if metadata.get("deletionTimestamp") and not waits:
            # Nothing else held it: this is how it was last.
            self._pods.note_gone(namespace, pod.name, pod.uid)
        else:
            self._pods.note(freed)

    async def delete(self, pod: PodRecord) -> None:
        """Delete a Pod; what holds it keeps it."""
        namespace = pod.study.namespace
        try:
            left = await self._client.delete(PODS, namespace, pod.name, uid=pod.uid)
        except NotFound:
            self._pods.note_gone(namespace, pod.name, pod.uid)
            return
        except Conflict as error:
            newest = await self.refresh(namespace, pod.name)
            if newest is None or newest.uid != pod.uid:
                # It is gone; another one of its name is none of ours.
                self._pods.note_gone(namespace, pod.name, pod.uid)
                return
            words = f"Pod {pod.name} cannot be deleted now: {error}"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS) from error
        except ApiError as error:
            raise TransientError(f"Pod {pod.name} cannot be deleted: {error}") from error
        if left is None:
            self._pods.note_gone(namespace, pod.name, pod.uid)
        else:
            self._pods.note(left)
