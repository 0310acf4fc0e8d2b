"""Rules of a study's author on what follows when a trial fails: by its exit code, or by what it said last.

The names are those of a Job's ``podFailurePolicy`` where it has them.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from seatrial.api.base import Wire

__all__ = ["ExitCodes", "RetryAction", "RetryPolicy", "RetryRule"]


class RetryAction(StrEnum):
    """What follows."""

    RETRY = "retry"
    FAIL = "fail"
    INFEASIBLE = "infeasible"
    EXCLUDE_NODE = "excludeNode"


ExitCode = Annotated[int, Field(ge=1, le=255)]
"""0 is success; 128 + n is the end by signal n."""

MessagePattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class ExitCodes(Wire):
    """Exit codes of the training container."""

    operator: Literal["In", "NotIn"] = Field(default="In", description="In (the default) or NotIn.")
    values: list[ExitCode] = Field(
        min_length=1, max_length=64, description="Exit codes, 1 to 255. 128 + n is the end by signal n."
    )


class RetryRule(Wire):
    """One rule. With both onExitCodes and onMessage it matches when both do."""

    action: RetryAction = Field(
        description="retry: start again without using up trial.retries. fail: never start again. infeasible: never start again, and tell the search that the assignment cannot work. excludeNode: as retry, and place no trial of the study on that node again.",
    )
    on_exit_codes: ExitCodes | None = Field(
        default=None, description="Matches the exit code of the training container."
    )
    on_message: list[MessagePattern] = Field(
        default_factory=list,
        max_length=16,
        description="Matches when one of these is found in the termination message or in the last lines that the trial printed. * stands for any text of one line: CUDA error:*ECC*.",
    )
    after: int = Field(
        default=1,
        ge=1,
        le=10,
        description="Only with action: excludeNode. How many attempts of one trial have to end so on a node before it is excluded.",
    )


class RetryPolicy(Wire):
    """What follows when a trial fails by itself. Evictions, preemptions and lost nodes need no rule."""

    rules: list[RetryRule] = Field(
        min_length=1,
        max_length=16,
        description="The first rule that matches decides; where none does, trial.retries counts.",
    )
