"""What a container that runs one attempt after another is told to run: read from a file, with references expanded as Kubernetes does."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Directive", "expand", "read_directive"]

_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """One attempt.

    Attributes:
        id: Its identity, without spaces.
        command: Program first, not expanded.
        interpreter: How many words of it are Python and its flags; 0 for another program.
        environment: Names and values in the order of their declaration, not expanded.
        grace_seconds: Between the request to end and the end by force.
        timeout_seconds: After which it is asked to end; None for never.
        stop: Whether it is to end, or not to begin.
    """

    id: str
    command: tuple[str, ...]
    interpreter: int
    environment: tuple[tuple[str, str], ...]
    grace_seconds: float
    timeout_seconds: float | None
    stop: bool

    def build_environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return all variables of the attempt, on top of what its container has."""
        found = dict(base)
        for name, value in self.environment:
            found[name] = expand(value, found)
        return found

    def build_command(self, environment: Mapping[str, str]) -> list[str]:
        """Return the words of the command."""
        return [expand(word, environment) for word in self.command]


def read_directive(path: Path) -> Directive | None:
    """Return what the file says, None while it says nothing that can be understood."""
    try:
        told = json.loads(path.read_bytes())
        timeout = told.get("timeout")
        return Directive(
            id=str(told["id"]),
            command=tuple(map(str, told.get("command") or ())),
            interpreter=int(told.get("interpreter") or 0),
            environment=tuple((str(name), str(value)) for name, value in told.get("environment") or ()),
            grace_seconds=float(told.get("grace") or 0.0),
            timeout_seconds=None if timeout is None else float(timeout),
            stop=bool(told.get("stop")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the variable's value; a name that is unknown stays as it stands, ``$$`` is one ``$``.

    Source: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """

    def replace(found: re.Match[str]) -> str:
        return "$" if found[1] else environment.get(found[2], found[0])

    return _REFERENCE.sub(replace, text)
