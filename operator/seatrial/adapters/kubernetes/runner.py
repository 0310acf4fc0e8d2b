"""Attempts as Pods: a :class:`~seatrial.ports.TrialRunner` over a cache of Pods and the API server.

A Pod is kept by a finalizer until its attempt is released, so that no result is lost to whoever deletes Pods. A Pod that the API
server does not want (a quota, Pod Security, a policy) is an attempt that waits, with the server's words, and is tried again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.faults import AlreadyExists, ApiError, Forbidden, Invalid, NotFound
from seatrial.adapters.kubernetes.handing import HandOver
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.manifests import build_pod
from seatrial.adapters.kubernetes.pods import PodRecord, find_turn
from seatrial.adapters.kubernetes.port import PODS, TRIALS, KubeClient, KubeObject
from seatrial.adapters.kubernetes.records import build_trial_record
from seatrial.adapters.kubernetes.removal import PodRemover, Retention
from seatrial.adapters.kubernetes.slot_pods import why_cold
from seatrial.adapters.kubernetes.slots import Slots, find_doubles
from seatrial.adapters.kubernetes.sweeping import Sweeper
from seatrial.api.study import Study, StudySpec
from seatrial.api.trial import Trial
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.causes import TREATMENTS, Backoff, Cause
from seatrial.decide.retention import Needed
from seatrial.decide.rules import rungs
from seatrial.errors import TransientError
from seatrial.ports import Clock, StudyKey

__all__ = ["KubernetesRunner", "Refusal"]

_ENDED = frozenset({Phase.EXITED, Phase.LOST})
_LACKS_ROOM = frozenset({"Insufficient", "Unschedulable", "SchedulingGated"})
_SOON_SECONDS = 1.0
# Who made the record held the lease, renewed within ten seconds; nobody else gets it before fifteen have passed since.
_NEW = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the API server does not want a Pod.

    Attributes:
        reason: QuotaExceeded, PodSecurity, PodForbidden or PodInvalid.
        message: The server's words.
    """

    reason: str
    message: str


@dataclass(slots=True)
class _Refused:
    """An attempt whose Pod the API server did not want."""

    study: Study
    trial: Trial
    shown: Attempt
    again_at: datetime
    times: int


class KubernetesRunner:
    """The runner of a cluster. Belongs to one event loop.

    Args:
        client: The API server.
        pods: Cache of the Pods of trials.
        clock: The time.
        retention: Which Pods stay.
        find_rungs: Steps whose values must be exact, by specification.
    """

    def __init__(
        self,
        client: KubeClient,
        pods: Informer[PodRecord],
        *,
        clock: Clock,
        retention: Retention = Retention.FAILED,
        find_rungs: Callable[[StudySpec], Sequence[int]] = rungs,
    ) -> None:
        self._client, self._pods, self._clock = client, pods, clock
        self._find_rungs = find_rungs
        self._refused: dict[StudyKey, dict[str, _Refused]] = {}
        self._needed: dict[StudyKey, str] = {}
        # Attempts that had no room, and are to be given a Pod that is free.
        self._heirs: dict[StudyKey, set[tuple[str, int]]] = {}
        self._remover = PodRemover(client, pods, retention)
        self._sweeper = Sweeper(client, clock=clock)
        self._slots = Slots(client, clock=clock)
        self._hand_over = HandOver(client, pods, self._slots, self._remover, clock=clock)

    async def observe(self, study: Study) -> Mapping[str, Attempt]:
        """Return the newest attempt of every trial that has one; what was refused is tried again when it is time.

        Raises:
            TransientError: If no list has been read yet.
        """
        if not self._pods.synced:
            raise TransientError("the Pods are not known yet", retry_after_seconds=_SOON_SECONDS)
        key, now = _key(study), self._clock.now()
        await self._try_again(study, now)
        found: dict[str, Attempt] = {}
        pods = self._of(study)
        rests = study.status is not None and study.status.completion_time is not None
        sweep = sum(pod.swept for pod in pods)
        self._sweeper.look(key, study.metadata.uid or "", sweep, at_once=rests)
        await self._slots.look(key, pods)
        await self._tend(study, pods, rests=rests or study.spec.suspend)
        pods = self._of(study)
        shown = [pod for pod in pods if not pod.released and not self._slots.free(pod)]
        for pod in shown:
            attempt = self._slots.read(pod, now)
            known = found.get(attempt.trial)
            if known is None or known.number < attempt.number:
                found[attempt.trial] = attempt
        for pod in shown:
            if self._slots.idle(pod) and pod.attempt.number < found[pod.attempt.trial].number:
                # A later attempt has another Pod, so that its result is stored.
                self._slots.set_free(pod)
        for name, refused in self._refused.get(key, {}).items():
            found.setdefault(name, refused.shown)
        return found

    async def start(self, study: Study, trial: Trial, number: int, *, recorded_at: datetime | None = None) -> None:
        """Create the attempt's Pod, or hand another one's on to it. Starting again does nothing.

        Raises:
            SpecError: If the template has no container that trains.
            TransientError: If an earlier attempt has not ended, the Pod's name is still taken by another one, or the server's record of the
                trial says that this attempt is over.
        """
        name = trial.metadata.name
        for earlier in range(number, -1, -1):
            pod = self._find(study, trial, earlier)
            if pod is None or pod.released or pod.trial_uid != trial.metadata.uid:
                continue
            if earlier == number:
                return
            if self._slots.read(pod, self._clock.now()).phase not in _ENDED:
                words = f"attempt {earlier} of {name} has not ended; attempt {number} starts when it has"
                raise TransientError(words, retry_after_seconds=_SOON_SECONDS)
            if not self._slots.idle(pod):
                await self._remover.let_go(pod)
        known = self._refused.get(_key(study), {}).get(name)
        if known is not None and known.shown.number >= number:
            return
        # Lists and watches may lag behind the attempt's end, when its Pod is gone already.
        stored = trial if self._is_new(recorded_at) else await self._read_record(_key(study).namespace, trial)
        if stored.status.attempt > number or stored.status.completion_time is not None:
            words = f"attempt {number} of {name} is over; what is known here is older than the server's record"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS)
        wanted = self._build(study, trial, number)
        if why_cold(study) or not await self._is_placed(study, trial, number, wanted):
            await self._create(study, trial, number, wanted)

    async def confirm(self, study: Study, trial: Trial, number: int) -> None:
        """Ask the server itself: the news of a Pod's end may be late, or never come.

        Raises:
            TransientError: If the Pod is not as it is known here.
        """
        namespace, now = _key(study).namespace, self._clock.now()
        pod = self._find(study, trial, number)
        if pod is None or pod.released:
            return
        newest = await self._remover.refresh(namespace, pod.name)
        if newest is None:
            self._pods.note_gone(namespace, pod.name, pod.uid)
        if newest is None or newest.uid != pod.uid or self._stand(newest, now) != self._stand(pod, now):
            words = f"Pod {pod.name} is not as it was known here; look again"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS)

    async def stop(self, study: Study, trial: Trial, number: int) -> None:
        """Delete the attempt's Pod: the kubelet sends SIGTERM, and SIGKILL after the grace period; the finalizer keeps the result.

        A Pod that can be handed on stays, and ends its attempt itself.
        """
        refused = self._refused.get(_key(study), {}).get(trial.metadata.name)
        if refused is not None and refused.shown.number == number:
            self._drop(refused)
            return
        pod = self._find(study, trial, number)
        if pod is None or pod.released or pod.deleting or self._slots.read(pod, self._clock.now()).phase in _ENDED:
            return
        await self._confirm_stranger(trial, pod)
        if self._slots.obeys(pod) and not self._is_crowded(study):
            await self._hand_over.stop(pod)
        else:
            await self._remover.delete(pod)

    async def release(self, study: Study, trial: Trial, number: int) -> None:
        """Let go of the Pod of an attempt that ended and whose result is stored.

        Raises:
            TransientError: If it has not ended, or has a record that is not known here yet.
        """
        key, name = _key(study), trial.metadata.name
        refused = self._refused.get(key, {}).get(name)
        if refused is not None and refused.shown.number == number:
            if refused.shown.phase not in _ENDED:
                raise _not_ended(name, number)
            self._forget(key, name)
            return
        pod = self._find(study, trial, number)
        if pod is None or pod.released:
            return
        if self._slots.read(pod, self._clock.now()).phase not in _ENDED:
            raise _not_ended(name, number)
        await self._confirm_stranger(trial, pod)
        if self._slots.idle(pod):
            self._slots.set_free(pod)
        else:
            await self._remover.let_go(pod)

    def due_seconds(self, study: Study) -> float | None:
        """Return seconds until the study should be observed again: Pods of it are to be deleted, or will have more to tell; None when there are none."""
        key, now = _key(study), self._clock.now()
        turns = (find_turn(pod, now) for pod in self._of(study) if not pod.released)
        waits = (
            self._sweeper.due_seconds(key),
            self._slots.due_seconds(key),
            *((turn - now).total_seconds() for turn in turns if turn is not None),
        )
        return min((seconds for seconds in waits if seconds is not None), default=None)

    async def retain(self, study: Study, needed: Needed) -> None:
        """Let the attempts that start from now on remove what need not stay: the volume is theirs."""
        text, key = needed.to_wire(), _key(study)
        if text is None:
            self._needed.pop(key, None)
        else:
            self._needed[key] = text

    async def rehearse(self, study: Study, trial: Trial) -> Refusal | None:
        """Let the API server judge the first Pod without starting anything: validation, quota, Pod Security, policies.

        Args:
            study: The study.
            trial: A trial of it, stored or not.

        Returns:
            Why it would refuse, None when it would not.

        Raises:
            SpecError: If the template has no container that trains.
            TransientError: If the API server is not ready.
        """
        body = build_pod(study, trial, 0, rungs=self._find_rungs(study.spec))
        # An owner that does not exist yet needs an identity to be well-formed.
        body["metadata"]["ownerReferences"][0]["uid"] = trial.metadata.uid or "00000000-0000-4000-8000-000000000000"
        try:
            await self._client.create(PODS, _key(study).namespace, body, dry_run=True, strict=True)
        except AlreadyExists:
            return None
        except ApiError as error:
            return _read_refusal(error)
        return None

    async def abandon(self, key: StudyKey, *, uid: str | None = None) -> int:
        """Let go of the Pods of a study that is gone, so that its deletion and that of its namespace can end.

        Args:
            key: The study.
            uid: Identity of a study of this name that lives; its Pods are left alone.

        Returns:
            Number of Pods that were let go.
        """
        for name, refused in list(self._refused.get(key, {}).items()):
            if uid is None or refused.study.metadata.uid != uid:
                self._forget(key, name)
        gone = [pod for pod in self._pods.of(key).values() if pod.held and pod.study_uid != uid]
        await asyncio.gather(*(self._remover.let_go(pod, keep=False) for pod in gone))
        return len(gone)

    def forget_study(self, key: StudyKey) -> None:
        """Drop what is kept of a study that is gone; its Pods are for :meth:`abandon`."""
        self._refused.pop(key, None)
        self._needed.pop(key, None)
        self._sweeper.forget(key)
        self._slots.forget(key)
        self._hand_over.forget(key)
        self._heirs.pop(key, None)

    # ---- Pods that are handed on ---------------------------------------------------------------------------------------

    async def _tend(self, study: Study, pods: Sequence[PodRecord], *, rests: bool) -> None:
        """Let no Pod stand idle for nothing, no container unheard, and no attempt have two Pods."""
        for pod in self._slots.unheard(pods):
            await self._hand_over.nudge(pod)
        for pod in find_doubles(pods):
            if not pod.deleting:
                await self._remover.delete(pod)
        crowded = self._is_crowded(study)
        waiting = [pod for pod in pods if pod.slot is not None and pod.held and not pod.deleting and _lacks_room(pod)]
        waiting.sort(key=lambda pod: pod.created or self._clock.now())
        for pod in self._slots.overdue(pods, rests=rests or crowded):
            heir = next((other for other in waiting if not rests and _alike(pod, other)), None)
            if heir is None or not self._slots.idle(pod):
                await self._remover.dismiss(pod)
            else:
                # The attempt that has waited longest gets it, by its next start: then no new one takes it.
                waiting.remove(heir)
                self._heirs.setdefault(_key(study), set()).add((heir.attempt.trial, heir.attempt.number))
                await self._remover.dismiss(heir)

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _of(self, study: Study) -> list[PodRecord]:
        pods = self._pods.of(_key(study)).values()
        return [pod for pod in pods if pod.study_uid == (study.metadata.uid or "")]

    def _find(self, study: Study, trial: Trial, number: int) -> PodRecord | None:
        """Return the Pod that an attempt has: by its name, or, where Pods are handed on, another one's."""
        key, name = _key(study), trial.metadata.name
        own = self._pods.get(key.namespace, names.build_pod_name(name, number))
        if own is not None and (own.slot is None or _has(own, name, number)):
            return own
        return next((pod for pod in self._of(study) if pod.slot is not None and _has(pod, name, number)), None)

    def _is_crowded(self, study: Study) -> bool:
        """Whether attempts of a study wait for room, so that none of its Pods should stand idle."""
        waiting = (pod for pod in self._of(study) if not pod.released)
        return bool(self._refused.get(_key(study))) or any(_lacks_room(pod) for pod in waiting)

    def _is_new(self, recorded_at: datetime | None) -> bool:
        """Return whether a record was made a moment ago: nobody else can have led since, run the trial and cleared it away."""
        return recorded_at is not None and timedelta() <= self._clock.now() - recorded_at < _NEW

    async def _read_record(self, namespace: str, trial: Trial) -> Trial:
        """Return a trial's record as the server itself has it."""
        name = trial.metadata.name
        try:
            stored = build_trial_record(await self._client.get(TRIALS, namespace, name)).model
        except NotFound as error:
            raise TransientError(f"Trial {name} is gone", retry_after_seconds=_SOON_SECONDS) from error
        except (ApiError, ValueError) as error:
            raise TransientError(f"Trial {name} cannot be read: {error}") from error
        if stored.metadata.uid != trial.metadata.uid:
            raise TransientError(f"Trial {name} is another one by now", retry_after_seconds=_SOON_SECONDS)
        return stored

    async def _confirm_stranger(self, trial: Trial, pod: PodRecord) -> None:
        """Ask the server itself before a Pod goes for want of a record: lists that lag show Pods of trials that they do not show."""
        if trial.metadata.uid is not None:
            return
        try:
            stored = await self._client.get(TRIALS, pod.study.namespace, trial.metadata.name)
        except NotFound:
            return
        except ApiError as error:
            raise TransientError(f"Trial {trial.metadata.name} cannot be read: {error}") from error
        if stored["metadata"].get("uid") == pod.trial_uid:
            words = f"Trial {trial.metadata.name} exists, though what is known here is older"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS)

    def _build(self, study: Study, trial: Trial, number: int) -> KubeObject:
        """Return the Pod that an attempt should have."""
        return build_pod(study, trial, number, rungs=self._find_rungs(study.spec), needed=self._needed.get(_key(study)))

    async def _is_placed(self, study: Study, trial: Trial, number: int, wanted: KubeObject) -> bool:
        """Hand a Pod on to an attempt; return whether it has one now."""
        key = _key(study)
        heirs = self._heirs.get(key, set())
        # Where others wait for room, whoever is new queues behind them.
        queues = self._is_crowded(study) and (trial.metadata.name, number) not in heirs
        heirs.discard((trial.metadata.name, number))
        idle = [] if queues else [pod for pod in self._of(study) if self._slots.idle(pod)]
        if await self._hand_over.place(trial, number, wanted, idle):
            self._forget(key, trial.metadata.name)
            return True
        fit = wanted["metadata"]["annotations"][names.ANNOTATION_FIT]
        unfit = (pod for pod in idle if self._slots.free(pod) and pod.slot is not None and pod.slot.fit != fit)
        needless = next(unfit, None)
        if needless is not None:
            # It holds what the attempt's own Pod may wait for. The next look lets it go: now another start may be giving it away.
            self._slots.give_up(needless)
        return False

    async def _create(self, study: Study, trial: Trial, number: int, body: KubeObject) -> None:
        key, name = _key(study), trial.metadata.name
        namesake = self._pods.get(key.namespace, body["metadata"]["name"])
        if namesake is not None and namesake.slot is not None and namesake.attempt.trial != name:
            # Made for an earlier trial of this name, it has been handed on, and may go on for long.
            body["metadata"]["name"] += f"-{(trial.metadata.uid or '')[:8]}"
        try:
            written = await self._client.create(PODS, key.namespace, body)
        except AlreadyExists:
            await self._adopt(key, trial, body["metadata"]["name"])
        except (Forbidden, Invalid) as error:
            refusal = _read_refusal(error)
            shown = Attempt(
                trial=name, number=number, phase=Phase.WAITING, reason=refusal.reason, message=refusal.message
            )
            self._note_refusal(study, trial, shown)
        except ApiError as error:
            raise TransientError(f"Pod {body['metadata']['name']} cannot be created: {error}") from error
        else:
            self._forget(key, name)
            self._pods.note(written)

    async def _adopt(self, key: StudyKey, trial: Trial, name: str) -> None:
        """Take over a Pod that exists already: an earlier life of this process has created it."""
        pod = await self._remover.refresh(key.namespace, name)
        if pod is not None and pod.trial_uid == trial.metadata.uid:
            if not pod.released:
                self._forget(key, trial.metadata.name)
                return
            # Somebody took its finalizer and with it its result: it has to run again, under the same name.
            await self._remover.delete(pod)
            words = f"Pod {name} is over and its result is gone; it is started again when it is deleted"
            raise TransientError(words, retry_after_seconds=_SOON_SECONDS)
        if pod is not None and pod.held and pod.deleting and self._slots.read(pod, self._clock.now()).phase in _ENDED:
            # It belonged to an earlier trial of this name, and only we hold it.
            await self._remover.let_go(pod)
        words = f"the name of Pod {name} is taken by a Pod that is not of this trial; it starts when that is gone"
        raise TransientError(words, retry_after_seconds=_SOON_SECONDS)

    def _stand(self, pod: PodRecord, now: datetime) -> tuple[str, Phase, str, datetime | None]:
        """Return what an attempt may be given up for: that it runs or is lost, or why and since when it waits."""
        attempt = self._slots.read(pod, now)
        return attempt.trial, attempt.phase, attempt.reason, attempt.waits_since

    def _note_refusal(self, study: Study, trial: Trial, shown: Attempt) -> None:
        within = self._refused.setdefault(_key(study), {})
        known = within.get(trial.metadata.name)
        # A quota may be free at any moment; what policies refuse they go on refusing.
        patient = known is not None and shown.reason != "QuotaExceeded" and known.study.spec.trial == study.spec.trial
        times = known.times + 1 if known is not None and patient else 1
        backoff = TREATMENTS[Cause.UNWANTED].backoff or Backoff()
        seconds = backoff.delay_seconds(
            times - 1, seed=trial.spec.seed, trial=trial.metadata.name, attempt=shown.number
        )
        again = self._clock.now() + timedelta(seconds=seconds)
        within[trial.metadata.name] = _Refused(study, trial, shown, again, times)

    async def _try_again(self, study: Study, now: datetime) -> None:
        """Offer Pods again that were refused: when it is time, or at once when the study was edited since."""
        for refused in list(self._refused.get(_key(study), {}).values()):
            edited = refused.study.spec.trial != study.spec.trial
            if refused.shown.phase is Phase.WAITING and (edited or refused.again_at <= now):
                number = refused.shown.number
                await self._create(study, refused.trial, number, self._build(study, refused.trial, number))

    def _drop(self, refused: _Refused) -> None:
        refused.shown = replace(
            refused.shown,
            phase=Phase.EXITED,
            reason="SIGTERM",
            message="was told to stop before it began",
            exit_code=143,
        )

    def _forget(self, key: StudyKey, name: str) -> None:
        within = self._refused.get(key)
        if within is not None:
            within.pop(name, None)
            if not within:
                del self._refused[key]


def _key(study: Study) -> StudyKey:
    return StudyKey(study.metadata.namespace or "default", study.metadata.name)


def _lacks_room(pod: PodRecord) -> bool:
    return pod.attempt.phase is Phase.WAITING and pod.attempt.reason in _LACKS_ROOM


def _alike(one: PodRecord, other: PodRecord) -> bool:
    return one.slot is not None and other.slot is not None and one.slot.fit == other.slot.fit


def _has(pod: PodRecord, trial: str, number: int) -> bool:
    return (pod.attempt.trial, pod.attempt.number) == (trial, number)


def _not_ended(name: str, number: int) -> TransientError:
    words = f"attempt {number} of {name} has not ended; release it when it has"
    return TransientError(words, retry_after_seconds=_SOON_SECONDS)


def _read_refusal(error: ApiError) -> Refusal:
    words = str(error)
    if "exceeded quota" in words:
        reason = "QuotaExceeded"
    elif "violates PodSecurity" in words:
        reason = "PodSecurity"
    elif isinstance(error, Forbidden):
        reason = "PodForbidden"
    else:
        reason = "PodInvalid"
    return Refusal(reason=reason, message=words)
