"""The field reference in Markdown, from the same schemas as the CRDs, so that it cannot say anything else.

Charter: pure text; the caller writes the file.
"""

from collections.abc import Iterator
from typing import cast

from pydantic import JsonValue

from seatrial.api.schema import ANYTHING, Schema

__all__ = ["build_reference"]

_HEAD = """# Field reference

Every field of `seatrial.dev/v1alpha1`, generated from the models by `python scripts/generate.py`. A field in **bold** must be given.
Read as: `spec.parameters[].min` is the field `min` of each item of `spec.parameters`. Lengths of time are written `45s`, `30m`,
`1h30m` or `2d`. The rules below a table span several fields; a cluster checks them when the object is applied, and the command line
checks them and more.
"""


def build_reference(crds: dict[str, Schema]) -> str:
    """Return the page.

    Args:
        crds: CustomResourceDefinitions by kind.
    """
    parts = [_HEAD]
    for kind, crd in crds.items():
        schema = _object_schema(crd)
        parts.append(f"## {kind}\n\n{schema['description']}\n")
        for section in ("spec", "status"):
            inner = _child(schema, section)
            parts += [f"### {kind} {section}\n", _table(inner, section), *_rules(inner, section)]
    return "\n".join(parts)


def _object_schema(crd: Schema) -> Schema:
    spec = cast("dict[str, list[dict[str, dict[str, Schema]]]]", crd["spec"])
    return spec["versions"][0]["schema"]["openAPIV3Schema"]


def _child(schema: Schema, name: str) -> Schema:
    return cast("dict[str, Schema]", schema["properties"])[name]


def _table(schema: Schema, path: str) -> str:
    rows = ["| field | type | default | bounds | meaning |", "|---|---|---|---|---|"]
    for place, child, needed in _fields(schema, path):
        name = f"**`{place}`**" if needed else f"`{place}`"
        default = f"`{_text(child['default'])}`" if "default" in child else ""
        meaning = str(child.get("description", "")).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
        rows.append(f"| {name} | {_kind(child)} | {default} | {_bounds(child)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
    """Yield (place, schema, whether it must be given) of every field below *schema*."""
    needed = cast("list[str]", schema.get("required", []))
    for name, child in cast("dict[str, Schema]", schema.get("properties", {})).items():
        yield f"{path}.{name}", child, name in needed
        items = child.get("items")
        if isinstance(items, dict):
            yield from _fields(items, f"{path}.{name}[]")
        yield from _fields(child, f"{path}.{name}")


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if kind is None:
        return "text, number or boolean"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "boolean"}
    if kind == "array":
        items = cast("Schema", schema["items"])
        return "list of mappings" if items.get("type") == "object" else f"list of {_plural(_kind(items))}"
    if kind == "object":
        return "any mapping" if schema.get(ANYTHING) else "mapping"
    return "date and time" if schema.get("format") == "date-time" else words[str(kind)]


def _plural(kind: str) -> str:
    return {"text": "texts", "text, number or boolean": "texts, numbers or booleans"}.get(kind, f"{kind}s")


def _bounds(schema: Schema) -> str:
    found: list[str] = []
    if isinstance(words := schema.get("enum"), list):
        found.append("one of " + ", ".join(f"`{word}`" for word in words))
    for bound, sign in (("minimum", ">"), ("maximum", "<")):
        if bound in schema:
            strict = schema.get(f"exclusive{bound.capitalize()}")
            found.append(f"{sign if strict else sign + '='} {_text(schema[bound])}".replace("<", "&lt;"))
    for low, high, unit in (("minLength", "maxLength", "characters"), ("minItems", "maxItems", "items")):
        if high in schema:
            least = schema.get(low) or 0
            found.append(f"{least} to {schema[high]} {unit}" if least else f"at most {schema[high]} {unit}")
    if "pattern" in schema:
        found.append("`" + str(schema["pattern"]).replace("|", "\\|") + "`")
    return "; ".join(found)


def _text(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if value != "" else '""'


def _rules(schema: Schema, path: str) -> list[str]:
    lines = [f"- `{path}`: {rule['message']}" for rule in _validations(schema)]
    for place, child, _ in _fields(schema, path):
        lines += [f"- `{place}`: {rule['message']}" for rule in _validations(child)]
        items = child.get("items")
        if isinstance(items, dict):
            lines += [f"- `{place}[]`: {rule['message']}" for rule in _validations(items)]
    return ["Rules:\n", *lines, ""] if lines else []


def _validations(schema: Schema) -> list[dict[str, str]]:
    return cast("list[dict[str, str]]", schema.get("x-kubernetes-validations", []))
