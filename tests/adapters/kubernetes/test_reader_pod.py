"""The Pod that holds checkpoints open for reading: what it takes of the study, and what it must not take."""

from __future__ import annotations

from typing import Any

import pytest

from decide.builders import a_study
from seatrial.adapters.kubernetes.pods import build_pod_record
from seatrial.adapters.kubernetes.reader_pod import build_reader, checkpoint_folder
from seatrial.api.study import Study
from seatrial.errors import UsageError

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"team": "a"}},
    "spec": {
        "serviceAccountName": "trainer",
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"name": "download", "image": "x"}],
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
        "volumes": [
            {"name": "checkpoints", "persistentVolumeClaim": {"claimName": "ckpt"}},
            {"name": "secrets", "secret": {"secretName": "s"}},
        ],
        "containers": [
            {
                "name": "main",
                "image": "example.org/train:1",
                "env": [{"name": "TOKEN", "value": "secret"}],
                "resources": {"limits": {"nvidia.com/gpu": 8}},
                "volumeMounts": [
                    {"name": "checkpoints", "mountPath": "/ckpt/", "subPath": "team-a"},
                    {"name": "secrets", "mountPath": "/secrets"},
                ],
            }
        ],
    },
}


def study(template: dict[str, Any] | None = None) -> Study:
    found = a_study("digits", trial={"template": TEMPLATE if template is None else template})
    return found.model_copy(update={"metadata": found.metadata.model_copy(update={"uid": "u-1", "namespace": "lab"})})


def changed(**spec: Any) -> dict[str, Any]:
    return {"spec": TEMPLATE["spec"] | spec}


def test_it_can_be_placed_where_the_trials_could_and_takes_nothing_else() -> None:
    pod = build_reader(study(), "digits-reader-1")

    (container,) = pod["spec"]["containers"]
    assert container["image"] == "example.org/train:1"
    assert container["volumeMounts"] == [
        {"name": "checkpoints", "mountPath": "/ckpt/", "subPath": "team-a", "readOnly": True}
    ]
    assert "nvidia.com/gpu" not in str(pod)
    assert "secret" not in str(pod["spec"]["volumes"]) + str(container)
    assert pod["spec"]["nodeSelector"] == {"disk": "fast"}
    assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["checkpoints"]
    assert {"initContainers", "serviceAccountName"} & pod["spec"].keys() == set()


def test_it_is_restricted_and_ends_by_itself() -> None:
    spec = build_reader(study(), "digits-reader-1")["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert spec["activeDeadlineSeconds"] == 3600
    assert spec["securityContext"] == {
        "runAsUser": 1000,
        "fsGroup": 2000,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_it_is_no_trial_and_goes_with_its_study() -> None:
    metadata = build_reader(study(), "digits-reader-1")["metadata"]

    assert metadata["ownerReferences"][0]["uid"] == "u-1"
    assert metadata["namespace"] == "lab"
    with pytest.raises(ValueError, match="has no label"):
        build_pod_record({"metadata": metadata, "spec": {}})


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param(changed(volumes=[]), "has no volume named checkpoints", id="no volume"),
        pytest.param(changed(volumes=[{"name": "checkpoints", "emptyDir": {}}]), "emptyDir, which ends with each Pod", id="emptyDir"),
        pytest.param(changed(containers=[{"name": "main", "image": "x"}]), "mounts no volume named checkpoints", id="not mounted"),
    ],
)  # fmt: skip
def test_a_study_without_lasting_checkpoints_is_told_why(template: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build_reader(study(template), "digits-reader-1")


def test_the_folder_is_where_the_trial_wrote() -> None:
    assert checkpoint_folder(study(), "digits-6", "0/step-9") == "/ckpt/u-1/digits-6/0/step-9"
    assert checkpoint_folder(study(), "digits-6", "/ckpt/elsewhere") == "/ckpt/elsewhere"
