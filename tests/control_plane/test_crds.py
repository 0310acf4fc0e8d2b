"""The CRDs on a real API server: what kubectl shows of them, and what the server keeps of their promises."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.wrong_studies import SOUND
from control_plane.client import STUDIES, TRIALS, Client
from control_plane.cluster import ControlPlane
from seatrial.errors import SpecError
from seatrial.search.checks import load_study

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

TRIAL = {
    "apiVersion": "seatrial.dev/v1alpha1",
    "kind": "Trial",
    "metadata": {"name": "digits-0"},
    "spec": {
        "study": "digits",
        "index": 0,
        "assignment": {"lr": 0.01, "optimizer": "sgd", "deep": True},
        "seed": 7,
        "origin": {"algorithm": "random"},
    },
}


def sound() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(SOUND)
    return tree


@pytest.fixture
def study(api: Client, namespace: str) -> str:
    """The path of a study that was created."""
    path = STUDIES.format(namespace=namespace)
    assert api.create(path, sound()).code == 201
    return f"{path}/digits"


@pytest.fixture
def trial(api: Client, namespace: str) -> str:
    """The path of a trial that was created."""
    path = TRIALS.format(namespace=namespace)
    answer = api.create(path, TRIAL)
    assert answer.code == 201, answer.message
    return f"{path}/digits-0"


@pytest.mark.parametrize("name", ["studies", "trials"])
def test_the_api_server_finds_nothing_wrong_with_a_crd(api: Client, name: str) -> None:
    crd = api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}.seatrial.dev").body

    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "study.spec.parameters",
            ["The search space.", "type\t<string> -required-", "scale\t<string>", "Absent: always."],
        ),
        ("study.spec.objectives.goal", ["minimize or maximize."]),
        ("study.spec.trial.template", ["PodTemplateSpec"]),
        ("stu.spec.stopping", ["enum: median, percentile"]),
        ("trial.spec.assignment", ["FIELD: assignment"]),
    ],
)
def test_explain_reads_like_documentation(control_plane: ControlPlane, path: str, expected: list[str]) -> None:
    shown = control_plane.kubectl("explain", path).stdout

    for words in expected:
        assert words in shown


Described = dict[str, str]


def served_fields(api: Client, kind: str) -> Described:
    """Return the description of every field at every depth by its path, from what ``kubectl explain`` reads."""
    schemas = api.get("/openapi/v3/apis/seatrial.dev/v1alpha1").body["components"]["schemas"]
    found: Described = {}

    def walk(schema: dict[str, Any], path: str) -> None:
        for name, field in schema.get("properties", {}).items():
            found[f"{path}{name}"] = field.get("description", "")
            walk(field, f"{path}{name}.")
        for inside in ("items", "additionalProperties"):
            if isinstance(schema.get(inside), dict):
                walk(schema[inside], path)

    walk(schemas[f"dev.seatrial.v1alpha1.{kind}"], "")
    return found


def explained_fields(control_plane: ControlPlane, kind: str) -> set[str]:
    """Return the paths that ``kubectl explain --recursive`` shows, but for what metadata holds."""
    shown = control_plane.kubectl("explain", kind, "--recursive").stdout.partition("FIELDS:\n")[2]
    found, around = set(), list[str]()
    for line in shown.splitlines():
        name, typed, _ = line.partition("\t<")
        if typed:
            depth = (len(name) - len(name.lstrip())) // 2 - 1
            around[depth:] = [name.strip()]
            found.add(".".join(around))
    return {path for path in found if not path.startswith("metadata.")}


@pytest.mark.parametrize("kind", ["Study", "Trial"])
def test_every_field_at_every_depth_is_explained_in_a_sentence(
    api: Client, control_plane: ControlPlane, kind: str
) -> None:
    fields = served_fields(api, kind)

    assert set(fields) == explained_fields(control_plane, kind.lower())
    assert {"Study": 150, "Trial": 60}[kind] < len(fields)
    kubernetes_own = {"apiVersion", "kind", "metadata"}
    # Two words at least besides the field's own name, and a full stop.
    unclear = {
        path: words
        for path, words in fields.items()
        if path not in kubernetes_own
        and not (
            words.endswith(".") and len({*words.strip(".").lower().split()} - {path.rpartition(".")[2].lower()}) > 1
        )
    }
    assert unclear == {}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_applied_as_it_is(control_plane: ControlPlane, namespace: str, path: Path) -> None:
    applied = control_plane.kubectl("apply", "-n", namespace, "-f", str(path))

    assert applied.stdout.strip().endswith("created")
    assert applied.stderr == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"objectives": [{"metric": "loss", "goal": "minimize"}]}, "objectives", id="objectives"),
        pytest.param({"parameters": sound()["spec"]["parameters"][:1]}, "parameters", id="parameters"),
    ],
)
def test_the_search_of_a_study_cannot_be_changed(api: Client, study: str, change: dict[str, Any], message: str) -> None:
    answer = api.merge(study, {"spec": change})

    assert answer.code == 422
    assert f"{message} cannot be changed" in answer.message


@pytest.mark.parametrize(
    "change",
    [
        {"suspend": True},
        {"budget": {"maxTrials": 90, "parallelTrials": 3}},
        {"stopping": {"rule": "median"}},
        {"suspend": None},
    ],
    ids=str,
)
def test_the_rest_of_a_study_can_be_changed_while_it_runs(api: Client, study: str, change: dict[str, Any]) -> None:
    assert api.merge(study, {"spec": change}).code == 200


@pytest.mark.parametrize(
    ("position", "change"),
    [
        pytest.param(2, {"choices": [32, None]}, id="ordinal"),
        pytest.param(3, {"choices": [None, "sgd"]}, id="categorical"),
        pytest.param(3, {"choices": ["sgd", None], "default": "sgd"}, id="beside a default"),
        pytest.param(4, {"when": {"parameter": "optimizer", "in": ["sgd", None]}}, id="a condition"),
    ],
)
def test_a_null_among_values_is_refused_at_creation_and_by_validate_in_words(
    control_plane: ControlPlane, namespace: str, position: int, change: dict[str, Any]
) -> None:
    tree = sound()
    tree["spec"]["parameters"][position] |= change
    place = next(name for name in ("choices", "when") if name in change)

    created = control_plane.kubectl("create", "-n", namespace, "-f", "-", text=json.dumps(tree), check=False)
    with pytest.raises(SpecError) as refused:
        load_study(json.dumps(tree).encode(), source="study.json")

    assert created.returncode
    assert f"spec.parameters[{position}]: Invalid value" in created.stderr
    assert "choices and when.in must not hold null; write text, a number, true or false" in created.stderr
    (problem,) = refused.value.problems
    assert problem.path.startswith(f"spec.parameters[{position}].{place}")
    assert problem.message == "is null, but must be text, a number, true or false; change it"


@pytest.mark.parametrize(
    "change",
    [{"choices": ["sgd", {}]}, {"choices": ["sgd", [None]]}, {"choices": ["sgd", {"a": None}]}, {"default": None}],
    ids=str,
)
def test_a_study_that_the_server_takes_can_be_given_a_status_whatever_its_values(
    api: Client, namespace: str, change: dict[str, Any]
) -> None:
    tree = sound()
    tree["spec"]["parameters"][3] |= change
    tree["spec"]["initialTrials"] = [{"lr": None}, {"optimizer": [None]}]
    tree["spec"]["trial"]["template"]["spec"]["containers"][0]["args"] = ["a", None]
    path = STUDIES.format(namespace=namespace)
    assert api.create(path, tree).is_accepted

    answer = api.merge(f"{path}/digits/status", {"status": {"progress": "1/2"}})

    assert answer.code == 200, answer.message


@pytest.mark.parametrize("change", [{"seed": 8}, {"assignment": {"lr": 0.02}}, {"index": 1}], ids=str)
def test_the_spec_of_a_trial_is_never_changed(api: Client, trial: str, change: dict[str, Any]) -> None:
    answer = api.merge(trial, {"spec": change})

    assert answer.code == 422
    assert "spec: Invalid value" in answer.message


def test_an_assignment_keeps_the_types_of_its_values(api: Client, trial: str) -> None:
    assert api.get(trial).body["spec"]["assignment"] == {"lr": 0.01, "optimizer": "sgd", "deep": True}


def test_spec_and_status_are_written_apart(api: Client, study: str) -> None:
    api.merge(study, {"status": {"state": "Running"}, "spec": {"suspend": True}})
    api.merge(f"{study}/status", {"status": {"progress": "3/60"}, "spec": {"suspend": False}})

    body = api.get(study).body
    assert body["spec"]["suspend"] is True
    assert body["status"] == {"progress": "3/60"}


def test_a_generation_counts_the_changes_of_the_spec_alone(api: Client, study: str) -> None:
    api.merge(f"{study}/status", {"status": {"progress": "3/60"}})
    before = api.get(study).body["metadata"]["generation"]

    api.merge(study, {"spec": {"suspend": True}})

    assert (before, api.get(study).body["metadata"]["generation"]) == (1, 2)


def test_a_status_that_does_not_fit_its_schema_is_refused(api: Client, study: str) -> None:
    answer = api.merge(f"{study}/status", {"status": {"trials": {"running": "many"}}})

    assert answer.code == 422
    assert "status.trials.running" in answer.message


def test_kubectl_get_shows_what_goes_on_in_columns(
    control_plane: ControlPlane, api: Client, namespace: str, study: str
) -> None:
    trials = {"running": 4, "failed": 1}
    status = {"progress": "23/60", "trials": trials, "bestValue": "0.9821", "state": "Running"}
    assert api.merge(f"{study}/status", {"status": status}).is_accepted

    narrow = control_plane.kubectl("get", "studies", "-n", namespace).stdout.splitlines()
    wide = control_plane.kubectl("get", "stu", "-n", namespace, "-o", "wide").stdout.splitlines()

    assert narrow[0].split() == ["NAME", "ALGORITHM", "TRIALS", "RUNNING", "BEST", "STATE", "AGE"]
    assert narrow[1].split()[:6] == ["digits", "auto", "23/60", "4", "0.9821", "Running"]
    assert wide[0].split()[-2:] == ["FAILED", "MESSAGE"]


def test_kubectl_get_shows_trials_in_columns(
    control_plane: ControlPlane, api: Client, namespace: str, trial: str
) -> None:
    running = {"type": "Succeeded", "status": "Unknown", "reason": "Running", "message": "runs on node-1"}
    running["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    seen = {"values": [0.96441234567], "step": 11}
    status = {"conditions": [running], "progress": "11/27", "observation": seen, "parameters": "lr=0.0031 hidden=211"}
    status["objectiveValue"] = "0.9644"
    assert api.merge(f"{trial}/status", {"status": status}).is_accepted

    narrow = control_plane.kubectl("get", "trials", "-n", namespace).stdout.splitlines()
    wide = control_plane.kubectl("get", "tri", "-n", namespace, "-o", "wide").stdout.splitlines()

    assert narrow[0].split() == ["NAME", "STATE", "STEP", "OBJECTIVE", "PARAMETERS", "AGE"]
    assert narrow[1].split()[:6] == ["digits-0", "Running", "11/27", "0.9644", "lr=0.0031", "hidden=211"]
    assert wide[1].endswith("runs on node-1")


def test_describe_tells_the_conditions_in_sentences(
    control_plane: ControlPlane, api: Client, namespace: str, study: str
) -> None:
    waiting = {"type": "Succeeded", "status": "Unknown", "reason": "Waiting", "observedGeneration": 1}
    waiting |= {"message": "2 trials wait: Insufficient nvidia.com/gpu", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    assert api.merge(f"{study}/status", {"status": {"conditions": [waiting]}}).is_accepted

    shown = control_plane.kubectl("describe", "study", "digits", "-n", namespace).stdout

    lines = [line.strip() for line in shown.splitlines()]
    assert "Message:               2 trials wait: Insufficient nvidia.com/gpu" in lines
    assert "Reason:                Waiting" in lines
    assert lines[-1].split() == ["Events:", "<none>"]


def test_one_category_names_studies_and_trials(
    control_plane: ControlPlane, namespace: str, study: str, trial: str
) -> None:
    shown = control_plane.kubectl("get", "seatrial", "-n", namespace, "-o", "name").stdout.split()

    assert shown == ["study.seatrial.dev/digits", "trial.seatrial.dev/digits-0"]


def test_defaults_are_filled_in_by_the_server_as_by_the_laptop(api: Client, study: str) -> None:
    ours = load_study(SOUND.encode(), source="study.yaml").study.to_wire()["spec"]
    theirs = api.get(study).body["spec"]

    def missing(mine: Any, its: Any, path: str) -> list[str]:
        if isinstance(mine, dict) and isinstance(its, dict):
            return [
                found for key in its if key != "template" for found in missing(mine.get(key), its[key], f"{path}.{key}")
            ]
        return [] if mine == its else [f"{path}: {mine!r} here, {its!r} there"]

    assert missing(copy.deepcopy(ours), theirs, "spec") == []
