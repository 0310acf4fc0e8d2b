"""The laptop's time."""

from datetime import UTC, datetime

__all__ = ["SystemClock"]


class SystemClock:
    """The system's clock."""

    def now(self) -> datetime:
        """Return the time, UTC, aware."""
        return datetime.now(UTC)
