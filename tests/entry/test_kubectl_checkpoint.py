"""``kubectl seatrial export --checkpoint``: a Pod that lives as long as the copy, and a copy that is whole or not there."""

from __future__ import annotations

import io
import json
import signal
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from adapters.kubernetes.http_front import serve
from adapters.test_checkpoint import a_checkpoint, packed
from entry.kube_world import put_trials, study_body
from entry.rehearsal import digits_study, rehearsed_trials
from entry.test_kubectl import World, _status
from seatrial.adapters.checkpoint import verify_checkpoint
from seatrial.adapters.kubernetes.fake.server import FakeServer
from seatrial.adapters.kubernetes.port import PODS, TRIALS, PatchKind
from seatrial.adapters.local.memory import SimulatedClock

Frames = Callable[[web.WebSocketResponse], Any]


class CheckpointWorld(World):
    """A cluster whose winner has a checkpoint, and a kubelet that starts Pods at once and runs ``tar`` in them.

    Attributes:
        commands: What was run in Pods.
        pods: Every Pod that was created, as it was sent.
        phase: What Pods become when they are created.
        send: Sends what the program in the Pod writes.
    """

    def prepare(self) -> None:
        study, trials = rehearsed_trials(digits_study())
        put_trials(self.create, self.create("studies", study_body(study)), trials)
        self.digest = a_checkpoint(self.folder / "volume/step-9", state="x" * 300_000)
        saved = {"step": 9, "digest": self.digest, "path": "0/step-9"}
        status = {"status": {"checkpoint": saved}}
        self.server.patch(TRIALS, "lab", "digits-6", status, kind=PatchKind.MERGE, subresource="status")
        self.commands: list[list[str]] = []
        self.pods: list[dict[str, Any]] = []
        self.phase = "Running"
        self.send: Frames = self.send_whole
        self.server.listeners.append(self._start)
        self.front.answer = self._exec

    def _start(self) -> None:
        for pod in self.server.all(PODS):
            if pod["status"].get("phase") == "Pending" and self.phase != "Pending":
                self.pods.append(pod)
                status = {"status": {"phase": self.phase}}
                self.server.patch(
                    PODS, "lab", pod["metadata"]["name"], status, kind=PatchKind.MERGE, subresource="status"
                )

    def _exec(self, request: web.Request) -> Any:
        return self._stream(request) if request.path.endswith("/exec") else None

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.commands.append(request.query.getall("command"))
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        await self.send(socket)
        await socket.close()
        return socket

    async def send_whole(self, socket: web.WebSocketResponse) -> None:
        archive = packed(self.folder / "volume/step-9")
        for start in range(0, len(archive), 32_768):
            await socket.send_bytes(b"\x01" + archive[start : start + 32_768])
        await socket.send_bytes(b"\x03" + json.dumps({"status": "Success"}).encode())

    @property
    def left(self) -> list[str]:
        """Names of the Pods that are still there."""
        return [pod["metadata"]["name"] for pod in self.server.all(PODS)]

    def files(self) -> set[str]:
        return {entry.name for entry in self.folder.iterdir()} - {"config", "volume"}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckpointWorld]:
    server = FakeServer(SimulatedClock())
    monkeypatch.chdir(tmp_path)
    with serve(server) as front:
        found = CheckpointWorld(front, server, tmp_path)
        found.prepare()
        yield found


def test_the_checkpoint_of_the_winner_is_copied_and_verified(world: CheckpointWorld) -> None:
    result = world.call("export", "digits", "--best", "--checkpoint", "winner")

    assert result.exit_code == 0, result.stderr
    assert "HP_lr=0.0087" in result.stdout
    assert "checkpoint of digits-6: winner (verified)" in result.stderr
    assert verify_checkpoint(Path("winner")) == world.digest
    (pod,) = world.pods
    uid = pod["metadata"]["ownerReferences"][0]["uid"]
    assert world.commands == [["tar", "-C", f"/checkpoints/{uid}/digits-6/0/step-9", "-c", "-f", "-", "."]]


def test_the_pod_is_gone_afterwards_and_was_no_trial(world: CheckpointWorld) -> None:
    world.call("export", "digits", "--checkpoint", "winner")

    assert world.left == []
    assert not any(key.startswith("seatrial.dev/trial") for key in world.pods[0]["metadata"]["labels"])


def _another(world: CheckpointWorld) -> None:
    status = {"status": {"checkpoint": {"step": 9, "digest": "sha256:ff", "path": "0/step-9"}}}
    world.server.patch(TRIALS, "lab", "digits-6", status, kind=PatchKind.MERGE, subresource="status")


def _failing(world: CheckpointWorld) -> None:
    async def send(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\x02tar: /checkpoints: No such file or directory\n")
        failure = {"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "2"}]}}
        await socket.send_bytes(b"\x03" + json.dumps(failure).encode())

    world.send = send


def _breaking(world: CheckpointWorld) -> None:
    async def send(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\x01" + packed(world.folder / "volume/step-9")[:100_000])

    world.send = send


def _evil(world: CheckpointWorld) -> None:
    async def send(socket: web.WebSocketResponse) -> None:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("../evil"))
        await socket.send_bytes(b"\x01" + stream.getvalue())
        await socket.send_bytes(b"\x03" + json.dumps({"status": "Success"}).encode())

    world.send = send


def _ending(world: CheckpointWorld) -> None:
    world.phase = "Failed"


def _no_exec(world: CheckpointWorld) -> None:
    world.front.answer = lambda r: _status(403, "Forbidden", "no exec") if r.path.endswith("/exec") else None


def _no_pods(world: CheckpointWorld) -> None:
    world.front.answer = lambda r: _status(403, "Forbidden", "cannot create pods") if r.method == "POST" else None


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        pytest.param(_another, 2, "another checkpoint than the trial told", id="changed since"),
        pytest.param(_failing, 2, "No such file or directory", id="tar fails"),
        pytest.param(_breaking, 3, "broke off before tar had ended", id="the connection breaks off"),
        pytest.param(_evil, 2, "did not arrive whole", id="an archive that wants out"),
        pytest.param(_ending, 2, "ended instead of waiting", id="the Pod ends"),
        pytest.param(_no_exec, 2, "create and get pods/exec", id="exec is forbidden"),
        pytest.param(_no_pods, 2, "cannot create pods; copying a checkpoint takes the rights", id="Pods are forbidden"),
    ],
)
def test_what_goes_wrong_leaves_neither_pod_nor_files(
    world: CheckpointWorld, change: Callable[[CheckpointWorld], None], code: int, words: str
) -> None:
    change(world)

    result = world.call("export", "digits", "--best", "--checkpoint", "winner")

    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert world.left == []
    assert world.files() == set()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_copy_deletes_its_pod(world: CheckpointWorld, number: signal.Signals) -> None:
    world.phase = "Pending"
    process = world.start("export", "digits", "--best", "--checkpoint", "winner")
    assert process.stderr is not None
    assert "reading the volume through Pod lab/digits-reader-" in process.stderr.readline()

    process.send_signal(number)

    _, complaints = process.communicate(timeout=30)
    assert process.returncode in {130, 143}
    assert "Traceback" not in complaints
    assert world.left == []
    assert world.files() == set()


def test_nothing_is_started_for_a_folder_that_exists(world: CheckpointWorld) -> None:
    (world.folder / "winner").mkdir()
    (world.folder / "winner/mine").write_text("")

    result = world.call("export", "digits", "--best", "--checkpoint", "winner")

    assert "exists already" in result.stderr
    assert world.pods == []


def test_a_trial_without_a_checkpoint_is_told(world: CheckpointWorld) -> None:
    result = world.call("export", "digits", "--trial", "0", "--checkpoint", "winner")

    assert result.exit_code == 2
    assert "digits-0 has no checkpoint" in result.stderr
