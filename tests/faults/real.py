"""The same plans against a real API server: the operator is a process of its own, a proxy stands before it, a thread plays the kubelet."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from control_plane.client import STUDIES, TRIALS, Answer, Client
from control_plane.cluster import ControlPlane, wait_until
from control_plane.kubelet import Kubelet
from control_plane.operating import OperatorProcess
from faults.cases import CASES, Case
from faults.oracles import Ending, Witness, compare, read_ending
from faults.plans import Mode, Plan
from faults.proxy import FaultyProxy, run_proxy
from faults.simulated import Result
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.fake.kubelet import write_report
from seatrial.adapters.kubernetes.records import build_study_record, build_trial_record
from seatrial.decide.attempts import Report

__all__ = ["RealStage", "run_real_stage"]

LIMIT_SECONDS = 240.0
"""A study of some seconds must have ended after a fault by then; the machine may be busy with other things."""

_LOOK_SECONDS = 0.05
_TRIES, _PAUSE_SECONDS = 5, 1.0
_RESTART_SECONDS = 0.3


class _PatientClient(Client):
    """Asks again: a server closes connections that rest while a study runs, and on a busy machine may let one wait for long.

    Only what may be asked twice: reads, and deletions, since no name is given anew while one is deleted here. What creates or changes
    is sent once, for an answer that is lost may be that of a request which was carried out.
    """

    def request(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json", **query: str
    ) -> Answer:
        for tried in range(_TRIES if method in {"GET", "DELETE"} else 0):
            try:
                return _read_again(method, super().request(method, path, body, kind=kind, **query), tried)
            except (OSError, HTTPException):
                self.close()
                time.sleep(_PAUSE_SECONDS)
        return _read_again(method, super().request(method, path, body, kind=kind, **query), _TRIES)


def _read_again(method: str, answer: Answer, tried: int) -> Answer:
    """Return what an answer means: what is gone when its deletion is asked for again was deleted by the request before."""
    return Answer(code=200, body={}) if method == "DELETE" and tried and answer.code == 404 else answer


class RealStage:
    """One namespace of a control plane, for one study after the other."""

    def __init__(self, plane: ControlPlane, proxy: FaultyProxy, namespace: str, folder: Path) -> None:
        self.plane, self.proxy, self.namespace, self.folder = plane, proxy, namespace, folder
        self.access = proxy.write_kubeconfig(folder / "proxy.kubeconfig")
        self.kills = self.lives = 0
        self._number = 0
        self._api, self._eyes = _PatientClient(plane.admin), _PatientClient(plane.admin)
        self._node = _PatientClient(plane.admin)
        self._case: Case | None = None
        self._references: dict[str, Ending] = {}
        self._operator: OperatorProcess | None = None
        self._halt = threading.Event()
        self._lock = threading.Lock()
        self._keeper = threading.Thread(target=self._keep_alive, daemon=True)
        self.kubelet = Kubelet(plane.admin, namespace, self._end)
        proxy.on_kill = self.kill

    # ---- the operator ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to keep an operator alive, as a kubelet does."""
        self._keeper.start()

    def close(self) -> None:
        """End everything."""
        self._halt.set()
        self._keeper.join(30)
        if self._operator is not None and self._operator.popen.poll() is None:
            self._operator.kill()
        for client in (self._api, self._eyes, self._node):
            client.close()

    def kill(self) -> None:
        """End the operator by SIGKILL; return when it is gone."""
        with self._lock:
            if self._operator is not None and self._operator.popen.poll() is None:
                self._operator.kill()
                self.kills += 1

    def _keep_alive(self) -> None:
        api = _PatientClient(self.plane.admin)
        try:
            while not self._halt.wait(_LOOK_SECONDS):
                if self._operator is not None and self._operator.popen.poll() is None:
                    continue
                self._halt.wait(_RESTART_SECONDS if self._operator is not None else 0)
                # The next one would wait for the lease to run out: nobody has to see that each time.
                api.delete(f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/seatrial-operator")
                with self._lock:
                    self.lives += 1
                    self._operator = self._start()
        finally:
            api.close()

    def _start(self) -> OperatorProcess:
        settings = {"namespace": self.namespace, "lease_namespace": self.namespace, "retention": "none"}
        log = self.folder / f"operator-{self.lives}.log"
        return OperatorProcess(self.access, log, identity=f"life-{self.lives}", **settings)

    def log_tail(self, size: int = 4000) -> str:
        """Return the end of what the operators have logged."""
        texts = [self.folder / f"operator-{life}.log" for life in range(max(1, self.lives - 2), self.lives + 1)]
        return "".join(path.read_text() for path in texts if path.exists())[-size:]

    # ---- one study ---------------------------------------------------------------------------------------------------

    def reference(self, case: str) -> Ending:
        """Return how a study ends when nothing goes wrong."""
        if case not in self._references:
            result = self._run(CASES[case], None)
            if result.ending is None or result.violations:
                raise AssertionError(f"{case} goes wrong by itself: {result}")
            self._references[case] = result.ending
        return self._references[case]

    def run_plan(self, plan: Plan) -> Result:
        """Carry out a plan and hold the run against the one without a fault."""
        wanted = self.reference(plan.case)
        result = self._run(CASES[plan.case], plan)
        wrong = list(result.violations)
        if result.ending is not None:
            wrong += compare(result.ending, wanted, limit_seconds=LIMIT_SECONDS)
        return Result(
            plan=plan,
            ending=result.ending,
            violations=tuple(wrong),
            lives=result.lives,
            kills=result.kills,
            writes=result.writes,
            struck=result.struck,
        )

    def _run(self, case: Case, plan: Plan | None) -> Result:
        self._number += 1
        name, late = f"s{self._number}", plan is not None and plan.mode is Mode.LATE_WRITE
        study = case.build(name)
        witness = Witness(study.spec.budget.parallel_trials + late, repeats=late)
        kills, lives = self.kills, self.lives
        injector = self.proxy.arm(plan)
        self._api.close()
        self._case, began = case, time.monotonic()
        body = {"apiVersion": "seatrial.dev/v1alpha1", "kind": "Study", "metadata": {"name": name}}
        answer = self._api.create(STUDIES.format(namespace=self.namespace), {**body, "spec": study.spec.to_wire()})
        assert answer.is_accepted, answer.message
        over = self._wait(name, witness, began, plan)
        ending = self._read(name, time.monotonic() - began)
        wrong = list(witness.violations)
        if not over:
            wrong.append(f"it does not end within {LIMIT_SECONDS:.0f} s: {ending}; {self.log_tail()}")
        self.proxy.arm(None)
        self._clear(name)
        return Result(
            plan=plan,
            ending=ending if over else None,
            violations=tuple(wrong),
            lives=self.lives - lives,
            kills=self.kills - kills,
            writes=injector.writes,
            struck=injector.began is not None or self.kills > kills,
        )

    def _wait(self, name: str, witness: Witness, began: float, plan: Plan | None) -> bool:
        """Look until the study has ended; kill the operator meanwhile where the plan says so."""
        storm = self._storm(plan)
        due = next(storm, None)
        while time.monotonic() - began < LIMIT_SECONDS:
            if self.kubelet.failure is not None:
                raise self.kubelet.failure
            pods = self._list("pods", name)
            witness.see_pods(pods)
            for trial in self._list("trials", name):
                witness.see_trial(trial)
            if due is not None and time.monotonic() - began >= due:
                self.kill()
                due = next(storm, None)
            if due is None and not pods and self._has_ended(name):
                return True
            time.sleep(_LOOK_SECONDS)
        return False

    def _storm(self, plan: Plan | None) -> Iterator[float]:
        """Yield when the operator is to be killed, seconds since the beginning: while it starts, reads, works or rests."""
        if plan is None or plan.mode is not Mode.KILLED:
            return
        chance, at = random.Random(plan.seed), 0.0  # noqa: S311 - no secret
        for _ in range(plan.at):
            at += chance.uniform(0.2, 6.0)
            yield at

    def _has_ended(self, name: str) -> bool:
        found = self._eyes.get(f"{STUDIES.format(namespace=self.namespace)}/{name}").body
        conditions = found.get("status", {}).get("conditions", [])
        return any(one["type"] == "Succeeded" and one["status"] != "Unknown" for one in conditions)

    def _list(self, kind: str, study: str) -> list[dict[str, Any]]:
        path = TRIALS.format(namespace=self.namespace) if kind == "trials" else self._pods
        found: list[dict[str, Any]] = self._eyes.get(path, labelSelector=f"{names.LABEL_STUDY}={study}").body["items"]
        return found

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def _read(self, name: str, seconds: float) -> Ending:
        study = build_study_record(self._eyes.get(f"{STUDIES.format(namespace=self.namespace)}/{name}").body).model
        assert study is not None
        trials = [build_trial_record(_typed(trial)).model for trial in self._list("trials", name)]
        trials.sort(key=lambda trial: trial.spec.index)
        return read_ending(study, trials, self._list("pods", name), seconds)

    def _clear(self, name: str) -> None:
        path = f"{STUDIES.format(namespace=self.namespace)}/{name}"
        self._api.delete(path)
        wait_until(lambda: self._api.get(path).code == 404, what=f"study {name} to go")

    # ---- the node ----------------------------------------------------------------------------------------------------

    def _end(self, pod: dict[str, Any], _: dict[str, Any]) -> dict[str, Any] | None:
        """Let a container end as its story says; a node that is lost is told as a failure that is none of the trial's."""
        labels = pod["metadata"]["labels"]
        found = self._node.get(f"{TRIALS.format(namespace=self.namespace)}/{labels[names.LABEL_TRIAL]}")
        if not found.is_accepted or self._case is None:
            return {"exitCode": 143, "reason": "Error"}
        trial = build_trial_record(found.body).model
        script = self._case.story(self._case.build(labels[names.LABEL_STUDY]), trial, int(labels[names.LABEL_ATTEMPT]))
        report: Report | None = script.report
        if report is None:
            return {"exitCode": script.exit_code or 1, "reason": "Error"}
        return {"exitCode": 0, "reason": "Completed", "message": write_report(report)}


def _typed(item: dict[str, Any]) -> dict[str, Any]:
    return item


@contextmanager
def run_real_stage(plane: ControlPlane, namespace: str, folder: Path) -> Iterator[RealStage]:
    """Give a stage in a namespace that exists."""
    with run_proxy(plane.admin) as proxy:
        stage = RealStage(plane, proxy, namespace, folder)
        with stage.kubelet:
            stage.open()
            try:
                yield stage
            finally:
                stage.close()


def make_namespace(api: Client, name: str) -> None:
    """Create a namespace and return when Pods can be created in it."""
    assert api.create("/api/v1/namespaces", {"metadata": {"name": name}}).is_accepted
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    ready: Callable[[], bool] = lambda: api.get(account).is_accepted  # noqa: E731
    wait_until(ready, what=f"the service account of {name}")


def describe(result: Result) -> str:
    """Return a result in one line."""
    seconds = f"{result.ending.seconds:.1f} s" if result.ending else "no end"
    return json.dumps({"plan": str(result.plan), "seconds": seconds, "kills": result.kills, "wrong": result.violations})
