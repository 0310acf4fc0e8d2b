"""Studies and Trials of a cluster as a :class:`~seatrial.ports.StudyStore`: reads come from caches, writes go to the API server.

What was written is visible at once, through the caches. Trials that an earlier study of the same name owned do not exist here.
"""

from collections.abc import Mapping, Sequence

from seatrial.adapters.kubernetes.faults import AlreadyExists, ApiError, Conflict, Invalid, NotFound
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.port import STUDIES, TRIALS, KubeClient, KubeObject, PatchKind
from seatrial.adapters.kubernetes.records import StudyRecord, TrialRecord, build_trial_record
from seatrial.api.meta import OwnerReference
from seatrial.api.study import Study, StudyStatus
from seatrial.api.trial import Trial, TrialStatus
from seatrial.decide.lifecycle import LABEL_STUDY
from seatrial.errors import TransientError
from seatrial.ports import StudyKey

__all__ = ["STATUS_MANAGER", "KubernetesStore"]

STATUS_MANAGER = "seatrial-status"
"""Who owns the fields of Study.status."""

_SOON_SECONDS = 1.0
_LATER_SECONDS = 30.0


class KubernetesStore:
    """The store of a cluster. Belongs to one event loop.

    Args:
        client: The API server.
        studies: Cache of Studies.
        trials: Cache of Trials.
    """

    def __init__(self, client: KubeClient, studies: Informer[StudyRecord], trials: Informer[TrialRecord]) -> None:
        self._client, self._studies, self._trials = client, studies, trials
        self._sorted: dict[StudyKey, tuple[Mapping[str, TrialRecord], str, tuple[Trial, ...]]] = {}

    async def read_study(self, key: StudyKey) -> Study | None:
        """Return the study; None when there is none, when it is being deleted, and when it is not valid."""
        record = self._studies.get(*key)
        return None if record is None or record.deleting else record.model

    async def read_trials(self, key: StudyKey) -> Sequence[Trial]:
        """Return all trials of the study by index.

        Raises:
            TransientError: If no list has been read yet.
        """
        if not self._trials.synced:
            raise TransientError("the trials are not known yet", retry_after_seconds=_SOON_SECONDS)
        records, uid = self._trials.of(key), self._uid(key)
        known = self._sorted.get(key)
        if known is not None and known[0] is records and known[1] == uid:
            return known[2]
        mine = (record.model for record in records.values() if record.owner_uid == uid)
        found = tuple(sorted(mine, key=lambda trial: trial.spec.index))
        self._sorted[key] = (records, uid, found)
        return found

    async def refresh_study(self, key: StudyKey) -> None:
        """Read the study from the server into the cache.

        Raises:
            TransientError: If the API server does not give it.
        """
        # While it is asked another one of this name may come, which is not the one that is gone.
        uid = self._uid(key)
        try:
            self._studies.note(await self._client.get(STUDIES, key.namespace, key.name))
        except NotFound:
            self._studies.note_gone(key.namespace, key.name, uid)
        except ApiError as error:
            raise TransientError(f"study {key.name} cannot be read: {error}") from error

    def forget_study(self, key: StudyKey) -> None:
        """Drop what is kept of a study that is gone."""
        self._sorted.pop(key, None)

    async def create_trial(self, key: StudyKey, trial: Trial) -> Trial:
        """Create a trial; when its name is taken, return the stored one.

        Raises:
            TransientError: If the name is taken by what belongs to no study or to another one, or the API server does not want it.
        """
        body = self._body(key, trial)
        try:
            written = await self._client.create(TRIALS, key.namespace, body)
        except AlreadyExists:
            return await self._read_back(key, trial.metadata.name)
        except ApiError as error:
            raise _refused(trial.metadata.name, error) from error
        return self._noted(written)

    async def update_trial(self, key: StudyKey, trial: Trial, status: TrialStatus) -> Trial:
        """Replace a trial's status and return the trial as stored.

        Raises:
            TransientError: If it was changed or deleted since it was read.
        """
        name, version = trial.metadata.name, trial.metadata.resource_version
        operations: list[KubeObject] = [{"op": "add", "path": "/status", "value": status.to_wire()}]
        if version is not None:
            operations.insert(0, {"op": "replace", "path": "/metadata/resourceVersion", "value": version})
        try:
            written = await self._client.patch(
                TRIALS, key.namespace, name, operations, kind=PatchKind.JSON, subresource="status"
            )
        except NotFound as error:
            self._trials.note_gone(key.namespace, name, trial.metadata.uid or "")
            raise TransientError(f"trial {name} is gone; look again", retry_after_seconds=_SOON_SECONDS) from error
        except Conflict as error:
            await self._refresh(key, name)
            words = f"trial {name} was changed by somebody else; look again"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS) from error
        except ApiError as error:
            raise _refused(name, error) from error
        return self._noted(written)

    async def update_study(self, key: StudyKey, status: StudyStatus) -> None:
        """Replace the study's status; one that is gone is left alone.

        Raises:
            TransientError: If it was edited since it was read (another one may have its name by now), or the API server does not want it.
        """
        record = self._studies.get(*key)
        if record is None:
            return
        body: KubeObject = {
            "apiVersion": STUDIES.api_version,
            "kind": STUDIES.kind,
            # Its uid would not be compared here; its version is.
            "metadata": {"name": key.name, "namespace": key.namespace, "resourceVersion": record.version},
            "status": status.to_wire(),
        }
        try:
            written = await self._client.patch(
                STUDIES,
                key.namespace,
                key.name,
                body,
                kind=PatchKind.APPLY,
                subresource="status",
                manager=STATUS_MANAGER,
            )
        except NotFound:
            self._studies.note_gone(key.namespace, key.name, record.uid)
        except Conflict as error:
            await self.refresh_study(key)
            words = f"study {key.name} was changed by somebody else; look again"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS) from error
        except ApiError as error:
            raise _refused(key.name, error) from error
        else:
            self._studies.note(written)

    def _uid(self, key: StudyKey) -> str:
        record = self._studies.get(*key)
        return record.uid if record else ""

    def _body(self, key: StudyKey, trial: Trial) -> KubeObject:
        owner = OwnerReference(
            api_version=STUDIES.api_version, kind=STUDIES.kind, name=key.name, uid=self._uid(key), controller=True
        )
        return {
            "apiVersion": TRIALS.api_version,
            "kind": TRIALS.kind,
            "metadata": {
                "name": trial.metadata.name,
                "namespace": key.namespace,
                "labels": {**trial.metadata.labels, LABEL_STUDY: key.name},
                "ownerReferences": [owner.to_wire()],
            },
            "spec": trial.spec.to_wire(),
        }

    def _noted(self, written: KubeObject) -> Trial:
        record = self._trials.note(written)
        # The cache may know a newer one; what this write made is what the caller goes on with.
        version = written["metadata"]["resourceVersion"]
        if record is not None and record.model.metadata.resource_version == version:
            return record.model
        return build_trial_record(written).model

    async def _read_back(self, key: StudyKey, name: str) -> Trial:
        """Return the trial that has taken a name."""
        record = await self._refresh(key, name)
        if record is None:
            raise TransientError(f"trial {name} came and went; look again", retry_after_seconds=_SOON_SECONDS)
        if record.owner_uid == self._uid(key) and not record.deleting:
            return record.model
        if record.deleting:
            words = f"trial {name} is still being deleted; its name is used again when it is gone"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS)
        words = f"trial {name} exists, but belongs to no study or to an earlier one of this name; delete it"
        raise TransientError(words, retry_after_seconds=_LATER_SECONDS)

    async def _refresh(self, key: StudyKey, name: str) -> TrialRecord | None:
        """Read a trial from the server into the cache."""
        try:
            written = await self._client.get(TRIALS, key.namespace, name)
        except NotFound:
            return None
        except ApiError as error:
            raise _refused(name, error) from error
        known = self._trials.note(written)
        if known is None:
            raise TransientError(
                f"trial {name} exists, but cannot be read; delete it", retry_after_seconds=_LATER_SECONDS
            )
        return known


def _refused(name: str, error: ApiError) -> TransientError:
    what = "is refused" if isinstance(error, Invalid) else "cannot be written"
    return TransientError(f"{name} {what} by the API server: {error}", retry_after_seconds=_LATER_SECONDS)
