"""The three caches of one operator: Studies, Trials, and the Pods of trials."""

import random
from collections.abc import Callable
from datetime import datetime

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.pods import PodRecord, build_pod_record
from seatrial.adapters.kubernetes.port import PODS, STUDIES, TRIALS, KubeClient, Resource
from seatrial.adapters.kubernetes.records import StudyRecord, TrialRecord, build_study_record, build_trial_record
from seatrial.ports import Clock, StudyKey

__all__ = ["Caches"]


class Caches:
    """Belongs to one event loop.

    Args:
        client: The API server.
        clock: The time.
        namespace: Where to look; None is everywhere.
        on_change: Told the study of every object that came, changed or went.
        chance: Spreads what they would do at once; without it each has its own.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        clock: Clock,
        namespace: str | None,
        on_change: Callable[[StudyKey], None],
        chance: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self.studies: Informer[StudyRecord] = Informer(
            client,
            STUDIES,
            build_study_record,
            clock=clock,
            namespace=namespace,
            on_change=on_change,
            chance=chance,
        )
        self.trials: Informer[TrialRecord] = Informer(
            client,
            TRIALS,
            build_trial_record,
            clock=clock,
            namespace=namespace,
            selector=names.LABEL_STUDY,
            on_change=on_change,
            chance=chance,
        )
        self.pods: Informer[PodRecord] = Informer(
            client,
            PODS,
            build_pod_record,
            clock=clock,
            namespace=namespace,
            selector=names.LABEL_TRIAL,
            on_change=on_change,
            chance=chance,
        )

    def ages(self, since: datetime | None) -> dict[str, float]:
        """Return seconds since each cache heard of the API server, or else since *since*; infinite without either."""
        now = self._clock.now()
        found = {}
        for name, heard in self._heard().items():
            last = heard or since
            found[name] = float("inf") if last is None else max(0.0, (now - last).total_seconds())
        return found

    def unsynced(self) -> list[str]:
        """Return the kinds whose list is not read yet."""
        synced = {"studies": self.studies.synced, "trials": self.trials.synced, "pods": self.pods.synced}
        return [name for name, done in synced.items() if not done]

    async def wait_synced(self, timeout_seconds: float) -> None:
        """Return when all lists have been read.

        Raises:
            TransientError: If that takes too long.
        """
        for cache in (self.studies, self.trials, self.pods):
            await cache.wait_synced(timeout_seconds)

    def identify(self, resource: Resource, namespace: str, name: str) -> str:
        """Return the uid of a Study or a Trial, empty when it is not known."""
        if resource is STUDIES:
            study = self.studies.get(namespace, name)
            return study.uid if study else ""
        trial = self.trials.get(namespace, name)
        return (trial.model.metadata.uid or "") if trial else ""

    def _heard(self) -> dict[str, datetime | None]:
        return {
            "studies": self.studies.last_contact,
            "trials": self.trials.last_contact,
            "pods": self.pods.last_contact,
        }
