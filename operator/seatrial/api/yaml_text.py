"""YAML as kubectl reads it, with line numbers: text -> nodes -> plain JSON values.

kubectl turns YAML into JSON by the rules of YAML 1.1 with Go's numbers: ``yes``, ``on`` and ``y`` are booleans, ``1e-5`` and
``0o17`` are numbers, dates stay text, ``60.0`` arrives as 60. A file that means one thing here and another there would be a trap,
so scalars are resolved by exactly those rules (:mod:`seatrial.api.yaml_scalars`).
Where kubectl's reading would surprise (a repeated key, a boolean as a key, ``<<`` after the keys that it overrides), the file
is refused instead.

Charter: no file is opened here and no field of a study is known. The text may be hostile: size, depth and the number of nodes
after the expansion of aliases are bounded, and nothing recurses deeper than :data:`MAX_DEPTH`.
"""

import yaml

from seatrial.api.nodes import MAX_BYTES, MAX_DEPTH, MAX_NODES, Node, parse_json, refused, too_deep
from seatrial.api.wording import show
from seatrial.api.yaml_scalars import is_null, resolve
from seatrial.errors import Problem, SpecError

__all__ = ["read_documents"]

_TAG = "tag:yaml.org,2002:"


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
        if (parsed := parse_json(decoded)) is None:
            raise SpecError([_syntax_problem(err, decoded, source)]) from err
        documents = [parsed]
    return [document for document in documents if document.value is not None]


# ---- text --------------------------------------------------------------------------------------------------------------


def _decode(text: bytes, source: str) -> str:
    if len(text) > MAX_BYTES:
        size = f"{len(text) / 1e6:.1f} MB"
        raise refused(
            f"{source} is {size} large, but a study has at most {MAX_BYTES // 1024} KiB; is it the right file?"
        )
    if b"\0" in text[:8192]:
        raise refused(f"{source} is a binary file, but a study is YAML or JSON text; is it the right file?")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = text[: err.start].count(b"\n") + 1
        message = f"{source} is not UTF-8 (byte 0x{text[err.start]:02x}); save it as UTF-8 text"
        raise SpecError([Problem(path="", message=message, line=line)]) from err


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
            raise too_deep(line)
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
            raise refused(f"uses the alias *{anchor}, but no &{anchor} stands before it; define it first", line)
        if (node := self._anchors[anchor]) is None:
            raise refused(f"uses the alias *{anchor} inside its own value; write the value out", line)
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
            raise too_deep(parent.line)
        if parent.size > MAX_NODES:
            message = f"holds more than {MAX_NODES} values once its aliases are expanded; write fewer of them"
            raise refused(message, parent.line)


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
