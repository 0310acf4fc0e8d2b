"""The environment of a laptop's trial: ``env`` of the training container, evaluated as the kubelet does.

Pure. A value that comes from where a laptop has nothing (a Secret, a ConfigMap) is an error that names it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from seatrial.adapters.local.container import Container
from seatrial.api.environment import expand
from seatrial.api.quantity import parse_quantity
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.errors import Problem, SpecError

__all__ = ["ImaginaryPod", "read_environment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginaryPod:
    """The Pod that a laptop's attempt would be.

    Attributes:
        machine: ``cpu`` (cores) and ``memory`` (bytes) of this machine: what a container without limits is told.
    """

    container: Container
    study: Study
    trial: Trial
    attempt: int
    machine: Mapping[str, float]


def read_environment(pod: ImaginaryPod, given: Mapping[str, str]) -> dict[str, str]:
    """Return *given* and the container's own variables, each of which may refer to earlier ones.

    Args:
        pod: The attempt.
        given: Seatrial's variables. They come first, so that others may refer to them, and nothing replaces them.

    Raises:
        SpecError: If a value comes from where a laptop has nothing; every problem found.
    """
    found = dict(given)
    problems: list[Problem] = []
    for i, entry in enumerate(pod.container.env):
        path, name = f"{pod.container.path}.env[{i}]", entry.get("name")
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            problems.append(Problem(path=f"{path}.name", message=f"is {name!r}, but must be the name of a variable"))
            continue
        source = entry.get("valueFrom")
        if source is None:
            value: str | None = expand(_text(entry.get("value")), found)
        else:
            value = _value_from(pod, source, f"{path}.valueFrom", problems)
        if value is not None and name not in given:
            # No environment holds a NUL: the process would not start at all.
            found[name] = value.replace("\0", "")
    if problems:
        raise SpecError(problems)
    return found


def _value_from(pod: ImaginaryPod, source: JsonValue, path: str, problems: list[Problem]) -> str | None:
    kind, written = next(iter(source.items())) if isinstance(source, dict) and source else ("", None)
    written = written if isinstance(written, dict) else {}
    try:
        match kind:
            case "fieldRef":
                return _field(pod, _text(written.get("fieldPath")))
            case "resourceFieldRef":
                return _resource(pod.container, written, pod.machine)
            case "configMapKeyRef" | "secretKeyRef" if written.get("optional") is True:
                return None
    except ValueError as error:
        problems.append(Problem(path=f"{path}.{kind}", message=str(error)))
        return None
    problems.append(Problem(path=f"{path}.{kind}".rstrip("."), message=_unknown(kind, written)))
    return None


def _unknown(kind: str, written: Mapping[str, JsonValue]) -> str:
    what = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}.get(kind)
    if what is None:
        return "is nothing that a laptop knows; write value, fieldRef or resourceFieldRef"
    name = f"{written.get('name')}/{written.get('key')}"
    return f"is {name!r}, but a laptop has no {what}; write optional: true and set the variable in the shell"


def _field(pod: ImaginaryPod, path: str) -> str:
    metadata, name = pod.trial.metadata, f"{pod.trial.metadata.name}-{pod.attempt}"
    fixed = {
        "metadata.name": name,
        "metadata.namespace": pod.study.metadata.namespace or "default",
        "metadata.uid": metadata.uid or name,
        "spec.nodeName": "localhost",
        "spec.serviceAccountName": "default",
        "status.hostIP": "127.0.0.1",
        "status.podIP": "127.0.0.1",
    }
    if path in fixed:
        return fixed[path]
    for kind, table in (("labels", pod.container.labels), ("annotations", pod.container.annotations)):
        start = f"metadata.{kind}['"
        if path.startswith(start) and path.endswith("']"):
            # A label that does not exist is the empty text in a Pod, too.
            return table.get(path[len(start) : -2], "")
    known = ", ".join(fixed)
    raise ValueError(
        f"has fieldPath {path!r}, but must be one of: {known}, metadata.labels['…'], metadata.annotations['…']"
    )


def _resource(container: Container, written: Mapping[str, JsonValue], machine: Mapping[str, float]) -> str:
    resource = _text(written.get("resource"))
    kind, _, name = resource.partition(".")
    if kind not in {"limits", "requests"} or name not in {"cpu", "memory"}:
        known = "limits.cpu, limits.memory, requests.cpu, requests.memory"
        raise ValueError(f"has resource {resource!r}, but must be one of: {known}")
    divisor = written.get("divisor")
    by = parse_quantity(divisor) if isinstance(divisor, str | int | float) else 0.0
    table = container.limits if kind == "limits" else container.requests
    # A container without a limit is told what its node has; one without a request is told 0.
    amount = table.get(name, machine.get(name, 0.0) if kind == "limits" else 0.0)
    return str(math.ceil(amount / (by or 1.0)))


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
