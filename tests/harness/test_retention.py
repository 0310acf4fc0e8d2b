"""What nothing needs is removed where the volume is, and nothing else is, whenever it is killed."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scripts import ATrial
from seatrial_harness.checkpoints import CheckpointStore
from seatrial_harness.directory import ABANDONED_SECONDS, DirectoryPlace
from seatrial_harness.manifest import CheckpointError, Mark
from seatrial_harness.retention import Freed, Needed, collect, parse_needed


def a_store(trial: Path, *steps: int, attempt: int = 0, text: str = "x") -> CheckpointStore:
    store = CheckpointStore(DirectoryPlace(trial), attempt, lambda: 0.0)
    for step in steps:
        folder = store.begin(step)
        (folder / "weights").write_text(text * (step + 1))
        store.commit(folder, step)
    return store


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def whole(trial: Path) -> set[Mark]:
    place, found = DirectoryPlace(trial), set()
    for mark in place.marks():
        place.read(mark)
        found.add(mark)
    return found


def test_of_ended_trials_only_what_must_stay_does_and_the_bytes_are_stated(tmp_path: Path) -> None:
    for index in range(4):
        a_store(tmp_path / f"s-{index}", 1, 3, 9)
    a_store(tmp_path / "s-1", 9, 12, attempt=1)
    a_store(tmp_path / "other-0", 1)
    before = size(tmp_path)
    needed = Needed(ended=((0, 1), (3, 3)), keep={1: frozenset({Mark(9, 0), Mark(12, 1)})})

    freed = collect(DirectoryPlace(tmp_path / "s-3"), "s", needed)

    assert {path.name for path in tmp_path.iterdir()} == {"s-0", "s-1", "s-2", "s-3", "other-0"}
    assert whole(tmp_path / "s-0") == set()
    assert whole(tmp_path / "s-1") == {Mark(9, 0), Mark(12, 1)}
    for untouched in ("s-2", "s-3"):
        assert whole(tmp_path / untouched) == {Mark(1, 0), Mark(3, 0), Mark(9, 0)}
    assert whole(tmp_path / "other-0") == {Mark(1, 0)}
    assert freed == Freed(checkpoints=6, size=before - size(tmp_path))
    assert freed.size > 0


def test_the_parent_that_a_trial_starts_from_loses_nothing_while_it_starts(tmp_path: Path) -> None:
    for index in range(3):
        a_store(tmp_path / f"s-{index}", 9)

    collect(DirectoryPlace(tmp_path / "s-2"), "s", Needed(ended=((0, 1),), keep={}), spared=str(tmp_path / "s-1"))

    assert whole(tmp_path / "s-0") == set()
    assert whole(tmp_path / "s-1") == {Mark(9, 0)}


def test_an_attempt_removes_what_the_study_says_and_tells_it(trial: ATrial) -> None:
    root = trial.folder / "volume"
    for index in range(3):
        a_store(root / f"digits-{index}", 1, 9)
    needed = {"ended": [[0, 1]], "keep": ["1/0/step-9"]}
    ended = trial.with_env(
        SEATRIAL_CHECKPOINT_DIR=str(root / "digits-3"), SEATRIAL_CHECKPOINTS_NEEDED=json.dumps(needed)
    ).run("""
        import threading
        trial = seatrial.start()
        [removal] = [each for each in threading.enumerate() if each.name == "seatrial-removal"] or [None]
        if removal:
            removal.join()
        trial.report(1, val=1)
    """)

    assert whole(root / "digits-0") == set()
    assert whole(root / "digits-1") == {Mark(9, 0)}
    assert whole(root / "digits-2") == {Mark(1, 0), Mark(9, 0)}
    assert ended.message is not None
    assert f"removed 3 checkpoints of ended trials that nothing needs, {ended.message['freedBytes']} bytes" in ended.err


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"ended": [[0, 9]]}',
        '{"ended": 3, "keep": []}',
        '{"ended": [[0, 9]], "keep": ["1/step-9"]}',
        '{"ended": [[0, 9]], "keep": ["x/0/step-9"]}',
        '{"ended": [[0]], "keep": []}',
    ],
)
def test_from_a_text_that_is_not_understood_nothing_is_removed(trial: ATrial, text: str) -> None:
    with pytest.raises(ValueError, match="SEATRIAL_CHECKPOINTS_NEEDED is"):
        parse_needed(text)
    a_store(trial.folder / "digits-0", 9)

    ended = trial.with_env(
        SEATRIAL_CHECKPOINT_DIR=str(trial.folder / "digits-3"), SEATRIAL_CHECKPOINTS_NEEDED=text
    ).run("seatrial.start().report(1, val=1)\n")

    assert (ended.code, ended.status) == (0, "succeeded")
    assert whole(trial.folder / "digits-0") == {Mark(9, 0)}


def test_killed_at_any_file_operation_of_a_removal_no_half_checkpoint_reads_as_whole(trial: ATrial) -> None:
    ended = trial.run("""
        import os, signal, sys
        from pathlib import Path
        from seatrial_harness.checkpoints import CheckpointStore
        from seatrial_harness.directory import DirectoryPlace
        from seatrial_harness.retention import Needed, collect

        def dies_at(root, operation):
            pid = os.fork()
            if pid:
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
            left = [operation]
            def count(event, arguments):
                if event == "open" or event.startswith(("os.", "shutil.")):
                    left[0] -= 1
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
            sys.addaudithook(count)
            collect(DirectoryPlace(root / "s-9"), "s", Needed(ended=((0, 0),), keep={}))
            os._exit(0)

        operation, seen = 0, set()
        while True:
            operation += 1
            root = Path(f"root-{operation}")
            place = DirectoryPlace(root / "s-0")
            store = CheckpointStore(place, 0, lambda: 0.0)
            for step in (3, 9):
                folder = store.begin(step)
                for name in "abc":
                    (folder / name).write_text(name * step)
                store.commit(folder, step)
            died = dies_at(root, operation)
            refused = []
            newest = store.newest(refused.append)
            if newest is not None:
                assert sorted(path.name for path in newest.path.iterdir()) == ["a", "b", "c", "manifest.json"]
            # What is half removed has no manifest: it is none, and says so when it is looked at.
            assert all("no readable manifest" in str(error) for error in refused), refused
            seen.add((newest.step if newest else None, bool(refused)))
            collect(DirectoryPlace(root / "s-9"), "s", Needed(ended=((0, 0),), keep={}))
            assert not list((root / "s-0").rglob("*"))
            if not died:
                break
        print(operation > 20, (9, False) in seen, (None, False) in seen, any(half for _, half in seen))
    """)

    assert ended.err == ""
    assert ended.out.split() == ["True"] * 4


def test_what_a_killed_save_left_goes_at_once_where_it_is_one_s_own_and_after_an_hour_elsewhere(tmp_path: Path) -> None:
    old = a_store(tmp_path / "s-0", 1)
    left = old.begin(2)
    (left / "weights").write_text("half")
    store = a_store(tmp_path / "s-0", attempt=1)
    store.discard(store.begin(3))
    assert left.exists()

    long_ago = time.time() - ABANDONED_SECONDS - 60
    for path in (left / "weights", left):
        os.utime(path, (long_ago, long_ago))
    again = a_store(tmp_path / "s-0", attempt=2)
    again.discard(again.begin(3))

    assert not left.exists()
    assert whole(tmp_path / "s-0") == {Mark(1, 0)}


def test_a_volume_that_is_really_full_costs_the_checkpoint_and_the_next_one_is_saved_again(trial: ATrial) -> None:
    # A file system of 256 KiB in a mount namespace of its own: the kernel itself says that there is no space. Where nobody may mount
    # one, the kernel bounds the size of a file instead.
    mount = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        f"mount -t tmpfs -o size=256k none checkpoints && exec {sys.executable} script.py",
    ]
    (trial.folder / "checkpoints").mkdir()
    trial.write("""
        import os, resource
        from pathlib import Path
        mounted, ballast = os.path.ismount("checkpoints"), Path("checkpoints/ballast")
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        trial = seatrial.start()
        for epoch in trial.steps(6):
            trial.report(epoch, val=epoch)
            if epoch == 3:
                ballast.write_bytes(b"x" * (140 << 10)) if mounted else resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, unlimited[1]))
            if epoch == 5:
                ballast.unlink() if mounted else resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
            saved = trial.save(weights=["x" * 40_000], now=True)
            print(epoch, saved.step if saved else None, trial.latest().step)
    """)
    trial_mount = [*mount[:-1], "mount -t tmpfs none checkpoints"]
    may_mount = (
        bool(shutil.which("unshare")) and not subprocess.run(trial_mount, cwd=trial.folder, check=False).returncode
    )
    process = subprocess.Popen(
        mount if may_mount else [sys.executable, "script.py"],
        cwd=trial.folder,
        env=dict(trial.environment),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    ended = trial.end(process)

    refusal = "[Errno 28] No space left on device" if may_mount else "[Errno 27] File too large"
    assert (ended.code, ended.status) == (0, "succeeded")
    assert ended.out.splitlines() == ["1 1 1", "2 2 2", "3 None 2", "4 None 2", "5 5 5", "6 6 6"]
    assert ended.err.count(f"the checkpoint of step 3 cannot be saved: {refusal}") == 1
    assert ended.message is not None
    assert ended.message["checkpoint"]["step"] == 6


# ---- properties --------------------------------------------------------------------------------------------------------

_EVENTS = st.lists(
    st.tuples(st.sampled_from(["save", "tear", "leave"]), st.integers(0, 2), st.integers(0, 9), st.integers(1, 3)),
    max_size=25,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(_EVENTS)
def test_whatever_attempts_do_in_whatever_order_the_newest_whole_checkpoint_is_found_and_never_removed(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, int, int]]
) -> None:
    root = tmp_path_factory.mktemp("trial")
    place = DirectoryPlace(root)
    stores = [CheckpointStore(place, attempt, lambda: 0.0) for attempt in range(3)]
    expected: dict[Mark, str] = {}
    for number, (event, attempt, step, keep) in enumerate(events):
        mark = Mark(step, attempt)
        if event == "tear" and mark in expected:
            (root / mark.path / "weights").write_text("torn")
            del expected[mark]
        if event == "tear":
            continue
        folder = stores[attempt].begin(step)
        (folder / "weights").write_text(text := f"{number} of {attempt} at {step}")
        if event == "leave":
            continue
        stores[attempt].commit(folder, step)
        expected[mark] = text
        stores[attempt].prune(keep, frozenset({3}))
        there = set(place.marks())
        assert mark in there
        assert all(known in there for known in expected if known.step == 3 or known.attempt > attempt)
        expected = {known: text for known, text in expected.items() if known in there}
    refused: list[CheckpointError] = []

    newest = stores[2].newest(refused.append)

    assert (newest.mark if newest else None) == max(expected, default=None)
    if newest is not None:
        assert (newest.path / "weights").read_text() == expected[newest.mark]
    assert all("does not match its digest" in str(error) for error in refused)
