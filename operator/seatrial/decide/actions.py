"""What a plan consists of: actions as values, each with a machine-readable reason and a sentence.

The same words reach the condition, the Event, the log and the live view.
"""

from dataclasses import dataclass
from enum import StrEnum

from seatrial.api.conditions import StudyReason, TrialReason

__all__ = [
    "Action",
    "CreateTrials",
    "FinishTrial",
    "PassRung",
    "PauseTrial",
    "Plan",
    "PromoteTrial",
    "RecordPhase",
    "RequeueTrial",
    "StartAttempt",
    "StopAttempt",
    "StopReason",
    "StudyState",
    "say_number",
    "shorten",
]

MESSAGE_LIMIT = 1024
"""Most characters of a condition's message."""


def shorten(message: str, limit: int = MESSAGE_LIMIT) -> str:
    """Cut a message to what a condition may hold; where something was left out, an ellipsis says so."""
    return message if len(message) <= limit else f"{message[: limit - 1]}…"


def say_number(count: int, one: str, more: str) -> str:
    """Return ``1 trial waits``, ``2 trials wait``: a number of trials, and what one or more of them do."""
    return f"1 trial {one}" if count == 1 else f"{count} trials {more}"


class StopReason(StrEnum):
    """Why a running trial is ended early."""

    BELOW_MEDIAN = "BelowMedian"
    BELOW_PERCENTILE = "BelowPercentile"
    NOT_PROMOTED = "NotPromoted"
    NO_IMPROVEMENT = "NoImprovement"
    DIVERGED = "Diverged"
    TIMEOUT = "Timeout"
    STRAGGLER = "Straggler"
    STUDY_COMPLETE = "StudyComplete"
    SUSPENDED = "Suspended"
    INTERRUPTED = "Interrupted"
    CANNOT_START = "CannotStart"
    START_TIMEOUT = "StartTimeout"

    @property
    def outcome(self) -> TrialReason | None:
        """State in which a trial ends that was stopped for this reason; None when it goes on later."""
        match self:
            case StopReason.DIVERGED:
                return TrialReason.DIVERGED
            case StopReason.TIMEOUT:
                return TrialReason.FAILED
            case StopReason.STUDY_COMPLETE:
                return TrialReason.CANCELLED
            case StopReason.SUSPENDED | StopReason.INTERRUPTED:
                return None
            case StopReason.CANNOT_START | StopReason.START_TIMEOUT:
                # Some attempts later it does end, as what they say it is.
                return None
            case _:
                return TrialReason.STOPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoned:
    """A decision: CamelCase word for machines, one sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAttempt(Reasoned):
    """Start the trial's current attempt."""

    trial: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAttempt(Reasoned):
    """Record that the trial is being stopped, then ask its attempt to end."""

    trial: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRung(Reasoned):
    """Record that the trial was judged at a rung and goes on."""

    trial: str
    rung: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseTrial(Reasoned):
    """Record what the trial found at a rung; it holds nothing until it is promoted.

    Attributes:
        rung: Where it waits.
    """

    trial: str
    attempt: int
    rung: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteTrial(Reasoned):
    """Record that a paused trial goes on beyond a rung.

    Attributes:
        rung: The rung at which it waited; None when there are no rungs any more.
        waits: Whether it has reached the next rung already and stays paused.
    """

    trial: str
    rung: int | None
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishTrial(Reasoned):
    """Record the trial's outcome; it never changes again."""

    trial: str
    outcome: TrialReason


@dataclass(frozen=True, slots=True, kw_only=True)
class RequeueTrial(Reasoned):
    """Record how the attempt ended and let the next one follow.

    Attributes:
        infrastructure: Whether the trial was not at fault, so that its retries are not used up.
        delay_seconds: How long the next attempt waits.
        excluded_node: Node on which no trial of the study is to be placed again; empty for none.
    """

    trial: str
    attempt: int
    infrastructure: bool
    delay_seconds: float = 0.0
    excluded_node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPhase(Reasoned):
    """Record that the trial now runs, or why it waits."""

    trial: str
    state: TrialReason


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTrials(Reasoned):
    """Ask the algorithm for new trials and create them."""

    count: int


Action = (
    StartAttempt
    | StopAttempt
    | PassRung
    | PauseTrial
    | PromoteTrial
    | FinishTrial
    | RequeueTrial
    | RecordPhase
    | CreateTrials
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyState:
    """The study's summary: reason and sentence of its condition ``Succeeded``."""

    reason: StudyReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now, in this order, and when to look again even if nothing happens.

    Attributes:
        actions: In the order in which they are to be applied.
        state: What the study's status should say.
        wake_after_seconds: Next deadline (a timeout, the study's duration); None when there is none.
    """

    actions: tuple[Action, ...]
    state: StudyState
    wake_after_seconds: float | None = None
