"""How a trial ended, judged from what was reported and from what ended it.

Pure.
"""

from dataclasses import dataclass

from seatrial_harness.exits import Infeasible, describe_failure, is_out_of_memory
from seatrial_harness.manifest import CheckpointError
from seatrial_harness.message import Status
from seatrial_harness.record import Record

__all__ = ["Verdict", "judge_end", "judge_failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A status, the sentence that explains it, and one word for machines where there is one."""

    status: Status
    text: str = ""
    reason: str = ""


def judge_failure(failure: BaseException) -> Verdict:
    """Return what an exception that nobody caught means."""
    if isinstance(failure, Infeasible):
        return Verdict(status=Status.INFEASIBLE, text=str(failure))
    if is_out_of_memory(failure):
        return Verdict(status=Status.INFEASIBLE, text=f"OutOfMemory: {describe_failure(failure)}")
    if isinstance(failure, CheckpointError):
        return Verdict(status=Status.FAILED, text=str(failure), reason=failure.reason)
    if isinstance(failure, KeyboardInterrupt):
        return Verdict(status=Status.STOPPED, text="KeyboardInterrupt")
    return Verdict(status=Status.FAILED, text=describe_failure(failure))


def judge_end(record: Record, *, told: str, complete: bool, paused: bool = False) -> Verdict:
    """Return what an end without an exception means.

    Args:
        record: All reports.
        told: Who told the script to stop; empty when nobody did.
        complete: Whether all steps were trained nevertheless.
        paused: Whether the step was reached at which this attempt is to end.
    """
    diverged = record.diverged()
    if diverged:
        values = ", ".join(f"{name} is {record.tallies[name].last}" for name in diverged)
        return Verdict(status=Status.DIVERGED, text=f"{values} at step {record.step}")
    if paused and not complete:
        return Verdict(status=Status.PAUSED)
    if told and not complete:
        return Verdict(status=Status.STOPPED, text=told)
    missing = record.missing()
    if not missing:
        return Verdict(status=Status.SUCCEEDED)
    reported = ", ".join(record.tallies) or "nothing"
    return Verdict(status=Status.SUCCEEDED, text=f"never reported: {', '.join(missing)} (reported: {reported})")
