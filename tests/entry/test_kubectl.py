"""``kubectl seatrial`` against a fake API server behind real HTTP: what it prints, and what it answers when something is wrong."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from aiohttp import web
from typer.testing import CliRunner, Result

from adapters.kubernetes.http_front import Front, serve
from entry.kube_world import kubeconfig, put_trials, study_body
from entry.rehearsal import digits_study, rehearsed_trials
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.port import STUDIES, TRIALS, PatchKind
from seatrial.adapters.local.memory import SimulatedClock
from seatrial.entry.cli.kubectl import app

RESOURCES = {"studies": STUDIES, "trials": TRIALS}


class World:
    """A fake cluster with the rehearsed study ``digits`` in namespace ``lab``, and the user in front of it."""

    def __init__(self, front: Front, server: FakeServer, folder: Path) -> None:
        self.front, self.server, self.folder = front, server, folder
        self.config = kubeconfig(folder / "config", front.url)

    def create(self, plural: str, body: dict[str, Any], namespace: str = "lab") -> dict[str, Any]:
        """Store an object with its status."""
        resource = RESOURCES[plural]
        stored = self.server.create(resource, namespace, {k: v for k, v in body.items() if k != "status"})
        if "status" not in body:
            return stored
        status = {"status": body["status"]}
        name = body["metadata"]["name"]
        return self.server.patch(resource, namespace, name, status, kind=PatchKind.MERGE, subresource="status")

    def call(self, *arguments: str) -> Result:
        """Call the command in this process."""
        return CliRunner().invoke(app, list(arguments), env={"KUBECONFIG": str(self.config)})

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "seatrial.entry.cli.kubectl", *arguments],
            env={**os.environ, "KUBECONFIG": str(self.config), "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def merge(self, plural: str, name: str, body: dict[str, Any], subresource: str = "") -> None:
        """Change an object as another program does, over HTTP, while a command watches."""
        self.send("PATCH", RESOURCES[plural].path("lab", name, subresource), body)

    def send(self, method: str, path: str, body: dict[str, Any]) -> None:
        """Speak to the API server as another program does."""
        address = urllib.parse.urlsplit(self.front.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port or 0, timeout=10)
        connection.request(method, path, json.dumps(body), {"Content-Type": PatchKind.MERGE.value})
        assert connection.getresponse().status == 200
        connection.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[World]:
    server = FakeServer(SimulatedClock())
    with serve(server) as front:
        yield World(front, server, tmp_path)


@pytest.fixture
def world(empty: World, monkeypatch: pytest.MonkeyPatch) -> World:
    study, trials = rehearsed_trials(digits_study())
    assert study.status is not None
    study = study.model_copy(update={"status": study.status.model_copy(update={"observed_generation": 1})})
    put_trials(empty.create, empty.create("studies", study_body(study)), trials)
    monkeypatch.chdir(empty.folder)
    return empty


# ---- looking -----------------------------------------------------------------------------------------------------------


def test_studies_are_listed_with_the_columns_of_kubectl(world: World) -> None:
    world.create("studies", study_body(digits_study(), "new"))

    lines = world.call("list").stdout.splitlines()

    assert lines[0].split() == ["NAME", "ALGORITHM", "TRIALS", "RUNNING", "BEST", "AGE", "STATE"]
    assert [line.split()[:2] for line in lines[1:]] == [["digits", "random"], ["new", "random"]]
    assert lines[1].split()[2:5] == ["8/8", "0", "0.9631"]
    assert lines[2].split()[-1] == "New"


def test_studies_of_all_namespaces_are_listed(world: World) -> None:
    world.create("studies", study_body(digits_study()), "other")

    lines = world.call("list", "-A").stdout.splitlines()

    assert [line.split()[:2] for line in lines] == [["NAMESPACE", "NAME"], ["lab", "digits"], ["other", "digits"]]
    assert [study["namespace"] for study in json.loads(world.call("list", "-A", "-o", "json").stdout)] == [
        "lab",
        "other",
    ]


def test_the_status_has_the_words_of_the_laptop_and_the_commands_of_a_cluster(world: World) -> None:
    shown = world.call("status", "digits").stdout

    assert "digits: The study is complete: all 8 trials of budget.maxTrials are done." in shown
    assert "winner       digits-6   val_accuracy 0.9631" in shown
    assert "its output: kubectl logs -n lab -l seatrial.dev/trial=digits-3,seatrial.dev/attempt=0 --tail=-1" in shown
    assert "namespace    lab (context test)" in shown
    assert "next         kubectl seatrial report digits --open" in shown
    assert "checkpoint   pvc/ckpt: " in shown
    assert "seatrial run" not in shown


def test_flags_that_the_user_needed_are_part_of_the_next_commands(world: World) -> None:
    world.create("studies", study_body(digits_study()), "other")

    shown = world.call("status", "digits", "-n", "other").stdout

    assert "kubectl seatrial watch digits -n other" in shown
    assert "no operator has looked at it yet" in shown


def test_a_suspended_study_says_how_it_goes_on(world: World) -> None:
    world.create("studies", study_body(digits_study(suspend=True), "asleep"))

    shown = world.call("status", "asleep").stdout

    assert """kubectl patch study asleep -n lab --type merge -p '{"spec":{"suspend":false}}'   goes on""" in shown


def test_the_status_as_json_names_the_cluster(world: World) -> None:
    document = json.loads(world.call("status", "digits", "--output", "json").stdout)

    assert (document["namespace"], document["context"], document["state"]) == ("lab", "test", "Succeeded")
    assert document["best"]["trial"] == "digits-6"
    assert "directory" not in document


def test_trials_are_listed_as_on_a_laptop(world: World) -> None:
    lines = world.call("trials", "digits", "--sort", "value").stdout.splitlines()

    assert lines[0].split() == ["NAME", "STATE", "STEP", "val_accuracy", "TIME", "PARAMETERS"]
    assert lines[1].split()[:3] == ["digits-6", "Completed", "9/9"]
    assert len(lines) == 9


def test_trials_of_an_earlier_study_of_the_name_are_not_shown(world: World) -> None:
    world.server.patch(TRIALS, "lab", "digits-0", {"metadata": {"ownerReferences": []}}, kind=PatchKind.MERGE)

    assert "digits-0 " not in world.call("trials", "digits").stdout


@pytest.mark.slow
def test_the_report_says_where_its_curves_come_from(world: World) -> None:
    result = world.call("report", "digits")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0] == "report: digits-report.html"
    assert "the trials' records: at most 64 points" in result.stdout
    page = Path("digits-report.html").read_text()
    assert "Curves: the trials&#x27; records" in page
    assert "kubectl seatrial export digits --best" in page


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("env", "HP_lr=0.0087"),
        ("json", '"image": "example.org/train:1"'),
        ("yaml", "assignment:\n  lr: 0.0087"),
        ("command", "HP_lr=0.0087"),
    ],
)
def test_the_winner_is_exported_in_every_form(world: World, form: str, words: str) -> None:
    result = world.call("export", "digits", "--best", "--format", form)

    assert result.exit_code == 0, result.stderr
    assert words in result.stdout


@pytest.mark.slow
def test_nothing_is_written_to_the_cluster(world: World) -> None:
    before = list(world.server.log)

    for command in (["list"], ["status", "digits"], ["trials", "digits"], ["report", "digits"], ["watch", "digits"]):
        assert world.call(*command).exit_code == 0

    assert world.server.log == before
    assert {method for method, _, _ in world.front.requests} == {"GET"}


# ---- watching ----------------------------------------------------------------------------------------------------------


def test_watching_a_complete_study_prints_its_summary(world: World) -> None:
    result = world.call("watch", "digits")

    assert result.exit_code == 0, result.stderr
    assert "winner       digits-6   val_accuracy 0.9631" in result.stdout


def _reopen(world: World) -> None:
    """Let the last trial of the study run again."""
    running = {"type": "Succeeded", "status": "Unknown", "reason": "Running", "message": "runs"}
    running |= {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    world.merge("studies", "digits", {"status": {"conditions": [running], "completionTime": None}}, "status")
    world.merge("trials", "digits-7", {"status": {"conditions": [running], "completionTime": None}}, "status")


def _end(world: World, **changes: str) -> None:
    over = {"type": "Succeeded", "status": "True", "reason": "Completed", "message": "exited with code 0"}
    over |= {"lastTransitionTime": "2026-01-01T00:01:00Z"}
    world.merge("trials", "digits-7", {"status": {"conditions": [over]}}, "status")
    done = over | {"reason": "MaxTrialsReached", "message": "all 8 trials of budget.maxTrials are done"} | changes
    world.merge("studies", "digits", {"status": {"conditions": [done]}}, "status")


def _lines_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    found = []
    for line in process.stdout:
        found.append(line)
        if words in line:
            return "".join(found)
    raise AssertionError(f"{words!r} never came: {''.join(found)}")


@pytest.mark.slow
def test_watching_ends_with_the_study(world: World) -> None:
    _reopen(world)
    process = world.start("watch", "digits")
    told = _lines_until(process, "digits-7 started")

    _end(world)

    rest, _ = process.communicate(timeout=30)
    assert "already running" in told
    assert "digits-7 completed val_accuracy" in rest
    assert "winner       digits-6" in rest
    assert process.returncode == 0


@pytest.mark.slow
def test_a_study_that_fails_ends_the_watching_with_its_own_code(world: World) -> None:
    _reopen(world)
    process = world.start("watch", "digits", "--quiet", "--output", "json")

    _end(world, status="False", reason="MaxFailedTrialsExceeded", message="4 trials failed")

    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert json.loads(printed)["reason"] == "MaxFailedTrialsExceeded"


@pytest.mark.slow
def test_an_interrupted_watcher_leaves_the_study_running_and_says_so(world: World) -> None:
    _reopen(world)
    process = world.start("watch", "digits")
    _lines_until(process, "digits-7 started")

    process.send_signal(signal.SIGINT)

    _, complaints = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "digits goes on in the cluster; kubectl seatrial watch digits shows it again" in complaints
    assert "Traceback" not in complaints


@pytest.mark.slow
def test_a_watcher_outlives_a_server_that_is_away(world: World) -> None:
    _reopen(world)
    process = world.start("watch", "digits")
    _lines_until(process, "digits-7 started")

    # The server forgets its history and refuses for a while: every watch has to begin anew.
    failures = iter(range(6))
    world.front.answer = lambda request: web.Response(status=503) if next(failures, None) is not None else None
    world.front.drop()
    told = _lines_until(process, "trying again")
    told += _lines_until(process, "connected again")
    _end(world)

    rest, _ = process.communicate(timeout=30)
    assert (told + rest).count("is lost") == 1
    assert "digits-7 completed" in rest
    assert process.returncode == 0


@pytest.mark.slow
def test_a_study_that_is_deleted_ends_the_watching(world: World) -> None:
    _reopen(world)
    process = world.start("watch", "digits")
    _lines_until(process, "digits-7 started")

    world.send("DELETE", STUDIES.path("lab", "digits"), {})

    _, complaints = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "study digits was deleted while it was watched" in complaints


# ---- wrong calls -------------------------------------------------------------------------------------------------------


def _status(code: int, reason: str, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": message}, status=code)


@pytest.mark.parametrize("command", ["status", "watch", "trials", "report", "export"])
def test_an_unknown_study_is_told_with_those_near_it(world: World, command: str) -> None:
    result = world.call(command, "digit")

    assert result.exit_code == 2
    assert "there is no study 'digit' in namespace lab of context test; did you mean digits?" in result.stderr


def test_an_empty_namespace_points_to_the_others(empty: World) -> None:
    assert "kubectl seatrial list -A" in empty.call("status", "digits").stderr
    assert "no studies in namespace lab; -A looks in all" in empty.call("list").stderr


@pytest.mark.parametrize("command", [["list"], ["status", "digits"], ["watch", "digits"]])
@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        pytest.param(
            (403, "Forbidden", 'studies is forbidden: User "u" cannot list'),
            2,
            "ask for the right to get, list and watch",
            id="403",
        ),
        pytest.param((401, "Unauthorized", "Unauthorized"), 2, "log in again", id="401"),
        pytest.param(
            (404, "NotFound", "the server could not find the requested resource"), 2, "helm install", id="404"
        ),
        pytest.param((503, "ServiceUnavailable", "apiserver is shutting down"), 3, "cannot be reached", id="503"),
    ],
)
def test_a_refusal_is_told_with_a_next_step(
    world: World, command: list[str], answer: tuple[int, str, str], code: int, words: str
) -> None:
    world.front.answer = lambda _: _status(*answer)

    result = world.call(*command)

    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert "bug" not in result.stderr


def test_a_server_that_nobody_runs_is_named(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")

    result = CliRunner().invoke(app, ["list", "--kubeconfig", str(config)])

    assert result.exit_code == 3
    assert "the cluster of context test (http://127.0.0.1:1) cannot be reached" in result.stderr
    assert "kubectl cluster-info" in result.stderr


@pytest.mark.slow
def test_without_the_right_to_list_pods_watching_goes_on(world: World) -> None:
    _reopen(world)

    def refuse(request: web.Request) -> web.Response | None:
        return _status(403, "Forbidden", "pods is forbidden") if "/pods" in request.path else None

    world.front.answer = refuse
    process = world.start("watch", "digits")

    told = _lines_until(process, "digits-7 started")
    _end(world)

    assert "you may not list pods here" in told
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_study_of_a_newer_version_is_told_as_such(world: World) -> None:
    world.merge("studies", "digits", {"spec": {"fromTheFuture": 1}})

    assert "pip install --upgrade seatrial" in world.call("status", "digits").stderr
    assert "not readable" in world.call("list").stdout


def test_every_command_has_a_help_text_with_an_example() -> None:
    command = typer.main.get_command(app)
    for name in command.commands:  # type: ignore[attr-defined]
        shown = CliRunner().invoke(app, [name, "--help"]).stdout
        assert "kubectl seatrial " + name in shown
