"""What makes a Pod one that can be handed on, and what its container says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.contracts import a_record
from adapters.kubernetes.world import a_study_that_reuses
from decide.builders import a_study
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.manifests import build_pod
from seatrial.adapters.kubernetes.slot_pods import LastWords, SlotEnd, find_end, has_begun, split_message, why_cold
from seatrial.api.study import Study
from seatrial.api.trial import Trial


def a_stored_trial(index: int = 0, **assignment: object) -> Trial:
    trial = a_record(index, **assignment)
    return trial.model_copy(update={"metadata": trial.metadata.model_copy(update={"uid": f"uid-{index}"})})


def a_template(*, pod: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, **container: Any) -> Study:
    """Return a study with ``reuse`` whose training container, Pod or metadata have more than is needed."""
    main = {"name": "main", "image": "trial", "command": ["python", "-u"], "args": ["train.py", "--x=$(HP_x)"]}
    template: dict[str, Any] = {"spec": {"containers": [main | container]} | (pod or {})}
    if metadata is not None:
        template["metadata"] = metadata
    return a_study(trial={"reuse": True, "timeout": "1h", "template": template})


def fit(study: Study, trial: Trial) -> str:
    return build_pod(study, trial, 0)["metadata"]["annotations"][names.ANNOTATION_FIT]


def test_the_container_is_told_by_a_file_and_falls_back_to_its_own_command():
    pod = build_pod(a_template(), a_stored_trial(3, x=0.5), 2)

    container, directive = (
        pod["spec"]["containers"][0],
        json.loads(pod["metadata"]["annotations"][names.ANNOTATION_DIRECTIVE]),
    )
    assert container["command"][:3] == ["python", "-u", "-c"]
    assert container["args"] == [
        *("--directive", "/run/seatrial/directive", "--port", "9465", "--message", "/dev/termination-log"),
        *("--idle", "60", "--", "python", "-u", "train.py", "--x=$(HP_x)"),
    ]
    assert {"name": "seatrial-directive", "mountPath": "/run/seatrial", "readOnly": True} in container["volumeMounts"]
    path = f"metadata.annotations['{names.ANNOTATION_DIRECTIVE}']"
    items = [{"path": "directive", "fieldRef": {"fieldPath": path}}]
    assert {"name": "seatrial-directive", "downwardAPI": {"items": items}} in pod["spec"]["volumes"]
    assert container["readinessProbe"] == {"tcpSocket": {"port": 9465}, "periodSeconds": 5, "failureThreshold": 1}
    assert directive["id"] == "uid-3/2"
    assert (directive["command"], directive["interpreter"]) == (["python", "-u", "train.py", "--x=$(HP_x)"], 2)
    assert ["HP_x", "0.5"] in directive["environment"]
    assert directive["environment"] == [[held["name"], held["value"]] for held in container["env"]]


def test_each_attempt_has_its_own_deadline_and_the_pod_none():
    pod = build_pod(a_template(), a_stored_trial(), 0)

    assert "activeDeadlineSeconds" not in pod["spec"]
    assert json.loads(pod["metadata"]["annotations"][names.ANNOTATION_DIRECTIVE])["timeout"] == 3600 + 30 + 600


def test_values_from_secrets_stay_with_the_container():
    secret = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    pod = build_pod(a_template(env=[secret, {"name": "URL", "value": "s3://$(TOKEN)"}]), a_stored_trial(), 0)

    directive = json.loads(pod["metadata"]["annotations"][names.ANNOTATION_DIRECTIVE])
    assert secret in pod["spec"]["containers"][0]["env"]
    assert ["URL", "s3://$(TOKEN)"] in directive["environment"]
    assert not [name for name, _ in directive["environment"] if name == "TOKEN"]


def test_a_port_that_the_template_uses_is_left_to_it():
    pod = build_pod(a_template(ports=[{"containerPort": 9465}]), a_stored_trial(), 0)

    assert pod["spec"]["containers"][0]["readinessProbe"]["tcpSocket"] == {"port": 9466}


def test_attempts_fit_whose_pods_differ_in_nothing_but_their_variables():
    study, trial = a_template(), a_stored_trial(0, x=0.1)
    other = a_stored_trial(1, x=0.9, deep=3)

    assert fit(study, trial) == fit(study, other)


@pytest.mark.parametrize(
    "study",
    [
        a_template(image="another"),
        a_template(env=[{"name": "A", "value": "1"}]),
        a_template(args=["train.py"]),
        a_template(pod={"nodeSelector": {"gpu": "a"}}),
        a_template(metadata={"labels": {"team": "b"}}),
    ],
)
def test_an_attempt_of_another_template_does_not_fit(study: Study):
    assert fit(study, a_stored_trial()) != fit(a_template(), a_stored_trial())


def test_an_attempt_that_avoids_nodes_does_not_fit():
    trial = a_stored_trial()
    wary = trial.model_copy(update={"status": trial.status.model_copy(update={"excluded_nodes": ["node-0"]})})

    assert fit(a_template(), trial) != fit(a_template(), wary)


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (a_study(), "trial.reuse is not set"),
        (a_template(pod={"hostNetwork": True}), "hostNetwork"),
        (a_template(pod={"activeDeadlineSeconds": 60}), "activeDeadlineSeconds"),
        (a_template(livenessProbe={"exec": {"command": ["true"]}}), "livenessProbe"),
        (a_template(lifecycle={"preStop": {"exec": {"command": ["true"]}}}), "lifecycle"),
        (a_template(command=None), "no command"),
        (
            a_template(volumeMounts=[{"name": "d", "mountPath": "/o", "subPathExpr": "$(SEATRIAL_TRIAL)"}]),
            "subPathExpr",
        ),
        (
            a_template(
                env=[{"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['seatrial.dev/trial']"}}}]
            ),
            "a variable of its Pod's metadata",
        ),
        (a_study_that_reuses(metrics={"source": "logs"}), "one log"),
    ],
)
def test_a_study_whose_pods_are_not_handed_on_says_why_and_has_plain_pods(study: Study, words: str):
    assert words in why_cold(study)
    assert names.ANNOTATION_DIRECTIVE not in (
        build_pod(study, a_stored_trial(), 0)["metadata"].get("annotations") or {}
    )


def line(**changes: object) -> str:
    told = {"id": "u/0", "code": 0, "begun": 1.5, "finished": 2.5, "message": "", "why": ""} | changes
    return f"seatrial-slot ended {json.dumps(told)}\n"


def test_the_last_line_of_the_attempt_tells_its_end():
    log = f"{line(code=9)}noise\n{line(code=3, message='a b')}{line(id='v/0')}tail"

    assert find_end(log, "u/0") == SlotEnd(code=3, message="a b", begun=1.5, finished=2.5, why="")


@pytest.mark.parametrize(
    "log",
    [
        "",
        "seatrial-slot ended\n",
        "seatrial-slot ended {\n",
        "seatrial-slot ended []\n",
        "seatrial-slot ended null\n",
        'seatrial-slot ended {"id": "u/0"}\n',
        f"x{line()}",
        line(code="x"),
        line(code=None),
        line(begun=[]),
        line(id="u/1"),
        line(begun=1e300),
        line().replace('"code": 0', '"code": 1e999'),
        line().replace('"begun": 1.5', '"begun": NaN'),
    ],
)
def test_what_is_no_end_of_the_attempt_tells_nothing(log: str):
    assert find_end(log, "u/0") is None


def test_the_words_of_an_ended_container_name_their_attempt():
    assert split_message('seatrial-slot u/0 143 1764000000.25 timeout\n{"v": 1}') == LastWords(
        id="u/0", code=143, message='{"v": 1}', finished=1764000000.25, why="timeout"
    )
    assert split_message("seatrial-slot u/0 0 1764000000 -\n") == LastWords(
        id="u/0", code=0, message="", finished=1764000000.0, why=""
    )
    assert split_message("seatrial-slot u/0 0\n") == LastWords(id="u/0", code=0, message="", finished=None, why="")
    assert split_message('{"v": 1}') is None
    assert split_message("seatrial-slot u/0\n") is None


def test_a_container_says_what_it_begins():
    log = 'x\nseatrial-slot began {"id": "u/0", "at": 1.5}\nepoch 1\n'

    assert has_begun(log, "u/0")
    assert not has_begun(log, "u/1")
    assert not has_begun('seatrial-slot ended {"id": "u/0"}', "u/0")
