"""Lets the API server judge a study's first Pod before anything of it is created: a typo must not cost a hundred trials."""

from datetime import datetime, timedelta
from typing import Protocol

from seatrial.adapters.kubernetes.rehearsal import build_rehearsal_trial
from seatrial.adapters.kubernetes.runner import Refusal
from seatrial.adapters.kubernetes.slot_pods import why_cold
from seatrial.api.conditions import find_condition
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.decide.status import Remark
from seatrial.errors import SpecError
from seatrial.ports import Clock

__all__ = ["Judge", "Rehearsal"]

CONDITION = "TemplateAccepted"

_FIRST_PAUSE_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 60.0


class Judge(Protocol):
    """Knows whether the API server would take a Pod."""

    async def rehearse(self, study: Study, trial: Trial) -> Refusal | None:
        """Return why it would not, None when it would."""
        ...


class Rehearsal:
    """The rehearsals of one study: one a generation, and again after a while when it was refused.

    Args:
        judge: Asks the API server.
        clock: The time.
    """

    def __init__(self, judge: Judge, *, clock: Clock) -> None:
        self._judge, self._clock = judge, clock
        self._accepted: int | None = None
        self._refused: tuple[int | None, str] | None = None
        self._again_at: datetime | None = None
        self._pause = _FIRST_PAUSE_SECONDS
        self.remark: Remark | None = None
        """The condition that says how it went; None as long as the stored one says all."""

    @property
    def due_seconds(self) -> float | None:
        """Seconds until the next rehearsal, None when none is due."""
        if self._again_at is None:
            return None
        return max(0.0, (self._again_at - self._clock.now()).total_seconds())

    async def hold(self, study: Study, *, has_pods: bool) -> str:
        """Return why no trial may be created now, empty when they may.

        Args:
            study: The study.
            has_pods: Whether Pods of it exist: then an exhausted quota is its own doing and says nothing of the template.

        Raises:
            TransientError: If the API server is not ready.
        """
        generation, now = study.metadata.generation, self._clock.now()
        if self._is_accepted(study, generation):
            self._again_at = None
            return ""
        if self._refused is not None and self._refused[0] == generation and self._again_at and now < self._again_at:
            return self._refused[1]
        refusal = await self._rehearse(study, now)
        if refusal is None:
            self._accepted, self._refused, self._again_at = generation, None, None
            self._pause = _FIRST_PAUSE_SECONDS
            words = "the API server takes the Pod of a trial"
            if study.spec.trial.reuse:
                why = why_cold(study)
                words += f"; trial.reuse has no effect: {why}" if why else "; Pods are handed on from trial to trial"
            self.remark = Remark(type=CONDITION, status="True", reason="PodAccepted", message=words)
            return ""
        self._again_at = now + timedelta(seconds=self._pause)
        if refusal.reason == "QuotaExceeded" and has_pods:
            self._refused = (generation, "")
            return ""
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        self._refused = (generation, f"{refusal.reason}: {refusal.message}")
        self.remark = Remark(type=CONDITION, status="False", reason=refusal.reason, message=refusal.message)
        return self._refused[1]

    def _is_accepted(self, study: Study, generation: int | None) -> bool:
        if self._accepted is not None and self._accepted == generation:
            return True
        if study.status is None or generation is None:
            return False
        if study.status.completion_time is not None and study.status.observed_generation == generation:
            # Nothing is created any more.
            return True
        stored = find_condition(study.status.conditions, CONDITION)
        return stored is not None and stored.status == "True" and stored.observed_generation == generation

    async def _rehearse(self, study: Study, now: datetime) -> Refusal | None:
        try:
            return await self._judge.rehearse(study, build_rehearsal_trial(study, now))
        except SpecError as error:
            return Refusal(reason="PodInvalid", message=str(error))
