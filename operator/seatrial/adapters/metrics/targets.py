"""Where running trials can be asked for their metrics, as whoever watches the Pods knows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from seatrial.api.study import Study

__all__ = ["Target", "TargetFinder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One running attempt.

    Attributes:
        trial: Name of the trial.
        attempt: Number of the attempt.
        url: ``http://10.0.0.7:9090/metrics``.
    """

    trial: str
    attempt: int
    url: str


class TargetFinder(Protocol):
    """Knows the addresses of running trials."""

    def find(self, study: Study) -> Sequence[Target]:
        """Return the attempts of the study that have an address and run, from memory."""
        ...
