"""The operator process against a real control plane; a thread plays the kubelet."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.kubernetes.contract import a_study_object
from control_plane.client import STUDIES, TRIALS, Answer, Client
from control_plane.cluster import LONGEST_SECONDS, ControlPlane, wait_until
from control_plane.kubelet import Kubelet, completed
from control_plane.operating import OperatorProcess, run_operator
from entry.rehearsal import rehearsed_trials
from harness.ports import find_port
from seatrial.adapters.kubernetes.names import FINALIZER
from seatrial.adapters.local.simulated import Script
from seatrial.api.trial import Trial
from seatrial.search.checks import load_object


class Cluster:
    """One namespace with a kubelet, seen as the admin sees it."""

    def __init__(self, plane: ControlPlane, api: Client, namespace: str, folder: Path) -> None:
        self.plane, self.api, self.namespace, self.folder = plane, api, namespace, folder
        self.running = False

        def ending(pod: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any] | None:
            return None if self.running else completed("loss", parameters["x"])

        self.kubelet = Kubelet(plane.admin, namespace, ending)

    def operator(self, **settings: str) -> Any:
        """Run an operator for this namespace."""
        own = {"namespace": self.namespace, "lease_namespace": self.namespace}
        return run_operator(self.plane.admin, self.folder, **{**own, **settings})

    def apply(self, name: str = "s", **spec: Any) -> dict[str, Any]:
        """Create a study; return it as sent."""
        body = a_study_object(name, **spec)
        answer = self.api.create(STUDIES.format(namespace=self.namespace), body)
        assert answer.is_accepted, answer.message
        return body

    def edit(self, spec: dict[str, Any]) -> None:
        answer = self.api.merge(f"{STUDIES.format(namespace=self.namespace)}/s", {"spec": spec})
        assert answer.is_accepted, answer.message

    def condition(self, kind: str = "Succeeded", study: str = "s") -> dict[str, Any]:
        """Return a condition of a study, empty when it has none."""
        found = self.api.get(f"{STUDIES.format(namespace=self.namespace)}/{study}").body
        conditions = found.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def wait(self, reason: str, *, kind: str = "Succeeded", seconds: float = LONGEST_SECONDS) -> dict[str, Any]:
        """Return a condition of the study when it has that reason."""
        seen: dict[str, Any] = {}

        def has_come() -> bool:
            seen.update(self.condition(kind))
            return seen.get("reason") == reason

        wait_until(has_come, what=f"{kind} {reason}", seconds=seconds)
        return seen

    def trials(self) -> list[dict[str, Any]]:
        """Return the trials by index."""
        items = self.api.get(TRIALS.format(namespace=self.namespace)).body["items"]
        return sorted(items, key=lambda trial: int(trial["spec"]["index"]))

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get(f"/api/v1/namespaces/{self.namespace}/pods").body["items"]
        return found

    def running_pods(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods() if pod["status"]["phase"] == "Running"]


@pytest.fixture
def cluster(control_plane: ControlPlane, api: Client, namespace: str, tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(control_plane, api, namespace, tmp_path)
    with found.kubelet:
        yield found


def _reasons(trials: list[dict[str, Any]]) -> list[str]:
    return [trial["status"]["conditions"][0]["reason"] for trial in trials]


def _holder(cluster: Cluster) -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{cluster.namespace}/leases/seatrial-operator"
    return str(cluster.api.get(path).body.get("spec", {}).get("holderIdentity", ""))


def test_a_study_runs_to_its_end_and_suggests_what_a_laptop_does(cluster: Cluster) -> None:
    body = cluster.apply(algorithm={"name": "auto", "seed": 11}, budget={"maxTrials": 10, "parallelTrials": 1})

    with cluster.operator() as operator:
        done = cluster.wait("MaxTrialsReached")
        wait_until(lambda: cluster.pods() == [], what="the Pods are deleted")
        assert operator.stop() == 0

    def script(trial: Trial, number: int) -> Script:
        return Script(duration_seconds=1, curve=((0.5, 1, {"loss": float(trial.spec.assignment["x"])}),))

    _, local = rehearsed_trials(load_object(body).study, script)
    trials = cluster.trials()
    assert [trial["spec"]["assignment"] for trial in trials] == [trial.spec.assignment for trial in local]
    assert [trial["spec"]["seed"] for trial in trials] == [trial.spec.seed for trial in local]
    assert _reasons(trials) == ["Completed"] * 10
    assert done["status"] == "True"
    assert cluster.condition("TemplateAccepted")["status"] == "True"
    assert cluster.kubelet.doubled == []
    assert _holder(cluster) == ""


def test_a_study_that_no_schema_refuses_is_told_what_is_wrong_once_and_runs_when_mended(cluster: Cluster) -> None:
    cluster.apply(initialTrials=[{"nope": 1}], budget={"maxTrials": 1})

    with cluster.operator():
        refused = cluster.wait("InvalidSpec")
        before = cluster.api.get(f"{STUDIES.format(namespace=cluster.namespace)}/s").body
        # A second study shows that the first one was looked at all the while, and left alone.
        cluster.api.create(STUDIES.format(namespace=cluster.namespace), a_study_object("t", budget={"maxTrials": 1}))
        wait_until(lambda: cluster.condition(study="t").get("status") == "True", what="study t")
        after = cluster.api.get(f"{STUDIES.format(namespace=cluster.namespace)}/s").body
        cluster.edit({"initialTrials": [{"x": 0.25}]})
        cluster.wait("MaxTrialsReached")

    assert refused["status"] == "False"
    assert "nope" in refused["message"]
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    mine = [trial for trial in cluster.trials() if trial["spec"]["study"] == "s"]
    assert [trial["spec"]["assignment"] for trial in mine] == [{"x": 0.25}]


def test_a_study_deleted_in_the_middle_leaves_nothing(cluster: Cluster) -> None:
    cluster.running = True
    cluster.apply(budget={"maxTrials": 9, "parallelTrials": 3})

    with cluster.operator():
        wait_until(lambda: len(cluster.running_pods()) == 3, what="three running Pods")
        assert all(FINALIZER in pod["metadata"]["finalizers"] for pod in cluster.pods())
        cluster.api.delete(f"{STUDIES.format(namespace=cluster.namespace)}/s")
        wait_until(lambda: not cluster.pods() and not cluster.trials(), what="Pods and trials to go")


def test_a_study_deleted_while_no_operator_runs_is_cleared_away_by_the_next_one(cluster: Cluster) -> None:
    cluster.running = True
    cluster.apply(budget={"maxTrials": 2, "parallelTrials": 2})
    with cluster.operator() as operator:
        wait_until(lambda: len(cluster.running_pods()) == 2, what="two running Pods")
        operator.stop()
    cluster.api.delete(f"{STUDIES.format(namespace=cluster.namespace)}/s")
    wait_until(lambda: not cluster.trials(), what="the trials to go")
    assert len(cluster.pods()) == 2

    with cluster.operator():
        wait_until(lambda: not cluster.pods(), what="the Pods to go")


def test_suspend_resume_and_more_trials_after_the_end(cluster: Cluster) -> None:
    cluster.running = True
    cluster.apply(budget={"maxTrials": 4, "parallelTrials": 2})

    with cluster.operator():
        wait_until(lambda: len(cluster.running_pods()) == 2, what="two running Pods")
        cluster.edit({"suspend": True})
        cluster.wait("Suspended")
        wait_until(lambda: not cluster.pods(), what="the Pods to go")
        assert len(cluster.trials()) == 2

        cluster.running = False
        cluster.edit({"suspend": False})
        cluster.wait("MaxTrialsReached")
        assert _reasons(cluster.trials()) == ["Completed"] * 4

        cluster.edit({"budget": {"maxTrials": 7}})
        wait_until(lambda: len(cluster.trials()) == 7, what="seven trials")
        cluster.wait("MaxTrialsReached")
        assert _reasons(cluster.trials()) == ["Completed"] * 7


def test_an_operator_that_is_killed_is_succeeded_by_one_that_goes_on(cluster: Cluster) -> None:
    cluster.apply(budget={"maxTrials": 30, "parallelTrials": 3})

    for already in (3, 12, 21):
        with cluster.operator(identity=f"one-{already}") as operator:
            wait_until(lambda n=already: len(cluster.trials()) >= n, what=f"{already} trials")
            operator.kill()
        # The next one would wait for the lease to run out: nobody has to see that three times.
        cluster.api.delete(f"/apis/coordination.k8s.io/v1/namespaces/{cluster.namespace}/leases/seatrial-operator")
    with cluster.operator():
        cluster.wait("MaxTrialsReached")

    trials = cluster.trials()
    assert [trial["spec"]["index"] for trial in trials] == list(range(30))
    assert _reasons(trials) == ["Completed"] * 30
    assert [trial["status"].get("attempt", 0) for trial in trials] == [0] * 30
    assert cluster.kubelet.doubled == []
    assert cluster.kubelet.most_running <= 3


def test_of_two_operators_one_works_and_the_other_takes_over_at_once(cluster: Cluster) -> None:
    cluster.running = True
    cluster.apply(budget={"maxTrials": 6, "parallelTrials": 2})

    with cluster.operator(identity="one") as one:
        wait_until(lambda: _holder(cluster) == "one", what="the lease")
        with cluster.operator(identity="two") as two:
            wait_until(lambda: len(cluster.running_pods()) == 2, what="two running Pods")
            wait_until(lambda: _get(two, "healthz")[0] == 200, what="the health of the second operator")
            assert "Leading" not in two.text()
            cluster.running = False
            assert one.stop() == 0
            cluster.wait("MaxTrialsReached")
            assert _holder(cluster) == "two"

    assert _reasons(cluster.trials()) == ["Completed"] * 6
    assert cluster.kubelet.doubled == []
    assert cluster.kubelet.most_running <= 2


def test_an_operator_that_loses_its_lease_ends(cluster: Cluster) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{cluster.namespace}/leases/seatrial-operator"
    with cluster.operator(identity="one") as operator:
        wait_until(lambda: _holder(cluster) == "one", what="the lease")
        cluster.api.merge(path, {"spec": {"holderIdentity": "thief", "renewTime": "2030-01-01T00:00:00.000000Z"}})

        assert operator.popen.wait(30) == 1

    assert "is held by thief" in operator.text()
    assert _holder(cluster) == "thief"


def test_a_quota_that_forbids_the_pod_is_told_in_the_servers_words_before_anything_is_created(
    cluster: Cluster,
) -> None:
    quota = f"/api/v1/namespaces/{cluster.namespace}/resourcequotas"
    assert cluster.api.create(quota, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}).is_accepted

    def try_a_pod() -> Answer:
        pod = {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        return cluster.api.create(f"/api/v1/namespaces/{cluster.namespace}/pods", pod, dryRun="All")

    wait_until(lambda: "exceeded quota: none" in try_a_pod().message, what="the quota to count")
    with cluster.operator():
        cluster.apply(budget={"maxTrials": 2})
        refused = cluster.wait("QuotaExceeded", kind="TemplateAccepted")
        waiting = cluster.wait("Waiting")
        assert cluster.trials() == []

        assert cluster.api.delete(f"{quota}/none").is_accepted
        # What judges Pods hears of it some moments later, and the operator asks once after each edit.
        wait_until(lambda: try_a_pod().is_accepted, what="the quota to count no more")
        cluster.edit({"budget": {"maxTrials": 3}})
        cluster.wait("MaxTrialsReached")

    assert refused["status"] == "False"
    assert "exceeded quota: none" in refused["message"]
    assert "exceeded quota: none" in waiting["message"]
    assert cluster.condition("TemplateAccepted")["status"] == "True"


def test_a_typo_in_the_template_costs_no_trial_and_mending_it_is_enough(cluster: Cluster) -> None:
    def template(**container: Any) -> dict[str, Any]:
        return {
            "template": {"spec": {"containers": [{"name": "main", "image": "example.invalid/none:1", **container}]}}
        }

    with cluster.operator():
        cluster.apply(budget={"maxTrials": 1}, trial=template(imagePullPolice="Always"))
        refused = cluster.wait("PodInvalid", kind="TemplateAccepted")
        assert cluster.trials() == []
        cluster.edit({"trial": template(imagePullPolicy="Always")})
        cluster.wait("MaxTrialsReached")

    assert 'unknown field "spec.containers[0].imagePullPolice"' in refused["message"]


def test_namespaces_do_not_know_of_each_other(
    control_plane: ControlPlane, api: Client, namespace: str, cluster: Cluster, tmp_path: Path
) -> None:
    other = f"{namespace}-other"
    assert api.create("/api/v1/namespaces", {"metadata": {"name": other}}).is_accepted
    account = f"/api/v1/namespaces/{other}/serviceaccounts/default"
    wait_until(lambda: api.get(account).is_accepted, what="a service account")
    second = Cluster(control_plane, api, other, tmp_path)
    cluster.apply(budget={"maxTrials": 3, "parallelTrials": 2})
    second.apply(budget={"maxTrials": 5, "parallelTrials": 2})

    with second.kubelet:
        with cluster.operator():
            cluster.wait("MaxTrialsReached")
            # An operator of one namespace leaves the others alone.
            assert second.condition() == {}
            assert second.trials() == []
        with cluster.operator(namespace="", lease_name="everywhere"):
            second.wait("MaxTrialsReached")

    assert len(cluster.trials()) == 3
    assert _reasons(second.trials()) == ["Completed"] * 5
    api.delete(f"/api/v1/namespaces/{other}")


def _get(operator: OperatorProcess, path: str) -> tuple[int, dict[str, Any]]:
    """Ask the operator itself; 0 when it does not listen yet."""
    found = re.search(r'"health_port":(\d+)', operator.text())
    if found is None:
        return 0, {}
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/{path}", timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except OSError:
        return 0, {}


def test_an_operator_is_ready_when_it_has_read_everything(cluster: Cluster) -> None:
    with cluster.operator() as operator:
        wait_until(lambda: "Leading" in operator.text(), what="the lease")
        wait_until(lambda: _get(operator, "readyz")[0] == 200, what="readiness")

        assert _get(operator, "healthz") == (200, {"status": "ok", "reasons": []})


def _metrics(port: int) -> dict[str, float]:
    """Return the samples of an operator's page, by name and labels as they stand there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(number) for name, _, number in pairs}


def test_an_operator_at_work_tells_in_numbers_and_in_lines_of_json_what_it_did(cluster: Cluster) -> None:
    port = find_port()
    cluster.apply(algorithm={"name": "random"}, budget={"maxTrials": 3, "parallelTrials": 3})
    with cluster.operator(metrics_port=str(port)) as operator:
        cluster.wait("MaxTrialsReached")
        wait_until(lambda: cluster.pods() == [], what="the Pods are deleted")
        told: dict[str, float] = {}

        def is_idle() -> bool:
            nonlocal told
            told = _metrics(port)
            return told["seatrial_queue_depth"] == 0

        # The Pods that go last wake it once more.
        wait_until(is_idle, what="an empty queue")
        assert operator.stop() == 0

    place = f'namespace="{cluster.namespace}"'
    best = min(trial["status"]["observation"]["values"][0] for trial in cluster.trials())
    exact = {
        # One more than trials: the rehearsal before the first of them.
        'seatrial_api_requests_total{code="201",resource="pods",verb="create"}': 4,
        'seatrial_api_requests_total{code="201",resource="trials",verb="create"}': 3,
        'seatrial_api_request_duration_seconds_count{resource="trials",verb="create"}': 3,
        f'seatrial_trials{{{place},state="completed",study="s"}}': 3,
        f'seatrial_trials{{{place},state="running",study="s"}}': 0,
        f'seatrial_study_best_value{{metric="loss",{place},study="s"}}': best,
        'seatrial_studies{state="MaxTrialsReached"}': 1,
        'seatrial_reconcile_duration_seconds_count{outcome="failed"}': 0,
        "seatrial_queue_depth": 0,
        "seatrial_leader": 1,
        "seatrial_ask_worker_restarts_total": 0,
    }
    assert {name: told.get(name) for name in exact} == exact
    at_work = [
        'seatrial_reconcile_duration_seconds_count{outcome="done"}',
        'seatrial_decision_duration_seconds_count{algorithm="random"}',
        'seatrial_actions_total{action="FinishTrial"}',
        'seatrial_events_total{outcome="written"}',
        "seatrial_tasks",
        *(f'seatrial_informer_staleness_seconds{{resource="{kind}"}}' for kind in ("studies", "trials", "pods")),
    ]
    assert [name for name in at_work if not told.get(name, 0) > 0] == []
    lines = [json.loads(line) for line in operator.text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= {*line} for line in lines)
    assert {line["trial"] for line in lines if line.get("action") == "FinishTrial"} == {"s-0", "s-1", "s-2"}
