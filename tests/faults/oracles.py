"""What must hold at every moment of a run, and at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seatrial.adapters.kubernetes import names
from seatrial.api.conditions import TrialReason, find_condition
from seatrial.api.study import Study
from seatrial.api.trial import Trial, reason_of

__all__ = ["Ending", "Witness", "compare"]

_OVER = frozenset({"Succeeded", "Failed"})
Pod = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a study ended.

    Attributes:
        state: Reason of its condition Succeeded.
        best: Index of the winner and its values.
        counts: Trials by state, as the study's status tells them.
        trials: By index: assignment, state, values, attempt, lineage, failures and losses.
        pods: Names of Pods that are left.
        held: Those of them that a finalizer of Seatrial holds.
        seconds: From the study's creation to its end.
    """

    state: str
    best: tuple[int, list[float | None]] | None
    counts: str
    trials: tuple[tuple[object, ...], ...]
    pods: tuple[str, ...]
    held: tuple[str, ...]
    seconds: float


def read_ending(study: Study, trials: Sequence[Trial], pods: Sequence[Pod], seconds: float) -> Ending:
    """Return how a study ended, from what is stored."""
    status = study.status
    condition = find_condition(status.conditions, "Succeeded") if status else None
    best = status.best if status else None
    return Ending(
        state=condition.reason if condition else "",
        best=(best.index, list(best.values)) if best else None,
        counts=str(status.trials) if status else "",
        trials=tuple(_told(trial) for trial in trials),
        pods=tuple(pod["metadata"]["name"] for pod in pods),
        held=tuple(
            pod["metadata"]["name"] for pod in pods if names.FINALIZER in (pod["metadata"].get("finalizers") or ())
        ),
        seconds=seconds,
    )


def _told(trial: Trial) -> tuple[object, ...]:
    spec, status = trial.spec, trial.status
    values = str(status.observation.values) if status.observation else ""
    parent = (spec.parent.trial.rpartition("-")[2], spec.parent.step, spec.parent.digest) if spec.parent else None
    attempts = [(past.reason, past.infrastructure) for past in status.attempts]
    saved = (status.checkpoint.step, status.checkpoint.digest) if status.checkpoint else None
    return (
        spec.index,
        str(spec.assignment),
        spec.seed,
        parent,
        spec.until_step,
        reason_of(trial).value,
        values,
        status.attempt,
        str(attempts),
        saved,
        status.steps_trained,
    )


@dataclass(slots=True)
class Witness:
    """Sees every change and notes what must never be.

    Attributes:
        parallel: Most attempts that may run at once.
        repeats: Whether an attempt may have another Pod when its first one is gone.
        violations: What was seen.
    """

    parallel: int
    repeats: bool = False
    violations: list[str] = field(default_factory=list)
    _ended: dict[str, object] = field(default_factory=dict)
    _uids: dict[str, set[str]] = field(default_factory=dict)

    def see_pods(self, pods: Sequence[Pod]) -> None:
        """Take all Pods as they are now."""
        alive = [pod["metadata"]["name"] for pod in pods if _lives(pod)]
        if len(alive) > self.parallel:
            self._note(f"{len(alive)} Pods are alive, but at most {self.parallel} may be: {sorted(alive)}")
        for pod in pods:
            attempt = _attempt_of(pod)
            uids = self._uids.setdefault(attempt, set())
            uids.add(pod["metadata"]["uid"])
            if len(uids) > 1 and not self.repeats:
                self._note(f"attempt {attempt} had two Pods")

    def see_trial(self, trial: Mapping[str, Any]) -> None:
        """Take a trial as it is now: what has ended stays as it ended."""
        name, status = trial["metadata"]["name"], trial.get("status") or {}
        summary = next((c for c in status.get("conditions", ()) if c["type"] == "Succeeded"), None)
        if summary is None or not TrialReason(summary["reason"]).terminal:
            if name in self._ended:
                self._note(f"{name} had ended and goes on")
            return
        told = (summary["reason"], str(status.get("observation")))
        if self._ended.setdefault(name, told) != told:
            self._note(f"{name} ended as {self._ended[name]} and then as {told}")

    def _note(self, words: str) -> None:
        if words not in self.violations:
            self.violations.append(words)


def _attempt_of(pod: Pod) -> str:
    """Return which attempt a Pod is of: a Pod that is handed on keeps its name."""
    labels = pod["metadata"].get("labels") or {}
    named = {names.LABEL_TRIAL, names.LABEL_ATTEMPT} <= labels.keys()
    return f"{labels[names.LABEL_TRIAL]}-{labels[names.LABEL_ATTEMPT]}" if named else pod["metadata"]["name"]


def _lives(pod: Pod) -> bool:
    return (pod.get("status") or {}).get("phase") not in _OVER and not _waits_for_another(pod)


def _waits_for_another(pod: Pod) -> bool:
    """Whether a Pod's container says that its attempt is over, and that it waits for the next one."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    handed_on = names.ANNOTATION_DIRECTIVE in (pod["metadata"].get("annotations") or {})
    return handed_on and any("running" in held["state"] and held.get("ready") is False for held in statuses)


def compare(found: Ending, wanted: Ending, *, limit_seconds: float) -> list[str]:
    """Return how an ending differs from that of the run in which nothing went wrong; empty when it does not.

    Only the time may differ, after an asynchronous fault (events late, coalesced, repeated or dropped, lists of an earlier state) as after
    any other. What a study does next follows from what is recorded, and a record is made of what the server says then, not of when
    it was heard: an attempt is judged by its own end, and one that is given up for its silence or its time is asked for at the server
    first. The order in which ends are heard would count for models and for promotions: their studies run one trial at a time here. A
    generation of a population waits for all of its members, in whatever order they end.

    Args:
        found: Of the run with a fault.
        wanted: Of the run without.
        limit_seconds: It must have ended within this time.
    """
    wrong = []
    indices = [trial[0] for trial in found.trials]
    if indices != list(range(len(wanted.trials))):
        wrong.append(f"indices are {indices}, but must be 0 to {len(wanted.trials) - 1}, each once")
    for mine, theirs in zip(found.trials, wanted.trials, strict=False):
        if mine != theirs:
            wrong.append(f"trial {mine[0]} is {mine[1:]}, but without a fault it is {theirs[1:]}")
    for what in ("state", "best", "counts"):
        mine, theirs = getattr(found, what), getattr(wanted, what)
        if mine != theirs:
            wrong.append(f"{what} of the study is {mine}, but without a fault it is {theirs}")
    if found.pods:
        wrong.append(f"Pods are left: {', '.join(found.pods)} (held by a finalizer: {', '.join(found.held) or 'none'})")
    if found.seconds > limit_seconds:
        wrong.append(f"it took {found.seconds:.0f} s, but must end within {limit_seconds:.0f} s")
    return wrong
