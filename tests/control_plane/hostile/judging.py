"""What a study's status says about it, in one word; what may be left open, and what may not."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from control_plane.client import Answer
from seatrial.api.conditions import StudyReason

__all__ = ["REFUSED", "Ending", "find_fault", "judge"]

_CODES = {400, 403, 409, 413, 422}
_LONGEST_WORDS = 4096


class Ending(StrEnum):
    """What became of a study."""

    REFUSED_BY_SERVER = "refused by the API server"
    REFUSED_BY_OPERATOR = "refused by the operator"
    REFUSED_BY_DRY_RUN = "refused by the dry run of its first Pod"
    ENDED = "ran to its end"
    WORKING = "runs and had results"
    RUNNING = "runs"
    SUSPENDED = "suspended as it says"
    WAITING = "waits and says for what"


REFUSED = frozenset({Ending.REFUSED_BY_SERVER, Ending.REFUSED_BY_OPERATOR, Ending.REFUSED_BY_DRY_RUN})


def find_fault(answer: Answer) -> str:
    """Return what is wrong with a refusal of the API server; empty when it is a clear one.

    A message of 16 KB is no clear one: the server's own words about a large value are cut by the server.
    """
    # etcd's limit of an object's size is told with a code of its own.
    if answer.code not in _CODES and not (answer.code == 500 and "too large" in answer.message):
        return f"code {answer.code}: {answer.message[:300]}"
    if not answer.message.strip():
        return f"code {answer.code} without a word"
    return ""


def judge(study: dict[str, Any]) -> tuple[Ending | None, str]:
    """Return what became of a study and the words for it; None as long as nothing is said about its present generation."""
    status = study.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    summary, template = conditions.get("Succeeded"), conditions.get("TemplateAccepted")
    generation = study["metadata"]["generation"]
    if summary is None or status.get("observedGeneration") != generation:
        return None, "not looked at yet"
    reason, words = summary["reason"], summary.get("message", "")
    if reason == StudyReason.INVALID_SPEC:
        return Ending.REFUSED_BY_OPERATOR, words
    if template is not None and template["status"] == "False" and template.get("observedGeneration") == generation:
        return Ending.REFUSED_BY_DRY_RUN, template.get("message", "")
    if reason == StudyReason.SUSPENDED:
        return Ending.SUSPENDED, words
    if StudyReason(reason).terminal:
        return Ending.ENDED, words
    trials = status.get("trials") or {}
    ended = sum(trials.get(each, 0) for each in ("completed", "stopped", "failed", "diverged", "infeasible"))
    if ended:
        return Ending.WORKING, words
    return (Ending.WAITING if reason == StudyReason.WAITING else Ending.RUNNING), words
