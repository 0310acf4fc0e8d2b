"""A Pod's container as a laptop runs it: command, environment, working directory and resources of the training container.

Pure. The image, volumes, probes and everything else of the Pod are ignored. What cannot be honoured and would change what runs
(an image's own entrypoint, a whole ConfigMap as environment) is an error that says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from seatrial.api.environment import select_container
from seatrial.api.quantity import parse_quantity
from seatrial.api.study import Study
from seatrial.errors import Problem, SpecError

__all__ = ["Container", "Demand", "read_container"]

_GPU = "nvidia.com/gpu"
_GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a trial asks of the machine.

    Attributes:
        cpus: Cores; None when it names none.
        memory_limit_bytes: It is ended as OOMKilled above this.
    """

    cpus: float | None = None
    gpus: int = 0
    memory_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """The training container, as far as a laptop honours it; the same for all trials of a study.

    Attributes:
        path: Where it stands in the study, for messages.
        command: ``command`` and ``args``, not expanded.
        env: ``env`` as written.
        limits: ``resources.limits`` over ``resources.requests`` as numbers in base units.
        labels: Labels of the Pod template.
        annotations: Annotations of the Pod template.
    """

    path: str
    name: str
    command: tuple[str, ...]
    env: tuple[Mapping[str, JsonValue], ...] = ()
    working_dir: str | None = None
    demand: Demand = field(default_factory=Demand)
    requests: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    grace_seconds: float = _GRACE_SECONDS


def read_container(study: Study) -> Container:
    """Return the training container of a study.

    Raises:
        SpecError: If it cannot run on a laptop; every problem found.
    """
    path, written = select_container(study)
    problems: list[Problem] = []
    command = _texts(written, "command", path, problems) + _texts(written, "args", path, problems)
    if not command and not problems:
        problems.append(
            Problem(path=path, message="has no command, and its image's entrypoint is unknown on a laptop; set command")
        )
    limits, requests = (_quantities(written, kind, path, problems) for kind in ("limits", "requests"))
    demand = _demand(limits, {**limits, **requests}, path, problems)
    env = _mappings(written, "env", path, problems)
    _refuse_env_from(written, path, problems)
    working_dir = written.get("workingDir")
    if problems:
        raise SpecError(problems)
    template = study.spec.trial.template
    return Container(
        path=path,
        name=str(written.get("name", "")),
        command=command,
        env=env,
        working_dir=working_dir if isinstance(working_dir, str) and working_dir else None,
        demand=demand,
        requests={**limits, **requests},
        limits=limits,
        labels=_metadata(template, "labels"),
        annotations=_metadata(template, "annotations"),
        grace_seconds=_grace(template),
    )


def _demand(limits: Mapping[str, float], requests: Mapping[str, float], path: str, problems: list[Problem]) -> Demand:
    gpus = limits.get(_GPU, requests.get(_GPU, 0.0))
    if gpus != int(gpus) or gpus < 0:
        problems.append(
            Problem(
                path=f"{path}.resources.limits[{_GPU}]", message=f"is {gpus:g}, but GPUs come whole; write 0, 1, 2 …"
            )
        )
        gpus = 0.0
    cpus, memory = requests.get("cpu"), limits.get("memory")
    return Demand(
        cpus=cpus or None,
        gpus=int(gpus),
        memory_limit_bytes=int(memory) if memory else None,
    )


def _quantities(written: Mapping[str, JsonValue], kind: str, path: str, problems: list[Problem]) -> dict[str, float]:
    resources = written.get("resources")
    table = resources.get(kind) if isinstance(resources, dict) else None
    found: dict[str, float] = {}
    for name, quantity in (table if isinstance(table, dict) else {}).items():
        try:
            found[name] = parse_quantity(quantity)  # type: ignore[arg-type]
        except ValueError as error:
            problems.append(Problem(path=f"{path}.resources.{kind}[{name}]", message=str(error)))
    return found


def _texts(written: Mapping[str, JsonValue], name: str, path: str, problems: list[Problem]) -> tuple[str, ...]:
    items = written.get(name)
    if items is None:
        return ()
    if not isinstance(items, list):
        problems.append(
            Problem(
                path=f"{path}.{name}", message=f"is {items!r}, but must be a list of texts; write [python, train.py]"
            )
        )
        return ()
    for i, item in enumerate(items):
        if not isinstance(item, str) or "\0" in item:
            problems.append(
                Problem(path=f"{path}.{name}[{i}]", message=f"is {item!r}, but must be a text; put it in quotes")
            )
    return tuple(item for item in items if isinstance(item, str))


def _mappings(
    written: Mapping[str, JsonValue], name: str, path: str, problems: list[Problem]
) -> tuple[Mapping[str, JsonValue], ...]:
    items = written.get(name)
    if items is None:
        return ()
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        problems.append(Problem(path=f"{path}.{name}", message="must be a list of mappings with name and value"))
        return ()
    return tuple(item for item in items if isinstance(item, dict))


def _refuse_env_from(written: Mapping[str, JsonValue], path: str, problems: list[Problem]) -> None:
    for i, source in enumerate(_mappings(written, "envFrom", path, problems)):
        for kind in ("configMapRef", "secretRef"):
            reference = source.get(kind)
            if isinstance(reference, dict) and reference.get("optional") is not True:
                problems.append(
                    Problem(
                        path=f"{path}.envFrom[{i}].{kind}",
                        message=f"is {reference.get('name')!r}, which a laptop does not have; write optional: true and set its variables in the shell",
                    )
                )


def _metadata(template: Mapping[str, JsonValue], kind: str) -> dict[str, str]:
    metadata = template.get("metadata")
    table = metadata.get(kind) if isinstance(metadata, dict) else None
    return {name: _text(value) for name, value in table.items()} if isinstance(table, dict) else {}


def _grace(template: Mapping[str, JsonValue]) -> float:
    pod = template.get("spec")
    seconds = pod.get("terminationGracePeriodSeconds") if isinstance(pod, dict) else None
    return float(seconds) if isinstance(seconds, int | float) and seconds >= 0 else _GRACE_SECONDS


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
