"""Who may do what on a real API server with the chart's roles and policy: the operator's account, and users by what they may otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.kubernetes.contract import a_study_object
from api.wrong_studies import SOUND
from control_plane.client import STUDIES, Client
from control_plane.cluster import ControlPlane, wait_until
from control_plane.helm import Helm
from control_plane.in_force import until_roles_count
from control_plane.kubelet import Kubelet, completed
from control_plane.operating import run_operator

_RBAC = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Lease"}
_POLICY = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


@contextmanager
def applied(control_plane: ControlPlane, objects: list[dict[str, Any]]) -> Iterator[None]:
    """Have these objects stored in the block, and the roles and bindings among them in force."""
    text = yaml.safe_dump_all(objects)
    control_plane.kubectl("apply", "-f", "-", text=text)
    try:
        with control_plane.client() as api:
            until_roles_count(api)
        yield
    finally:
        control_plane.kubectl("delete", "--ignore-not-found", "-f", "-", text=text)


def has_hook(each: dict[str, Any]) -> bool:
    """Whether Helm has an object for a moment only, as that of ``helm test``."""
    return "helm.sh/hook" in each["metadata"].get("annotations", {})


def is_for_people(each: dict[str, Any]) -> bool:
    """Whether an object is a role that Kubernetes adds to its own for people."""
    return each["metadata"]["name"].endswith(("-edit", "-view"))


# ---- the operator's account ------------------------------------------------------------------------------------------

ON_WORK = {
    "studies.seatrial.dev": {"get", "list", "watch"},
    "studies.seatrial.dev/status": {"patch"},
    "studies.seatrial.dev/finalizers": {"update"},
    "trials.seatrial.dev": {"create", "get", "list", "watch"},
    "trials.seatrial.dev/status": {"patch"},
    "trials.seatrial.dev/finalizers": {"update"},
    "pods": {"create", "delete", "deletecollection", "get", "list", "patch", "watch"},
    "pods/log": {"get"},
    "events": {"create", "patch"},
}
"""Every right of the operator where it works: a right that is new to it belongs here, and into docs/security.md."""

ON_LEASES = {
    "leases.coordination.k8s.io": {"create"},
    "leases.coordination.k8s.io seatrial-operator": {"get", "patch"},
}
"""Its rights where it is installed, besides."""

Rights = dict[str, set[str]]


def roles_of_the_operator(helm: Helm, namespace: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return what the chart gives the operator; the roles for people are in force for a whole part of these tests, and stay."""
    found = [each for each in helm.render(values, namespace=namespace) if each["kind"] in _RBAC]
    return [each for each in found if not has_hook(each) and not is_for_people(each)]


def rights(control_plane: ControlPlane, namespace: str, account: str) -> Rights:
    """Return all that a service account may do in a namespace and, by roles of the whole cluster, everywhere; verbs by resource or URL."""
    found: Rights = {}
    with control_plane.client(acting=f"system:serviceaccount:{account}") as client:
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        status = client.create(path, body | {"spec": {"namespace": namespace}}).body["status"]
    assert status["incomplete"] is False
    for rule in status["resourceRules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    found.setdefault(_written(group, resource, name), set()).update(rule["verbs"])
    for rule in status["nonResourceRules"]:
        for url in rule["nonResourceURLs"]:
            found.setdefault(url, set()).update(rule["verbs"])
    return found


def _written(group: str, resource: str, name: str) -> str:
    kind, _, part = resource.partition("/")
    return f"{kind}{'.' if group else ''}{group}{'/' if part else ''}{part} {name}".strip()


@pytest.fixture
def elsewhere(api: Client, namespace: str) -> Iterator[str]:
    """A namespace in which nothing is installed and nobody works."""
    name = f"{namespace}-elsewhere"
    assert api.create("/api/v1/namespaces", {"metadata": {"name": name}}).is_accepted
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize("narrow", [False, True], ids=["every namespace", "one namespace"])
def test_the_operators_account_may_do_what_the_table_says_and_nothing_else(
    control_plane: ControlPlane, helm: Helm, namespace: str, elsewhere: str, narrow: bool
) -> None:
    values = {"watchNamespace": elsewhere} if narrow else {}
    roles = roles_of_the_operator(helm, namespace, values)
    nobody = rights(control_plane, namespace, f"{namespace}:nobody")

    with applied(control_plane, roles):
        found = {
            where: rights(control_plane, where, f"{namespace}:seatrial") for where in (namespace, elsewhere, "default")
        }
        others = rights(control_plane, namespace, f"{namespace}:nobody")

    assert others == nobody
    assert found == {
        namespace: nobody | ON_LEASES | ({} if narrow else ON_WORK),
        elsewhere: nobody | ON_WORK,
        "default": nobody | ({} if narrow else ON_WORK),
    }


FORBIDDEN = [
    "get secrets",
    "list secrets",
    "watch secrets",
    "get configmaps",
    "list configmaps",
    "get nodes",
    "list namespaces",
    "get serviceaccounts",
    "create serviceaccounts/token",
    "create pods/exec",
    "create pods/attach",
    "create pods/portforward",
    "patch pods/ephemeralcontainers",
    "create pods/eviction",
    "patch pods/status",
    "create pods/binding",
    "create jobs.batch",
    "create deployments.apps",
    "create studies.seatrial.dev",
    "patch studies.seatrial.dev",
    "delete studies.seatrial.dev",
    "patch trials.seatrial.dev",
    "delete trials.seatrial.dev",
    "create rolebindings.rbac.authorization.k8s.io",
    "create clusterrolebindings.rbac.authorization.k8s.io",
    "bind clusterroles.rbac.authorization.k8s.io",
    "escalate roles.rbac.authorization.k8s.io",
    "impersonate users",
    "impersonate serviceaccounts",
    "get customresourcedefinitions.apiextensions.k8s.io",
    "patch validatingadmissionpolicies.admissionregistration.k8s.io",
    "get persistentvolumeclaims",
]


def ask(control_plane: ControlPlane, account: str, question: str, *where: str) -> str:
    """Ask ``kubectl auth can-i`` for an account; return yes or no."""
    verb, resource = question.split()
    kind, _, part = resource.partition("/")
    words = [verb, kind, *(["--subresource", part] if part else []), *where]
    done = control_plane.kubectl("auth", "can-i", *words, f"--as=system:serviceaccount:{account}", check=False)
    assert "doesn't have a resource type" not in done.stderr
    return done.stdout.strip()


def test_the_operators_account_is_told_no_by_name(control_plane: ControlPlane, helm: Helm, namespace: str) -> None:
    roles = roles_of_the_operator(helm, namespace)

    with applied(control_plane, roles):
        account = f"{namespace}:seatrial"
        assert ask(control_plane, account, "create pods", "-n", namespace) == "yes"
        answers = {question: ask(control_plane, account, question, "--all-namespaces") for question in FORBIDDEN}
        near = {question: ask(control_plane, account, question, "-n", namespace) for question in FORBIDDEN[:3]}

    assert set(answers.values()) | set(near.values()) == {"no"}, answers | near


@pytest.mark.parametrize("narrow", [False, True], ids=["every namespace", "one namespace"])
def test_the_operator_lives_and_is_taken_down_with_these_rights_alone(
    control_plane: ControlPlane, api: Client, helm: Helm, namespace: str, tmp_path: Path, narrow: bool
) -> None:
    values = {"watchNamespace": namespace} if narrow else {}
    roles = roles_of_the_operator(helm, namespace, values)
    # A program has no --as: it is admitted by the account's name and groups.
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    access = control_plane.user(f"system:serviceaccount:{namespace}:seatrial", groups)
    settings = {"namespace": namespace if narrow else "", "lease_namespace": namespace}
    path = STUDIES.format(namespace=namespace)
    kubelet = Kubelet(control_plane.admin, namespace, lambda _, parameters: completed("loss", parameters["x"]))

    with applied(control_plane, roles), kubelet, run_operator(access, tmp_path, **settings) as operator:
        assert api.create(path, a_study_object(budget={"maxTrials": 3, "parallelTrials": 2})).is_accepted
        wait_until(lambda: _reason(api, f"{path}/s") == "MaxTrialsReached", what="the study to end")
        wait_until(lambda: not api.get(f"/api/v1/namespaces/{namespace}/pods").body["items"], what="its Pods to go")
        events = api.get(f"/api/v1/namespaces/{namespace}/events").body["items"]
        assert operator.stop() == 0
        cleaned = subprocess.run(
            [sys.executable, "-m", "seatrial.entry.cluster.cleanup"],
            env={**os.environ, **_environment(access.kubeconfig, settings)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert any(event["involvedObject"]["kind"] == "Study" for event in events)
    assert cleaned.returncode == 0, cleaned.stderr
    assert "is forbidden: User" not in operator.text() + cleaned.stderr


def _environment(kubeconfig: Path, settings: Mapping[str, str]) -> dict[str, str]:
    named = {f"SEATRIAL_OPERATOR_{name.upper()}": value for name, value in settings.items()}
    return {"KUBECONFIG": str(kubeconfig), **named}


def _reason(api: Client, study: str) -> str:
    conditions = api.get(study).body.get("status", {}).get("conditions", [])
    return str(next((one["reason"] for one in conditions if one["type"] == "Succeeded"), ""))


# ---- users: who may not create Pods gets none by a Study ---------------------------------------------------------------


@pytest.fixture(scope="module")
def policy(helm: Helm, control_plane: ControlPlane) -> Iterator[None]:
    """The chart's policy and roles for people in force."""
    found = [each for each in helm.render() if each["kind"] in _POLICY or is_for_people(each)]
    with applied(control_plane, found):
        yield


def grant(control_plane: ControlPlane, namespace: str, user: str, *rules: dict[str, Any], kind: str = "User") -> None:
    """Give a user, or a group, rights in a namespace, and return once they count."""
    role = {"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": user}, "rules": rules}
    binding = {"kind": "RoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": user}}
    binding |= {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user}}
    binding |= {"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": user}]}
    for each in (role, binding):
        control_plane.kubectl("apply", "-n", namespace, "-f", "-", text=json.dumps(each))
    with control_plane.client() as api:
        until_roles_count(api)


ON_STUDIES = {"apiGroups": ["seatrial.dev"], "resources": ["studies"], "verbs": ["*"]}
ON_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}


def study(**changes: Any) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(SOUND)
    return tree | {"spec": tree["spec"] | changes}


NAMELESS = study() | {"metadata": {"generateName": "asked-"}}


def until_forbidden(client: Client, path: str) -> None:
    """Return once the policy is what keeps this user from writing a study.

    A policy comes into force some moments after it was stored: a refusal for want of a right, or for a name that is taken,
    says nothing of it.
    """

    def is_forbidden() -> bool:
        answer = client.create(path, NAMELESS, dryRun="All")
        return answer.code == 403 and "may not create Pods" in answer.message

    wait_until(is_forbidden, what="the policy")


@pytest.mark.usefixtures("policy")
def test_who_may_not_create_pods_may_not_create_studies(control_plane: ControlPlane, namespace: str) -> None:
    grant(control_plane, namespace, "poor", ON_STUDIES)
    with control_plane.client(acting="poor") as client:
        path = STUDIES.format(namespace=namespace)
        until_forbidden(client, path)
        answer = client.create(path, study())

    assert answer.code == 403
    assert f"poor may not create Pods in namespace {namespace}" in answer.message


@pytest.mark.usefixtures("policy")
def test_who_may_create_pods_may_create_studies(control_plane: ControlPlane, namespace: str) -> None:
    grant(control_plane, namespace, "poor", ON_STUDIES)
    grant(control_plane, namespace, "rich", ON_STUDIES, ON_PODS)
    path = STUDIES.format(namespace=namespace)
    with control_plane.client(acting="poor") as poor, control_plane.client(acting="rich") as rich:
        until_forbidden(poor, path)
        answer = rich.create(path, study())

    assert answer.code == 201, answer.message


@pytest.mark.usefixtures("policy")
def test_rights_in_another_namespace_do_not_count(control_plane: ControlPlane, namespace: str) -> None:
    grant(control_plane, namespace, "elsewhere", ON_STUDIES)
    grant(control_plane, "default", "elsewhere", ON_STUDIES, ON_PODS)
    with control_plane.client(acting="elsewhere") as client:
        path = STUDIES.format(namespace=namespace)
        until_forbidden(client, path)
        elsewhere = client.create(STUDIES.format(namespace="default"), NAMELESS, dryRun="All")
        assert elsewhere.is_accepted, elsewhere.message

        assert client.create(path, study()).code == 403


@pytest.mark.usefixtures("policy")
def test_a_right_of_a_group_counts_for_its_members_alone(control_plane: ControlPlane, namespace: str) -> None:
    grant(control_plane, namespace, "jo", ON_STUDIES)
    grant(control_plane, namespace, "trainers", ON_PODS, kind="Group")
    path = STUDIES.format(namespace=namespace)
    with (
        control_plane.client(acting="jo") as alone,
        control_plane.client(acting="jo", groups=["trainers"]) as member,
    ):
        until_forbidden(alone, path)

        assert alone.create(path, study()).code == 403
        assert member.create(path, study()).code == 201
        assert alone.merge(f"{path}/digits", {"spec": {"suspend": True}}).code == 403
        assert member.merge(f"{path}/digits", {"spec": {"suspend": True}}).code == 200


BUDGET = {"maxTrials": 99}
WAYS: dict[str, tuple[str, str, Any]] = {
    "create": ("POST", "application/json", study() | {"metadata": {"name": "another"}}),
    "create by generateName": ("POST", "application/json", study() | {"metadata": {"generateName": "another-"}}),
    "create by apply": ("PATCH another", "application/apply-patch+yaml", study() | {"metadata": {"name": "another"}}),
    "replace": ("PUT digits", "application/json", study(budget=BUDGET)),
    "merge": ("PATCH digits", "application/merge-patch+json", {"spec": {"budget": BUDGET}}),
    "patch": ("PATCH digits", "application/json-patch+json", [{"op": "add", "path": "/spec/budget", "value": BUDGET}]),
    "apply": ("PATCH digits", "application/apply-patch+yaml", study(budget=BUDGET)),
    "image": (
        "PATCH digits",
        "application/json-patch+json",
        [{"op": "replace", "path": "/spec/trial/template/spec/containers/0/image", "value": "mine"}],
    ),
}
"""Method and name, content type, and body of every way to write a specification."""


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize("way", sorted(WAYS))
def test_no_way_of_writing_a_specification_goes_past_the_policy(
    control_plane: ControlPlane, api: Client, namespace: str, way: str
) -> None:
    grant(control_plane, namespace, "poor", ON_STUDIES)
    grant(control_plane, namespace, "rich", ON_STUDIES, ON_PODS)
    path = STUDIES.format(namespace=namespace)
    stored = api.create(path, study())
    assert stored.is_accepted
    method, kind, body = WAYS[way]
    verb, _, name = method.partition(" ")
    query = {"fieldManager": "me", "force": "true"} if "apply" in kind else {}
    if verb == "PUT":
        body = body | {"metadata": stored.body["metadata"]}
    with control_plane.client(acting="poor") as poor, control_plane.client(acting="rich") as rich:
        until_forbidden(poor, path)

        refused = poor.request(verb, f"{path}/{name}".rstrip("/"), body, kind=kind, **query)
        after = api.get(path).body["items"]
        taken = rich.request(verb, f"{path}/{name}".rstrip("/"), body, kind=kind, **query)

    assert refused.code == 403
    assert "poor may not create Pods" in refused.message
    assert [(each["metadata"]["name"], each["spec"]) for each in after] == [("digits", stored.body["spec"])]
    assert taken.is_accepted, taken.message


@pytest.mark.usefixtures("policy")
def test_labels_finalizers_and_a_deletion_need_no_right_to_pods(
    control_plane: ControlPlane, api: Client, namespace: str
) -> None:
    grant(control_plane, namespace, "poor", ON_STUDIES)
    path = STUDIES.format(namespace=namespace)
    assert api.create(path, study()).is_accepted
    with control_plane.client(acting="poor") as client:
        until_forbidden(client, path)
        assert client.merge(f"{path}/digits", {"spec": {"budget": BUDGET}}).code == 403

        # The garbage collector, which may create no Pods, must be able to take a finalizer away.
        assert client.merge(f"{path}/digits", {"metadata": {"labels": {"a": "b"}}}).code == 200
        assert client.delete(f"{path}/digits").code == 200


@pytest.mark.usefixtures("policy")
def test_while_an_operator_works_the_pods_are_of_those_who_may_have_them(
    control_plane: ControlPlane, api: Client, namespace: str, tmp_path: Path
) -> None:
    grant(control_plane, namespace, "poor", ON_STUDIES)
    grant(control_plane, namespace, "rich", ON_STUDIES, ON_PODS)
    path = STUDIES.format(namespace=namespace)
    kubelet = Kubelet(control_plane.admin, namespace, lambda _, parameters: completed("loss", parameters["x"]))
    own = {"namespace": namespace, "lease_namespace": namespace}
    with (
        control_plane.client(acting="poor") as poor,
        control_plane.client(acting="rich") as rich,
        kubelet,
        run_operator(control_plane.admin, tmp_path, **own),
    ):
        until_forbidden(poor, path)
        pod = {"metadata": {"name": "mine"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        assert poor.create(f"/api/v1/namespaces/{namespace}/pods", pod).code == 403
        assert poor.create(path, a_study_object("of-poor", budget={"maxTrials": 1})).code == 403
        assert rich.create(path, a_study_object("of-rich", budget={"maxTrials": 1})).code == 201
        wait_until(lambda: _reason(api, f"{path}/of-rich") == "MaxTrialsReached", what="the study to end")

    assert set(kubelet.seen) == {"of-rich-0-0"}


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize(
    ("role", "verb", "expected"), [("edit", "create", True), ("view", "create", False), ("view", "list", True)]
)
def test_kubernetes_own_roles_hold_for_studies(
    control_plane: ControlPlane, namespace: str, role: str, verb: str, expected: bool
) -> None:
    user = f"{role}er"
    control_plane.kubectl("create", "rolebinding", user, "-n", namespace, f"--clusterrole={role}", f"--user={user}")

    def may(verb: str) -> bool:
        done = control_plane.kubectl(
            "auth", "can-i", verb, "studies.seatrial.dev", "-n", namespace, f"--as={user}", check=False
        )
        return done.stdout.strip() == "yes"

    # The controller adds up roles in its own time, perhaps one after the other; until then they allow nothing.
    wait_until(lambda: may(verb if expected else "list"), what=f"{role} to allow what it does")
    assert may(verb) == expected
