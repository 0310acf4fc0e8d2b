"""From the wire models to the CustomResourceDefinitions of Study and Trial.

Charter: pure and deterministic; the caller writes files. Nothing here repeats what a model says.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from pydantic import BaseModel, JsonValue

from seatrial.api.base import GROUP, VERSION
from seatrial.api.cel import BY_TYPE, STUDY_RULES, TRIAL_RULES, Rule, single_objective_rule
from seatrial.api.meta import Metadata
from seatrial.api.schema import Schema, build_schema
from seatrial.api.study import Study
from seatrial.api.trial import Trial

__all__ = ["build_crd", "build_study_crd", "build_trial_crd"]

# Sections whose own fields all have defaults: present even when left out, so that the defaults show in the stored object.
_FILLED = ("spec.algorithm", "spec.budget", "spec.metrics")
_LIST_KEYS = {
    "spec.parameters": "name",
    "spec.objectives": "metric",
    "spec.constraints": "metric",
    "spec.algorithm.grid.resolutions": "parameter",
}
_SUCCEEDED = '.status.conditions[?(@.type=="Succeeded")]'


def _column(name: str, path: str, *, kind: str = "string", priority: int = 0, description: str = "") -> Schema:
    column: Schema = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})


_AGE = _column("Age", ".metadata.creationTimestamp", kind="date", description="Time since it was created.")
_STUDY_COLUMNS = (
    _column("Algorithm", ".spec.algorithm.name", description="Algorithm that suggests the trials."),
    _column("Trials", ".status.progress", description="Ended trials of maxTrials."),
    _column("Running", ".status.trials.running", kind="integer", description="Trials that run."),
    _column("Best", ".status.bestValue", description="First objective of the winner so far, in four digits."),
    _column("State", ".status.state", description="What goes on, or what holds it up."),
    _AGE,
    _column("Failed", ".status.trials.failed", kind="integer", priority=1, description="Trials that failed."),
    _column("Message", f"{_SUCCEEDED}.message", priority=1, description="The state in a sentence."),
)
_TRIAL_COLUMNS = (
    _column("State", f"{_SUCCEEDED}.reason", description="State in one word."),
    _column("Step", ".status.progress", description="Last step of the steps of a full training."),
    _column("Objective", ".status.objectiveValue", description="First objective, in four digits."),
    _column("Parameters", ".status.parameters", description="The assignment."),
    _AGE,
    _column("Attempt", ".status.attempt", kind="integer", priority=1, description="Number of the attempt."),
    _column("Message", f"{_SUCCEEDED}.message", priority=1, description="The state in a sentence."),
)


def build_study_crd(*, single_objective: Sequence[str] = ()) -> Schema:
    """Return the CRD of Study.

    Args:
        single_objective: Algorithms that take one objective only.
    """
    rules = dict(STUDY_RULES)
    if single_objective:
        rules["spec"] = (*rules["spec"], single_objective_rule(single_objective))
    return build_crd(Study, plural="studies", short="stu", columns=_STUDY_COLUMNS, rules=rules)


def build_trial_crd() -> Schema:
    """Return the CRD of Trial."""
    return build_crd(Trial, plural="trials", short="tri", columns=_TRIAL_COLUMNS, rules=TRIAL_RULES)


def build_crd(
    model: type[BaseModel], *, plural: str, short: str, columns: Sequence[Schema], rules: Mapping[str, Sequence[Rule]]
) -> Schema:
    """Return the CustomResourceDefinition of a wire model.

    Args:
        model: A model with ``metadata``, ``spec`` and ``status``; its name is the kind.
        plural: Plural of the kind, lower case.
        short: Short name for kubectl.
        columns: Printer columns.
        rules: CEL rules by place, ``spec.parameters[]``.

    Raises:
        ValueError: If the model has no structural form, or a rule names a place that does not exist.
    """
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": list(columns),
        "schema": {"openAPIV3Schema": _object_schema(model, rules)},
    }
    names: Schema = {
        "kind": model.__name__,
        "listKind": f"{model.__name__}List",
        "plural": plural,
        "singular": model.__name__.lower(),
        "shortNames": [short],
        "categories": ["seatrial"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _object_schema(model: type[BaseModel], rules: Mapping[str, Sequence[Rule]]) -> Schema:
    whole = build_schema(model, without=frozenset({"metadata"}))
    properties = _properties(whole)
    # Of metadata only the name may be bounded; the API server knows the rest.
    metadata: Schema = {"type": "object", "properties": {"name": _name_schema(model)}}
    shown: dict[str, JsonValue] = {
        "apiVersion": {"type": "string", "description": "Group and version of the object."},
        "kind": {"type": "string", "description": "Kind of the object."},
        "metadata": metadata,
        "spec": properties["spec"],
        "status": properties["status"],
    }
    whole["properties"] = shown
    whole["required"] = ["spec"]
    for path, schema in _walk(whole, ""):
        if path.startswith("status") or path == "":
            schema.pop("default", None)
        if path in _LIST_KEYS:
            schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [_LIST_KEYS[path]]}
        if path in _FILLED:
            schema["default"] = {}
        if path == "spec.parameters[]" and model is Study:
            schema["anyOf"] = list(BY_TYPE)
    places = dict(_walk(whole, ""))
    if unknown := set(rules) - set(places):
        raise ValueError(f"rules name places that {model.__name__} does not have: {sorted(unknown)}")
    for path, here in rules.items():
        places[path]["x-kubernetes-validations"] = [rule.to_wire() for rule in here]
    return whole


def _name_schema(model: type[BaseModel]) -> Schema:
    metadata = model.model_fields["metadata"].annotation
    if not (isinstance(metadata, type) and issubclass(metadata, Metadata)):
        raise TypeError(f"{model.__name__}.metadata is no Metadata")
    name = metadata.model_json_schema()["properties"]["name"]
    return {key: name[key] for key in ("type", "maxLength", "pattern")}


def _properties(schema: Schema) -> dict[str, Schema]:
    return cast("dict[str, Schema]", schema.get("properties", {}))


def _walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield (place, schema) of a schema and everything in it: ``spec.parameters[].when``."""
    yield path, schema
    for name, child in _properties(schema).items():
        yield from _walk(child, f"{path}.{name}" if path else name)
    if isinstance(items := schema.get("items"), dict):
        yield from _walk(items, f"{path}[]")
