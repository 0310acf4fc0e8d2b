"""A container's process 1 that runs one attempt after another, as a real process with a real file of directives."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.ports import find_port
from harness.processes import is_alive
from seatrial_harness import starting
from seatrial_harness.directive import read_directive
from seatrial_harness.kindling import WarmProcess
from seatrial_harness.relay import Relay
from seatrial_harness.waiting import wait_to_read

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 60.0


class Container:
    """Starts the slot, swaps its directive as a kubelet does, and reads what it prints."""

    def __init__(self, root: Path) -> None:
        self.root, self.message, self.log = root, root / "message", root / "log"
        self.folder = root / "directives"
        self.folder.mkdir()
        self.message.write_bytes(b"")
        self.process: subprocess.Popen[bytes] | None = None
        self.versions = 0
        self.port = find_port()

    def direct(self, name: str, *command: str, **others: Any) -> None:
        """Swap the directive; a command is that of this Python unless it is told otherwise."""
        environment = [["SEATRIAL_TERMINATION_PATH", str(self.message)], *others.pop("environment", [])]
        told = {"id": name, "command": [sys.executable, *command], "interpreter": 1, "grace": 10.0}
        self.put(json.dumps(told | {"environment": environment} | others))

    def put(self, text: str) -> None:
        self.versions += 1
        folder = self.folder / f"..{self.versions}"
        folder.mkdir()
        (folder / "directive").write_text(text)
        link = self.folder / "..data_tmp"
        link.symlink_to(folder.name)
        link.rename(self.folder / "..data")
        if not (self.folder / "directive").is_symlink():
            (self.folder / "directive").symlink_to("..data/directive")

    def start(self, *options: str, **environment: str) -> None:
        arguments = ["--directive", str(self.folder / "directive"), "--port", str(self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "seatrial_harness.slot", *arguments, "--message", str(self.message), *options],
                stdout=log,
                stderr=log,
                cwd=self.root,
                env=os.environ | environment,
                start_new_session=True,
            )

    @property
    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    def ends(self) -> list[dict[str, Any]]:
        start = "seatrial-slot ended "
        return [json.loads(line.removeprefix(start)) for line in self.lines if line.startswith(start)]

    def end_of(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = until(lambda: next((end for end in self.ends() if end["id"] == name), None))
        return found

    def left(self) -> tuple[str, ...]:
        """Return what the container's message says: whose end it tells, how it was, who wanted it, and the attempt's own message."""
        header, _, message = self.message.read_text().partition("\n")
        word, name, code, finished, why = header.split(" ")
        assert word == "seatrial-slot"
        assert finished == next(f"{end['finished']:.3f}" for end in self.ends() if end["id"] == name)
        return name, code, why, message

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)

    def busy(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return True
        except ConnectionRefusedError:
            return False

    def program(self, name: str, text: str) -> str:
        (self.root / name).write_text(text)
        return name

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def until(look: Any) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    found = Container(tmp_path)
    yield found
    found.close()


def test_one_attempt_follows_another_in_processes_of_their_own(container: Container) -> None:
    container.program(
        "train.py", "import os\nprint(os.environ['HP_x'], os.environ.get('HP_y'), os.getpid(), os.getsid(0))\n"
    )
    container.direct("a/0", "train.py", environment=[["HP_x", "1"], ["HP_y", "only here"]])
    container.start()
    first = container.end_of("a/0")
    container.direct("b/0", "train.py", environment=[["HP_x", "2"]])

    second = container.end_of("b/0")

    told = [line.split(" ") for line in container.lines if line[0] in "12"]
    assert [words[0] for words in told] == ["1", "2"]
    assert told[1][1] == "None"
    assert told[0][-1] != told[1][-1]
    assert (first["code"], second["code"], second["why"], second["message"]) == (0, 0, "", "")
    assert first["begun"] <= first["finished"] <= second["begun"] <= second["finished"]


def test_libraries_are_imported_once(container: Container) -> None:
    container.program(
        "train.py", "import sys\nprint('known', 'sqlite3' in sys.modules)\ndef work():\n    import sqlite3\nwork()\n"
    )
    container.direct("a/0", "train.py")
    container.start()
    container.end_of("a/0")
    container.direct("b/0", "train.py")
    container.end_of("b/0")

    assert [line for line in container.lines if line.startswith("known")] == ["known False", "known True"]


def test_references_are_expanded_as_kubernetes_does(container: Container) -> None:
    container.program("train.py", "import os, sys\nprint(sys.argv[1:], os.environ['URL'])\n")
    environment = [["HP_lr", "0.1"], ["URL", "http://$(HOST_NAME)/$(HP_lr)/$$(HP_lr)/$(NONE)"]]
    container.direct("a/0", "train.py", "--lr=$(HP_lr)", "$$(X)", environment=environment)
    container.start(HOST_NAME="here")
    container.end_of("a/0")

    assert "['--lr=0.1', '$(X)'] http://here/0.1/$(HP_lr)/$(NONE)" in container.lines


def test_the_message_of_an_attempt_is_told_and_stays_with_its_identity(container: Container) -> None:
    container.program(
        "train.py", "import os\nopen(os.environ['SEATRIAL_TERMINATION_PATH'], 'w').write(os.environ['HP_x'])\n"
    )
    container.direct("a/0", "train.py", environment=[["HP_x", '{"loss": 1}']])
    container.start()

    assert container.end_of("a/0")["message"] == '{"loss": 1}'
    assert container.left() == ("a/0", "0", "-", '{"loss": 1}')
    container.direct("b/0", "train.py", environment=[["HP_x", ""]])
    assert container.end_of("b/0")["message"] == ""
    assert container.left() == ("b/0", "0", "-", "")


def test_a_failed_attempt_ends_the_container_with_its_code_and_last_words(container: Container) -> None:
    container.program("train.py", "print('first')\nraise RuntimeError('no luck')\n")
    container.direct("a/0", "train.py")
    container.start()

    assert container.wait() == 1
    end = container.end_of("a/0")
    assert end["code"] == 1
    assert end["message"].endswith("RuntimeError: no luck")
    assert container.left()[:3] == ("a/0", "1", "-")
    assert container.left()[3].startswith("first\n")


@pytest.mark.parametrize("way", ["warm", "cold"])
def test_an_attempt_is_stopped_and_its_container_goes_on(container: Container, way: str) -> None:
    container.program("train.py", "import time\nprint('runs', flush=True)\ntime.sleep(600)\n")
    interpreter = 1 if way == "warm" else 0
    container.direct("a/0", "train.py", interpreter=interpreter)
    container.start()
    until(lambda: "runs" in container.lines)
    container.put(json.dumps({"id": "a/0", "stop": True, "grace": 10}))

    end = container.end_of("a/0")
    container.direct("b/0", "-c", "print('next')", interpreter=interpreter)

    assert (end["code"], end["why"]) == (143, "stop")
    assert container.end_of("b/0")["code"] == 0
    assert "next" in container.lines


def test_an_attempt_that_does_not_stop_is_killed(container: Container) -> None:
    container.program(
        "train.py",
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('runs', flush=True)\ntime.sleep(600)\n",
    )
    container.direct("a/0", "train.py")
    container.start()
    until(lambda: "runs" in container.lines)
    container.put(json.dumps({"id": "a/0", "stop": True, "grace": 0.2}))

    assert (container.end_of("a/0")["code"], container.ends()[0]["why"]) == (137, "stop")


def test_an_attempt_that_is_called_off_before_it_was_heard_of_never_begins(container: Container) -> None:
    container.direct("a/0", "-c", "print('first')")
    container.start()
    container.end_of("a/0")
    container.direct("b/0", "-c", "print('never')", stop=True)

    end = container.end_of("b/0")

    assert (end["code"], end["why"]) == (143, "stop")
    assert container.left() == ("b/0", "143", "stop", "")
    assert "never" not in container.lines


@pytest.mark.parametrize("way", ["warm", "cold"])
def test_the_end_of_the_container_lets_the_attempt_end_in_order(container: Container, way: str) -> None:
    text = "import os, signal, sys, time\ndef end(*_):\n    open(os.environ['SEATRIAL_TERMINATION_PATH'], 'w').write('saved')\n    sys.exit(3)\nsignal.signal(15, end)\nprint('runs', flush=True)\ntime.sleep(600)\n"
    container.program("train.py", text)
    container.direct("a/0", "train.py", interpreter=1 if way == "warm" else 0)
    container.start()
    until(lambda: "runs" in container.lines)

    container.signal(signal.SIGTERM)

    assert container.wait() == 3
    assert container.left() == ("a/0", "3", "-", "saved")
    assert container.ends()[0]["message"] == "saved"


def test_a_container_that_waits_ends_when_it_is_told_to(container: Container) -> None:
    container.direct("a/0", "-c", "pass")
    container.start()
    container.end_of("a/0")

    container.signal(signal.SIGTERM)

    assert container.wait() == 0
    assert container.left() == ("a/0", "0", "-", "")


def test_a_container_that_nobody_needs_ends_by_itself(container: Container) -> None:
    container.direct("a/0", "-c", "pass")
    container.start("--idle", "3", "--repeat", "0.1")

    assert container.wait() == 0
    assert len([end for end in container.ends() if end["id"] == "a/0"]) > 1


def test_an_attempt_is_ended_at_its_timeout(container: Container) -> None:
    container.direct("a/0", "-c", "import time; time.sleep(600)", timeout=1.0)
    container.start()

    assert container.wait() == 143
    assert (container.ends()[0]["code"], container.ends()[0]["why"]) == (143, "timeout")
    assert container.left()[:3] == ("a/0", "143", "timeout")


# Says that it runs, and goes on until there is a file, though not for ever.
RUNS_UNTIL = """
import os, sys, time
print('runs', flush=True)
end = time.monotonic() + 600
while not os.path.exists(sys.argv[1]) and time.monotonic() < end:
    time.sleep(0.01)
"""


def test_somebody_listens_while_an_attempt_runs_and_nobody_while_none_does(container: Container) -> None:
    container.program("train.py", RUNS_UNTIL)
    container.direct("a/0", "train.py", "first")
    container.start()
    until(lambda: "runs" in container.lines)

    assert container.busy()
    (container.root / "first").touch()
    container.end_of("a/0")
    until(lambda: not container.busy())
    container.direct("b/0", "train.py", "second")
    until(container.busy)
    (container.root / "second").touch()
    container.end_of("b/0")


def test_nothing_of_an_attempt_outlives_it(container: Container) -> None:
    child = "import subprocess, sys\np = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], process_group=0)\nprint('child', p.pid, flush=True)\n"
    container.program("train.py", child)
    container.direct("a/0", "train.py")
    container.start()
    container.end_of("a/0")

    pid = int(next(line for line in container.lines if line.startswith("child")).split()[1])

    until(lambda: not Path(f"/proc/{pid}").exists())


# Prints the process id of a child in a session of its own, as the workers of torchrun have.
APART = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)
print('apart', child.pid, flush=True)
"""
# Prints the process id of one that has neither session, group nor parent of its attempt, and keeps all descriptors.
DAEMON = """
import os, time
reads, writes = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writes, b'%d' % os.getpid())
        time.sleep(600)
    os._exit(0)
print('apart', os.read(reads, 100).decode(), flush=True)
"""


def number_after(container: Container, word: str) -> int:
    """Return the number in the first line that begins with a word; words of a line may come one after the other."""

    def look() -> str:
        whole, _, _ = container.log.read_text(errors="replace").rpartition("\n")
        return next((line for line in whole.splitlines() if line.startswith(f"{word} ")), "")

    line: str = until(look)
    return int(line.split()[1])


@pytest.mark.parametrize("way", ["warm", "cold"])
@pytest.mark.parametrize("text", [APART, DAEMON], ids=["a session of its own", "a daemon"])
def test_what_has_left_the_session_of_an_attempt_does_not_outlive_it_either(
    container: Container, text: str, way: str
) -> None:
    container.program("train.py", text)
    container.direct("a/0", "train.py", interpreter=1 if way == "warm" else 0)
    container.start()

    assert container.end_of("a/0")["code"] == 0
    assert not is_alive(number_after(container, "apart"))


def test_what_has_left_the_session_of_an_attempt_that_is_killed_goes_with_it(container: Container) -> None:
    deaf = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)\n"
    container.program("train.py", APART + deaf)
    container.direct("a/0", "train.py")
    container.start()
    apart = number_after(container, "apart")
    until(lambda: "deaf" in container.lines)
    assert is_alive(apart)
    container.put(json.dumps({"id": "a/0", "stop": True, "grace": 0.2}))

    assert container.end_of("a/0")["code"] == 137
    assert not is_alive(apart)


def test_the_end_of_an_attempt_leaves_alone_what_is_kept_ready(container: Container) -> None:
    packages = container.root / "site-packages"
    packages.mkdir()
    # A library whose import leaves a process in the background.
    (packages / "serving.py").write_text(
        "import os, time\nif os.fork() == 0:\n    if os.fork() == 0:\n        print('serves', os.getpid(), flush=True)\n"
        "        time.sleep(60)\n    os._exit(0)\nos.wait()\n"
    )
    go = container.root / "go"
    text = f"import serving, sys\nprint('runs', flush=True)\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\n"
    container.program("train.py", DAEMON + text)
    path = os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))
    container.direct("a/0", "train.py")
    container.start(PYTHONPATH=path)
    served = number_after(container, "serves")
    until(lambda: "runs" in container.lines)
    warm = next(pid for pid in children_of(container.process.pid if container.process else 0) if pid != served)
    # The leader of the attempt, and that of the next one.
    until(lambda: len(children_of(warm)) == 2)
    ready = children_of(warm)[-1]
    go.touch()
    container.end_of("a/0")

    assert [is_alive(pid) for pid in (warm, ready, served)] == [True, True, True]
    container.direct("b/0", "train.py")
    assert container.end_of("b/0")["code"] == 0
    assert not any("started cold" in line for line in container.lines)
    os.kill(served, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """Return the children of a process, the oldest first: process ids begin anew."""
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def test_directives_that_cannot_be_understood_are_waited_out(container: Container) -> None:
    container.put("no json")
    container.start()
    for text in ("", "[]", '{"id": "a/0", "environment": 3}', "null"):
        container.put(text)
        time.sleep(0.1)
    container.direct("a/0", "-c", "print('at last')")

    assert container.end_of("a/0")["code"] == 0


def test_a_program_that_cannot_be_started_says_why(container: Container) -> None:
    container.direct("a/0", command=["/no/such/program"], interpreter=0)
    container.start()

    assert container.wait() == 127
    assert "cannot be started" in container.ends()[0]["message"]


def test_a_variable_that_is_read_when_libraries_are_loaded_and_differs_makes_a_cold_start(container: Container) -> None:
    container.program("train.py", "import os\nprint('has', os.environ.get('OMP_NUM_THREADS'))\n")
    container.direct("a/0", "train.py", environment=[["HP_threads", "1"], ["OMP_NUM_THREADS", "$(HP_threads)"]])
    container.start()
    container.end_of("a/0")
    container.direct("b/0", "train.py", environment=[["HP_threads", "2"], ["OMP_NUM_THREADS", "$(HP_threads)"]])
    container.end_of("b/0")
    container.direct("c/0", "train.py")
    container.end_of("c/0")

    assert [line for line in container.lines if line.startswith("has")] == ["has 1", "has 2", "has None"]
    cold = "seatrial: started cold: OMP_NUM_THREADS, which is read when libraries are loaded, is not that of the first trial"
    assert container.lines.count(cold) == 2


def test_other_variables_may_differ_from_attempt_to_attempt(container: Container) -> None:
    names = ["LR", "WANDB_NAME", "CUDA_VISIBLE_DEVICES", "ONLY_a", "ONLY_b"]
    container.program("train.py", f"import os\nprint('has', *[os.environ.get(name) for name in {names}])\n")
    for name, rate in (("a", "0.1"), ("b", "0.2")):
        environment = [["SEATRIAL_TRIAL", f"digits-{name}"], ["HP_lr", rate], ["LR", "$(HP_lr)"]]
        environment += [["WANDB_NAME", "$(SEATRIAL_TRIAL)"], ["CUDA_VISIBLE_DEVICES", name], [f"ONLY_{name}", "x"]]
        container.direct(f"{name}/0", "train.py", environment=environment)
        if name == "a":
            container.start()
        container.end_of(f"{name}/0")

    told = [line for line in container.lines if line.startswith("has")]
    assert told == ["has 0.1 digits-a a x None", "has 0.2 digits-b b None x"]
    assert not any("started cold" in line for line in container.lines)


def test_the_death_of_the_warm_process_costs_a_cold_start_and_nothing_else(container: Container) -> None:
    container.program("train.py", "print('runs')\n")
    container.direct("a/0", "train.py")
    container.start()
    container.end_of("a/0")
    assert container.process is not None
    for pid in children_of(container.process.pid):
        os.kill(pid, signal.SIGKILL)

    container.direct("b/0", "train.py")

    assert container.end_of("b/0")["code"] == 0
    assert container.lines.count("runs") == 2


def test_output_passes_whole_and_in_order_and_lines_stay_whole(container: Container) -> None:
    container.program(
        "train.py", "import sys\nfor i in range(200000):\n    print(i, 'x' * 40)\nsys.stdout.write('no newline')\n"
    )
    container.direct("a/0", "train.py")
    container.start()
    container.end_of("a/0")

    numbers = [int(line.split()[0]) for line in container.lines if line.endswith("x" * 40)]
    assert numbers == list(range(200000))
    assert "no newline" in container.lines


def test_an_attempt_whose_order_was_handed_over_by_a_process_that_died_is_not_begun_twice(container: Container) -> None:
    container.program("train.py", RUNS_UNTIL)
    # It waits for its own script, a file that is there already.
    container.direct("a/0", "train.py", "train.py")
    container.start()
    container.end_of("a/0")
    warm = warm_of(container)
    # It has its forks ready, and dies when one of them has begun.
    container.direct("b/0", "train.py", "go")
    until(lambda: container.lines.count("runs") == 2)
    os.kill(warm, signal.SIGKILL)
    until(lambda: not is_alive(warm))
    (container.root / "go").touch()

    assert container.end_of("b/0")["code"] == 0
    assert container.lines.count("runs") == 2
    container.direct("c/0", "train.py", "train.py")
    assert container.end_of("c/0")["code"] == 0


def warm_of(container: Container) -> int:
    """Return the process that is kept ready."""
    assert container.process is not None
    (found,) = children_of(container.process.pid)
    return found


def make_room(container: Container) -> Path:
    """Return a folder for the files of starts."""
    room = container.root / "room"
    room.mkdir()
    return room


def test_an_attempt_that_is_called_off_while_it_is_being_started_never_runs(container: Container) -> None:
    container.program("train.py", "import os\nprint('runs', os.environ['HP_x'])\n")
    room = make_room(container)
    container.direct("a/0", "train.py", environment=[["HP_x", "1"]])
    container.start(TMPDIR=str(room))
    container.end_of("a/0")
    warm = warm_of(container)
    os.kill(warm, signal.SIGSTOP)
    container.direct("b/0", "train.py", environment=[["HP_x", "2"]])
    until(lambda: any(room.iterdir()))
    container.put(json.dumps({"id": "b/0", "stop": True, "grace": 10}))
    until(lambda: any(room.glob("*/stop")))

    assert [end["id"] for end in container.ends()] == ["a/0"]
    os.kill(warm, signal.SIGCONT)

    assert (container.end_of("b/0")["code"], container.end_of("b/0")["why"]) == (143, "stop")
    container.direct("c/0", "train.py", environment=[["HP_x", "3"]])
    assert container.end_of("c/0")["code"] == 0
    assert [line for line in container.lines if line.startswith("runs")] == ["runs 1", "runs 3"]


def test_a_process_that_does_not_answer_is_not_waited_for_for_ever(container: Container) -> None:
    container.program("train.py", "print('runs')\n")
    container.direct("a/0", "train.py")
    container.start("--patience", "15")
    container.end_of("a/0")
    os.kill(warm_of(container), signal.SIGSTOP)

    container.direct("b/0", "train.py")

    assert container.end_of("b/0")["code"] == 0
    assert container.lines.count("runs") == 2
    assert any("started cold: the process that was kept ready has not answered" in line for line in container.lines)


@pytest.mark.parametrize(
    ("noted", "leader"), [("4711\n", 4711), ("", None), (None, None)], ids=["begun", "about to", "never heard of"]
)
def test_an_attempt_that_has_ended_before_anybody_looked_has_begun(
    tmp_path: Path, noted: str | None, leader: object
) -> None:
    (tmp_path / "lock").touch()
    if noted is not None:
        (tmp_path / "pid").write_text(noted)

    assert WarmProcess.find_leader(tmp_path) == leader


def test_an_attempt_that_was_called_off_first_leaves_no_variable_to_the_next(container: Container) -> None:
    container.program(
        "train.py", "import os\nprint('has', os.environ.get('HP_x'), os.environ.get('SEATRIAL_PARENT_STEP'))\n"
    )
    container.put(json.dumps({"id": "a/0", "stop": True, "grace": 10}))
    container.start(HP_x="of the first", SEATRIAL_PARENT_STEP="3")
    end = container.end_of("a/0")
    container.direct("b/0", "train.py")
    container.end_of("b/0")

    assert (end["code"], end["why"]) == (143, "stop")
    assert "has None None" in container.lines
    assert not any("started cold" in line for line in container.lines)


def test_a_message_with_all_kinds_of_line_ends_is_told_in_one_line(container: Container) -> None:
    message = "".join(["a", *map(chr, (0x0B, 0x0C, 0x1C, 0x85, 0x2028, 0x2029)), '"\\ü'])
    container.program("train.py", f"import os\nopen(os.environ['SEATRIAL_TERMINATION_PATH'], 'w').write({message!r})\n")
    container.direct("a/0", "train.py")
    container.start()

    assert container.end_of("a/0")["message"] == message


def test_a_long_message_is_cut_between_characters(container: Container) -> None:
    container.program(
        "train.py", "import os\nopen(os.environ['SEATRIAL_TERMINATION_PATH'], 'w').write('xx' + 'ü' * 2040)\n"
    )
    container.direct("a/0", "train.py")
    container.start("--idle", "0.2")
    container.wait()

    assert container.left()[3] == "xx" + "ü" * 2028
    assert len(container.message.read_bytes()) == 4095


def test_an_end_begins_a_line_although_a_library_left_one_open(container: Container) -> None:
    packages = container.root / "site-packages"
    packages.mkdir()
    (packages / "talkative.py").write_text("import time\ntime.sleep(0.5)\nprint('loading', end='', flush=True)\n")
    container.program("train.py", "def work():\n    import talkative\nwork()\n")
    path = os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))
    container.direct("a/0", "train.py")
    container.start("--repeat", "0.2", PYTHONPATH=path)
    container.end_of("a/0")

    # Once by the attempt, and once by the process that learns from it.
    until(lambda: container.log.read_text().count("loading") == 2)
    told = len(container.ends())
    until(lambda: len(container.ends()) > told)
    # Read once: it grows.
    text, start = container.log.read_text(), "seatrial-slot ended "
    assert text.count(start) == sum(line.startswith(start) for line in text.splitlines())


def test_another_program_is_run_cold_and_says_so(container: Container) -> None:
    container.direct("a/0", command=["sh", "-c", "echo runs; kill -SEGV $$$$"], interpreter=0)
    container.start()

    assert container.wait() == 139
    assert "seatrial: started cold: its command runs no Python program" in container.lines
    assert container.ends()[0]["message"] == "runs"


def test_an_attempt_starts_cold_where_no_file_can_be_made(
    container: Container, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    container.program("train.py", "print('runs')\n")
    container.direct("a/0", "train.py")
    monkeypatch.chdir(container.root)
    starter = starting.Starter()
    found = read_directive(container.folder / "directive")
    assert found is not None
    environment = found.build_environment(os.environ)
    starter.first = starting.shared(environment)
    run = starting.Run(
        directive=found,
        environment=environment,
        command=found.command,
        begun=time.time(),
        since=time.monotonic(),
        relay=Relay(),
    )
    starter.begin(run, run.since)
    assert starter.warm is not None
    while run.leader == 0:
        wait_to_read([starter.warm.channel.fileno()])
        starter.warm.listen()
        starter.begin(run, run.since)
    os.waitpid(run.leader, 0)
    starter.warm.close()
    starter.warm.process.wait()

    assert run.relay.finish() == "runs"
    assert "started cold: no folder for the files of its start can be written to" in capfd.readouterr().out


def test_the_directive_of_an_attempt_that_has_ended_does_not_begin_it_again(container: Container) -> None:
    container.program("train.py", "print('runs')\n")
    container.direct("a/0", "train.py")
    container.start("--repeat", "0.1")
    container.end_of("a/0")
    container.direct("a/0", "train.py", grace=5.0)
    # It is read before each repetition, of which one may have been under way.
    told = len(container.ends())
    until(lambda: len(container.ends()) > told + 1)
    container.signal(signal.SIGTERM)

    assert container.wait() == 0
    assert container.lines.count("runs") == 1


# More than select.select() takes.
MANY = 1100


@pytest.fixture
def room_for_many() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 4 * MANY), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_output_passes_by_descriptors_of_any_number(room_for_many: None, tmp_path: Path) -> None:
    with contextlib.ExitStack() as opened, (tmp_path / "log").open("wb") as log:
        for _ in range(MANY):
            opened.enter_context(Path(os.devnull).open())
        relay = Relay(log.fileno())
        assert relay.source > MANY
        assert wait_to_read([relay.source], 0) == set()
        os.write(relay.sink, b"last words")
        assert wait_to_read([relay.source], 5) == {relay.source}
        assert relay.finish() == "last words"

    assert (tmp_path / "log").read_text() == "last words\n"


def test_attempts_are_forks_of_a_process_with_more_open_files_than_usual(
    container: Container, room_for_many: None
) -> None:
    packages = container.root / "site-packages"
    packages.mkdir()
    (packages / "hungry.py").write_text(f"import os\nkept = [open(os.devnull) for _ in range({MANY})]\n")
    container.program("train.py", "import hungry\nprint('runs')\n")
    path = os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))
    for name in ("a/0", "b/0"):
        container.direct(name, "train.py")
        if name == "a/0":
            container.start(PYTHONPATH=path)
        assert container.end_of(name)["code"] == 0

    assert container.lines.count("runs") == 2
    assert not any("started cold" in line for line in container.lines)


@pytest.mark.parametrize("stop", [True, False])
def test_what_is_told_late_of_an_attempt_changes_nothing_for_those_after_it(container: Container, stop: bool) -> None:
    container.program("train.py", "import os\nprint('runs', os.environ['HP_x'])\n")
    for name in "abc":
        container.direct(f"{name}/0", "train.py", environment=[["HP_x", name]], stop=name == "b")
        if name == "a":
            container.start("--repeat", "0.1")
        container.end_of(f"{name}/0")
    for late in ("a/0", "b/0"):
        container.direct(late, "train.py", environment=[["HP_x", "late"]], stop=stop)
        told = len(container.ends())
        until(lambda told=told: len(container.ends()) > told + 3)

        assert {end["id"] for end in container.ends()[told:]} == {"c/0"}
        assert container.left() == ("c/0", "0", "-", "")
    container.direct("d/0", "train.py", environment=[["HP_x", "d"]])
    container.end_of("d/0")
    assert [line for line in container.lines if line.startswith("runs")] == ["runs a", "runs c", "runs d"]


@pytest.mark.parametrize("text", [None, "no json"], ids=["none", "not understood"])
def test_a_container_that_was_never_told_what_to_run_has_failed_and_says_so(
    container: Container, text: str | None
) -> None:
    if text is not None:
        container.put(text)
    container.start("--idle", "0.3")

    assert container.wait() == 1
    file = container.folder / "directive"
    assert container.lines == [f"seatrial: nothing was run: {file} has told nothing that can be understood for 0.3 s"]
    assert container.message.read_bytes() == b""


def test_a_container_that_is_told_to_end_before_anything_ran_has_not_ended_well(container: Container) -> None:
    container.start()
    until(container.busy)
    container.signal(signal.SIGTERM)

    assert container.wait() == 143
    assert container.lines == ["seatrial: nothing was run: the container was told to end"]


def test_a_directive_that_is_there_is_followed_however_short_the_patience(container: Container) -> None:
    container.direct("a/0", "-c", "print('runs')")
    container.start("--idle", "0")

    assert container.wait() == 0
    assert "runs" in container.lines
