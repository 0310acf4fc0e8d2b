"""Nodes: the values of a document with the lines where they stand, whether they came from YAML, from JSON or from a server.

Charter: pure; no syntax is known here except JSON's.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from seatrial.api.base import Value
from seatrial.api.wording import Path
from seatrial.api.yaml_scalars import as_sent
from seatrial.errors import Problem, SpecError

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "Json",
    "Node",
    "node_of",
    "parse_json",
    "refused",
    "to_json",
    "too_deep",
]

MAX_BYTES = 1 << 20
"""Largest file that is read: the API server takes at most 1.5 MB."""
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Values in a file after its aliases are expanded."""

Json = None | Value | list["Json"] | dict[str, "Json"]


@dataclass(slots=True, kw_only=True)
class Node:
    """One value of a document.

    Attributes:
        line: 1-based line where it starts.
        value: A scalar, or the nodes of a list or mapping.
        raw: Text of a scalar as it is written, without quotes; None for lists and mappings.
        plain: Whether a scalar is written without quotes, so that its spelling decides about its type.
        key_lines: Lines of a mapping's keys.
        size: Number of values in it, aliases expanded.
        depth: Levels of nesting, 1 for a scalar, aliases expanded.
        problems: What is wrong in it, with paths relative to this node.
    """

    line: int
    value: "Value | list[Node] | dict[str, Node] | None" = None
    raw: str | None = None
    plain: bool = False
    key_lines: dict[str, int] = field(default_factory=dict)
    size: int = 1
    depth: int = 1
    problems: list[tuple[Path, str, int]] = field(default_factory=list)

    def find(self, path: Path) -> "Node | None":
        """Return the node at *path*, None when there is none."""
        node: Node | None = self
        for part in path:
            node = node.child(part) if node is not None else None
        return node

    def line_of(self, path: Path) -> int:
        """Return the line of the key or item at *path*, or of the nearest thing around it that exists."""
        node, line = self, self.line
        for part in path:
            child = node.child(part)
            if child is None:
                break
            line = node.key_lines.get(str(part), child.line)
            node = child
        return line

    def all_problems(self) -> Iterator[tuple[Path, str, int]]:
        """Yield (path, message, line) of everything wrong below this node, in the order of the document."""
        yield from self.problems
        children: list[tuple[str | int, Node]] = []
        if isinstance(self.value, dict):
            children = list(self.value.items())
        elif isinstance(self.value, list):
            children = list(enumerate(self.value))
        for part, child in children:
            for path, message, line in child.all_problems():
                yield (part, *path), message, line

    def child(self, part: str | int) -> "Node | None":
        """Return the entry or item *part*, None when there is none."""
        if isinstance(self.value, dict) and isinstance(part, str):
            return self.value.get(part)
        if isinstance(self.value, list) and isinstance(part, int) and 0 <= part < len(self.value):
            return self.value[part]
        return None


def node_of(value: Json) -> Node:
    """Return the node of a plain value, for objects that do not come from a file.

    Raises:
        SpecError: If it nests deeper than any study does.
    """
    return _from_json(value, depth=0)


def to_json(node: Node) -> Json:
    """Return the plain value of *node*, as kubectl would send it."""
    if isinstance(node.value, dict):
        return {key: to_json(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [to_json(child) for child in node.value]
    return node.value


def refused(message: str, line: int | None = None) -> SpecError:
    """Return the error of a document that cannot be read further."""
    return SpecError([Problem(path="", message=message, line=line)])


def too_deep(line: int) -> SpecError:
    """Return the error of a document with too many levels."""
    return refused(
        f"nests deeper than {MAX_DEPTH} levels, but no study does; look for brackets that are never closed", line
    )


# ---- JSON ----------------------------------------------------------------------------------------------------------------


def parse_json(text: str) -> Node | None:
    r"""Return the document of a JSON text that is no YAML (an escape such as ``\ud83d\ude00``), None when it is no JSON either."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        parsed = json.loads(text, object_pairs_hook=_pairs, parse_float=_json_float, parse_constant=_json_constant)
        json.dumps(parsed, ensure_ascii=False).encode()  # a half of a surrogate pair is no text
    except (ValueError, RecursionError):
        return None
    return _from_json(parsed, depth=0)


class _Pairs(dict[str, Json]):
    """A JSON object that remembers which keys were repeated."""

    repeated: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Json]]) -> _Pairs:
    found = _Pairs(reversed(pairs))
    if len(found) < len(pairs):
        found.repeated = tuple(sorted(name for name, times in Counter(name for name, _ in pairs).items() if times > 1))
    return found


def _json_float(text: str) -> float:
    number = float(text)
    if abs(number) == float("inf"):
        raise ValueError(text)
    return number


def _json_constant(text: str) -> float:
    raise ValueError(text)


def _from_json(value: Json, *, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise too_deep(1)
    node = Node(line=1)
    if isinstance(value, dict):
        node.value = {key: _from_json(child, depth=depth + 1) for key, child in value.items()}
        repeated = value.repeated if isinstance(value, _Pairs) else ()
        node.problems += [((key,), "is given twice; remove one", 1) for key in repeated]
    elif isinstance(value, list):
        node.value = [_from_json(child, depth=depth + 1) for child in value]
    else:
        node.value = as_sent(value) if isinstance(value, float) else value
        node.raw = str(value)
    return node
