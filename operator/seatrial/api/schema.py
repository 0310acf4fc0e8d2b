"""From a wire model to the structural schema that a CustomResourceDefinition may hold.

Kubernetes takes a subset of JSON schema: no references, a type everywhere (or the mark that anything goes), no ``title``, no
``additionalProperties: false``, ``exclusiveMinimum`` as a flag, no null. A value of several types (a choice may be text, number or
boolean) has no type at all there: it is kept as it is and cannot be seen by CEL.

Charter: pure; it knows no field by name.
"""

from collections.abc import Mapping, Set

from pydantic import BaseModel, JsonValue

__all__ = ["ANYTHING", "Schema", "build_schema"]

Schema = dict[str, JsonValue]

ANYTHING = "x-kubernetes-preserve-unknown-fields"
_KEPT = ("type", "format", "pattern", "enum", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum")
_INT32 = 2**31 - 1


def build_schema(model: type[BaseModel], *, without: Set[str] = frozenset()) -> Schema:
    """Return the structural schema of *model*, camelCase, but for the top-level fields *without*.

    Raises:
        ValueError: If the model cannot be said in a structural schema: it recurses, or a string or list has no bound.
    """
    source = model.model_json_schema(by_alias=True, mode="validation")
    if "$ref" in source:  # pydantic refers to the root only when something in it does
        raise ValueError(f"{model.__name__} contains itself; a structural schema cannot")
    definitions = source.pop("$defs", {})
    source["properties"] = {name: child for name, child in source["properties"].items() if name not in without}
    return _Converter(definitions).convert(source, model.__name__, ())


class _Converter:
    """Inlines definitions and rewrites one schema after the other."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def convert(self, source: Schema, path: str, inside: tuple[str, ...]) -> Schema:
        """Return the structural form of *source*; *inside* are the definitions that it is part of."""
        source, inside = self._resolved(source, path, inside)
        out: Schema = {}
        if isinstance(description := source.get("description"), str):
            out["description"] = description
        out |= {key: value for key, value in source.items() if key.startswith("x-kubernetes-") and key != ANYTHING}
        kind = source.get("type")
        if kind is None and "const" not in source:
            return out | {ANYTHING: True}
        out |= {key: source[key] for key in _KEPT if key in source}
        if "const" in source:
            out |= {"type": "string", "enum": [source["const"]]}
        _rewrite_bounds(source, out)
        if kind == "object":
            self._object(source, out, path, inside)
        elif kind == "array":
            self._array(source, out, path, inside)
        elif kind == "string" and not {"enum", "maxLength", "format"} & out.keys():
            raise ValueError(f"{path} is text without a bound; give it max_length")
        if "default" in source and source["default"] is not None:
            out["default"] = source["default"]
        return out

    def _resolved(self, source: Schema, path: str, inside: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """Follow references and drop null from unions; the outer description, default and marks win."""
        own = {key: value for key, value in source.items() if key not in {"$ref", "anyOf"}}
        if isinstance(members := source.get("anyOf"), list):
            real = [member for member in members if isinstance(member, dict) and member.get("type") != "null"]
            if len(real) > 1:
                return own, inside
            source = {**real[0], **own}
            return self._resolved(source, path, inside) if "$ref" in source else (source, inside)
        if isinstance(reference := source.get("$ref"), str):
            name = reference.removeprefix("#/$defs/")
            if name in inside:
                raise ValueError(f"{path} contains itself through {name}; a structural schema cannot")
            return self._resolved({**self._definitions[name], **own}, path, (*inside, name))
        return source, inside

    def _object(self, source: Schema, out: Schema, path: str, inside: tuple[str, ...]) -> None:
        properties = source.get("properties")
        if not isinstance(properties, dict):
            values = source.get("additionalProperties")
            if isinstance(values, dict) and not source.get(ANYTHING):
                out["additionalProperties"] = self.convert(values, f"{path}.*", inside)
            else:
                out[ANYTHING] = True
            return
        if required := source.get("required"):
            out["required"] = required
        out["properties"] = {
            name: self.convert(child, f"{path}.{name}", inside)
            for name, child in properties.items()
            if isinstance(child, dict)
        }

    def _array(self, source: Schema, out: Schema, path: str, inside: tuple[str, ...]) -> None:
        if "maxItems" not in source:
            raise ValueError(f"{path} is a list without a bound; give it max_length")
        items = source.get("items")
        if not isinstance(items, dict) or "prefixItems" in items:
            out["items"] = {ANYTHING: True}
        elif source.get(ANYTHING):
            out["items"] = {"type": "object", ANYTHING: True}
        else:
            out["items"] = self.convert(items, f"{path}[]", inside)


def _rewrite_bounds(source: Schema, out: Schema) -> None:
    """Write exclusive bounds as flags, and the width of integers."""
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in source:
            out |= {bound: source[exclusive], exclusive: True}
    if source.get("type") == "integer":
        largest = out.get("maximum")
        out["format"] = "int32" if isinstance(largest, int) and largest <= _INT32 else "int64"
