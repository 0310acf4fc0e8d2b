"""A fork of a process with everything imported runs a program as the interpreter would have, and nothing stays of it for the next one."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from seatrial_harness.imports import Wanted, find_imports, list_imported, load_modules

pytestmark = pytest.mark.slow

_LONGEST_SECONDS = 60


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.005)


@dataclass
class AWorker:
    """A process that is kept ready, as its runner sees it."""

    folder: Path
    program: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(_LONGEST_SECONDS)
        with theirs, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "seatrial_harness.warm", *self.program],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment,
            )
        self.answers = self.channel.makefile("rb")

    @property
    def log(self) -> Path:
        return self.folder / "warm.log"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("SEATRIAL_", "HP_"))}
        return kept | self.variables

    def hear(self, word: str) -> dict[str, Any]:
        """Return the next answer of a kind."""
        while line := self.answers.readline():
            self.lines.append(json.loads(line))
            if word in self.lines[-1]:
                return self.lines[-1]
        raise AssertionError(f"no {word}: {self.lines}; {self.log.read_text()}")

    def order(self, name: str, *arguments: str, **variables: str) -> Path:
        """Start an attempt; return its folder."""
        attempt = self.folder / name
        attempt.mkdir(exist_ok=True)
        document = {
            "attempt": str(attempt),
            "program": [*self.program, *arguments],
            "environment": self.environment | variables,
            "folder": str(self.folder),
        }
        with (
            tempfile.TemporaryFile() as order,
            (attempt / "lock").open("wb") as lock,
            (attempt / "output.log").open("ab") as output,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            order.write(json.dumps(document).encode())
            order.flush()
            socket.send_fds(self.channel, [b"!"], [order.fileno(), lock.fileno(), output.fileno()])
        return attempt

    def run(self, name: str, *arguments: str, **variables: str) -> tuple[int, str]:
        """Return exit code and output of an attempt."""
        attempt = self.order(name, *arguments, **variables)
        return self.code(attempt), (attempt / "output.log").read_text()

    @staticmethod
    def code(attempt: Path) -> int:
        until(lambda: (attempt / "exit").exists() and (attempt / "exit").read_text().endswith("\n"))
        return int((attempt / "exit").read_text())

    def run_cold(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Return what the interpreter itself makes of it."""
        ended = subprocess.run(
            [sys.executable, *self.program, *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return 128 - ended.returncode if ended.returncode < 0 else ended.returncode, ended.stdout


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., AWorker]]:
    workers: list[AWorker] = []

    def build(*program: str, script: str = "", **variables: str) -> AWorker:
        if script:
            (tmp_path / "script.py").write_text(textwrap.dedent(script))
            program = ("script.py",)
        workers.append(AWorker(folder=tmp_path, program=program, variables=variables))
        return workers[-1]

    yield build
    for worker in workers:
        worker.process.kill()
        worker.process.wait()
        worker.channel.close()


# ---- what is imported beforehand ---------------------------------------------------------------------------------------


def found(text: str) -> list[Wanted]:
    return find_imports(["-c", textwrap.dedent(text)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("import json, os.path", ["json", "os.path"], id="plain"),
        pytest.param("from email import message as m", ["email"], id="from"),
        pytest.param("try:\n    import json\nexcept ImportError:\n    import csv", ["json"], id="only what is tried"),
        pytest.param("def f():\n    import json", [], id="not in a function"),
        pytest.param("if len('x') == 2:\n    import json", [], id="not under a condition"),
        pytest.param("from __future__ import annotations", [], id="the future is no module"),
        pytest.param("import no_such_module_at_all", [], id="what does not exist"),
        pytest.param("this is no Python", [], id="no Python"),
    ],
)
def test_imports_at_the_top_of_a_program_are_found(text: str, expected: list[str]) -> None:
    assert [wanted.module for wanted in found(text)] == expected


def test_modules_of_the_program_are_read_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (tmp_path / "train.py").write_text("import beside\nfrom mine import parts\nimport mine.deep\nimport csv\n")
    (tmp_path / "beside.py").write_text("import json\nraise SystemExit('it was run')\n")
    (package / "__init__.py").write_text("import colorsys\nraise SystemExit('it was run')\n")
    (package / "parts.py").write_text("from .other import value\nimport wave\n")
    (package / "other.py").write_text("import sndhdr_that_is_not_there\nimport chunk_of_mine\nimport fileinput\n")
    (package / "deep.py").write_text("import filecmp\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    wanted = find_imports([str(tmp_path / "train.py")])

    assert [one.module for one in wanted] == ["json", "colorsys", "fileinput", "wave", "filecmp", "csv"]


def test_names_that_are_modules_are_imported_and_what_fails_is_told() -> None:
    failed = load_modules([Wanted(module="email", names=("charset", "no_such_name")), Wanted(module="no_such_module")])

    assert "email.charset" in sys.modules
    assert failed == ["no_such_module: ModuleNotFoundError: No module named 'no_such_module'"]


def test_what_was_imported_since_is_listed_without_the_programs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "this_is_mine", raising=False)
    (tmp_path / "this_is_mine.py").write_text("import tabnanny\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("tabnanny", None)
    before = frozenset(sys.modules)

    load_modules([Wanted(module="this_is_mine")])

    assert list_imported(before) == ["tabnanny"]


# ---- a fork does what the interpreter does -----------------------------------------------------------------------------

PROGRAMS = {
    "what it knows of itself": """
        import os, sys
        print(__name__, __file__, __spec__, __package__, sys.argv, sys.path[0], os.getcwd(), sys.modules["__main__"].__file__)
        print(sorted(name for name in globals() if not name.startswith("__")), os.environ["HP_lr"], sys.stdin.read() == "")
    """,
    "success": "print('done')",
    "a code": "import sys; print('x'); sys.exit(3)",
    "words": "raise SystemExit('it went wrong')",
    "an error": "def f():\n    raise ValueError('no')\nf()\n",
    "an error with a cause": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e\n",
    "no Python": "print('x'\n",
    "a signal": "import os, signal; print('x', flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
    "an abrupt end": "import os; os._exit(9)",
    "the end of threads and handlers": """
        import atexit, threading, time
        def last(): print("last", flush=True)
        def thread(): time.sleep(0.05); print("thread", flush=True)
        atexit.register(last)
        print("main", flush=True)
        threading.Thread(target=thread).start()
    """,
    "a file that is never closed": "f = open('left', 'w'); f.write('x' * 100); g = [f]; print('x')",
    "things with last words": """
        import beside
        words = "gone"
        class A:
            def __init__(self): self.me = self
            def __del__(self): print("A", words)
        a = A()
        b = beside.B()
        raise ValueError("no")
    """,
    "an exit handler that fails": """
        import atexit
        class Last:
            def __repr__(self): return "last"
            def __call__(self): raise ValueError("no")
        atexit.register(Last())
    """,
    "a daemon": "import threading, time; threading.Thread(target=time.sleep, args=(1000,), daemon=True).start(); print('x')",
    "an interrupt": "print('x'); raise KeyboardInterrupt",
    "a negative code": "raise SystemExit(-1)",
    "its own hook": "import sys; sys.excepthook = lambda k, e, t: print('hook', e); raise ValueError('no')",
    "a pool of processes": """
        import multiprocessing
        def square(x): return x * x
        if __name__ == "__main__":
            for way in ("fork", "spawn"):
                with multiprocessing.get_context(way).Pool(1) as pool:
                    print(pool.map(square, [1, 2, 3]))
    """,
    "a program that it starts": "import subprocess; print(subprocess.run(['sh', '-c', 'echo $HP_lr'], capture_output=True, text=True).stdout)",
    "a pickle of its own": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))))",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_fork_does_what_the_interpreter_does(make: Callable[..., AWorker], tmp_path: Path, name: str) -> None:
    (tmp_path / "beside.py").write_text("class B:\n    def __del__(self): print('B')\n")
    left = tmp_path / "left"
    worker = make(script=PROGRAMS[name])

    warm = worker.run("a", "--epochs", "3", HP_lr="0.1")
    written = left.read_text() if left.exists() else ""
    assert warm == worker.run_cold("--epochs", "3", HP_lr="0.1")
    assert written == (left.read_text() if left.exists() else "")


@pytest.mark.parametrize(
    "program",
    [
        ("-c", "import sys; print(sys.argv, repr(sys.path[0]), __name__)"),
        ("-m", "mine.train"),
        ("-m", "mine"),
        ("no_such.py",),
    ],
    ids=["text", "module", "package", "nothing"],
)
def test_a_fork_runs_texts_and_modules_too(
    make: Callable[..., AWorker], tmp_path: Path, program: tuple[str, ...]
) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("print('package')\n")
    for name in ("train", "__main__"):
        (package / f"{name}.py").write_text(
            "import sys; from . import parts; print(sys.argv, sys.path[0], __name__, __package__, __spec__.name)\n"
        )
    (package / "parts.py").write_text("print('parts')\n")
    worker = make(*program)

    code, out = worker.run("a", "x")
    cold_code, cold_out = worker.run_cold("x")

    assert (code, out.split("can't open file")[-1]) == (cold_code, cold_out.split("can't open file")[-1])


# ---- nothing stays -----------------------------------------------------------------------------------------------------


def test_nothing_of_one_attempt_is_seen_by_the_next(make: Callable[..., AWorker]) -> None:
    worker = make(
        script="""
        import json, os
        import beside
        print(hasattr(json, "mine"), os.environ.get("MINE"), beside.count)
        json.mine = 1
        beside.count += 1
        os.environ["MINE"] = "x"
        os.chdir("/")
        """
    )
    (worker.folder / "beside.py").write_text("count = 0\n")

    assert [worker.run(name) for name in "abc"] == [(0, "False None 0\n")] * 3


def test_what_an_import_made_beforehand_is_not_taken_down_by_a_fork(
    make: Callable[..., AWorker], tmp_path: Path
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "library.py").write_text(
        "import tempfile\nfrom pathlib import Path\nkept = tempfile.TemporaryDirectory()\nfolder = Path(kept.name)\n"
    )
    worker = make(
        script="""
        import weakref, library
        class Mine: pass
        mine = Mine()
        weakref.finalize(mine, print, "mine is gone")
        print(library.folder.exists())
        """,
        PYTHONPATH=str(packages),
    )

    assert [worker.run(name) for name in "abc"] == [(0, "True\nmine is gone\n")] * 3


def test_an_edited_program_and_its_modules_are_run_as_they_are_now(make: Callable[..., AWorker]) -> None:
    worker = make(script="import beside; print('old', beside.word)")
    (worker.folder / "beside.py").write_text("word = 'old'\n")
    worker.run("a")

    (worker.folder / "script.py").write_text("import beside; print('new', beside.word)")
    (worker.folder / "beside.py").write_text("word = 'a new one'\n")

    assert worker.run("b") == (0, "new a new one\n")


def test_chance_differs_from_fork_to_fork(make: Callable[..., AWorker]) -> None:
    worker = make(script="import random, numpy as np; print(random.random(), np.random.random())")

    drawn = [number for name in "abc" for number in worker.run(name)[1].split()]

    assert len(set(drawn)) == 6


def test_what_an_attempt_had_to_import_the_next_one_finds(make: Callable[..., AWorker]) -> None:
    worker = make(
        script="""
        import sys
        def late():
            import tabnanny, beside
        print("tabnanny" in sys.modules, "beside" in sys.modules)
        late()
        """
    )
    (worker.folder / "beside.py").write_text("")
    first = worker.run("a")
    worker.hear("ended")

    assert (first, worker.run("b")) == ((0, "False False\n"), (0, "True False\n"))


# ---- ends of leaders, workers and runners ------------------------------------------------------------------------------


def test_it_tells_when_it_is_ready_and_of_starts_and_ends(make: Callable[..., AWorker]) -> None:
    worker = make(script="print('x')")
    worker.hear("ready")

    attempt = worker.order("a")
    started, ended = worker.hear("started"), worker.hear("ended")

    assert started["started"] == ended["ended"] == int((attempt / "pid").read_text())
    assert (attempt / "exit").read_text() == "0\n"


def test_an_attempt_that_was_told_to_stop_before_it_began_never_runs(make: Callable[..., AWorker]) -> None:
    worker = make(script="print('x')")
    (worker.folder / "a").mkdir()
    (worker.folder / "a" / "stop").write_text("1\n")

    assert worker.run("a") == (143, "")


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("import time; print('x', flush=True); time.sleep(1000)", 143, id="not looked for"),
        pytest.param(
            "import os, signal, time; signal.signal(signal.SIGTERM, lambda *_: os._exit(6)); print('x', flush=True); time.sleep(1000)",
            6,
            id="handled",
        ),
    ],
)
def test_a_signal_to_the_group_ends_the_program_and_not_its_leader(
    make: Callable[..., AWorker], script: str, code: int
) -> None:
    worker = make(script=script)
    attempt = worker.order("a")
    until(lambda: (attempt / "output.log").read_text() == "x\n")

    os.killpg(int((attempt / "pid").read_text()), signal.SIGTERM)

    assert worker.code(attempt) == code


def test_an_attempt_outlives_worker_and_runner(make: Callable[..., AWorker]) -> None:
    worker = make(script="import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nraise SystemExit(5)")
    attempt = worker.order("a")
    worker.hear("started")

    worker.process.kill()
    worker.process.wait()
    worker.channel.close()
    (worker.folder / "go").touch()

    assert worker.code(attempt) == 5


def test_orders_that_were_sent_before_the_runner_died_are_carried_out_once(make: Callable[..., AWorker]) -> None:
    worker = make(script="open('ran', 'a').write('x')")
    worker.hear("ready")
    attempt = worker.order("a")

    worker.answers.close()
    worker.channel.close()

    assert worker.code(attempt) == 0
    assert worker.process.wait(_LONGEST_SECONDS) == 0
    assert (worker.folder / "ran").read_text() == "x"


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def waiting(worker: AWorker) -> list[psutil.Process]:
    """Return the leader that waits for an order, and its child."""
    return psutil.Process(worker.process.pid).children(recursive=True)


def test_a_leader_and_its_child_wait_for_an_order_and_end_with_the_worker(make: Callable[..., AWorker]) -> None:
    worker = make(script="print('x')")
    worker.hear("ready")
    until(lambda: len(waiting(worker)) == 2)
    found = waiting(worker)

    worker.process.kill()
    worker.process.wait()

    until(lambda: not any(is_alive(process) for process in found))


def test_those_that_wait_take_the_next_order(make: Callable[..., AWorker]) -> None:
    worker = make(script="import os; print(os.getppid(), os.getpid())")
    worker.hear("ready")
    until(lambda: len(waiting(worker)) == 2)
    leader, child = (process.pid for process in waiting(worker))

    _, printed = worker.run("a")

    assert printed == f"{leader} {child}\n"


@pytest.mark.parametrize("which", [0, 1], ids=["leader", "child"])
def test_one_that_was_killed_while_it_waited_costs_no_order(make: Callable[..., AWorker], which: int) -> None:
    worker = make(script="open('ran', 'a').write('x')")
    worker.hear("ready")
    until(lambda: len(waiting(worker)) == 2)
    pair = waiting(worker)
    pair[which].kill()
    until(lambda: not any(is_alive(process) for process in pair))

    attempt = worker.order("a")
    leader = worker.hear("started")["started"]

    assert worker.hear("ended")["ended"] == leader
    assert worker.code(attempt) == 0
    assert (worker.folder / "ran").read_text() == "x"


def test_an_end_is_told_although_the_program_left_others_behind(make: Callable[..., AWorker]) -> None:
    worker = make(script="import os, time\nif os.fork() == 0: os.setsid(); time.sleep(1000)\nprint('x', flush=True)")
    worker.order("a")
    leader = worker.hear("started")["started"]

    assert worker.hear("ended")["ended"] == leader
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.cwd() == str(worker.folder) and process.pid != worker.process.pid:
                process.kill()


def rests(kept: psutil.Process) -> bool:
    """Tell whether one is made ahead, which has descriptors, too, and nothing else is going on: a fork opens some for a moment."""
    return len(kept.children()) == 1 and kept.status() == psutil.STATUS_SLEEPING


def test_who_is_left_behind_keeps_nothing_open_and_nothing_from_being_learned(make: Callable[..., AWorker]) -> None:
    worker = make(
        script="""
            import os, sys, time
            print("known", "sqlite3" in sys.modules, flush=True)
            def work():
                import sqlite3
            work()
            if os.fork() == 0:
                os.setsid()
                time.sleep(1000)
        """
    )
    worker.hear("ready")
    kept = psutil.Process(worker.process.pid)
    until(lambda: rests(kept))
    before, outputs = kept.num_fds(), []
    try:
        for number in range(6):
            attempt = worker.order(str(number))
            worker.hear("started")
            worker.hear("ended")
            outputs.append((attempt / "output.log").read_text())
        until(lambda: rests(kept) and kept.num_fds() == before)
    finally:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(worker.folder) and process.pid not in (os.getpid(), worker.process.pid):
                    process.kill()

    assert outputs == ["known False\n", *["known True\n"] * 5]


def test_the_lock_of_an_attempt_is_its_own(make: Callable[..., AWorker]) -> None:
    worker = make(script="import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)")
    first = worker.order("a")
    worker.hear("started")
    second = worker.order("b")
    worker.hear("started")

    def is_locked(attempt: Path) -> bool:
        with (attempt / "lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    until(lambda: (first / "pid").exists() and (first / "pid").read_text())
    os.killpg(int((first / "pid").read_text()), signal.SIGKILL)
    until(lambda: not is_locked(first))

    assert is_locked(second)
    (worker.folder / "go").touch()
    assert worker.code(second) == 0


def test_a_worker_whose_libraries_start_threads_says_so_and_ends(make: Callable[..., AWorker], tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "restless.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True, name='ticker').start()\n"
    )

    worker = make(script="import restless", PYTHONPATH=str(packages))

    assert worker.hear("unfit") == {"unfit": "importing the program's libraries starts threads (ticker)"}
    assert worker.process.wait(_LONGEST_SECONDS) == 0


def test_a_trial_reports_and_saves_in_a_fork_as_anywhere(make: Callable[..., AWorker]) -> None:
    worker = make(
        script="""
        import seatrial_harness as seatrial
        trial = seatrial.start(lr=0.1)
        for epoch in trial.steps(2):
            trial.report(epoch, loss=trial.lr * epoch)
            trial.save(epoch=epoch)
        """
    )
    for name, lr in (("a", 0.5), ("b", 0.25)):
        folder = worker.folder / name
        code, out = worker.run(
            name,
            SEATRIAL_TRIAL=f"s-{name}",
            SEATRIAL_PARAMETERS=json.dumps({"lr": lr}),
            SEATRIAL_OBJECTIVES='[{"metric": "loss"}]',
            SEATRIAL_TERMINATION_PATH=str(folder / "message.json"),
            SEATRIAL_OBSERVATIONS_PATH=str(folder / "observations.jsonl"),
            SEATRIAL_CHECKPOINT_DIR=str(folder / "checkpoints"),
        )

        message = json.loads((folder / "message.json").read_text())
        assert (code, out) == (0, "")
        assert (message["status"], message["metrics"]["loss"]["last"]) == ("succeeded", 2 * lr)
        assert message["checkpoint"]["step"] == 2
