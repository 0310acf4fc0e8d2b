"""Templates and values of somebody who means harm: each is refused in clear words, or becomes a Pod that can do nothing by it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decide.builders import a_study
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.manifests import build_pod
from seatrial.adapters.kubernetes.pods import build_pod_record
from seatrial.api.study import Study
from seatrial.api.trial import Trial
from seatrial.errors import SpecError
from seatrial.search.checks import load_study

MAIN = {"name": "main", "image": "x", "command": ["train"]}


def a_tree(template: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "seatrial.dev/v1alpha1",
        "kind": "Study",
        "metadata": {"name": "s"},
        "spec": a_study(trial={"template": template}).spec.to_wire(),
    }


def problems(template: dict[str, Any]) -> list[str]:
    try:
        load_study(json.dumps(a_tree(template)).encode(), source="s.json")
    except SpecError as error:
        return [f"{problem.path} {problem.message}" for problem in error.problems]
    return []


def a_trial(**assignment: object) -> Trial:
    return Trial.model_validate(
        {
            "metadata": {"name": "s-0", "namespace": "lab", "uid": "tu"},
            "spec": {
                "study": "s",
                "index": 0,
                "assignment": assignment or {"x": 0.5},
                "seed": 1,
                "origin": {"algorithm": "random"},
            },
        }
    )


def a_pod(template: dict[str, Any], **assignment: object) -> dict[str, Any]:
    tree = a_tree(template)
    tree["metadata"] |= {"namespace": "lab", "uid": "su"}
    return build_pod(Study.model_validate(tree), a_trial(**assignment), 0)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param(
            {"metadata": {"labels": {"seatrial.dev/trial": "other-3"}}, "spec": {"containers": [MAIN]}},
            "belongs to Seatrial",
            id="the label of another trial",
        ),
        pytest.param(
            {"metadata": {"annotations": {"seatrial.dev/x": "1"}}, "spec": {"containers": [MAIN]}},
            "belongs to Seatrial",
            id="an annotation of Seatrial",
        ),
        pytest.param(
            {"spec": {"containers": [MAIN | {"env": [{"name": "SEATRIAL_TRIAL", "value": "other-3"}]}]}},
            "are set by Seatrial",
            id="the variable that names the trial",
        ),
        pytest.param(
            {"spec": {"containers": [MAIN, {"name": "liar", "env": [{"name": "SEATRIAL_TRIAL", "value": "s-0"}]}]}},
            "are set by Seatrial",
            id="a sidecar that claims to train",
        ),
        pytest.param(
            {"spec": {"containers": [MAIN | {"env": [{"name": "HP_x", "value": "0"}]}]}},
            "are set by Seatrial",
            id="a parameter of one's own",
        ),
        pytest.param({"spec": {"containers": [MAIN, MAIN]}}, "another container already has", id="a name twice"),
        pytest.param(
            {"spec": {"containers": [MAIN | {"name": "m" * 64}]}}, "at most 63", id="a container's name too long"
        ),
        pytest.param(
            {"spec": {"containers": [MAIN], "restartPolicy": "Always"}}, "must be Never", id="a Pod that starts itself"
        ),
        pytest.param({"spec": {"containers": "[]"}}, "must be a list of containers", id="text for containers"),
        pytest.param({"spec": [MAIN]}, "must be a mapping", id="a list for a specification"),
    ],
)
def test_a_template_that_claims_what_is_seatrials_is_refused(template, words):
    assert any(words in told for told in problems(template)), problems(template)


HARMLESS = {
    "namespace": "kube-system",
    "name": "etcd-0",
    "generateName": "x-",
    "uid": "0",
    "resourceVersion": "7",
    "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "0", "controller": True}],
    "finalizers": [names.FINALIZER, names.FINALIZER],
}


def test_a_template_cannot_choose_whose_pod_it_is_or_where():
    pod = a_pod({"metadata": HARMLESS, "spec": {"containers": [MAIN]}})

    metadata = pod["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("s-0-0", "lab")
    assert not {"uid", "resourceVersion", "generateName"} & metadata.keys()
    assert [owner["kind"] for owner in metadata["ownerReferences"]] == ["Trial"]
    assert metadata["finalizers"] == [names.FINALIZER]
    assert metadata["labels"][names.LABEL_TRIAL] == "s-0"


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, id="hostPath"),
        pytest.param({"hostNetwork": True, "hostPID": True, "hostIPC": True}, id="the node's namespaces"),
        pytest.param({"serviceAccountName": "cluster-admin"}, id="another service account"),
        pytest.param({"containers": [MAIN | {"securityContext": {"privileged": True}}]}, id="privileged"),
    ],
)
def test_what_only_the_cluster_may_judge_reaches_it_unchanged(spec):
    """Hiding such a wish would run a Pod that its author does not know; Pod Security and policies see it as it is."""
    pod = a_pod({"spec": {"containers": [MAIN], **spec}})

    for field, value in spec.items():
        if field == "containers":
            assert pod["spec"]["containers"][0]["securityContext"]["privileged"] is True
        else:
            assert pod["spec"][field] == value or value[0] in pod["spec"][field]
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_a_sidecar_of_a_webhook_with_the_trials_variables_does_not_speak_for_it():
    pod = a_pod({"spec": {"containers": [MAIN]}}) | {"status": {"phase": "Running"}}
    pod["metadata"] |= {"uid": "pu"}
    copied = dict(pod["spec"]["containers"][0], name="injected")
    pod["spec"]["containers"].append(copied)

    assert build_pod_record(pod).container == "main"


EVIL = [
    "$(rm -rf /)",
    "$(HP_y)",
    "$$(HP_y)",
    "`id`",
    "a; reboot",
    "a && b | c > d",
    "'\"\\",
    "\n\r\t",
    "-rf",
    "../../etc/passwd",
    "\x1b[2J",
    "{{ .Values }}",
    "${jndi:ldap://x}",
]


def expand(value: str, known: dict[str, str]) -> str:
    """Return a value as the kubelet expands it: $(NAME) of earlier variables, $$ for one $."""
    return re.sub(
        r"\$\$|\$\(([^)]*)\)", lambda found: "$" if found[0] == "$$" else known.get(found[1], found[0]), value
    )


@given(value=st.sampled_from(EVIL) | st.text(max_size=40).filter(lambda text: "\x00" not in text))
def test_a_parameter_of_any_text_reaches_the_training_as_that_text(value):
    pod = a_pod({"spec": {"containers": [MAIN]}}, kind=value, y="secret")

    container = pod["spec"]["containers"][0]
    seen: dict[str, str] = {}
    for entry in container["env"]:
        if "value" in entry:
            seen[entry["name"]] = expand(entry["value"], seen)
    assert container["command"] == ["train"]
    assert seen["HP_kind"] == value
    assert json.loads(seen["SEATRIAL_PARAMETERS"]) == {"kind": value, "y": "secret"}
