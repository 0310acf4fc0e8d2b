"""Hands Pods whose attempts are dealt with on to the next attempts.

The record of a trial is always written before its Pod is given away, and the Pod is given away by one write, which fails if it is not any
more what it is taken for. So whoever comes after a crash finds each Pod to be either still the old attempt's or the new one's.
"""

from collections.abc import Iterable

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.faults import ApiError, Conflict, Invalid, NotFound
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.pods import PodRecord, build_release
from seatrial.adapters.kubernetes.port import PODS, TRIALS, KubeClient, KubeObject, PatchKind
from seatrial.adapters.kubernetes.records import build_trial_record
from seatrial.adapters.kubernetes.removal import PodRemover
from seatrial.adapters.kubernetes.slot_pods import build_claim, build_nudge, build_stop
from seatrial.adapters.kubernetes.slots import Slots
from seatrial.api.trial import Trial
from seatrial.errors import TransientError
from seatrial.ports import Clock, StudyKey

__all__ = ["HandOver"]

_SOON_SECONDS = 1.0


class HandOver:
    """Gives Pods away. Belongs to one event loop.

    Args:
        client: The API server.
        pods: Cache of the Pods of trials.
        slots: Which of them are idle.
        remover: Reads Pods from the server.
        clock: The time.
    """

    def __init__(
        self, client: KubeClient, pods: Informer[PodRecord], slots: Slots, remover: PodRemover, *, clock: Clock
    ) -> None:
        self._client, self._pods, self._slots, self._remover, self._clock = client, pods, slots, remover, clock
        # Attempts that were to be given a Pod, and nothing was heard: by uid of the trial and number.
        self._unsettled: dict[tuple[str, int], PodRecord] = {}

    async def place(self, trial: Trial, number: int, wanted: KubeObject, idle: Iterable[PodRecord]) -> bool:
        """Give an attempt a Pod that is there; return whether it has one now.

        The server itself is asked first: unlike a Pod's name, its labels do not keep two Pods of one attempt apart.

        Args:
            trial: As stored.
            number: Number of the attempt.
            wanted: The Pod that would be made for it.
            idle: Pods whose attempts have ended while their containers go on.

        Raises:
            TransientError: If the API server is not ready.
        """
        namespace, name = wanted["metadata"]["namespace"], trial.metadata.name
        place = (trial.metadata.uid or "", number)
        try:
            found = await self._client.list(PODS, namespace, selector=f"{names.LABEL_TRIAL}={name}")
        except ApiError as error:
            raise TransientError(f"the Pods of {name} cannot be listed: {error}") from error
        for item in found.items:
            pod = self._pods.note(item)
            if pod is None or pod.trial_uid != trial.metadata.uid or pod.attempt.number != number:
                continue
            if not pod.released:
                self._unsettled.pop(place, None)
                return True
            words = f"Pod {pod.name} of {name} has not gone yet"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS)
        await self._settle(place, wanted)
        fit = wanted["metadata"]["annotations"][names.ANNOTATION_FIT]
        # Its own first: files that its last attempt left in the container are still there.
        for pod in sorted(idle, key=lambda pod: pod.attempt.trial != name):
            fits = pod.slot is not None and pod.slot.fit == fit
            if fits and await self._is_settled(pod) and await self._give(pod, wanted, place):
                return True
        return False

    def forget(self, key: StudyKey) -> None:
        """Drop what is kept of a study that is gone."""
        self._unsettled = {place: pod for place, pod in self._unsettled.items() if pod.study != key}

    async def stop(self, pod: PodRecord) -> None:
        """Let a container end its attempt, once.

        Raises:
            TransientError: If the API server is not ready.
        """
        if pod.slot is not None and pod.slot.stop_at is None:
            of = (pod.attempt.trial, pod.attempt.number)
            await self._change(pod, build_stop(pod.uid, of, pod.slot, self._clock.now()))

    async def nudge(self, pod: PodRecord) -> None:
        """Make a Pod's node look at it again.

        Raises:
            TransientError: If the API server is not ready.
        """
        await self._change(pod, build_nudge(pod.uid, self._clock.now()))

    async def _change(self, pod: PodRecord, patch: list[KubeObject]) -> None:
        namespace = pod.study.namespace
        try:
            written = await self._client.patch(PODS, namespace, pod.name, patch, kind=PatchKind.JSON)
        except NotFound:
            self._pods.note_gone(namespace, pod.name, pod.uid)
        except ApiError as error:
            # Of another attempt by now, for one: the watch will tell.
            words = f"Pod {pod.name} cannot be changed: {error}"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS) from error
        else:
            self._pods.note(written)

    async def _is_settled(self, pod: PodRecord) -> bool:
        """Whether the result of a Pod's attempt is in the server's record: from then on nothing more is wanted of it."""
        if self._slots.free(pod):
            return True
        attempt = pod.attempt
        try:
            stored = build_trial_record(await self._client.get(TRIALS, pod.study.namespace, attempt.trial)).model
        except (ApiError, ValueError):
            return False
        over = stored.status.attempt > attempt.number or stored.status.completion_time is not None
        return stored.metadata.uid == pod.trial_uid and over

    async def _settle(self, place: tuple[str, int], wanted: KubeObject) -> None:
        """Make sure that a request to give an attempt a Pod, of which nothing was heard, does not come true later.

        The Pod is given to nobody any more: its finalizer goes, which that request needs.

        Raises:
            TransientError: If that is not known.
        """
        pod = self._unsettled.get(place)
        if pod is None or pod.finalizer is None:
            return
        of, namespace = (pod.attempt.trial, pod.attempt.number), pod.study.namespace
        fence = build_release(pod.uid, pod.finalizer, sweep=True, of=of)
        try:
            self._pods.note(await self._client.patch(PODS, namespace, pod.name, fence, kind=PatchKind.JSON))
        except NotFound:
            self._pods.note_gone(namespace, pod.name, pod.uid)
        except Conflict as error:
            if not await self._is_of_another(pod, wanted):
                words = f"Pod {pod.name} was given away meanwhile; look again"
                raise TransientError(words, retry_after_seconds=_SOON_SECONDS) from error
        except ApiError as error:
            raise TransientError(f"Pod {pod.name} cannot be fenced: {error}") from error
        del self._unsettled[place]

    async def _is_of_another(self, pod: PodRecord, wanted: KubeObject) -> bool:
        """Whether the server has a Pod as that of an attempt which is neither the one that had it nor the one that wants one."""
        now = await self._remover.refresh(pod.study.namespace, pod.name)
        labels = wanted["metadata"]["labels"]
        wants = (labels[names.LABEL_TRIAL], int(labels[names.LABEL_ATTEMPT]))
        of = None if now is None or now.uid != pod.uid else (now.attempt.trial, now.attempt.number)
        return of not in {wants, (pod.attempt.trial, pod.attempt.number)} or (now is not None and not now.held)

    async def _give(self, pod: PodRecord, wanted: KubeObject, place: tuple[str, int]) -> bool:
        """Give a Pod away; return whether it was still there to be given."""
        namespace, before = pod.study.namespace, (pod.attempt.trial, pod.attempt.number)
        if pod.finalizer is None:
            return False
        claim = build_claim(pod.uid, pod.finalizer, before, wanted, self._clock.now())
        self._unsettled[place] = pod
        try:
            written = await self._client.patch(PODS, namespace, pod.name, claim, kind=PatchKind.JSON)
        except NotFound:
            self._pods.note_gone(namespace, pod.name, pod.uid)
            written = None
        except (Conflict, Invalid):
            # Somebody was faster; the watch tells who.
            written = None
        except ApiError as error:
            raise TransientError(f"Pod {pod.name} cannot be given to {wanted['metadata']['name']}: {error}") from error
        # An answer, whichever: nothing of this request is to come.
        del self._unsettled[place]
        if written is None:
            return False
        self._pods.note(written)
        return True
