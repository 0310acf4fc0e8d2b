"""The Pod of an attempt: golden files, and everything of the template that is not named there passes untouched."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.contracts import a_record
from decide.builders import a_study
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.manifests import BACKSTOP_SECONDS, build_pod
from seatrial.api.checkpoints import Checkpoints
from seatrial.api.meta import Metadata
from seatrial.api.study import Study
from seatrial.api.trial import Parent, Trial
from seatrial.errors import SpecError

GOLDEN = Path(__file__).parent / "golden"


def with_template(template: dict, *, container: str | None = None, timeout: str | None = None, **spec: object) -> Study:
    trial = {"template": template}
    if container:
        trial["container"] = container
    if timeout:
        trial["timeout"] = timeout
    study = a_study("digits", trial=trial, **spec)
    identity = {"name": "digits", "namespace": "lab", "uid": "5eed-0001", "generation": 1}
    return study.model_copy(update={"metadata": Metadata.model_validate(identity)})


def a_stored_trial(index: int = 17, **assignment: object) -> Trial:
    trial = a_record(index, **assignment)
    identity = {"name": f"digits-{index}", "namespace": "lab", "uid": "7e57-0017"}
    return trial.model_copy(update={"metadata": Metadata.model_validate(identity)})


PLAIN = {"spec": {"containers": [{"name": "main", "image": "trainer:1"}]}}
RICH = yaml.safe_load((GOLDEN / "rich-template.yaml").read_text())


@pytest.mark.parametrize(
    ("name", "study", "trial"),
    [
        pytest.param("plain", with_template(PLAIN), a_stored_trial(x=0.5), id="plain"),
        pytest.param(
            "rich",
            with_template(RICH, container="trainer", timeout="30m", steps={"unit": "epoch", "max": 27}),
            a_stored_trial(lr=0.003, hidden=128, optimizer="$(HOME)", nesterov=True),
            id="GPU, claims, gates, sidecars, volumes",
        ),
    ],
)
def test_a_pod_is_as_its_golden_file_says(name: str, study: Study, trial: Trial):
    pod = build_pod(study, trial, 2, rungs=(1, 3, 9, 27))

    text = yaml.safe_dump(pod, sort_keys=False, width=120)
    assert text == (GOLDEN / f"{name}.yaml").read_text()


def test_the_template_itself_is_not_changed():
    study = with_template(copy.deepcopy(RICH), container="trainer")
    before = copy.deepcopy(study.spec.trial.template)

    build_pod(study, a_stored_trial(), 0)

    assert study.spec.trial.template == before


# Keys that Seatrial sets or adds to; everything else is the user's alone.
OWN_POD_KEYS = {
    "restartPolicy",
    "automountServiceAccountToken",
    "enableServiceLinks",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "securityContext",
    "volumes",
    "containers",
    "initContainers",
}
OWN_CONTAINER_KEYS = {
    "env",
    "ports",
    "volumeMounts",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "securityContext",
}

words = st.text("abcXYZ-./$()", min_size=1, max_size=8)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
containers = st.dictionaries(words, json, max_size=4).map(
    lambda extra: {**{key: value for key, value in extra.items() if key not in OWN_CONTAINER_KEYS}, "name": "main"}
)
pods = st.fixed_dictionaries(
    {"spec": st.tuples(st.dictionaries(words, json, max_size=4), containers)},
    optional={"metadata": st.fixed_dictionaries({}, optional={"annotations": st.dictionaries(words, words)})},
).map(
    lambda drawn: {
        **drawn,
        "spec": {
            **{key: value for key, value in drawn["spec"][0].items() if key not in OWN_POD_KEYS},
            "containers": [drawn["spec"][1], {"name": "sidecar", "image": "log:1"}],
        },
    }
)


@given(pods)
@settings(max_examples=150, deadline=None)
def test_what_the_template_says_is_untouched(template: dict):
    study = with_template(template)

    pod = build_pod(study, a_stored_trial(), 0)

    for key, value in study.spec.trial.template["spec"].items():
        if key not in OWN_POD_KEYS:
            assert pod["spec"][key] == value
    for given_one, made in zip(template["spec"]["containers"], pod["spec"]["containers"], strict=True):
        for key, value in given_one.items():
            assert made[key] == value
    # A container that does not train gets nothing but its security context.
    assert pod["spec"]["containers"][1].keys() == {"name", "image", "securityContext"}
    for key, value in (template.get("metadata", {}).get("annotations") or {}).items():
        assert pod["metadata"]["annotations"][key] == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("automountServiceAccountToken", True),
        ("enableServiceLinks", True),
        ("terminationGracePeriodSeconds", 600),
        ("activeDeadlineSeconds", 5),
    ],
)
def test_what_the_template_decides_is_not_decided_again(field: str, value: object):
    template = {"spec": {**PLAIN["spec"], field: value}}

    pod = build_pod(with_template(template, timeout="10m"), a_stored_trial(), 0)

    assert pod["spec"][field] == value


def test_the_deadline_of_the_kubelet_lies_behind_that_of_the_operator():
    pod = build_pod(with_template(PLAIN, timeout="10m"), a_stored_trial(), 0)

    assert pod["spec"]["activeDeadlineSeconds"] == 600 + 30 + BACKSTOP_SECONDS


def test_variables_come_before_the_users_so_that_they_can_be_used_there():
    user = {"name": "RATE", "value": "$(HP_lr)"}
    template = {"spec": {"containers": [{"name": "main", "env": [user]}]}}

    env = build_pod(with_template(template), a_stored_trial(lr=0.1), 0)["spec"]["containers"][0]["env"]

    assert env[-1] == user
    assert {"name": "HP_lr", "value": "0.1"} in env[:-1]


def variables(pod: dict) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in pod["spec"]["containers"][0]["env"]}


def test_without_a_volume_for_checkpoints_there_is_no_place_for_them():
    assert "SEATRIAL_CHECKPOINT_DIR" not in variables(build_pod(with_template(PLAIN), a_stored_trial(), 0))


def test_a_mounted_volume_of_that_name_holds_the_checkpoints_of_all_studies_apart():
    mounts = [{"name": "checkpoints", "mountPath": "/mnt/ckpt/"}]
    template = {"spec": {"containers": [{"name": "main", "volumeMounts": mounts}]}}

    env = variables(build_pod(with_template(template), a_stored_trial(), 0))

    assert env["SEATRIAL_CHECKPOINT_DIR"] == "/mnt/ckpt/5eed-0001/digits-17"


def test_the_checkpoints_of_a_study_with_an_address_lie_there_apart_from_those_of_others():
    mounts = [{"name": "checkpoints", "mountPath": "/mnt/ckpt/"}]
    study = with_template({"spec": {"containers": [{"name": "main", "volumeMounts": mounts}]}})
    trial = study.spec.trial.model_copy(update={"checkpoints": Checkpoints(url="s3://bucket/studies/")})
    study = study.model_copy(update={"spec": study.spec.model_copy(update={"trial": trial})})

    env = variables(build_pod(study, a_stored_trial(), 0))

    assert env["SEATRIAL_CHECKPOINT_DIR"] == "s3://bucket/studies/5eed-0001/digits-17"


def test_a_trial_is_told_what_it_starts_from_and_which_checkpoints_must_stay():
    mounts = [{"name": "checkpoints", "mountPath": "/c"}]
    template = {"spec": {"containers": [{"name": "main", "volumeMounts": mounts}]}}
    trial = a_stored_trial()
    parent = Parent(trial="digits-3", step=9, digest="sha256:ab")
    trial = trial.model_copy(update={"spec": trial.spec.model_copy(update={"parent": parent})})

    env = variables(build_pod(with_template(template), trial, 0, needed='{"ended":[[0,2]],"keep":[]}'))
    bare = variables(build_pod(with_template(PLAIN), trial, 0, needed='{"ended":[[0,2]],"keep":[]}'))

    assert env["SEATRIAL_PARENT_CHECKPOINT"] == "/c/5eed-0001/digits-3"
    assert (env["SEATRIAL_PARENT_STEP"], env["SEATRIAL_PARENT_DIGEST"]) == ("9", "sha256:ab")
    assert env["SEATRIAL_CHECKPOINTS_NEEDED"] == '{"ended":[[0,2]],"keep":[]}'
    assert not any(name.startswith(("SEATRIAL_PARENT", "SEATRIAL_CHECKPOINT")) for name in bare)


@pytest.mark.parametrize(
    ("change", "port"),
    [
        pytest.param({}, "9464", id="by default"),
        pytest.param({"metadata": {"annotations": {"prometheus.io/port": "8000"}}}, "8000", id="by annotation"),
        pytest.param({"ports": [{"name": "metrics", "containerPort": 7000}]}, "7000", id="by the port's name"),
        pytest.param({"hostNetwork": True}, None, id="none on the node's network"),
    ],
)
def test_the_port_for_metrics(change: dict, port: str | None):
    container = {"name": "main", **({"ports": change["ports"]} if "ports" in change else {})}
    spec = {"containers": [container], **({"hostNetwork": True} if "hostNetwork" in change else {})}
    template = {"spec": spec, **({"metadata": change["metadata"]} if "metadata" in change else {})}

    pod = build_pod(with_template(template), a_stored_trial(), 0)

    assert variables(pod).get("SEATRIAL_METRICS_PORT") == port
    assert (pod["metadata"].get("annotations") or {}).get("prometheus.io/port") == port
    ports = [held["containerPort"] for held in pod["spec"]["containers"][0].get("ports", ())]
    assert ports == ([] if port is None else [int(port)])


def test_shared_memory_that_is_mounted_already_is_left_alone():
    mounts = [{"name": "mine", "mountPath": "/dev/shm/"}]  # noqa: S108 - in the container
    template = {"spec": {"containers": [{"name": "main", "volumeMounts": mounts}], "volumes": [{"name": "mine"}]}}

    pod = build_pod(with_template(template), a_stored_trial(), 0)

    assert pod["spec"]["volumes"] == [{"name": "mine"}]
    assert pod["spec"]["containers"][0]["volumeMounts"] == mounts


# ---- security --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pod_context", "container_context", "expected_pod", "expected_container"),
    [
        pytest.param(
            None,
            None,
            {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            id="nothing said",
        ),
        pytest.param(
            {"runAsUser": 0},
            None,
            {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}},
            {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            id="root is asked for",
        ),
        pytest.param(
            {"runAsNonRoot": False, "seccompProfile": {"type": "Unconfined"}},
            {"capabilities": {"add": ["SYS_PTRACE"]}, "allowPrivilegeEscalation": True},
            {"runAsNonRoot": False, "seccompProfile": {"type": "Unconfined"}},
            {"capabilities": {"add": ["SYS_PTRACE"]}, "allowPrivilegeEscalation": True},
            id="all said",
        ),
        pytest.param(
            {"fsGroup": 7},
            {"privileged": True},
            {"fsGroup": 7, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            {"privileged": True},
            id="privileged",
        ),
        pytest.param(
            None,
            {"capabilities": {"add": ["SYS_ADMIN"]}},
            {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            {"capabilities": {"add": ["SYS_ADMIN"]}},
            id="as good as privileged",
        ),
    ],
)
def test_security_is_restricted_where_nothing_is_said(pod_context, container_context, expected_pod, expected_container):
    container = {"name": "main", **({"securityContext": container_context} if container_context else {})}
    spec = {"containers": [container], **({"securityContext": pod_context} if pod_context else {})}

    pod = build_pod(with_template({"spec": spec}), a_stored_trial(), 0)

    assert pod["spec"]["securityContext"] == expected_pod
    assert pod["spec"]["containers"][0]["securityContext"] == expected_container


def test_a_pod_of_windows_gets_no_security_of_linux():
    spec = {"os": {"name": "windows"}, "containers": [{"name": "main"}]}

    pod = build_pod(with_template({"spec": spec}), a_stored_trial(), 0)

    assert "securityContext" not in pod["spec"]


def test_a_template_without_a_container_is_the_authors_to_mend():
    with pytest.raises(SpecError, match="one container must train"):
        build_pod(with_template({"spec": {"containers": []}}), a_stored_trial(), 0)


def test_a_template_cannot_mark_its_pods_as_ones_to_be_deleted():
    study = with_template(PLAIN | {"metadata": {"labels": {names.LABEL_RELEASED: "true", "team": "a"}}})

    labels = build_pod(study, a_stored_trial(), 0)["metadata"]["labels"]

    assert names.LABEL_RELEASED not in labels
    assert labels["team"] == "a"
