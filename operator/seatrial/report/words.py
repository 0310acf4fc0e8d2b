"""Numbers, times and states in words for people. Nothing here knows HTML."""

import math
from datetime import datetime

from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.search.parameters import Value

__all__ = [
    "STATE_WORDS",
    "describe_study_reason",
    "format_duration",
    "format_number",
    "format_percent",
    "format_time_of_day",
    "format_value",
    "plural",
    "sentence",
]

STATE_WORDS: dict[TrialReason, str] = {
    TrialReason.PENDING: "waits for its first start",
    TrialReason.RUNNING: "is running",
    TrialReason.STOPPING: "is being stopped",
    TrialReason.PAUSED: "is paused at a rung and holds nothing until it is promoted",
    TrialReason.COMPLETED: "was trained in full",
    TrialReason.STOPPED: "was stopped early by the stopping rule",
    TrialReason.REUSED: "repeats another trial and took over its result",
    TrialReason.FAILED: "failed",
    TrialReason.DIVERGED: "diverged: its objective was not a finite number",
    TrialReason.INFEASIBLE: "cannot work with its parameters",
    TrialReason.CANCELLED: "was ended because the study was over",
}
"""What each state means, reading on after "the trial"."""

_STUDY_WORDS: dict[StudyReason, str] = {
    StudyReason.RUNNING: "The study is running",
    StudyReason.SUSPENDED: "The study is suspended",
    StudyReason.WAITING: "The study waits",
    StudyReason.MAX_TRIALS_REACHED: "The study is complete",
    StudyReason.TARGET_REACHED: "The study is complete: the target was reached",
    StudyReason.SEARCH_SPACE_EXHAUSTED: "The study is complete: every assignment was tried",
    StudyReason.TRAINING_COMPLETE: "The study is complete: everything was trained to the last step",
    StudyReason.MAX_DURATION_REACHED: "The study is complete: its time is up",
    StudyReason.MAX_GPU_HOURS_REACHED: "The study is complete: its GPU hours are used up",
    StudyReason.MAX_FAILED_TRIALS_EXCEEDED: "The study failed: too many of its trials failed",
    StudyReason.NO_TRIAL_SUCCEEDED: "The study failed: no trial has a result",
    StudyReason.NO_CHECKPOINT: "The study failed: no trial left a checkpoint to go on from",
    StudyReason.POPULATION_LOST: "The study failed: no member of the population can go on",
    StudyReason.INVALID_SPEC: "The study cannot run: its specification is wrong",
}


def describe_study_reason(reason: StudyReason, message: str) -> str:
    """Return the study's state as one whole sentence."""
    opening = _STUDY_WORDS[reason]
    if not message:
        return sentence(opening)
    separator = "; " if ":" in opening else ": "
    return sentence(f"{opening}{separator}{message}")


def sentence(words: str) -> str:
    """Return *words* with a capital first letter and a full stop; empty stays empty."""
    words = words.strip()
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?…" else ".")


def plural(count: int, noun: str) -> str:
    """Return ``1 trial``, ``2 trials``, ``10,000 trials``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def format_number(value: float | None, *, digits: int = 4) -> str:
    """Return a number with *digits* significant digits; a dash for None, ``NaN`` and infinities by name."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value)}"
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e")


def format_percent(share: float) -> str:
    """Return a share in [0, 1] as whole percent; what is above 0 and rounds to nothing reads ``<1 %``."""
    percent = round(100 * share)
    return f"{percent} %" if percent or share <= 0 else "<1 %"


def format_value(value: Value | None) -> str:
    """Return a parameter's value as the specification writes it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format_number(value)
    return str(value)


def format_duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units: ``1 h 12 min``, ``45 s``, ``0.80 s``."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    seconds = max(seconds, 0.0)
    if seconds < 9.95:
        return f"{seconds:.2g} s" if seconds >= 0.01 or seconds == 0 else "<0.01 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    first = next(i for i, (size, _) in enumerate(units) if whole >= size)
    size, unit = units[first]
    small, small_unit = units[first + 1]
    rest = whole % size // small
    return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")


def format_time_of_day(time: datetime | None) -> str:
    """Return a time in UTC to the second, a dash for None."""
    return "–" if time is None else time.strftime("%Y-%m-%d %H:%M:%S UTC")
