# ruff: noqa: ANN401 - JSON may be anything
"""The three patches of the API server on JSON objects: merge, JSON and (in its simple part) server-side apply. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from seatrial.adapters.kubernetes.faults import Conflict, Invalid
from seatrial.adapters.kubernetes.port import KubeObject

__all__ = ["apply_json_patch", "apply_merge_patch", "copy_json", "leaf_paths", "remove_path"]

T = TypeVar("T")

_SCALARS = frozenset({str, int, float, bool, type(None)})
_TEST_FAILED = "the server rejected our request due to an error in our request"


def copy_json(value: T) -> T:
    """Return a deep copy of what consists of mappings, lists and scalars, several times as fast as ``copy.deepcopy``."""
    if type(value) in _SCALARS:
        # Most of what there is; asking for abstract kinds takes several times as long.
        return value
    if isinstance(value, Mapping):
        return {key: copy_json(item) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, list | tuple):
        return [copy_json(item) for item in value]  # type: ignore[return-value]
    return value


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """Return *target* with *patch* merged into it: mappings are merged, null removes, everything else replaces (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy_json(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = apply_merge_patch(merged.get(key), value)
    return merged


def apply_json_patch(target: KubeObject, operations: Sequence[Mapping[str, Any]]) -> KubeObject:
    """Return *target* after test, add, replace and remove operations (RFC 6902).

    Raises:
        Conflict: If a test fails or a place does not exist.
        Invalid: If an operation is none of these.
    """
    found: KubeObject = copy_json(target)
    for operation in operations:
        keys = [key.replace("~1", "/").replace("~0", "~") for key in str(operation["path"]).split("/")[1:]]
        _operate(found, keys, operation)
    return found


def _operate(found: Any, keys: Sequence[str], operation: Mapping[str, Any]) -> None:
    kind, value = operation["op"], copy_json(operation.get("value"))
    try:
        for key in keys[:-1]:
            found = found[int(key)] if isinstance(found, list) else found[key]
        last: Any = keys[-1]
        if isinstance(found, list):
            last = len(found) if last == "-" else int(last)
        match kind:
            case "test":
                if found[last] != value:
                    raise KeyError(last)  # noqa: TRY301 - told as a place that does not exist
            case "add" if isinstance(found, list):
                found.insert(last, value)
            case "add":
                found[last] = value
            case "replace":
                # A place that does not exist cannot be replaced.
                del found[last]
                found.insert(last, value) if isinstance(found, list) else found.update({last: value})
            case "remove":
                del found[last]
            case _:
                raise Invalid(f"unknown operation {kind}", code=400, reason="BadRequest")
    except (KeyError, IndexError, TypeError) as error:
        raise Conflict(_TEST_FAILED, code=422, reason="Invalid") from error


def leaf_paths(value: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the places of everything that is no mapping; lists count as one value."""
    if not isinstance(value, Mapping) or not value:
        return {path}
    return {leaf for key, item in value.items() for leaf in leaf_paths(item, (*path, key))}


def remove_path(target: KubeObject, path: Sequence[str]) -> None:
    """Remove one place, and mappings above it that are then empty."""
    if path[0] not in target:
        return
    if len(path) == 1:
        del target[path[0]]
        return
    below = target[path[0]]
    if isinstance(below, dict):
        remove_path(below, path[1:])
        if not below:
            del target[path[0]]
