"""The chart: what it renders is what a real API server takes, and wrong values are refused. Its rights: ``test_rights``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.kubernetes.contract import a_study_object
from control_plane.client import STUDIES, Client
from control_plane.cluster import ControlPlane, wait_until
from control_plane.helm import CHART, Helm, select
from control_plane.in_force import restrict

ROOT = Path(__file__).parents[2]
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
        "networkPolicy": {
            "enabled": True,
            "metricsFrom": [{"namespaceSelector": {}}],
            "prometheusFrom": [{"ipBlock": {"cidr": "10.0.0.0/24"}}],
            "egressTo": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        },
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
    helm: Helm, control_plane: ControlPlane, api: Client, namespace: str, values: dict[str, Any]
) -> None:
    restrict(api, namespace)
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


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_no_container_may_write_to_its_image(helm: Helm, values: dict[str, Any]) -> None:
    objects = helm.render(values)
    specs = [each["spec"]["template"]["spec"] for each in objects if each["kind"] in {"Deployment", "Job"}]
    specs += [each["spec"] for each in objects if each["kind"] == "Pod"]

    containers = [container for spec in specs for container in spec["containers"]]
    assert len(containers) >= 2
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in containers)


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


def test_an_upgrade_brings_the_kinds_up_to_date_and_they_stay_with_all_studies_when_the_release_goes(
    helm: Helm, control_plane: ControlPlane, api: Client, namespace: str, tmp_path: Path
) -> None:
    older = tmp_path / "seatrial"
    shutil.copytree(CHART, older)
    path = older / "files" / "crds" / "seatrial.dev_studies.yaml"
    kind = yaml.safe_load(path.read_text())
    _specification(kind).pop("suspend")
    path.write_text(yaml.safe_dump(kind))
    values = {"prometheus": {"enabled": False}, "admissionPolicy": {"enabled": False}}
    studies = STUDIES.format(namespace=namespace)

    def run(command: str, *arguments: str, values: dict[str, Any] | None = None) -> None:
        place = ("--kubeconfig", str(control_plane.admin.kubeconfig), "--namespace", namespace)
        done = helm.run(command, "seatrial", *arguments, *place, values=values)
        assert done.returncode == 0, done.stderr

    def knows_suspend() -> bool:
        found = api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/studies.seatrial.dev").body
        return "suspend" in _specification(found)

    try:
        # The control plane has them from the beginning, and of no release.
        run("install", str(older), "--take-ownership", values=values)
        assert not knows_suspend()
        run("upgrade", str(CHART), values=values)
        assert knows_suspend()
        assert api.create(studies, a_study_object()).is_accepted
        run("uninstall", "--no-hooks")
    finally:
        kinds = ("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
        control_plane.kubectl(*kinds)

    assert api.get(f"{studies}/s").is_accepted


def _specification(kind: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a Study's specification."""
    fields: dict[str, Any] = kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"
    ]
    return fields


def test_the_bundled_prometheus_scrapes_as_the_documented_job_does(helm: Helm) -> None:
    text = select(helm.render(), "ConfigMap", "prometheus")["data"]["prometheus.yml"]

    trials, own = yaml.safe_load(text)["scrape_configs"]
    (documented,) = yaml.safe_load((CHART / "files" / "scrape-config.yaml").read_text())
    assert trials == documented
    assert own["static_configs"] == [{"targets": ["seatrial.default:9090"]}]


def test_network_policies_let_in_and_out_whom_the_values_name_and_names_are_always_resolved(helm: Helm) -> None:
    own = {"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "seatrial"}}}
    near, far = ({"ipBlock": {"cidr": cidr}} for cidr in ("10.0.0.0/24", "10.0.0.0/8"))
    named = {"metricsFrom": [near], "prometheusFrom": [near], "egressTo": [far]}

    def peers(**values: Any) -> list[tuple[Any, Any]]:
        objects = helm.render({"networkPolicy": {"enabled": True, **values}})
        specs = [select(objects, "NetworkPolicy", name)["spec"] for name in ("seatrial", "seatrial-prometheus")]
        rules = [(rule, "from") for spec in specs for rule in spec["ingress"]]
        rules += [(rule, "to") for spec in specs for rule in spec.get("egress", [])]
        return [(rule["ports"][0]["port"], rule.get(side, "all")) for rule, side in rules]

    assert peers() == [(8080, [own]), (9090, "all"), (9090, [own]), (53, "all"), (1, "all")]
    assert peers(**named) == [(8080, [own]), (9090, [own, near]), (9090, [own, near]), (53, "all"), (1, [far])]


def test_monitors_are_made_only_where_their_kinds_are(helm: Helm) -> None:
    values = {"podMonitor": {"enabled": True, "labels": {"release": "mine"}}, "serviceMonitor": {"enabled": True}}

    with_kinds, without = helm.render(values, kinds=MONITORS), helm.render(values)

    monitor = select(with_kinds, "PodMonitor")
    assert monitor["spec"] == yaml.safe_load((CHART / "files" / "pod-monitor.yaml").read_text())
    assert monitor["metadata"]["labels"]["release"] == "mine"
    assert select(with_kinds, "ServiceMonitor")["spec"]["endpoints"] == [{"port": "metrics", "interval": "15s"}]
    assert not [each for each in without if each["kind"].endswith("Monitor")]


@pytest.mark.parametrize("values", [{}, {"watchNamespace": "default"}], ids=["every namespace", "one namespace"])
def test_the_prometheus_operators_own_kinds_take_the_monitors(
    helm: Helm, control_plane: ControlPlane, values: dict[str, Any]
) -> None:
    wanted = {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}
    monitors = [each for each in helm.render(values | wanted, kinds=MONITORS) if each["kind"].endswith("Monitor")]
    kinds = ("--filename", str(Path(__file__).with_name("monitors.yaml")))

    control_plane.kubectl("apply", "--server-side", *kinds)
    try:
        control_plane.kubectl("wait", "--for=condition=Established", "--timeout=120s", *kinds)
        # It is some moments later that the server names them among its kinds.
        shown = ("get", "podmonitors,servicemonitors")
        wait_until(lambda: control_plane.kubectl(*shown, check=False).returncode == 0, what="kubectl to know the kinds")
        flags = ("--dry-run=server", "--server-side", "--validate=strict")
        done = control_plane.kubectl("apply", *flags, "-f", "-", text=yaml.safe_dump_all(monitors), check=False)
    finally:
        control_plane.kubectl("delete", *kinds)

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


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
