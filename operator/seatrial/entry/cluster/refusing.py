"""Tells the author of a study that cannot be run what is wrong with it, once."""

from seatrial.adapters.kubernetes.faults import ApiError, NotFound
from seatrial.adapters.kubernetes.port import STUDIES, KubeClient, KubeObject
from seatrial.adapters.kubernetes.records import StudyRecord
from seatrial.adapters.kubernetes.store import KubernetesStore
from seatrial.api.conditions import Condition, StudyReason, find_condition, with_condition
from seatrial.api.study import StudyStatus
from seatrial.decide.actions import shorten
from seatrial.decide.snapshot import format_time
from seatrial.errors import TransientError
from seatrial.ports import Clock, StudyKey

__all__ = ["Refuser"]


class Refuser:
    """Writes ``Succeeded: False, InvalidSpec``.

    Args:
        client: Reads what is stored: a study that is not valid is not in the cache.
        store: Writes.
        clock: The time.
    """

    def __init__(self, client: KubeClient, store: KubernetesStore, *, clock: Clock) -> None:
        self._client, self._store, self._clock = client, store, clock
        self._told: dict[StudyKey, tuple[str, int, str]] = {}

    async def refuse(self, key: StudyKey, record: StudyRecord, problem: str) -> StudyStatus | None:
        """Say it in the study's status unless it says so already.

        Returns:
            The status written, None when nothing was.

        Raises:
            TransientError: If the API server is not ready, or the study was just edited.
        """
        telling = (record.uid, record.generation, problem)
        if self._told.get(key) == telling:
            return None
        old = await self._read(key)
        if old is None:
            return None
        new = self._build(old, record, problem)
        if new != old:
            await self._store.update_study(key, new)
        self._told[key] = telling
        return new if new != old else None

    def forget(self, key: StudyKey) -> None:
        """Forget a study: it is gone, or valid by now."""
        self._told.pop(key, None)

    def _build(self, old: StudyStatus, record: StudyRecord, problem: str) -> StudyStatus:
        message = shorten(problem)
        stored = find_condition(old.conditions, "Succeeded")
        at = format_time(self._clock.now())
        new = Condition(
            type="Succeeded",
            status="False",
            reason=StudyReason.INVALID_SPEC.value,
            message=message,
            last_transition_time=stored.last_transition_time if stored and stored.status == "False" else at,
            observed_generation=record.generation,
        )
        return old.model_copy(
            update={
                "conditions": with_condition(old.conditions, new),
                "observed_generation": record.generation,
                "state": StudyReason.INVALID_SPEC.value,
            }
        )

    async def _read(self, key: StudyKey) -> StudyStatus | None:
        try:
            found = await self._client.get(STUDIES, *key)
        except NotFound:
            return None
        except ApiError as error:
            raise TransientError(f"study {key.name} cannot be read: {error}") from error
        return _status_of(found)


def _status_of(found: KubeObject) -> StudyStatus:
    try:
        return StudyStatus.model_validate(found.get("status") or {})
    except ValueError:
        # Somebody else wrote it; it is written anew.
        return StudyStatus()
