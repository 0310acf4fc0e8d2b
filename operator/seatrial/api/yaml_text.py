"""YAML as kubectl reads it, with line numbers: text -> nodes -> plain JSON values.

kubectl turns YAML into JSON by the rules of YAML 1.1 with Go's numbers: ``yes``, ``on`` and ``y`` are booleans, ``1e-5`` and
``0o17`` are numbers, dates stay text, ``60.0`` arrives as 60. A file that means one thing here and another there would be a trap,
so scalars are resolved by exactly those rules (:mod:`seatrial.api.yaml_scalars`).
Where kubectl's reading would surprise (a repeated key, a boolean as a key, ``<<`` after the keys that it overrides), the file
is refused instead.

Charter: no file is opened here and no field of a study is known. The text may be hostile: size, depth and the number of nodes
after the expansion of aliases are bounded, and nothing recurses deeper than :data:`MAX_DEPTH`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from seatrial.api.base import Value
from seatrial.api.wording import Path, show
from seatrial.api.yaml_scalars import as_sent, is_null, resolve
from seatrial.errors import Problem, SpecError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "Json", "Node", "node_of", "read_documents", "to_json"]

MAX_BYTES = 1 << 20
"""Largest file that is read: the API server takes at most 1.5 MB."""
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Values in a file after its aliases are expanded."""

Json = None | Value | list["Json"] | dict[str, "Json"]

_TAG = "tag:yaml.org,2002:"


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


def read_documents(text: bytes, *, source: str) -> list[Node]:
    """Return the documents of a YAML or JSON text, empty ones left out.

    Args:
        text: The file's bytes.
        source: Name of the file, for messages.

    Raises:
        SpecError: If it is no YAML, or larger or deeper than any study is. What is wrong inside a document that can be read
            otherwise is kept in its nodes (:meth:`Node.all_problems`).
    """
    decoded = _decode(text, source)
    try:
        documents = _compose(decoded)
    except yaml.YAMLError as err:
        if (parsed := _parse_json(decoded)) is None:
            raise SpecError([_syntax_problem(err, decoded, source)]) from err
        documents = [parsed]
    return [document for document in documents if document.value is not None]


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


# ---- text --------------------------------------------------------------------------------------------------------------


def _decode(text: bytes, source: str) -> str:
    if len(text) > MAX_BYTES:
        size = f"{len(text) / 1e6:.1f} MB"
        raise _refused(
            f"{source} is {size} large, but a study has at most {MAX_BYTES // 1024} KiB; is it the right file?"
        )
    if b"\0" in text[:8192]:
        raise _refused(f"{source} is a binary file, but a study is YAML or JSON text; is it the right file?")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = text[: err.start].count(b"\n") + 1
        message = f"{source} is not UTF-8 (byte 0x{text[err.start]:02x}); save it as UTF-8 text"
        raise SpecError([Problem(path="", message=message, line=line)]) from err


def _refused(message: str, line: int | None = None) -> SpecError:
    return SpecError([Problem(path="", message=message, line=line)])


def _too_deep(line: int) -> SpecError:
    return _refused(
        f"nests deeper than {MAX_DEPTH} levels, but no study does; look for brackets that are never closed", line
    )


def _syntax_problem(err: yaml.YAMLError, text: str, source: str) -> Problem:
    mark = getattr(err, "problem_mark", None) or getattr(err, "context_mark", None)
    if mark is None:  # the reader's errors carry only a position
        position = getattr(err, "position", 0)
        line = text[:position].count("\n") + 1
        message = f"{source} holds the control character {text[position : position + 1]!r}; remove it"
        return Problem(path="", message=message, line=line)
    lines = text.splitlines()
    here = lines[mark.line] if mark.line < len(lines) else ""
    what = ": ".join(part for part in (getattr(err, "context", None), getattr(err, "problem", None)) if part)
    message = f"{source} is no YAML here ({what}); {_advice(what, here, mark.column)}"
    return Problem(path="", message=message, line=mark.line + 1)


def _advice(what: str, here: str, column: int) -> str:
    if "\t" in here[: column + 1]:
        return "it has a tab, but YAML indents by spaces: replace each tab by two spaces"
    if "nesting depth" in what:
        return f"a study nests at most {MAX_DEPTH} deep: look for brackets that are never closed"
    if "cannot start any token" in what and column < len(here):
        return f"a value cannot start with {here[column]}: put it in quotes"
    if "mapping values are not allowed" in what:
        return "check the indentation, and put a value that contains a colon in quotes"
    if "flow" in what or "quoted" in what:
        return "a bracket or a quote is not closed"
    return "check the indentation of this line and of the one before"


# ---- nodes -------------------------------------------------------------------------------------------------------------


class _Builder:
    """Builds nodes from the parser's events without recursion."""

    def __init__(self) -> None:
        self.documents: list[Node] = []
        self._open: list[tuple[Node, str | None]] = []  # the node and its anchor
        self._keys: list[Node | None] = []  # the key that waits for its value, one for each open node
        self._anchors: dict[str, Node | None] = {}  # None while the anchored value is still open

    def handle(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case yaml.DocumentStartEvent():
                self._anchors = {}
            case yaml.ScalarEvent():
                self._add(_scalar_node(event, line), event.anchor)
            case yaml.AliasEvent():
                self._add(self._anchored(str(event.anchor), line), None)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._start(event, line)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                node, anchor = self._open.pop()
                self._keys.pop()
                self._add(node, anchor)

    def _start(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, line: int) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _too_deep(line)
        node = Node(line=line, value=[] if isinstance(event, yaml.SequenceStartEvent) else {})
        expected = "seq" if isinstance(event, yaml.SequenceStartEvent) else "map"
        if event.tag not in {None, "!", _TAG + expected}:
            node.problems.append(((), _tag_message(event.tag), line))
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append((node, event.anchor))
        self._keys.append(None)

    def _anchored(self, anchor: str, line: int) -> Node:
        if anchor not in self._anchors:
            raise _refused(f"uses the alias *{anchor}, but no &{anchor} stands before it; define it first", line)
        if (node := self._anchors[anchor]) is None:
            raise _refused(f"uses the alias *{anchor} inside its own value; write the value out", line)
        return node

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._open:
            self.documents.append(node)
            return
        parent, _ = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif self._keys[-1] is None:
            self._keys[-1] = node
            return
        else:
            key, self._keys[-1] = self._keys[-1], None
            _add_entry(parent, key, node)
        parent.size += node.size
        parent.depth = max(parent.depth, node.depth + 1)
        if parent.depth > MAX_DEPTH:
            raise _too_deep(parent.line)
        if parent.size > MAX_NODES:
            message = f"holds more than {MAX_NODES} values once its aliases are expanded; write fewer of them"
            raise _refused(message, parent.line)


def _compose(text: str) -> list[Node]:
    builder = _Builder()
    # libyaml where the wheel has it: kubectl's parser is a port of it.
    loader = getattr(yaml, "CLoader", yaml.Loader)
    for event in yaml.parse(text, Loader=loader):
        builder.handle(event)
    return builder.documents


def _add_entry(parent: Node, key_node: Node, child: Node) -> None:
    """Add key and value to a mapping; what is wrong with the key goes to the parent's problems."""
    entries = parent.value
    assert isinstance(entries, dict)  # noqa: S101 - only mappings have keys
    if key_node.plain and key_node.raw == "<<":
        _merge(parent, entries, child, key_node.line)
        return
    key, complaint = _key_text(key_node)
    if complaint:
        parent.problems.append(((), complaint, key_node.line))
        return
    if key in entries and key in parent.key_lines:
        message = f"is given twice (first in line {parent.key_lines[key]}); remove one"
        parent.problems.append(((key,), message, key_node.line))
        return
    entries[key] = child
    parent.key_lines[key] = key_node.line


def _key_text(node: Node) -> tuple[str, str]:
    """Return the text of a key, or a complaint."""
    if isinstance(node.value, list | dict):
        return "", "has a list or mapping as a key; write a name instead"
    if isinstance(node.value, bool):
        return "", f"has the key {node.raw}, which YAML reads as the boolean {show(node.value)}; put it in quotes"
    if node.value is None or isinstance(node.value, float):
        return "", f"has the key {node.raw or '(nothing)'}, which is no name; put it in quotes"
    return str(node.value), ""


def _merge(parent: Node, entries: dict[str, Node], child: Node, line: int) -> None:
    """Take over the entries of ``<<``; kubectl lets it override keys above it, YAML says otherwise: such files are refused."""
    sources = child.value if isinstance(child.value, list) else [child]
    merged: dict[str, Node] = {}
    for mapping in sources:
        if not isinstance(mapping, Node) or not isinstance(mapping.value, dict):
            parent.problems.append(
                ((), "has << with something that is no mapping; give it an alias of a mapping", line)
            )
            return
        for key, node in mapping.value.items():
            merged.setdefault(key, node)
    if clash := sorted(set(merged) & set(entries)):
        parent.problems.append(((), f"has << below {clash[0]}, which it brings along too; put << first", line))
        return
    entries.update(merged)


def _tag_message(tag: str) -> str:
    short = tag.replace(_TAG, "!!")
    return f"has the tag {show(short)[1:-1]}, but only !!str, !!int, !!float and !!bool have a meaning here; remove it"


# ---- scalars -----------------------------------------------------------------------------------------------------------


def _scalar_node(event: yaml.ScalarEvent, line: int) -> Node:
    plain = bool(event.implicit[0])
    node = Node(line=line, raw=event.value, plain=plain)
    if "\0" in event.value:
        node.problems.append(
            ((), "holds a NUL character, which neither a Pod nor a process can be given; remove it", line)
        )
    if plain:
        node.value = resolve(event.value)
        if node.value is None and not is_null(event.value):
            message = f"is {event.value}, but must be finite: Kubernetes cannot hold it; write a number or leave it out"
            node.problems.append(((), message, line))
        return node
    tag = event.tag
    if tag in {None, "!", _TAG + "str"}:
        node.value = event.value
        return node
    node.value = resolve(event.value)
    kinds: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    kind = kinds.get(str(tag).removeprefix(_TAG))
    if kind is None:
        node.problems.append(((), _tag_message(str(tag)), line))
    elif not isinstance(node.value, kind) or (isinstance(node.value, bool) and kind is not bool):
        message = f"is {show(event.value)}, but its tag {str(tag).replace(_TAG, '!!')} says otherwise; remove the tag"
        node.problems.append(((), message, line))
    return node


# ---- JSON ----------------------------------------------------------------------------------------------------------------


def _parse_json(text: str) -> Node | None:
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
    names = [name for name, _ in pairs]
    found.repeated = tuple(sorted({name for name in names if names.count(name) > 1})) if len(found) < len(names) else ()
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
        raise _too_deep(1)
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
