"""pydantic's errors in the words of this house: value, rule and next step after the path.

Charter: one error in, one problem out; pure. It knows the models' names and bounds, and no rule that spans two fields.
"""

import re
from collections.abc import Mapping
from functools import cache
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from seatrial.api.base import Duration, Wire
from seatrial.api.nodes import Node
from seatrial.api.study import Study
from seatrial.api.wording import Path, is_number_like, list_words, nearest, show, suggest

__all__ = ["error_path", "field_at", "model_at", "translate", "wire_names"]

_PATTERNS = (
    (r"^[A-Za-z_][A-Za-z0-9_]*$", "letters, digits and underscores, not starting with a digit; rename it"),
    (
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "lower-case letters, digits and dashes, starting and ending with a letter or digit; rename it",
    ),
    (
        r"^[A-Za-z_][A-Za-z0-9_./:-]*$",
        "letters, digits and any of _ . / : -, starting with a letter or underscore; rename it",
    ),
    (
        r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
        "a length of time in days, hours, minutes and seconds; write 45s, 30m, 1h30m or 2d",
    ),
    (
        r"^[a-z][a-z0-9+.-]*://[^/?#@\s]*(/[^?#\s]*)?$",
        "an address such as s3://bucket/prefix, without name and password; those go into the template's env",
    ),
    (r"^https?://", "an address; start it with http:// or https://"),
)
_MISPLACED = 0.85
_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing_size": "a whole number below 2^63",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
# Words of other tools for values that are called otherwise here; the first that the field knows is proposed.
_OTHER_VALUES = {
    "double": ("float",),
    "real": ("float",),
    "uniform": ("float", "linear"),
    "integer": ("int",),
    "discrete": ("ordinal",),
    "choice": ("categorical",),
    "string": ("categorical",),
    "bool": ("categorical",),
    "boolean": ("categorical",),
    "fixed": ("constant",),
    "loguniform": ("log", "float"),
    "logarithmic": ("log",),
    "max": ("maximize",),
    "min": ("minimize",),
    "up": ("maximize",),
    "down": ("minimize",),
    "bayesian": ("gp",),
    "bayesianoptimization": ("gp",),
    "hyperband": ("asha",),
    "medianstop": ("median",),
    "halving": ("asha",),
    "stdout": ("logs",),
    "average": ("mean",),
}
# Names of other tools, for fields that have another name here.
_ELSEWHERE = {
    "objective": "objectives",
    "direction": "goal",
    "low": "min",
    "high": "max",
    "lower": "min",
    "upper": "max",
    "values": "choices",
    "categories": "choices",
    "list": "choices",
    "parametertype": "type",
    "log": "scale: log",
    "distribution": "scale",
    "feasiblespace": "min, max or choices",
    "paralleltrialcount": "parallelTrials",
    "maxtrialcount": "maxTrials",
    "maxfailedtrialcount": "maxFailedTrials",
    "earlystopping": "stopping",
    "pruner": "stopping",
    "trialtemplate": "trial",
    "objectivemetricname": "metric",
    "condition": "when",
}


def wire_names(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of *model* by their names on the wire."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def model_at(path: Path, root: type[BaseModel] = Study) -> type[BaseModel] | None:
    """Return the model of the mapping at *path* of a study, None when there is none."""
    model: type[BaseModel] | None = root
    for part in path:
        if isinstance(part, int):
            continue
        field = wire_names(model).get(part) if model else None
        model = _model_in(field.annotation) if field else None
    return model


def field_at(path: Path) -> FieldInfo | None:
    """Return the field at *path* of a study, None when there is none."""
    owner = model_at(path[:-1]) if path else None
    return wire_names(owner).get(str(path[-1])) if owner else None


def error_path(error: ErrorDetails, root: Node) -> Path:
    """Return where *error* lies, without the names of union members that pydantic appends."""
    path: list[str | int] = []
    node: Node | None = root
    for part in error["loc"]:
        child = node.child(part) if node else None
        if child is None and error["type"] != "missing":
            break
        path.append(part)
        node = child
    return tuple(path)


def translate(error: ErrorDetails, path: Path, root: Node) -> str:
    """Return the message of *error*, to be read after the path."""
    kind, value, context = error["type"], error.get("input"), error.get("ctx", {})
    node = root.find(path)
    if kind == "missing":
        return _missing(path)
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind in {"enum", "literal_error"}:
        return _none_of(path, value)
    if kind == "string_pattern_mismatch":
        rule = dict(_PATTERNS).get(str(context["pattern"]), f"text that matches {context['pattern']}")
        return f"is {show(value)}, but must be {rule}"
    if kind.startswith(("greater_than", "less_than")):
        return f"is {show(value)}, but must be {_bound(kind, context)}"
    if kind in {"too_short", "too_long", "string_too_short", "string_too_long"}:
        return _length(kind, value, context, needed=bool((field := field_at(path)) and field.is_required()))
    if kind in {"int_from_float", "int_type"} and isinstance(value, float):
        below = int(value // 1)
        return f"is {show(value)}, but must be a whole number; use {below} or {below + 1}"
    # A location longer than the path ends in a member of a union: no member suited.
    expected = "text, a number, true or false" if len(error["loc"]) > len(path) else _KINDS.get(kind)
    if expected is None:
        return f"is {show(value)}, but {error['msg'][:1].lower()}{error['msg'][1:]}"
    if expected == "text" and _is_duration(field_at(path)) and not isinstance(value, bool):
        step = (
            f"write {value}s if seconds are meant" if isinstance(value, int | float) else "write 45s, 30m, 1h30m or 2d"
        )
        return f"is {show(value)}, but must be a length of time with its unit; {step}"
    return _wrong_kind(value, expected, node)


def _missing(path: Path) -> str:
    field = field_at(path)
    words = (field.description or "") if field else ""
    values = _enum_values(field)
    if values:
        return f"is missing, but needed: one of {', '.join(values)}; add it"
    first = re.split(r"\.(?:\s|$)", words, maxsplit=1)[0]
    return (
        f"is missing, but needed ({first[:1].lower()}{first[1:]}); add it"
        if first
        else "is missing, but needed; add it"
    )


def _unknown(path: Path) -> str:
    name = str(path[-1])
    owner = model_at(path[:-1])
    known = list(wire_names(owner)) if owner else []
    if name.lower() in _ELSEWHERE and (here := _ELSEWHERE[name.lower()]).split(":")[0].split(",")[0] in known:
        return f"is unknown; here it is `{here}`"
    homes = _homes()
    if home := homes.get(name):
        return f"is unknown here; it belongs under {home}"
    # Misspelt and in the wrong place: what is meant is like it, and more so than any name of this place.
    near = nearest(name, [*known, *homes], likeness=_MISPLACED)
    if near and near not in known:
        return f"is unknown here; did you mean `{near}`? It belongs under {homes[near]}"
    return f"is unknown; {suggest(name, known)}"


@cache
def _homes() -> dict[str, str]:
    """Return the mapping of a study in which a field exists, by the names of those fields that exist in one alone."""
    homes: dict[str, list[str]] = {}
    queue: list[tuple[str, type[BaseModel]]] = [("spec", model) for model in [model_at(("spec",))] if model]
    while queue:
        path, model = queue.pop(0)
        for key, field in wire_names(model).items():
            homes.setdefault(key, []).append(path)
            if inner := _model_in(field.annotation):
                queue.append((f"{path}.{key}" + ("[]" if _is_list(field) else ""), inner))
    return {name: paths[0] for name, paths in homes.items() if len(paths) == 1}


def _none_of(path: Path, value: object) -> str:
    known = _enum_values(field_at(path))
    if len(known) == 1:
        return f"is {show(value)}, but must be {known[0]}; write {known[0]}"
    other = _OTHER_VALUES.get(re.sub(r"[^a-z]", "", value.lower()), ()) if isinstance(value, str) else ()
    near = next((word for word in other if word in known), None)
    near = near or (nearest(value, known) if isinstance(value, str) else None)
    return f"is {show(value)}, but must be one of: {list_words(known)}" + (
        f"; did you mean {near}?" if near else "; choose one"
    )


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    bound = show(next(iter(context.values())))
    return {
        "greater_than": f"above {bound}; raise it",
        "greater_than_equal": f"at least {bound}; raise it",
        "less_than": f"below {bound}; lower it",
        "less_than_equal": f"at most {bound}; lower it",
    }[kind]


def _length(kind: str, value: object, context: Mapping[str, Any], *, needed: bool) -> str:
    unit = "characters" if kind.startswith("string") else "items"
    if kind.endswith("short"):
        if not value:
            least = "one item" if unit == "items" else "one character"
            return f"is empty, but needs at least {least}; " + (
                "fill it in" if needed else "fill it in or leave it out"
            )
        return f"is {show(value)}, but must have at least {context['min_length']} {unit}; write more"
    size = len(value) if isinstance(value, str | list | dict) else context.get("actual_length")
    what = show(value) if isinstance(value, str) else "a list"
    return f"is {what} with {size} {unit}, but at most {context['max_length']} are allowed; shorten it"


def _wrong_kind(value: object, expected: str, node: Node | None) -> str:
    if isinstance(value, bool) and node is not None and node.plain and node.raw not in {None, "true", "false"}:
        read = f"is {show(value)} (YAML reads {node.raw} without quotes as a boolean)"
        return f"{read}, but must be {expected}; " + (f'write "{node.raw}"' if expected == "text" else "write it so")
    if expected == "text" and isinstance(value, bool | int | float):
        return f"is {show(value)}, but must be text; put it in quotes"
    if "number" in expected and isinstance(value, str) and is_number_like(value):
        return f"is the text {show(value)}, but must be {expected}; remove the quotes"
    if expected == "true or false" and isinstance(value, str) and value.lower() in {"true", "false"}:
        return f"is the text {show(value)}, but must be true or false; remove the quotes"
    if expected == "a list":
        return f"is {show(value)}, but must be a list; write its items in [ ] or on lines that start with -"
    if expected == "a mapping":
        return f"is {show(value)}, but must be a mapping; write its fields below it, indented"
    return f"is {show(value)}, but must be {expected}; change it"


def _enum_values(field: FieldInfo | None) -> list[str]:
    """Return the words that a field can have, none when it is no enumeration."""
    if field is None:
        return []
    found: list[str] = []
    for annotation in [field.annotation, *get_args(field.annotation)]:
        if isinstance(annotation, str):
            found.append(annotation)
        elif isinstance(annotation, type) and hasattr(annotation, "__members__"):
            found += [str(member.value) for member in annotation.__members__.values()]
    return found


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model in an annotation such as ``list[Model]`` or ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Wire):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)


def _is_duration(field: FieldInfo | None) -> bool:
    return field is not None and Duration in {field.annotation, *get_args(field.annotation)}


def _is_list(field: FieldInfo) -> bool:
    return str(field.annotation).startswith("list[") or any(
        str(part).startswith("list[") for part in get_args(field.annotation) if part is not NoneType
    )
