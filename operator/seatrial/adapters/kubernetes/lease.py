"""Leader election by a Lease: at most one operator works, and another one takes over when it is gone.

The holder writes the Lease again and again; who waits takes it when nothing was written for its duration, measured on the
waiter's own clock from when it saw the last write, so that clocks need not agree. A holder that cannot write stops earlier than
that. Two holders for a moment would still be harmless: names and versions decide about every write.

Source of the rules: https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from seatrial.adapters.kubernetes.faults import AlreadyExists, ApiError, Conflict, NotFound
from seatrial.adapters.kubernetes.port import LEASES, KubeClient, KubeObject, PatchKind
from seatrial.errors import TransientError
from seatrial.ports import Clock

__all__ = ["LeaderElection", "LeaseTimes"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How long things take; the defaults are those of Kubernetes' own components.

    Attributes:
        duration_seconds: So long after its last write a holder is taken for gone.
        deadline_seconds: So long after its last write a holder stops by itself; less than the duration.
        retry_seconds: Between two tries.
    """

    duration_seconds: int = 15
    deadline_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not self.retry_seconds < self.deadline_seconds < self.duration_seconds:
            raise ValueError(f"{self}: retry must be less than deadline, and deadline less than duration")


class LeaderElection:
    """One candidate. Belongs to one event loop.

    Args:
        client: The API server.
        namespace: Where the Lease is.
        name: Its name.
        identity: Who we are; no other process may ever have the same.
        clock: The time.
        times: How long things take.
        pause: Waits between two tries.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        times: LeaseTimes | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client, self._namespace, self._name, self._identity = client, namespace, name, identity
        self._clock, self._pause = clock, pause
        self._times = times or LeaseTimes()
        self._seen: tuple[str, datetime] | None = None
        self._written_at: datetime | None = None
        # When it was last read; empty when nobody did.
        self._holder = ""

    @property
    def leading(self) -> bool:
        """Whether we hold the Lease, by our own clock."""
        if self._written_at is None:
            return False
        return self._clock.now() - self._written_at < timedelta(seconds=self._times.deadline_seconds)

    async def acquire(self) -> None:
        """Return when we lead."""
        while not await self._try():
            await self._pause(self._times.retry_seconds)

    async def keep(self) -> str:
        """Return when we lead no longer, and why: somebody else does, or we could not write for too long."""
        while self.leading:
            await self._pause(self._times.retry_seconds)
            # A call that hangs must not outlive the right to lead.
            left = self._times.deadline_seconds - self._age().total_seconds()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(left):
                    await self._try()
            except TimeoutError:
                break
        self._written_at = None
        if self._holder == self._identity:
            return f"the lease {self._name} could not be renewed for {self._times.deadline_seconds:g} s"
        return f"the lease {self._name} is held by {self._holder or 'nobody'}"

    async def release(self) -> None:
        """Give the Lease back, so that the next one need not wait. Never raises: at worst the Lease runs out."""
        if self._written_at is None:
            return
        self._written_at = None
        try:
            found = await self._client.get(LEASES, self._namespace, self._name)
            if (found.get("spec") or {}).get("holderIdentity") == self._identity:
                await self._write(found, holder="", seconds=1)
        except (ApiError, TransientError) as error:
            logger.warning("Cannot give the lease back; it runs out by itself", extra={"error": str(error)})

    def _age(self) -> timedelta:
        now = self._clock.now()
        return now - (self._written_at or now)

    async def _try(self) -> bool:
        """Take or renew the Lease if we may; return whether we lead."""
        try:
            found = await self._client.get(LEASES, self._namespace, self._name)
        except NotFound:
            return await self._create()
        except (ApiError, TransientError) as error:
            return self._failed(error)
        spec = found.get("spec") or {}
        self._holder, now = str(spec.get("holderIdentity") or ""), self._clock.now()
        version = str(found["metadata"]["resourceVersion"])
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
        if self._holder not in {"", self._identity}:
            self._written_at = None
            duration = float(spec.get("leaseDurationSeconds") or self._times.duration_seconds)
            if now - self._seen[1] < timedelta(seconds=duration):
                return False
        return await self._renew(found, now)

    async def _renew(self, found: KubeObject, now: datetime) -> bool:
        try:
            written = await self._write(found, holder=self._identity, seconds=self._times.duration_seconds)
        except Conflict:
            # Somebody was faster; the next look tells who.
            return self.leading
        except (ApiError, TransientError) as error:
            return self._failed(error)
        return self._lead(written, now)

    async def _create(self) -> bool:
        now = self._clock.now()
        at = _micro(now)
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._times.duration_seconds,
            "acquireTime": at,
            "renewTime": at,
            "leaseTransitions": 0,
        }
        try:
            written = await self._client.create(
                LEASES, self._namespace, {"metadata": {"name": self._name}, "spec": spec}
            )
        except AlreadyExists:
            return False
        except (ApiError, TransientError) as error:
            return self._failed(error)
        return self._lead(written, now)

    async def _write(self, found: KubeObject, *, holder: str, seconds: int) -> KubeObject:
        spec = found.get("spec") or {}
        at = _micro(self._clock.now())
        new = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": at}
        if holder and spec.get("holderIdentity") != holder:
            new |= {"acquireTime": at, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        body = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "spec": new}
        return await self._client.patch(LEASES, self._namespace, self._name, body, kind=PatchKind.MERGE)

    def _lead(self, written: KubeObject, asked_at: datetime) -> bool:
        # From when we asked: others count from when they see it, which is later.
        self._holder, self._written_at = self._identity, asked_at
        self._seen = (str(written["metadata"]["resourceVersion"]), asked_at)
        return True

    def _failed(self, error: Exception) -> bool:
        logger.warning("Cannot read or write the lease", extra={"lease": self._name, "error": str(error)})
        return self.leading


def _micro(time: datetime) -> str:
    """Write a time as a Lease has it: microseconds, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
