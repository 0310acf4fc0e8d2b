"""Checkpoints are whole or do not exist, whatever happens while they are written."""

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from harness.scripts import ATrial
from seatrial_harness.checkpoints import CheckpointStore, Parent, read_checkpoint, read_parent
from seatrial_harness.directory import DirectoryPlace
from seatrial_harness.manifest import (
    CheckpointError,
    Mark,
    ParentCheckpointCorrupt,
    ParentCheckpointMissing,
    checkpoint_digest,
    same_assignment,
)


def a_store(folder: Path, *steps: int, attempt: int = 0) -> CheckpointStore:
    store = CheckpointStore(DirectoryPlace(folder / "checkpoints"), attempt, lambda: 1764000000.25)
    for step in steps:
        inside = store.begin(step)
        (inside / "weights").write_text(f"weights of {step}")
        (inside / "deep").mkdir()
        (inside / "deep" / "state").write_text(f"state of {step}")
        store.commit(inside, step)
    return store


def test_the_digest_is_over_sorted_lines_of_path_and_sha256(tmp_path: Path) -> None:
    a_store(tmp_path, 9)
    manifest = json.loads((tmp_path / "checkpoints/0/step-9/manifest.json").read_text())
    deep, weights = (hashlib.sha256(text).hexdigest() for text in (b"state of 9", b"weights of 9"))

    lines = f"deep/state {deep}\nweights {weights}\n"

    expected = "sha256:" + hashlib.sha256(lines.encode()).hexdigest()
    assert manifest == {
        "v": 1,
        "attempt": 0,
        "step": 9,
        "digest": expected,
        "files": [
            {"path": "deep/state", "bytes": 10, "sha256": deep},
            {"path": "weights", "bytes": 12, "sha256": weights},
        ],
        "time": 1764000000.25,
    }
    assert checkpoint_digest([("weights", weights), ("deep/state", deep)]) == expected


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda folder: (folder / "weights").write_text("weights of 8"), id="a changed file"),
        pytest.param(lambda folder: (folder / "weights").unlink(), id="a missing file"),
        pytest.param(lambda folder: (folder / "weights").write_text("weights"), id="a torn file"),
        pytest.param(lambda folder: (folder / "manifest.json").unlink(), id="no manifest"),
        pytest.param(lambda folder: (folder / "manifest.json").write_text('{"v": 1, "st'), id="a torn manifest"),
        pytest.param(lambda folder: (folder / "manifest.json").write_text("[]"), id="a foreign manifest"),
        pytest.param(lambda folder: shutil.rmtree(folder / "deep"), id="a missing folder"),
    ],
)
def test_a_harmed_checkpoint_is_passed_over_for_the_next_older_one(tmp_path: Path, harm: "object") -> None:
    store = a_store(tmp_path, 8, 9)
    assert callable(harm)
    harm(tmp_path / "checkpoints/0/step-9")
    refused: list[CheckpointError] = []

    newest = store.newest(refused.append)

    assert newest is not None
    assert (newest.step, len(refused)) == (8, 1)


NAMESAKE = """
    trial = seatrial.start()
    state = trial.load()
    print(state and (state["lr"], state.step))
    for step in trial.steps(4):
        trial.report(step, val=trial.lr)
        trial.save(lr=trial.lr, now=True)
"""


@pytest.mark.parametrize("attempt", ["0", "1"])
def test_a_trial_does_not_go_on_from_a_namesake_with_other_parameters_and_removes_what_that_one_saved(
    trial: ATrial, attempt: str
) -> None:
    four = trial.with_env(SEATRIAL_MAX_STEP="4")
    assert four.run(NAMESAKE).out == "None\n"

    other = four.with_env(SEATRIAL_PARAMETERS='{"lr": 0.25}', SEATRIAL_ATTEMPT=attempt, SEATRIAL_UNTIL_STEP="2")
    ended = other.run(NAMESAKE)

    assert ended.out == "None\n"
    assert "is of an earlier trial of this name, with other parameters" in ended.err
    assert (ended.message["step"], ended.message["stepsTrained"]) == (2, 2)
    assert ended.message["checkpoint"]["path"] == f"{attempt}/step-2"
    assert [path.name for path in sorted((trial.folder / "checkpoints").glob("*/step-*"))] == ["step-1", "step-2"]
    assert other.with_env(SEATRIAL_ATTEMPT="2").run(NAMESAKE).out == "(0.25, 2)\n"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"lr": 1.0}, {"lr": 1}, True),
        ({"lr": 0.1}, {"lr": 0.10000000000000002}, True),
        ({"lr": 0.1}, {"lr": 0.1000001}, False),
        ({"a": 1, "b": "x"}, {"b": "x", "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": "x"}, False),
        ({"a": 0}, {"a": False}, False),
        ({"a": True}, {"a": True}, True),
        ({"a": "1"}, {"a": 1}, False),
        (None, {"a": 1}, True),
        ({"a": 1}, None, True),
        pytest.param({"x": 10**400}, {"x": 1.5}, False, id="larger than any float"),
    ],
)
def test_assignments_are_one_however_they_were_written(one: dict | None, other: dict | None, same: bool) -> None:
    assert same_assignment(one, other) is same


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "link"])
def test_a_manifest_may_not_name_a_file_outside_its_folder(tmp_path: Path, path: str) -> None:
    a_store(tmp_path, 9)
    folder = tmp_path / "checkpoints/0/step-9"
    (folder.parent / "outside").write_text("secret")
    (folder / "link").symlink_to(folder.parent / "outside")
    digests = {path: hashlib.sha256(b"secret").hexdigest()}
    files = [{"path": path, "bytes": 6, "sha256": digests[path]}]
    (folder / "manifest.json").write_text(
        json.dumps({"v": 1, "step": 9, "digest": checkpoint_digest(digests.items()), "files": files})
    )

    with pytest.raises(CheckpointError, match="not a file inside it"):
        read_checkpoint(folder)


def test_links_and_pipes_are_no_files_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    store = a_store(tmp_path)
    folder = store.begin(9)
    (folder / "weights").write_text("weights")
    (folder / "file").symlink_to(tmp_path / "outside" / "secret")
    (folder / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "pipe")

    store.commit(folder, 9)

    manifest = json.loads((tmp_path / "checkpoints/0/step-9/manifest.json").read_text())
    assert [entry["path"] for entry in manifest["files"]] == ["weights"]


def test_the_newest_two_and_those_at_rungs_stay(tmp_path: Path) -> None:
    store = a_store(tmp_path, 1, 2, 3, 4, 5, 6)

    store.prune(2, frozenset({1, 3, 9}))

    assert [mark.step for mark in store.marks()] == [6, 5, 3, 1]


def test_the_parent_s_checkpoint_is_found_by_step_and_digest_in_whichever_attempt_saved_it(tmp_path: Path) -> None:
    a_store(tmp_path, 6, 9)
    store = a_store(tmp_path, attempt=1)
    folder = store.begin(9)
    (folder / "weights").write_text("other weights of 9")
    chosen, newer = read_checkpoint(tmp_path / "checkpoints/0/step-9"), store.commit(folder, 9)

    address = str(tmp_path / "checkpoints")
    by_digest = read_parent(Parent(address=address, step=9, digest=chosen.digest))
    by_step = read_parent(Parent(address=address, step=9))
    by_folder = read_parent(Parent(address=f"{address}/0/step-6"))

    assert (by_digest.attempt, by_digest.path, by_digest.inherited) == (0, tmp_path / "checkpoints/0/step-9", True)
    assert (by_step.attempt, by_step.digest) == (1, newer.digest)
    assert (by_folder.step, by_folder.inherited) == (6, True)


@pytest.mark.parametrize(
    ("step", "digest", "harm", "error", "words"),
    [
        pytest.param(8, "", None, ParentCheckpointMissing, "has no checkpoint of step 8", id="no such step"),
        pytest.param(9, "sha256:0", None, ParentCheckpointCorrupt, "not sha256:0", id="another digest"),
        pytest.param(9, "", "weights", ParentCheckpointCorrupt, "weights does not match its digest", id="changed"),
        pytest.param(9, "", "manifest.json", ParentCheckpointCorrupt, "no readable manifest", id="a torn manifest"),
    ],
)
def test_a_parent_that_is_not_whole_is_an_error_since_training_on_without_it_would_be_another_trial(
    tmp_path: Path, step: int, digest: str, harm: str | None, error: type[CheckpointError], words: str
) -> None:
    a_store(tmp_path, 9)
    if harm is not None:
        (tmp_path / "checkpoints/0/step-9" / harm).write_text("x")

    with pytest.raises(error, match=words):
        read_parent(Parent(address=str(tmp_path / "checkpoints"), step=step, digest=digest))


def test_readers_take_the_newest_whole_checkpoint_by_step_and_then_by_attempt(tmp_path: Path) -> None:
    a_store(tmp_path, 3, 9)
    a_store(tmp_path, 3, 6, attempt=10)
    store = a_store(tmp_path, attempt=11)

    assert store.marks() == [Mark(9, 0), Mark(6, 10), Mark(3, 10), Mark(3, 0)]
    newest = store.newest(lambda _: None)

    assert newest is not None
    assert newest.mark == (9, 0)


def test_an_attempt_that_will_not_die_harms_nothing_of_its_successor(tmp_path: Path) -> None:
    old = a_store(tmp_path, 1, 2)
    young = a_store(tmp_path, 3, attempt=1)
    unfinished = young.begin(4)
    (unfinished / "weights").write_text("half")

    for step in (3, 4, 5):
        folder = old.begin(step)
        (folder / "weights").write_text(f"of the old attempt at {step}")
        old.commit(folder, step)
        old.prune(1, frozenset())

    assert (unfinished / "weights").read_text() == "half"
    assert young.commit(unfinished, 4).mark == (4, 1)
    assert young.marks() == [Mark(5, 0), Mark(4, 1), Mark(3, 1)]
    assert (tmp_path / "checkpoints/1/step-3/weights").read_text() == "weights of 3"


def test_torn_checkpoints_of_an_earlier_attempt_never_cost_what_was_just_saved(tmp_path: Path) -> None:
    a_store(tmp_path, 8, 9)
    for step in (8, 9):
        (tmp_path / f"checkpoints/0/step-{step}/weights").write_text("torn")
    store = a_store(tmp_path, 1, 2, attempt=1)

    store.prune(2, frozenset())

    newest = store.newest(lambda _: None)
    assert newest is not None
    assert newest.mark == (2, 1)
    assert Mark(1, 1) in store.marks()


def test_what_an_earlier_attempt_ended_with_stays_since_its_record_names_it(tmp_path: Path) -> None:
    a_store(tmp_path, 1, 2, 3)
    store = a_store(tmp_path, 4, 5, 6, attempt=1)

    freed = store.prune(1, frozenset({2}))

    assert store.marks() == [Mark(6, 1), Mark(3, 0), Mark(2, 0)]
    assert freed > 2 * len("weights of 4" + "state of 4")


def test_killed_at_any_file_operation_of_a_save_a_whole_checkpoint_is_found(trial: ATrial) -> None:
    # A fork is killed at its first, second, third … file operation while it saves step 3: once as a new
    # step, once over an older checkpoint of the same step. What it leaves must be whole every time.
    ended = trial.run("""
        import os, shutil, signal, sys
        from pathlib import Path
        from seatrial_harness.checkpoints import CheckpointStore
        from seatrial_harness.directory import DirectoryPlace
        from seatrial_harness.states import write_state, read_state

        def a_store(root):
            return CheckpointStore(DirectoryPlace(root), 0, lambda: 0.0)

        def save(store, step, mark):
            folder = store.begin(step)
            write_state(folder, {"mark": mark, "weights": [mark] * 1000})
            checkpoint = store.commit(folder, step)
            store.prune(1, frozenset())
            return checkpoint

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
            save(a_store(root), 3, "young")
            os._exit(0)

        for existing in ([2], [2, 3]):
            operation, found = 0, set()
            while True:
                operation += 1
                root = Path(f"root-{existing}-{operation}")
                for step in existing:
                    folder = a_store(root)
                    inside = folder.begin(step)
                    write_state(inside, {"mark": "old", "weights": ["old"] * 1000})
                    folder.commit(inside, step)
                died = dies_at(root, operation)
                refused = []
                store = a_store(root)
                newest = store.newest(refused.append)
                state = read_state(newest.path, weights_only=True, map_location=None)
                assert state["weights"] == [state["mark"]] * 1000, state
                found.add((newest.step, state["mark"]))
                save(store, 4, "next")
                assert store.newest(refused.append).step == 4
                assert not list(root.glob("0/.step-*"))
                if not died:
                    break
            print(existing, operation > 15, sorted(found))
    """)

    assert ended.err == ""
    assert ended.out.splitlines() == [
        "[2] True [(2, 'old'), (3, 'young')]",
        "[2, 3] True [(2, 'old'), (3, 'old'), (3, 'young')]",
    ]


@pytest.mark.slow
def test_killed_again_and_again_while_saving_training_always_goes_on_from_a_whole_checkpoint(trial: ATrial) -> None:
    last = 0
    for round_number in range(8):
        process = trial.start("""
            trial = seatrial.start()
            state = trial.load()
            print(state["epoch"] if state else 0, flush=True)
            assert state is None or state["weights"] == [state["epoch"]] * 20_000
            for epoch in trial.steps(10**9):
                trial.report(epoch, val=epoch)
                trial.save(epoch=epoch, weights=[epoch] * 20_000, now=True)
                print(epoch, flush=True)
        """)
        assert process.stdout is not None
        resumed_at = int(process.stdout.readline())
        for _ in range(3 + round_number % 3):
            saved = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        ended = trial.end(process)

        assert "seatrial" not in ended.err
        assert resumed_at >= last
        last = saved


def test_a_full_disk_costs_the_checkpoint_but_not_the_training(trial: ATrial) -> None:
    ended = trial.run("""
        import resource
        trial = seatrial.start()
        for epoch in trial.steps(4):
            trial.report(epoch, val=epoch)
            if epoch == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
            print(trial.save(weights=["x" * 20_000], now=True) is not None)
    """)

    assert (ended.code, ended.status, ended.out.split()) == (0, "succeeded", ["True", "True", "False", "False"])
    assert ended.err.count("the checkpoint of step 3 cannot be saved: [Errno 27] File too large; training goes on") == 1
    assert ended.message is not None
    assert ended.message["checkpoint"]["step"] == 2
    assert "the checkpoint of step 3 cannot be saved" in ended.message["message"]
    assert not list((trial.folder / "checkpoints/0").glob(".step-*"))


def test_a_checkpoint_folder_that_cannot_be_made_costs_the_checkpoint_but_not_the_training(trial: ATrial) -> None:
    (trial.folder / "checkpoints").write_text("a file where the folder should be")

    ended = trial.run("""
        trial = seatrial.start()
        for epoch in trial.steps(2):
            trial.report(epoch, val=epoch)
            trial.save(epoch=epoch)
            with trial.checkpoint() as folder:
                (folder / "mine").write_text("x")
    """)

    assert (ended.code, ended.status) == (0, "succeeded")
    assert ended.err.count("cannot be saved") == 1


def test_an_observations_file_that_cannot_be_written_costs_nothing_but_a_word(trial: ATrial) -> None:
    ended = trial.with_env(SEATRIAL_OBSERVATIONS_PATH="/dev/full").run(
        "trial = seatrial.start()\nfor e in trial.steps(9):\n    trial.report(e, val=e)\n"
    )

    assert (ended.code, ended.status) == (0, "succeeded")
    assert ended.err.count("the observations at /dev/full cannot be written") == 1
    assert ended.message is not None
    assert "cannot be written" in ended.message["message"]


@pytest.mark.parametrize(
    ("line", "last"),
    [
        pytest.param("pass", 3000, id="to the end"),
        pytest.param("if epoch == 2000: break", 2000, id="left by break"),
        pytest.param("if epoch == 2000: raise ValueError", 2000, id="left by an error"),
        pytest.param("if epoch >= 2000: open('stop', 'w').close()", None, id="told to stop"),
    ],
)
def test_saves_are_put_off_in_a_quick_loop_but_never_at_rungs_nor_at_its_end(
    trial: ATrial, line: str, last: int | None
) -> None:
    ended = trial.run(f"""
        written = 0
        trial = seatrial.start()
        try:
            for epoch in trial.steps(3000):
                trial.report(epoch, val=epoch)
                written += trial.save(epoch=epoch) is not None
                {line}
        except ValueError:
            pass
        print(3 <= written < 1500, trial.latest().step, trial.load()["epoch"])
    """)

    assert ended.message is not None
    last = last or ended.message["step"]
    assert ended.out.split() == ["True", str(last), str(last)]
    assert ended.message["checkpoint"]["step"] == ended.message["step"] == last
    assert {path.name for path in (trial.folder / "checkpoints/0").iterdir()} >= {"step-1", "step-3", "step-9"}


def test_what_was_put_off_is_forgotten_when_the_next_step_may_have_changed_it(trial: ATrial) -> None:
    ended = trial.run("""
        trial = seatrial.start()
        weights = [0]
        try:
            for epoch in trial.steps(3000):
                weights[0] = epoch
                if epoch == 2000:
                    raise ValueError
                trial.save(weights=weights)
        except ValueError:
            pass
        print(trial.latest().step == trial.load()["weights"][0] < 2000)
    """)

    assert ended.out == "True\n"


def test_own_files_become_a_checkpoint_when_the_block_ends_and_none_when_it_fails(trial: ATrial) -> None:
    ended = trial.run("""
        trial = seatrial.start()
        with trial.checkpoint(1) as folder:
            (folder / "model.bin").write_bytes(b"123")
        print(trial.latest().step, (trial.latest().path / "model.bin").read_bytes())
        try:
            with trial.checkpoint(2) as folder:
                (folder / "model.bin").write_bytes(b"456")
                open("/nowhere/at/all")
        except FileNotFoundError:
            print("raised")
        print(trial.latest().step, list(trial.steps(3)))
    """)

    assert ended.out.splitlines() == ["1 b'123'", "raised", "1 [2, 3]"]


def test_a_state_that_json_would_change_is_refused_without_torch(trial: ATrial) -> None:
    ended = trial.run("seatrial.start().save(1, pair=(1, 2))\n")

    assert ended.code == 1
    assert "save(pair=…) got a tuple: without torch only numbers" in ended.err


def test_a_torn_line_of_the_attempt_before_does_not_swallow_the_next_one(trial: ATrial) -> None:
    path = trial.folder / "observations.jsonl"
    path.write_text('{"step": 1, "ti')

    trial.start("seatrial.start().report(2, val=1)\n").communicate()

    assert [json.loads(line)["step"] for line in path.read_text().splitlines()[1:]] == [2]
