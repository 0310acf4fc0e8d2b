"""The generated CRDs: structural, bounded, described and current."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, Field

from seatrial.api.algorithm import Algorithm, AlgorithmName
from seatrial.api.crd import build_study_crd, build_trial_crd
from seatrial.api.schema import ANYTHING, build_schema
from seatrial.api.stopping import Stopping, StoppingRule

ROOT = Path(__file__).parents[2]
CRDS = {"Study": build_study_crd(single_objective=["gp"]), "Trial": build_trial_crd()}
every_crd = pytest.mark.parametrize("kind", list(CRDS))

# What a node of a structural schema may have (Kubernetes' documentation of structural schemas).
NODE = {
    "type", "description", "properties", "required", "items", "additionalProperties", "default", "enum", "format", "pattern",
    "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "anyOf",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip
# What may stand inside anyOf, allOf, oneOf and not: values, never types, defaults or descriptions.
INSIDE_LOGIC = {
    "properties",
    "required",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "anyOf",
    "not",
}


def schema_of(kind: str) -> dict[str, Any]:
    crd: Any = CRDS[kind]
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def logic(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for child in [*schema.get("anyOf", []), *([schema["not"]] if "not" in schema else [])]:
        yield child
        yield from logic(child)


@every_crd
def test_every_node_is_structural(kind: str) -> None:
    for path, node in nodes(schema_of(kind)):
        assert set(node) <= NODE, path
        assert "type" in node or node.get(ANYTHING) is True, path
        assert not ("properties" in node and "additionalProperties" in node), path
        for inner in logic(node):
            assert set(inner) <= INSIDE_LOGIC, path
            # What logic speaks of must be declared outside it.
            assert set(inner.get("properties", {})) <= set(node["properties"]), path
        for bound in ("exclusiveMinimum", "exclusiveMaximum"):
            assert node.get(bound, True) is True, path
        assert node.get("default", "") is not None, path


@every_crd
def test_every_list_and_text_is_bounded(kind: str) -> None:
    for path, node in nodes(schema_of(kind)):
        if path in {".apiVersion", ".kind"}:
            continue  # the API server's own
        if node.get("type") == "array":
            assert node["maxItems"] <= 1000, path
        if node.get("type") == "string":
            assert {"maxLength", "enum"} & set(node) or node.get("format") == "date-time", path


@every_crd
def test_every_field_is_described_in_a_sentence(kind: str) -> None:
    for path, node in nodes(schema_of(kind)):
        if path and not path.endswith("[]") and not path.startswith(".metadata"):
            assert len(node.get("description", "")) >= 5, path


@every_crd
def test_required_fields_and_list_keys_exist(kind: str) -> None:
    for path, node in nodes(schema_of(kind)):
        assert set(node.get("required", [])) <= set(node.get("properties", {})), path
        for key in node.get("x-kubernetes-list-map-keys", []):
            item = node["items"]
            assert key in item["required"] or "default" in item["properties"][key], path


@every_crd
def test_every_rule_speaks_of_fields_that_are_typed(kind: str) -> None:
    for path, node in nodes(schema_of(kind)):
        for rule in node.get("x-kubernetes-validations", []):
            assert set(rule) == {"rule", "message"}, path
            for chain in re.findall(r"\bself((?:\.[A-Za-z0-9]+)+)", rule["rule"]):
                inner = node
                for field in chain[1:].split("."):
                    if field in {"all", "exists", "matches"}:
                        break
                    inner = inner["properties"][field]
                    assert "type" in inner, (path, chain)


@every_crd
def test_columns_show_fields_that_exist(kind: str) -> None:
    crd: Any = CRDS[kind]
    for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]:
        node = schema_of(kind)
        if column["jsonPath"].startswith(".metadata"):
            continue
        for part in re.sub(r"\[[^\]]*\]", ".[]", column["jsonPath"])[1:].split("."):
            node = node["items"] if part == "[]" else node["properties"][part]


def test_kubectl_knows_both_kinds_by_short_names_and_one_category() -> None:
    names: Any = {kind: crd["spec"]["names"] for kind, crd in CRDS.items()}  # type: ignore[call-overload,index]

    assert {kind: (its["shortNames"], its["categories"]) for kind, its in names.items()} == {
        "Study": (["stu"], ["seatrial"]),
        "Trial": (["tri"], ["seatrial"]),
    }


def test_each_algorithm_and_each_rule_has_a_branch_of_its_own() -> None:
    spec = schema_of("Study")["properties"]["spec"]["properties"]
    settings = {name for name in Algorithm.model_fields if name not in {"name", "seed"}}

    algorithm = {rule["rule"] for rule in spec["algorithm"]["x-kubernetes-validations"]}
    stopping = {rule["rule"] for rule in spec["stopping"]["x-kubernetes-validations"]}

    assert algorithm - {"!has(self.name) || self.name != 'replay' || has(self.replay)"} == {
        f"!has(self.{name}) || self.name == '{name}'" for name in settings
    }
    assert settings <= set(AlgorithmName)
    assert stopping == {f"!has(self.{name}) || self.rule == '{name}'" for name in StoppingRule}
    members = {field.alias or name for name, field in Stopping.model_fields.items()}
    assert members - {"rule"} == set(StoppingRule)


def test_the_search_cannot_be_changed_under_its_trials() -> None:
    study = [rule["rule"] for rule in schema_of("Study")["properties"]["spec"]["x-kubernetes-validations"]]
    trial = [rule["rule"] for rule in schema_of("Trial")["properties"]["spec"]["x-kubernetes-validations"]]

    assert {"self.objectives == oldSelf.objectives", "self.parameters == oldSelf.parameters"} <= set(study)
    assert trial == ["self == oldSelf"]
    assert "size(self.objectives) == 1 || !(self.algorithm.name in ['gp'])" in study


def test_a_model_that_no_structural_schema_can_say_is_refused() -> None:
    class Endless(BaseModel):
        texts: list[str] = Field(max_length=3)

    class Boundless(BaseModel):
        items: list[int]

    class Recursive(BaseModel):
        child: "Recursive | None" = None

    for model, words in (
        (Endless, "text without a bound"),
        (Boundless, "list without a bound"),
        (Recursive, "contains itself"),
    ):
        with pytest.raises(ValueError, match=words):
            build_schema(model)


def test_a_null_in_a_union_and_an_exclusive_bound_are_rewritten() -> None:
    class Model(BaseModel):
        share: float | None = Field(default=None, gt=0, lt=1, description="A share.")
        mixed: int | str = Field(default=1, description="Anything.")

    assert build_schema(Model)["properties"] == {
        "share": {
            "description": "A share.",
            "type": "number",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": 1,
            "exclusiveMaximum": True,
        },
        "mixed": {"description": "Anything.", ANYTHING: True},
    }


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "scripts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_files_are_current() -> None:
    assert generator().find_stale() == []


def test_a_file_that_was_edited_by_hand_is_stale(tmp_path: Path) -> None:
    module = generator()
    for name, text in module.build_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    edited = tmp_path / "crds" / "seatrial.dev_trials.yaml"
    edited.write_text(edited.read_text("utf-8").replace("maxLength: 63", "maxLength: 64", 1), "utf-8")

    assert module.find_stale(tmp_path) == ["crds/seatrial.dev_trials.yaml"]


@pytest.mark.parametrize("name", ["studies", "trials"])
def test_the_files_hold_what_was_built(name: str) -> None:
    stored = yaml.safe_load((ROOT / "crds" / f"seatrial.dev_{name}.yaml").read_text("utf-8"))

    assert stored["metadata"]["name"] == f"{name}.seatrial.dev"
    assert stored["spec"]["versions"][0]["name"] == "v1alpha1"
