"""The chart: what it renders is what a real API server takes, wrong values are refused, and its policy holds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.wrong_studies import SOUND
from control_plane.client import STUDIES, Client
from control_plane.cluster import ControlPlane, wait_until
from control_plane.programs import find_program

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "seatrial"
MONITORS = ("monitoring.coreos.com/v1/PodMonitor", "monitoring.coreos.com/v1/ServiceMonitor")

VALUES: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "one namespace": {"watchNamespace": "default"},
    "no Prometheus": {"prometheus": {"enabled": False}},
    "a Prometheus of one's own": {
        "prometheus": {"enabled": False},
        "prometheusURL": "http://prometheus.monitoring:9090",
    },
    "everything": {
        "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]},
        "dashboard": {"enabled": True},
        "podMonitor": {"enabled": True},
        "serviceMonitor": {"enabled": True},
        "operator": {"replicas": 2, "retention": "all", "logFormat": "text", "askDeadlineSeconds": 2.5},
        "imagePullSecrets": [{"name": "pull"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "ops", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "serviceAccount": {"name": "robot", "annotations": {"cloud": "role"}},
    },
    "everything in one namespace": {
        "watchNamespace": "default",
        "networkPolicy": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "nothing that can be left out": {
        "prometheus": {"enabled": False},
        "crds": {"install": False},
        "rbac": {"aggregate": False},
        "admissionPolicy": {"enabled": False},
        "cleanup": {"enabled": False},
    },
    "a digest": {"image": {"repository": "registry.example/a/b", "digest": "sha256:" + "0" * 64}},
    "a long name": {"fullnameOverride": "x" * 40},
}


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm at the pinned version, built where it is missing."""
    subprocess.run([ROOT / "scripts" / "cluster-tools", "helm"], check=True)
    return Helm(tmp_path_factory.mktemp("helm"))


class Helm:
    def __init__(self, folder: Path) -> None:
        self.values = folder / "values.yaml"

    def run(self, *arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        self.values.write_text(json.dumps(values or {}))
        command = [find_program("helm"), *arguments, "--values", self.values]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def render(self, values: dict[str, Any] | None = None, *, kinds: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        apis = [word for kind in kinds for word in ("--api-versions", kind)]
        done = self.run("template", "seatrial", str(CHART), "--namespace", "default", *apis, values=values)
        assert done.returncode == 0, done.stderr
        return [found for found in yaml.safe_load_all(done.stdout) if found]


def select(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    return found


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_helm_finds_nothing_wrong(helm: Helm, values: dict[str, Any]) -> None:
    done = helm.run("lint", "--strict", str(CHART), values=values)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_the_api_server_takes_all_that_is_rendered(
    helm: Helm, control_plane: ControlPlane, values: dict[str, Any]
) -> None:
    # A Pod's service account has to be there already; the test below takes care of Pods.
    rendered = yaml.safe_dump_all(each for each in helm.render(values) if each["kind"] != "Pod")

    flags = ("--dry-run=server", "--server-side", "--force-conflicts", "--validate=strict")
    done = control_plane.kubectl("apply", *flags, "-f", "-", text=rendered, check=False)

    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_every_pod_passes_pod_security_restricted(
    helm: Helm, control_plane: ControlPlane, namespace: str, values: dict[str, Any]
) -> None:
    control_plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    objects = helm.render(values)
    pods = [each["spec"]["template"] for each in objects if each["kind"] in {"Deployment", "Job"}]
    pods += [each for each in objects if each["kind"] == "Pod"]

    for number, pod in enumerate(pods):
        spec = pod["spec"] | {"serviceAccountName": "default"}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{number}"}, "spec": spec}
        flags = ("--dry-run=server", "-n", namespace, "-f", "-")
        done = control_plane.kubectl("create", *flags, text=json.dumps(body), check=False)
        assert done.returncode == 0, done.stderr
    assert len(pods) >= 2


@pytest.mark.parametrize(
    ("values", "path", "words"),
    [
        ({"replicas": 2}, "", "additional properties 'replicas' not allowed"),
        ({"image": {"name": "x"}}, "/image", "additional properties 'name' not allowed"),
        ({"operator": {"workers": 0}}, "/operator/workers", "minimum"),
        ({"operator": {"workers": "8"}}, "/operator/workers", "want integer"),
        ({"operator": {"retention": "some"}}, "/operator/retention", "'none', 'failed', 'all'"),
        ({"prometheusURL": "prometheus:9090"}, "/prometheusURL", "does not match pattern"),
        ({"watchNamespace": "No"}, "/watchNamespace", "does not match pattern"),
        ({"prometheus": {"scrapeInterval": "4s"}}, "/prometheus/scrapeInterval", "does not match pattern"),
        ({"image": {"digest": "latest"}}, "/image/digest", "does not match pattern"),
        ({"nodeSelector": {"disk": 1}}, "/nodeSelector/disk", "want string"),
    ],
)
def test_a_wrong_value_is_refused_and_named(helm: Helm, values: dict[str, Any], path: str, words: str) -> None:
    done = helm.run("template", "seatrial", str(CHART), values=values)

    assert done.returncode
    assert f"at '{path}'" in done.stderr
    assert words in done.stderr


def test_every_value_is_described() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def missing(found: dict[str, Any], described: dict[str, Any], place: str) -> Iterator[str]:
        for name, value in found.items():
            entry = described["properties"].get(name, {})
            if "description" not in entry:
                yield f"{place}.{name}"
            if isinstance(value, dict) and "properties" in entry:
                yield from missing(value, entry, f"{place}.{name}")

    assert list(missing(values, schema, "")) == []
    assert schema["additionalProperties"] is False


def test_the_operator_has_the_rights_that_it_uses_and_no_more(helm: Helm) -> None:
    role = select(helm.render(), "ClusterRole", "seatrial-default")

    rights = {resource: sorted(rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]}
    assert rights == {
        "studies": ["get", "list", "watch"],
        "studies/status": ["patch"],
        "studies/finalizers": ["update"],
        "trials": ["create", "get", "list", "watch"],
        "trials/status": ["patch"],
        "trials/finalizers": ["update"],
        "pods": ["create", "delete", "deletecollection", "get", "list", "patch", "watch"],
        "pods/log": ["get"],
        "events": ["create", "patch"],
    }


def test_in_namespaced_mode_nothing_is_granted_beyond_namespaces(helm: Helm) -> None:
    objects = helm.render({"watchNamespace": "team", "rbac": {"aggregate": False}})

    assert not [each for each in objects if each["kind"] in {"ClusterRole", "ClusterRoleBinding"}]
    roles = {each["metadata"]["namespace"] for each in objects if each["kind"] == "Role"}
    assert roles == {"team", "default"}
    (settings,) = yaml.safe_load(select(objects, "ConfigMap", "prometheus")["data"]["prometheus.yml"])[
        "scrape_configs"
    ][0]["kubernetes_sd_configs"]
    assert settings["namespaces"] == {"names": ["team"]}


def test_the_kinds_stay_when_the_release_goes(helm: Helm) -> None:
    kinds = [each for each in helm.render() if each["kind"] == "CustomResourceDefinition"]

    assert sorted(kind["metadata"]["name"] for kind in kinds) == ["studies.seatrial.dev", "trials.seatrial.dev"]
    assert all(kind["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for kind in kinds)
    stored = yaml.safe_load((ROOT / "crds" / "seatrial.dev_studies.yaml").read_text())
    assert select(kinds, "CustomResourceDefinition", "studies.seatrial.dev")["spec"] == stored["spec"]


def test_the_bundled_prometheus_scrapes_as_the_documented_job_does(helm: Helm) -> None:
    text = select(helm.render(), "ConfigMap", "prometheus")["data"]["prometheus.yml"]

    trials, own = yaml.safe_load(text)["scrape_configs"]
    (documented,) = yaml.safe_load((CHART / "files" / "scrape-config.yaml").read_text())
    assert trials == documented
    assert own["static_configs"] == [{"targets": ["seatrial.default:9090"]}]


def test_monitors_are_made_only_where_their_kinds_are(helm: Helm) -> None:
    values = {"podMonitor": {"enabled": True, "labels": {"release": "mine"}}, "serviceMonitor": {"enabled": True}}

    with_kinds, without = helm.render(values, kinds=MONITORS), helm.render(values)

    monitor = select(with_kinds, "PodMonitor")
    assert monitor["spec"] == yaml.safe_load((CHART / "files" / "pod-monitor.yaml").read_text())
    assert monitor["metadata"]["labels"]["release"] == "mine"
    assert select(with_kinds, "ServiceMonitor")["spec"]["endpoints"] == [{"port": "metrics", "interval": "15s"}]
    assert not [each for each in without if each["kind"].endswith("Monitor")]


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text())
    sources = (ROOT / "operator/seatrial/entry/cluster/telemetry.py").read_text()
    sources += (ROOT / "operator/seatrial/api/wire.py").read_text()

    asked = json.dumps([panel.get("targets", []) for panel in dashboard["panels"]])
    names = {word for word in _words(asked) if word.startswith("seatrial_")}
    known = {name for name in names if f'"{name.removesuffix("_bucket").removesuffix("_count")}"' in sources}
    assert len(names) > 10
    assert names == known


def _words(text: str) -> set[str]:
    return set("".join(letter if letter.isalnum() or letter == "_" else " " for letter in text).split())


# ---- the admission policy -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def policy(helm: Helm, control_plane: ControlPlane) -> Iterator[None]:
    """The chart's policy and roles in force."""
    kinds = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    objects = [
        each for each in helm.render() if each["kind"] in kinds or each["metadata"]["name"].endswith(("-edit", "-view"))
    ]
    text = yaml.safe_dump_all(objects)
    control_plane.kubectl("apply", "-f", "-", text=text)
    yield
    control_plane.kubectl("delete", "-f", "-", text=text)


def grant(control_plane: ControlPlane, namespace: str, user: str, *rules: dict[str, Any]) -> None:
    """Give a user rights in a namespace."""
    role = {"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": user}, "rules": rules}
    binding = {"kind": "RoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": user}}
    binding |= {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user}}
    binding |= {"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]}
    for each in (role, binding):
        control_plane.kubectl("apply", "-n", namespace, "-f", "-", text=json.dumps(each))


ON_STUDIES = {"apiGroups": ["seatrial.dev"], "resources": ["studies"], "verbs": ["*"]}
ON_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}


def study() -> dict[str, Any]:
    return yaml.safe_load(SOUND)


@pytest.mark.usefixtures("policy")
def test_who_may_not_create_pods_may_not_create_studies(control_plane: ControlPlane, namespace: str) -> None:
    grant(control_plane, namespace, "poor", ON_STUDIES)
    with control_plane.client(control_plane.user("poor")) as client:
        path = STUDIES.format(namespace=namespace)

        # A policy comes into force some moments after it was stored.
        wait_until(lambda: not client.create(path, study(), dryRun="All").is_accepted, what="the policy")
        answer = client.create(path, study())

    assert answer.code == 403
    assert f"poor may not create Pods in namespace {namespace}" in answer.message


@pytest.mark.usefixtures("policy")
def test_who_may_create_pods_may_create_studies(control_plane: ControlPlane, namespace: str) -> None:
    grant(control_plane, namespace, "rich", ON_STUDIES, ON_PODS)
    with control_plane.client(control_plane.user("rich")) as client:
        answer = client.create(STUDIES.format(namespace=namespace), study())

    assert answer.code == 201, answer.message


@pytest.mark.usefixtures("policy")
def test_rights_in_another_namespace_do_not_count(control_plane: ControlPlane, namespace: str) -> None:
    grant(control_plane, namespace, "elsewhere", ON_STUDIES)
    grant(control_plane, "default", "elsewhere", ON_PODS)
    with control_plane.client(control_plane.user("elsewhere")) as client:
        path = STUDIES.format(namespace=namespace)
        wait_until(lambda: not client.create(path, study(), dryRun="All").is_accepted, what="the policy")

        assert client.create(path, study()).code == 403


@pytest.mark.usefixtures("policy")
def test_a_specification_is_changed_by_who_may_create_pods_alone(
    control_plane: ControlPlane, api: Client, namespace: str
) -> None:
    grant(control_plane, namespace, "poor", ON_STUDIES)
    path = STUDIES.format(namespace=namespace)
    assert api.create(path, study()).is_accepted
    with control_plane.client(control_plane.user("poor")) as client:
        change = {"spec": {"budget": {"maxTrials": 99}}}
        wait_until(lambda: not client.merge(f"{path}/digits", change, dryRun="All").is_accepted, what="the policy")

        # The garbage collector, which may create no Pods, must be able to take a finalizer away.
        assert client.merge(f"{path}/digits", {"metadata": {"labels": {"a": "b"}}}).code == 200
        assert client.merge(f"{path}/digits", change).code == 403
        assert client.delete(f"{path}/digits").code == 200


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize(
    ("role", "verb", "expected"), [("edit", "create", True), ("view", "create", False), ("view", "list", True)]
)
def test_kubernetes_own_roles_hold_for_studies(
    control_plane: ControlPlane, namespace: str, role: str, verb: str, expected: bool
) -> None:
    user = f"{role}er"
    control_plane.kubectl("create", "rolebinding", user, "-n", namespace, f"--clusterrole={role}", f"--user={user}")

    def may() -> bool:
        done = control_plane.kubectl(
            "auth", "can-i", verb, "studies.seatrial.dev", "-n", namespace, f"--as={user}", check=False
        )
        return done.stdout.strip() == "yes"

    # The controller adds up roles in its own time.
    wait_until(lambda: may() == expected, what=f"{role} to allow {verb}: {expected}")
    assert may() == expected
