"""Tells the user once about each thing that went wrong without ending the training.

Must not raise and must not configure anybody's logging: a closed stderr is nobody's problem here.
"""

import contextlib
import sys

__all__ = ["Notices"]


class Notices:
    """Remembers what was said, so that the termination message can repeat it."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def once(self, key: str, text: str) -> None:
        """Write *text* to stderr unless *key* has been spoken of before."""
        if key in self._said:
            return
        self._said[key] = text
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"seatrial: {text}\n")
            sys.stderr.flush()

    def about(self, prefix: str) -> list[str]:
        """Return the texts whose key starts with *prefix*, oldest first."""
        return [text for key, text in self._said.items() if key.startswith(prefix)]
