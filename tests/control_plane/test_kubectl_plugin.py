"""``kubectl seatrial`` found and started by the real kubectl, against a real API server, with certificates, tokens and RBAC."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from control_plane.access import Access
from control_plane.client import STUDIES, TRIALS, Client
from control_plane.cluster import ControlPlane
from control_plane.in_force import restrict, until_roles_count
from control_plane.programs import find_program
from entry.kube_world import study_body, trial_body
from entry.rehearsal import digits_study, rehearsed_trials

RULES = "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"


@dataclass
class Plugin:
    """kubectl with the plugin on its PATH, in one namespace."""

    plane: ControlPlane
    namespace: str
    folder: Path

    def environment(self, kubeconfig: Path | None) -> dict[str, str]:
        where = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {
            "PATH": where,
            "KUBECONFIG": str(kubeconfig or self.plane.admin.kubeconfig),
            "NO_COLOR": "1",
            "COLUMNS": "120",
        }

    def call(self, *arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(find_program("kubectl")), "seatrial", *arguments, "-n", self.namespace]
        environment = self.environment(kubeconfig)
        return subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(find_program("kubectl")), "seatrial", *arguments, "-n", self.namespace]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment(None), stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def plugin(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Plugin:
    script = tmp_path / "kubectl-seatrial"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m seatrial.entry.cli.kubectl "$@"\n')
    script.chmod(0o755)
    return Plugin(plane=control_plane, namespace=namespace, folder=tmp_path)


@pytest.fixture
def study(api: Client, namespace: str) -> dict[str, Any]:
    """The rehearsed study with its trials, all over, as an operator would have left them."""
    rehearsed, trials = rehearsed_trials(digits_study())
    body = study_body(rehearsed)
    path = STUDIES.format(namespace=namespace)
    created = api.create(path, {key: value for key, value in body.items() if key != "status"})
    assert created.code == 201, created.message
    status = body["status"] | {"observedGeneration": 1}
    stored = api.merge(f"{path}/digits/status", {"status": status})
    assert stored.is_accepted, stored.message
    for trial in trials:
        whole = trial_body(trial, stored.body)
        answer = api.create(TRIALS.format(namespace=namespace), {k: v for k, v in whole.items() if k != "status"})
        assert answer.code == 201, answer.message
        place = f"{TRIALS.format(namespace=namespace)}/{trial.metadata.name}/status"
        answer = api.merge(place, {"status": whole["status"]})
        assert answer.is_accepted, answer.message
    return stored.body


def allow(
    api: Client, namespace: str, user: str, rules: Sequence[tuple[str, str, str]], *, account: bool = False
) -> None:
    """Give a user rights, (group, resource, verbs), and return once they count."""
    made = [{"apiGroups": [group], "resources": [what], "verbs": verbs.split()} for group, what, verbs in rules]
    path = RULES.format(namespace=namespace)
    assert api.create(f"{path}/roles", {"metadata": {"name": user}, "rules": made}).is_accepted
    subject = {"kind": "ServiceAccount", "name": user} if account else {"kind": "User", "name": user}
    group = {} if account else {"apiGroup": "rbac.authorization.k8s.io"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user}
    binding = {"metadata": {"name": user}, "roleRef": role, "subjects": [subject | group]}
    assert api.create(f"{path}/rolebindings", binding).is_accepted
    until_roles_count(api)


READER = [("seatrial.dev", "studies", "get list watch"), ("seatrial.dev", "trials", "get list watch")]


# ---- the commands ------------------------------------------------------------------------------------------------------


def test_kubectl_finds_the_plugin(plugin: Plugin, study: dict[str, Any]) -> None:
    found = subprocess.run(
        [str(find_program("kubectl")), "plugin", "list"], env=plugin.environment(None), capture_output=True, text=True
    )

    assert "kubectl-seatrial" in found.stdout
    assert plugin.call("list").stdout.splitlines()[1].split()[:5] == ["digits", "random", "8/8", "0", "0.9631"]


def test_the_commands_tell_of_a_study_as_on_a_laptop(plugin: Plugin, study: dict[str, Any]) -> None:
    status, trials = plugin.call("status", "digits"), plugin.call("trials", "digits", "--sort", "value")
    export = plugin.call("export", "digits", "--best", "--format", "yaml")

    assert "winner       digits-6   val_accuracy 0.9631" in status.stdout
    assert f"kubectl seatrial report digits -n {plugin.namespace} --open" in status.stdout
    assert trials.stdout.splitlines()[1].split()[:3] == ["digits-6", "Completed", "9/9"]
    assert yaml.safe_load(export.stdout)["assignment"] == {"lr": 0.0087, "hidden": 64, "optimizer": "adamw"}


def test_the_report_of_a_cluster_study_is_written(plugin: Plugin, study: dict[str, Any]) -> None:
    done = plugin.call("report", "digits")

    assert done.stdout.startswith("report: digits-report.html")
    assert (plugin.folder / "digits-report.html").stat().st_size > 100_000


def test_watching_follows_a_study_to_its_end(plugin: Plugin, api: Client, study: dict[str, Any]) -> None:
    trial = f"{TRIALS.format(namespace=plugin.namespace)}/digits-7/status"
    path = f"{STUDIES.format(namespace=plugin.namespace)}/digits/status"
    over, done = api.get(trial).body["status"]["conditions"], api.get(path).body["status"]["conditions"]
    running = [over[0] | {"type": "Succeeded", "status": "Unknown", "reason": "Running", "message": "runs"}]
    assert api.merge(path, {"status": {"conditions": running}}).is_accepted
    assert api.merge(trial, {"status": {"conditions": running}}).is_accepted
    process = plugin.start("watch", "digits")
    assert process.stdout is not None
    for line in process.stdout:
        if "digits-7 started" in line:
            break

    assert api.merge(trial, {"status": {"conditions": over}}).is_accepted
    assert api.merge(path, {"status": {"conditions": done}}).is_accepted

    told, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    assert "digits-7 " in told
    assert "winner       digits-6" in told


def test_a_study_that_is_not_there_is_told_with_its_neighbours(plugin: Plugin, study: dict[str, Any]) -> None:
    done = plugin.call("watch", "digts")

    assert done.returncode == 2
    assert "did you mean digits?" in done.stderr


# ---- rights ------------------------------------------------------------------------------------------------------------


def test_who_may_do_nothing_is_told_what_to_ask_for(
    plugin: Plugin, control_plane: ControlPlane, study: dict[str, Any]
) -> None:
    stranger = control_plane.user("stranger")

    for command in (["list"], ["status", "digits"], ["watch", "digits"], ["report", "digits"]):
        done = plugin.call(*command, kubeconfig=stranger.kubeconfig)
        assert done.returncode == 2
        assert 'User "stranger" cannot' in done.stderr
        assert "ask for the right to get, list and watch studies and trials of seatrial.dev" in done.stderr
        assert "Traceback" not in done.stderr


def test_reading_studies_and_trials_is_all_that_looking_takes(
    plugin: Plugin, control_plane: ControlPlane, api: Client, study: dict[str, Any]
) -> None:
    reader = control_plane.user(f"reader-{plugin.namespace}")
    allow(api, plugin.namespace, f"reader-{plugin.namespace}", READER)

    for command in (["list"], ["status", "digits"], ["trials", "digits"], ["report", "digits"], ["watch", "digits"]):
        done = plugin.call(*command, kubeconfig=reader.kubeconfig)
        assert done.returncode == 0, done.stderr
    assert "you may not list pods here" in done.stdout + done.stderr


def test_copying_a_checkpoint_says_which_rights_it_takes(
    plugin: Plugin, control_plane: ControlPlane, api: Client, study: dict[str, Any]
) -> None:
    name = f"copier-{plugin.namespace}"
    allow(api, plugin.namespace, name, READER)
    saved = {"checkpoint": {"step": 9, "digest": "sha256:00", "path": "0/step-9"}}
    place = f"{TRIALS.format(namespace=plugin.namespace)}/digits-6/status"
    assert api.merge(place, {"status": saved}).is_accepted

    done = plugin.call(
        "export", "digits", "--best", "--checkpoint", "w", kubeconfig=control_plane.user(name).kubeconfig
    )

    assert done.returncode == 2
    assert "create, list, watch and delete pods and to create and get pods/exec" in done.stderr
    assert not (plugin.folder / "w").exists()


def test_the_reading_pod_passes_the_restricted_level_of_pod_security(
    api: Client, plugin: Plugin, study: dict[str, Any]
) -> None:
    from seatrial.adapters.kubernetes.reader_pod import build_reader
    from seatrial.adapters.kubernetes.records import build_study_record

    restrict(api, plugin.namespace)
    model = build_study_record(study).model
    assert model is not None

    answer = api.create(f"/api/v1/namespaces/{plugin.namespace}/pods", build_reader(model, "reader"), dryRun="All")

    assert answer.is_accepted, answer.message


def test_credentials_may_come_from_a_program(
    plugin: Plugin, control_plane: ControlPlane, api: Client, study: dict[str, Any]
) -> None:
    accounts = f"/api/v1/namespaces/{plugin.namespace}/serviceaccounts"
    assert api.create(accounts, {"metadata": {"name": "robot"}}).is_accepted
    allow(api, plugin.namespace, "robot", READER, account=True)
    token = control_plane.kubectl("create", "token", "robot", "-n", plugin.namespace).stdout.strip()
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    (plugin.folder / "credential.json").write_text(json.dumps(credential))
    config = yaml.safe_load(control_plane.admin.kubeconfig.read_text())
    program = {"apiVersion": credential["apiVersion"], "command": "cat", "args": ["credential.json"]}
    config["users"][0]["user"] = {"exec": program | {"interactiveMode": "Never"}}
    (plugin.folder / "config").write_text(yaml.safe_dump(config))

    done = plugin.call("status", "digits", kubeconfig=plugin.folder / "config")

    assert done.returncode == 0, done.stderr
    assert "winner       digits-6" in done.stdout


def test_a_token_that_is_refused_asks_to_log_in(
    plugin: Plugin, control_plane: ControlPlane, study: dict[str, Any]
) -> None:
    config = yaml.safe_load(control_plane.admin.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "expired"}
    (plugin.folder / "config").write_text(yaml.safe_dump(config))

    done = plugin.call("list", kubeconfig=plugin.folder / "config")

    assert done.returncode == 2
    assert "your credentials are refused; log in again" in done.stderr


# ---- curves by the API server's proxy ----------------------------------------------------------------------------------


class SmallPrometheus:
    """Answers as Prometheus does, on an address that the API server may forward to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.command, self.path))
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                end = float(query["time"][0])
                labels = {"trial": "digits-6", "attempt": "0"}
                rows = [
                    {"metric": labels | {"__name__": "seatrial_trial_step"}, "values": [[end - 30, "1"], [end - 20, "2"]]},
                    {
                        "metric": labels | {"__name__": "seatrial_trial_metric", "metric": "val_accuracy"},
                        "values": [[end - 30, "0.5"], [end - 20, "0.6"]],
                    },
                ]  # fmt: skip
                body = json.dumps({"status": "success", "data": {"result": rows}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        # The API server forwards to no loopback address.
        self.address = next(
            address.address
            for addresses in psutil.net_if_addrs().values()
            for address in addresses
            if address.family is socket.AF_INET and not address.address.startswith("127.")
        )
        self._server = http.server.ThreadingHTTPServer((self.address, 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def prometheus(api: Client, namespace: str) -> Iterator[SmallPrometheus]:
    """A Prometheus behind the Service ``prometheus`` of the namespace."""
    server = SmallPrometheus()
    port = {"name": "http", "port": 9090, "targetPort": server.port}
    assert api.create(
        f"/api/v1/namespaces/{namespace}/services", {"metadata": {"name": "prometheus"}, "spec": {"ports": [port]}}
    ).is_accepted
    # The proxy goes to addresses of Pods alone, and looks at Endpoints, which a Service without a selector is given by hand.
    pods = f"/api/v1/namespaces/{namespace}/pods"
    container = {"name": "c", "image": "prometheus"}
    assert api.create(pods, {"metadata": {"name": "prometheus"}, "spec": {"containers": [container]}}).is_accepted
    status = {"phase": "Running", "podIP": server.address, "podIPs": [{"ip": server.address}]}
    assert api.merge(f"{pods}/prometheus/status", {"status": status}).is_accepted
    target = {"kind": "Pod", "name": "prometheus", "namespace": namespace}
    addresses = [{"ip": server.address, "targetRef": target}]
    subset = {"addresses": addresses, "ports": [{"name": "http", "port": server.port}]}
    endpoints = {"metadata": {"name": "prometheus"}, "subsets": [subset]}
    answer = api.create(f"/api/v1/namespaces/{namespace}/endpoints", endpoints)
    assert answer.is_accepted, answer.message
    yield server
    server.close()


def test_curves_come_through_the_api_server_with_the_right_to_get_services_proxy(
    plugin: Plugin,
    control_plane: ControlPlane,
    api: Client,
    study: dict[str, Any],
    prometheus: SmallPrometheus,
) -> None:
    name = f"curves-{plugin.namespace}"
    allow(api, plugin.namespace, name, [*READER, ("", "services/proxy", "get")])
    access: Access = control_plane.user(name)

    done = plugin.call("report", "digits", "--prometheus-url", "http://prometheus:9090", kubeconfig=access.kubeconfig)

    assert done.returncode == 0, done.stderr
    assert (
        "curves: Prometheus at http://prometheus:9090 through the API server (1 of 8 trials that began)" in done.stdout
    )
    assert {method for method, _ in prometheus.asked} == {"GET"}
    assert "Curves: Prometheus at http://prometheus:9090 through" in (plugin.folder / "digits-report.html").read_text()


def test_without_that_right_the_report_is_written_and_says_what_is_missing(
    plugin: Plugin,
    control_plane: ControlPlane,
    api: Client,
    study: dict[str, Any],
    prometheus: SmallPrometheus,
) -> None:
    name = f"blind-{plugin.namespace}"
    allow(api, plugin.namespace, name, READER)

    done = plugin.call(
        "report",
        "digits",
        "--prometheus-url",
        "http://prometheus:9090",
        kubeconfig=control_plane.user(name).kubeconfig,
    )

    assert done.returncode == 0, done.stderr
    assert "the trials' records" in done.stdout
    assert f"you may not get services/proxy in namespace {plugin.namespace}" in done.stdout
    assert prometheus.asked == []


def test_the_prometheus_of_the_chart_is_found_by_its_labels(
    plugin: Plugin, api: Client, study: dict[str, Any], prometheus: SmallPrometheus
) -> None:
    labels = {"app.kubernetes.io/part-of": "seatrial", "app.kubernetes.io/component": "prometheus"}
    service = f"/api/v1/namespaces/{plugin.namespace}/services/prometheus"
    assert api.merge(service, {"metadata": {"labels": labels}}).is_accepted

    done = plugin.call("report", "digits")

    assert f"Prometheus at http://prometheus.{plugin.namespace}.svc:9090 through the API server" in done.stdout
