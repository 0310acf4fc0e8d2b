"""A few faults of a laptop's disk, and that they come where they should and are judged as they should. `make faults` runs all of them."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults import disk, disk_runner
from faults.disk import run_disk_plan
from faults.disk_plans import DiskPlan
from faults.disk_runner import CLAIMED, FREE, REFUSED, RUNS, TAKEN, Saboteur

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "text",
    [
        "asha:disk-kill@90",
        # Half of what says how an attempt was started.
        "random:disk-torn@26",
        # No room for the runner's number in the lock, which is there: a refusal.
        "random:disk-full@4",
        # No room in the file of a trial, which is there when it is tried again: it is waited for.
        "random:disk-full@15",
        "random:two-runners@15",
    ],
)
def test_a_fault_of_the_disk_changes_no_result(text: str):
    result = run_disk_plan(DiskPlan.read(text))

    assert (result.struck, result.violations) == (True, ())


# ---- faults come at every write --------------------------------------------------------------------------------------------------


@contextmanager
def a_plan(root: Path, mode: str, at: int) -> Iterator[Saboteur]:
    saboteur = Saboteur(root, DiskPlan(case="random", mode=mode, at=at))
    with saboteur.watch_writes():
        yield saboteur


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of a study that is there already."""
    path = tmp_path / "study" / "old"
    path.parent.mkdir()
    path.write_bytes(b"before")
    return path


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def read_and_write(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1)


def write_at(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.pwrite(descriptor, b"x", 0)
    finally:
        os.close(descriptor)


def overwrite(path: Path, content: bytes = b"x") -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


WRITES = [
    append,
    read_and_write,
    write_at,
    overwrite,
    pytest.param(lambda path: path.write_bytes(b"x"), id="write_bytes"),
    pytest.param(lambda path: path.write_text("x", "utf-8"), id="write_text"),
]


@pytest.mark.parametrize("write", WRITES)
def test_a_full_disk_takes_no_write_to_a_file_that_is_there(old: Path, write):
    with a_plan(old.parents[1], "disk-full", 1) as saboteur, pytest.raises(OSError, match="No space left") as raised:
        write(old)

    assert raised.value.errno == errno.ENOSPC
    assert saboteur.count > 0


@pytest.mark.parametrize("write", WRITES)
def test_a_disk_with_room_takes_it_and_it_is_counted(old: Path, write):
    with a_plan(old.parents[1], "disk-full", 100) as saboteur:
        write(old)

    assert saboteur.count == 1
    assert old.read_bytes() != b"before"


def test_a_disk_that_is_full_fails_a_sync_and_numbers_none(old: Path):
    with a_plan(old.parents[1], "disk-full", 1) as saboteur:
        sync(old)
        with pytest.raises(OSError, match="No space left"):
            old.write_bytes(b"x")
        with pytest.raises(OSError, match="No space left"):
            sync(old)

    assert saboteur.count == 1


@pytest.mark.parametrize("event", ["os.rename", "os.truncate"])
def test_a_full_disk_replaces_and_cuts_no_file(old: Path, event: str):
    saboteur = Saboteur(old.parents[1], DiskPlan(case="random", mode="disk-full", at=1))

    with pytest.raises(OSError, match="No space left"):
        saboteur.hear(event, (str(old), str(old)))
    saboteur.hear("os.remove", (str(old), -1))

    assert saboteur.count == 2


def test_a_descriptor_is_cut_as_a_path_is(old: Path):
    saboteur = Saboteur(old.parents[1], None)
    with old.open("r+b") as file:
        saboteur.hear("os.truncate", (file.fileno(), 0))

    assert saboteur.count == 1


def test_a_write_elsewhere_is_none_of_the_study(tmp_path: Path):
    with a_plan(tmp_path, "disk-full", 1) as saboteur:
        (tmp_path / "elsewhere").write_bytes(b"x")

    assert saboteur.count == 0


@pytest.mark.parametrize("write", [overwrite, Path.write_bytes])
def test_a_write_is_torn_in_its_middle(monkeypatch: pytest.MonkeyPatch, old: Path, write):
    found = []
    monkeypatch.setattr(disk_runner.os, "kill", lambda *_: found.append(old.read_bytes()))

    with a_plan(old.parents[1], "disk-torn", 1):
        write(old, b"{12345")

    assert found == [b"{12"]


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        pytest.param(os.O_RDWR | os.O_CREAT, b"before", id="opened to be locked"),
        pytest.param(os.O_WRONLY | os.O_CREAT | os.O_APPEND, b"before", id="opened to be continued"),
        pytest.param(os.O_WRONLY | os.O_CREAT | os.O_TRUNC, b'{"apiVersion": "sea', id="opened to be replaced"),
    ],
)
def test_only_what_an_open_would_empty_is_torn_by_it(
    monkeypatch: pytest.MonkeyPatch, old: Path, flags: int, left: bytes
):
    monkeypatch.setattr(disk_runner.os, "kill", lambda *_: None)
    (old.parents[1] / "struck").touch()
    saboteur = Saboteur(old.parents[1], DiskPlan(case="random", mode="disk-torn", at=1))

    saboteur.hear("open", (str(old), None, flags))

    assert old.read_bytes() == left


# ---- the judge sees --------------------------------------------------------------------------------------------------------------

FULL = DiskPlan(case="random", mode="disk-full", at=1)


def refuse(root: Path, stage: str = CLAIMED, **files: str) -> str:
    """Leave what a refused runner leaves; return its words."""
    (root / "refused").write_text(stage)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return f"{root}/study/study.json cannot be written: No space left on device; make room on the disk\n"


def test_a_full_disk_is_a_refusal_while_nothing_has_begun(tmp_path: Path):
    assert disk._judge(FULL, tmp_path, REFUSED, refuse(tmp_path, **{"study/study.json": "{}"}), CLAIMED) == []


@pytest.mark.parametrize(
    ("stage", "files", "words"),
    [
        pytest.param(RUNS, {}, "ended a study that ran", id="the fault came before, the refusal after"),
        pytest.param(CLAIMED, {"study/trials/s-0.json": "{}"}, "had begun: trials/s-0.json", id="a trial is recorded"),
        pytest.param(
            CLAIMED, {"study/trials/s-0.json.corrupt": ""}, "begun: trials/s-0.json.corrupt", id="a trial was put aside"
        ),
        pytest.param(CLAIMED, {"study/open/s-0.0": ""}, "had begun: open/s-0.0", id="an attempt is marked"),
        pytest.param(CLAIMED, {"study/attempts/s-0.0/pid": ""}, "had begun: attempts/s-0.0", id="an attempt was made"),
        pytest.param(CLAIMED, {"ran": "s-0.0\n"}, "had begun: s-0.0 ran", id="a trial ran"),
    ],
)
def test_a_refusal_excuses_nothing_that_has_begun(tmp_path: Path, stage: str, files: dict[str, str], words: str):
    (told,) = disk._judge(FULL, tmp_path, REFUSED, refuse(tmp_path, stage, **files), CLAIMED)

    assert words in told


@pytest.mark.parametrize("words", ["", "something else went wrong", "Errno 28: No space left on device"])
def test_a_refusal_says_what_cannot_be_written_and_why(tmp_path: Path, words: str):
    refuse(tmp_path)

    (told,) = disk._judge(FULL, tmp_path, REFUSED, words, CLAIMED)

    assert told.startswith("a full disk was refused without saying so")


@pytest.mark.parametrize(
    ("mode", "stage", "code"),
    [
        pytest.param("disk-full", "", REFUSED, id="refused though the disk had room"),
        pytest.param("disk-full", CLAIMED, 1, id="a traceback is no refusal"),
        pytest.param("disk-kill", RUNS, 1, id="it ended before it was killed"),
        pytest.param("disk-kill", RUNS, 0, id="it was not killed"),
        pytest.param("disk-torn", "", -signal.SIGKILL, id="it was killed by somebody else"),
        pytest.param("disk-torn", "", REFUSED, id="refused without a fault"),
    ],
)
def test_an_end_that_the_fault_does_not_explain_is_told(tmp_path: Path, mode: str, stage: str, code: int):
    text = refuse(tmp_path)

    (told,) = disk._judge(DiskPlan(case="random", mode=mode, at=1), tmp_path, code, text, stage)

    assert told.startswith(f"{mode} ended the runner with {int(code)}: ")


@pytest.mark.parametrize(
    ("stage", "code", "said", "right"),
    [
        (FREE, "0", "", True),
        (FREE, "2", "study is in use: process 7", False),
        (TAKEN, "2", "study is in use: another process runs this study", True),
        (TAKEN, "0", "", False),
        (RUNS, "2", "study is in use: process 7 runs this study", True),
        (RUNS, "2", "study is in use: another process runs this study", False),
        (RUNS, "0", "study is in use: process 7 runs this study", False),
        (RUNS, "none within 240 s", "", False),
    ],
)
def test_a_second_runner_is_judged_by_whether_the_first_had_the_directory(
    tmp_path: Path, stage: str, code: str, said: str, right: bool
):
    (tmp_path / "second").write_text(said)
    (tmp_path / "second-code").write_text(code)

    wrong = disk._judge(DiskPlan(case="random", mode="two-runners", at=1), tmp_path, 0, "", stage)

    assert (wrong == []) is right


def test_a_second_runner_that_hangs_is_named_before_the_first_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    assert disk._SECONDS >= disk_runner.SECOND_SECONDS + 60
    monkeypatch.setattr(disk_runner, "SECOND_SECONDS", 0.01)

    assert disk_runner._run_second(tmp_path, "random") == "none within 0.01 s"
