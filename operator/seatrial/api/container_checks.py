"""Rules over one container of a Pod template: what it runs, its environment and its resources.

Charter: pure; each check yields (path below the container, message).
"""

import re
from collections.abc import Callable, Iterator, Mapping

from pydantic import JsonValue

from seatrial.api import wire
from seatrial.api.quantity import parse_quantity
from seatrial.api.wording import path_text, show, suggest

__all__ = ["CONTAINER_CHECKS", "Complaint", "below"]

_ENV_NAME = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
_RESERVED = ("SEATRIAL_", wire.PARAMETER_PREFIX)

Complaint = tuple[str, str]
"""(path below the container, message)."""


def below(path: str, key: str) -> str:
    """Return the path of *key* below *path*."""
    text = path_text((key,))
    return f"{path}{text}" if text.startswith("[") else f"{path}.{text}"


def _texts(field: str) -> Callable[[Mapping[str, JsonValue]], Iterator[Complaint]]:
    def check(container: Mapping[str, JsonValue]) -> Iterator[Complaint]:
        items = container.get(field)
        if items is None:
            return
        if not isinstance(items, list):
            yield field, f"is {show(items)}, but must be a list; write [python, train.py]"
            return
        for position, item in enumerate(items):
            if not isinstance(item, str):
                yield f"{field}[{position}]", f"is {show(item)}, but must be text; put it in quotes"

    return check


def _single_texts(container: Mapping[str, JsonValue]) -> Iterator[Complaint]:
    for field in ("image", "workingDir"):
        value = container.get(field)
        if value is not None and not isinstance(value, str):
            yield field, f"is {show(value)}, but must be text; put it in quotes"


def _environment(container: Mapping[str, JsonValue]) -> Iterator[Complaint]:
    env = container.get("env")
    if env is None:
        return
    if not isinstance(env, list):
        yield "env", f"is {show(env)}, but must be a list; write - name: NAME with value: below it"
        return
    for position, entry in enumerate(env):
        for field, message in _variable(entry):
            yield f"env[{position}]{field}", message


def _variable(entry: JsonValue) -> Iterator[Complaint]:
    if not isinstance(entry, dict):
        yield "", f"is {show(entry)}, but must be a mapping; write name: and value:"
        return
    for field in entry:
        if field not in {"name", "value", "valueFrom"}:
            yield below("", field), f"is unknown; {suggest(field, ['name', 'value', 'valueFrom'])}"
    name, value, source = entry.get("name"), entry.get("value"), entry.get("valueFrom")
    if name is None:
        yield ".name", "is missing, but a variable needs a name; add it"
    elif not isinstance(name, str) or not _ENV_NAME.match(name):
        yield ".name", f"is {show(name)}, but must be text of letters, digits and any of _ - .; rename it"
    elif name.startswith(_RESERVED):
        yield ".name", f"is {show(name)}, but names that start with SEATRIAL_ or HP_ are set by Seatrial; rename it"
    if value is not None and not isinstance(value, str):
        yield ".value", f"is {show(value)}, but must be text; put it in quotes"
    if value not in {None, ""} and source is not None:
        yield ".valueFrom", "is set beside value, but a variable has one source; remove one of them"
    if source is not None and not isinstance(source, dict):
        yield (
            ".valueFrom",
            f"is {show(source)}, but must be a mapping such as secretKeyRef: {{name: …, key: …}}; change it",
        )


def _resources(container: Mapping[str, JsonValue]) -> Iterator[Complaint]:
    resources = container.get("resources")
    if resources is None:
        return
    if not isinstance(resources, dict):
        yield "resources", f"is {show(resources)}, but must be a mapping; write limits: and requests: below it"
        return
    for field in ("limits", "requests"):
        quantities = resources.get(field)
        if quantities is None:
            continue
        if not isinstance(quantities, dict):
            yield f"resources.{field}", f"is {show(quantities)}, but must be a mapping; write cpu: 1 below it"
            continue
        for name, amount in quantities.items():
            if complaint := _quantity(name, amount):
                yield below(f"resources.{field}", name), complaint


def _quantity(name: str, amount: JsonValue) -> str | None:
    try:
        if isinstance(amount, bool) or not isinstance(amount, str | int | float):
            raise ValueError(amount)  # noqa: TRY004, TRY301 - told as any other amount that is none
        number = parse_quantity(amount)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        return f"is {show(amount)}, but must be an amount such as 500m, 2 or 4Gi; change it"
    if "/" in name and not number.is_integer():
        return f"is {show(amount)}, but devices are counted in whole numbers; use 1 or 2"
    return None


CONTAINER_CHECKS = (_texts("command"), _texts("args"), _single_texts, _environment, _resources)
"""Each is given a container and yields complaints."""
