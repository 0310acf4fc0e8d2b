"""Templates that mean harm, judged by a real API server in a namespace with Pod Security's level ``restricted``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config

from adapters.kubernetes.contract import a_study_object
from control_plane.client import STUDIES, Client
from control_plane.cluster import ControlPlane
from control_plane.in_force import restrict
from seatrial.adapters.kubernetes.client import ApiServerClient
from seatrial.adapters.kubernetes.informer import Informer
from seatrial.adapters.kubernetes.pods import build_pod_record
from seatrial.adapters.kubernetes.port import PODS
from seatrial.adapters.kubernetes.rehearsal import build_rehearsal_trial
from seatrial.adapters.kubernetes.runner import KubernetesRunner, Refusal
from seatrial.adapters.local.clock import SystemClock
from seatrial.search.checks import load_object

MAIN = {"name": "main", "image": "example.invalid/none:1"}


def rehearse(plane: ControlPlane, stored: dict[str, Any]) -> Refusal | None:
    """Let the server judge the first Pod of a study, as the operator does before it creates any trial."""
    configuration = Configuration()
    asyncio.run(load_kube_config(str(plane.admin.kubeconfig), client_configuration=configuration))

    async def body() -> Refusal | None:
        client = ApiServerClient(configuration)
        clock = SystemClock()
        pods = Informer(client, PODS, build_pod_record, clock=clock, on_change=lambda _: None)
        try:
            study = load_object(stored).study
            return await KubernetesRunner(client, pods, clock=clock).rehearse(
                study, build_rehearsal_trial(study, clock.now())
            )
        finally:
            await client.close()

    return asyncio.run(body())


def applied(api: Client, namespace: str, template: dict[str, Any]) -> dict[str, Any]:
    answer = api.create(STUDIES.format(namespace=namespace), a_study_object(trial={"template": template}))
    assert answer.is_accepted, answer.message
    return answer.body


@pytest.fixture
def restricted(api: Client, namespace: str) -> str:
    restrict(api, namespace)
    return namespace


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        pytest.param(
            {"containers": [MAIN], "volumes": [{"name": "root", "hostPath": {"path": "/"}}]},
            "PodSecurity",
            "hostPath",
            id="hostPath",
        ),
        pytest.param(
            {"containers": [MAIN | {"securityContext": {"privileged": True}}]},
            "PodSecurity",
            "privileged",
            id="privileged",
        ),
        pytest.param({"containers": [MAIN], "hostNetwork": True}, "PodSecurity", "host namespaces", id="hostNetwork"),
        pytest.param(
            {"containers": [MAIN], "serviceAccountName": "of-somebody-else"},
            "PodForbidden",
            'serviceaccount "of-somebody-else" not found',
            id="a service account that is not of this namespace",
        ),
        pytest.param(
            {"containers": [MAIN | {"volumeMounts": [{"name": "none", "mountPath": "/x"}]}]},
            "PodInvalid",
            "volumeMounts[0].name: Not found",
            id="a volume that does not exist",
        ),
    ],
)
def test_a_pod_that_wants_too_much_is_refused_before_any_trial_is_made(
    control_plane: ControlPlane, api: Client, restricted: str, spec: dict[str, Any], reason: str, words: str
) -> None:
    refusal = rehearse(control_plane, applied(api, restricted, {"spec": spec}))

    assert refusal is not None
    assert refusal.reason == reason
    assert words in refusal.message


def test_a_template_for_another_namespace_stays_in_its_own(
    control_plane: ControlPlane, api: Client, restricted: str
) -> None:
    metadata = {"namespace": "kube-system", "name": "etcd-0", "ownerReferences": [], "uid": "x"}
    stored = applied(api, restricted, {"metadata": metadata, "spec": {"containers": [MAIN]}})

    assert rehearse(control_plane, stored) is None
    assert api.get("/api/v1/namespaces/kube-system/pods").body["items"] == []


def test_a_study_larger_than_the_server_stores_is_refused_by_it(api: Client, namespace: str) -> None:
    env = [{"name": f"FILL_{number}", "value": "x" * 1000} for number in range(1600)]
    body = a_study_object(trial={"template": {"spec": {"containers": [MAIN | {"env": env}]}}})

    answer = api.create(STUDIES.format(namespace=namespace), body)

    assert not answer.is_accepted
    assert "too large" in answer.message


def test_a_pod_of_a_study_as_large_as_the_server_stores_is_made_or_refused_in_its_words(
    control_plane: ControlPlane, api: Client, namespace: str
) -> None:
    env = [{"name": f"FILL_{number}", "value": "x" * 1000} for number in range(1300)]
    stored = applied(api, namespace, {"spec": {"containers": [MAIN | {"env": env}]}})

    assert rehearse(control_plane, stored) is None
