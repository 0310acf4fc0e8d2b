"""Checkpoints in an object store, against a server that speaks S3 over HTTP."""

import json
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest
import s3fs
from moto import server

from decide.builders import a_study
from harness.scripts import ATrial
from seatrial.entry.session import RunOptions, open_study, run_study
from seatrial_harness.checkpoints import CheckpointStore, Parent, read_checkpoint, read_parent
from seatrial_harness.manifest import (
    CheckpointError,
    CheckpointsUnreachable,
    Mark,
    ParentCheckpointCorrupt,
    ParentCheckpointMissing,
)
from seatrial_harness.objects import ObjectPlace
from seatrial_harness.places import open_place
from seatrial_harness.retention import Needed, collect

pytestmark = pytest.mark.slow

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "thing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> SimpleNamespace:
    """A new bucket: its name, its environment, and a client that looks into it."""
    for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint}).items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{abs(hash(request.node.nodeid))}"
    client = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    client.mkdir(name)
    # One connection for all places of a test, as a trial that looks beside itself has it: another one takes longer than what is stored.
    place = ObjectPlace(f"s3://{name}/studies/5eed-0001/digits-3")
    return SimpleNamespace(name=name, client=client, place=place, env=CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint})


class SilentObserver:
    def on_look(self, *_: object) -> None: ...

    def on_action(self, *_: object) -> None: ...

    def on_note(self, text: str) -> None: ...


def a_url(bucket: Any, trial: str = "digits-3") -> str:
    return f"s3://{bucket.name}/studies/5eed-0001/{trial}"


def keys(bucket: Any, trial: str = "digits-3") -> list[str]:
    base = f"{bucket.name}/studies/5eed-0001/{trial}/"
    return sorted(key.removeprefix(base) for key in bucket.client.find(base))


def a_store(bucket: Any, *steps: int, attempt: int = 0, trial: str = "digits-3", word: str = "") -> CheckpointStore:
    store = CheckpointStore(bucket.place.beside(trial), attempt, lambda: 1764000000.25)
    for step in steps:
        inside = store.begin(step)
        (inside / "weights").write_text(f"weights of {step}{word}")
        (inside / "deep").mkdir()
        (inside / "deep" / "state").write_text(f"state of {step}{word}")
        store.commit(inside, step)
    return store


def test_a_trial_saves_to_the_store_and_its_next_attempt_goes_on_from_there(trial: ATrial, bucket: Any) -> None:
    scratch = trial.folder / "scratch"
    scratch.mkdir()
    mine = trial.with_env(SEATRIAL_CHECKPOINT_DIR=a_url(bucket), TMPDIR=str(scratch), **bucket.env)
    script = """
        trial = seatrial.start()
        state = trial.load()
        print(state["epoch"] if state else None)
        for epoch in trial.steps({last}):
            trial.report(epoch, val=epoch)
            trial.save(epoch=epoch, now=True)
        print(trial.latest().step, trial.load()["epoch"])
    """

    first = mine.run(script.format(last=3))
    (trial.folder / "message.json").unlink()
    second = mine.with_env(SEATRIAL_ATTEMPT="1").run(script.format(last=5))

    assert (first.err, second.err) == ("", "")
    assert first.out.split() == ["None", "3", "3"]
    assert second.out.split() == ["3", "5", "5"]
    assert second.message is not None
    assert second.message["checkpoint"]["path"] == "1/step-5"
    assert (
        second.message["checkpoint"]["digest"]
        == json.loads(bucket.client.cat(f"{a_url(bucket)}/1/step-5/manifest.json"))["digest"]
    )
    # Of the first attempt its end and its rungs, of the second the newest two.
    marks = sorted(key.rpartition("/")[0] for key in keys(bucket) if key.endswith("manifest.json"))
    assert marks == ["0/step-1", "0/step-3", "1/step-4", "1/step-5"]
    assert not list(scratch.iterdir())


def test_a_checkpoint_of_the_store_is_read_by_its_url_without_any_trial(bucket: Any) -> None:
    a_store(bucket, 9)

    found = read_checkpoint(f"{a_url(bucket)}/0/step-9")

    assert (found.step, (found.path / "deep/state").read_text()) == (9, "state of 9")
    with pytest.raises(CheckpointError, match="name one as …/<trial>/<attempt>/step-<n>"):
        read_checkpoint(a_url(bucket))


def test_a_copy_of_the_store_in_a_directory_is_a_checkpoint_too(bucket: Any, tmp_path: Path) -> None:
    a_store(bucket, 9)
    bucket.client.get(f"{a_url(bucket)}/0/step-9", str(tmp_path / "copy"), recursive=True)

    found = read_checkpoint(tmp_path / "copy")

    assert (found.path / "weights").read_text() == "weights of 9"


def test_what_was_just_saved_is_read_back_without_a_download(bucket: Any) -> None:
    store = a_store(bucket, 8)
    inside = store.begin(9)
    (inside / "weights").write_text("w")

    checkpoint = store.commit(inside, 9)

    assert (checkpoint.path / "weights").read_text() == "w"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param("weights missing", "is not whole", id="a missing object"),
        pytest.param("weights changed", "weights does not match its digest", id="a changed object"),
        pytest.param("manifest missing", None, id="no manifest"),
        pytest.param("manifest torn", "no readable manifest", id="a torn manifest"),
        pytest.param("manifest of another", "does not match its list of files", id="a manifest of other files"),
    ],
)
def test_a_harmed_checkpoint_is_passed_over_for_the_next_older_one(bucket: Any, harm: str, words: str | None) -> None:
    store = a_store(bucket, 8, 9)
    base = f"{a_url(bucket)}/0/step-9"
    [weights] = [key for key in bucket.client.find(base) if key.endswith("/weights")]
    manifest = bucket.client.cat(f"{base}/manifest.json")
    match harm:
        case "weights missing":
            bucket.client.rm_file(weights)
        case "weights changed":
            bucket.client.pipe_file(weights, b"weights of 8")
        case "manifest missing":
            bucket.client.rm_file(f"{base}/manifest.json")
        case "manifest torn":
            bucket.client.pipe_file(f"{base}/manifest.json", manifest[:40])
        case _:
            bucket.client.pipe_file(f"{base}/manifest.json", manifest.replace(b"deep", b"peed"))
    refused: list[CheckpointError] = []

    newest = store.newest(refused.append)

    assert newest is not None
    assert newest.step == 8
    assert [words in str(error) for error in refused] == ([True] if words else [])


def test_a_parent_in_the_store_is_missing_or_corrupt_by_name(bucket: Any) -> None:
    a_store(bucket, 9)
    found = read_parent(Parent(address=a_url(bucket), step=9))
    assert (found.step, found.inherited) == (9, True)
    with pytest.raises(ParentCheckpointMissing, match="has no checkpoint of step 3"):
        read_parent(Parent(address=a_url(bucket), step=3, digest=found.digest))
    with pytest.raises(ParentCheckpointMissing, match="has no checkpoint of step 9"):
        read_parent(Parent(address=a_url(bucket, "digits-99"), step=9))
    with pytest.raises(ParentCheckpointCorrupt, match="not sha256:0"):
        read_parent(Parent(address=a_url(bucket), step=9, digest="sha256:0"))


def test_a_step_that_is_saved_again_replaces_the_older_one_and_leaves_nothing_of_it(bucket: Any) -> None:
    store = a_store(bucket, 9)
    before = keys(bucket)
    a_store(bucket, 9, word=" anew")

    newest = store.newest(lambda _: None)

    assert newest is not None
    assert (newest.path / "weights").read_text() == "weights of 9 anew"
    assert len(keys(bucket)) == len(before) == 3


def test_removing_states_the_bytes_and_takes_only_what_nothing_needs(bucket: Any) -> None:
    for index in range(4):
        a_store(bucket, 1, 3, trial=f"digits-{index}")
    a_store(bucket, 1, trial="other-0")
    own = open_place(a_url(bucket, "digits-3"))
    needed = Needed(ended=((0, 1), (3, 3)), keep={1: frozenset({Mark(3, 0)})})
    sizes = sum(
        bucket.client.size(key)
        for trial, step in (("digits-0", 1), ("digits-0", 3), ("digits-1", 1))
        for key in bucket.client.find(f"{a_url(bucket, trial)}/0/step-{step}")
    )

    freed = collect(own, "digits", needed)

    assert (freed.checkpoints, freed.size) == (3, sizes)
    assert {name: marks for name, marks in own.survey().items() if marks} == {
        "digits-1": [Mark(3, 0)],
        "digits-2": [Mark(3, 0), Mark(1, 0)],
        "digits-3": [Mark(3, 0), Mark(1, 0)],
        "other-0": [Mark(1, 0)],
    }


# Importing s3fs takes longer than an upload: it is done once, and each upload is made, and killed, in a fork of its own.
_DIES = """
    import functools, os, signal, sys
    import s3fs
    from seatrial_harness.checkpoints import CheckpointStore
    from seatrial_harness.places import open_place

    def upload(url, last_request):
        place = open_place(url)
        # Five megabytes are the smallest part that S3 takes: the weights go up in three.
        place._fs.put_file = functools.partial(place._fs.put_file, chunksize=5 << 20)
        store = CheckpointStore(place, 0, lambda: 0.0)
        folder = store.begin(9)
        (folder / "weights").write_bytes(b"x" * (12 << 20))
        (folder / "state").write_bytes(b"young")
        left, call = [last_request], s3fs.S3FileSystem._call_s3
        async def counted(self, method, *positional, **named):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            print(method, flush=True)
            return await call(self, method, *positional, **named)
        s3fs.S3FileSystem._call_s3 = counted
        store.commit(folder, 9)
        print("committed", flush=True)

    for line in sys.stdin:
        url, last_request = line.split()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                upload(url, int(last_request))
                code = 0
            finally:
                os._exit(code)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.parametrize("over", [False, True], ids=["a new step", "over an older checkpoint of the step"])
def test_killed_before_any_request_of_an_upload_a_whole_checkpoint_is_found(
    trial: ATrial, bucket: Any, over: bool
) -> None:
    process = trial.with_env(**bucket.env).start(_DIES)
    assert process.stdin is not None
    assert process.stdout is not None
    requests, outcomes, code = 0, set(), -signal.SIGKILL
    while code == -signal.SIGKILL:
        requests += 1
        name = f"digits-{requests}"
        a_store(bucket, *([8, 9] if over else [8]), trial=name, word=" old")
        print(a_url(bucket, name), requests, file=process.stdin, flush=True)
        *methods, ended = iter_until(process.stdout, "ended")
        code = int(ended.split()[1])

        store = CheckpointStore(bucket.place.beside(name), 0, lambda: 0.0)
        refused: list[CheckpointError] = []
        newest = store.newest(refused.append)
        assert newest is not None
        assert not refused
        young = (newest.path / "weights").stat().st_size == 12 << 20
        outcomes.add((newest.step, young))
        assert young or (newest.path / "weights").read_text() == f"weights of {newest.step} old"
        # The next save of the attempt clears away what the killed one left, and is whole.
        again = store.begin(10)
        (again / "weights").write_text("later")
        store.commit(again, 10)
        assert store.marks()[0] == Mark(10, 0)
        left = {key.split("/")[1] for key in keys(bucket, name)}
        assert left == {f"step-{mark.step}" for mark in store.marks()}
    process.stdin.close()
    assert (code, process.wait(60)) == (0, 0)
    assert methods[-1] == "committed\n"
    assert "upload_part\n" in methods
    assert requests >= 8
    assert outcomes == {(9 if over else 8, False), (9, True)}


def iter_until(lines: Iterable[str], word: str) -> Iterator[str]:
    """Give lines up to the one that begins with *word*."""
    for line in lines:
        yield line
        if line.startswith(word):
            return
    raise AssertionError(f"the output ended without {word}")


def test_a_store_that_does_not_answer_is_a_failure_of_its_own_and_not_a_fresh_start(trial: ATrial, bucket: Any) -> None:
    away = bucket.env | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}

    ended = trial.with_env(SEATRIAL_CHECKPOINT_DIR=a_url(bucket), **away).run("""
        trial = seatrial.start()
        trial.load()
    """)

    assert (ended.code, ended.status) == (1, "failed")
    assert ended.message is not None
    assert ended.message["reason"] == CheckpointsUnreachable.reason == "CheckpointsUnreachable"
    assert f"the checkpoints at {a_url(bucket)} cannot be read" in ended.message["message"]


def test_a_store_that_takes_nothing_costs_the_checkpoint_but_not_the_training(trial: ATrial, bucket: Any) -> None:
    ended = trial.with_env(SEATRIAL_CHECKPOINT_DIR="s3://no-such-bucket/x/digits-3", **bucket.env).run("""
        trial = seatrial.start()
        for epoch in trial.steps(3):
            trial.report(epoch, val=epoch)
            print(trial.save(epoch=epoch, now=True))
    """)

    assert (ended.code, ended.status) == (0, "succeeded")
    assert ended.out.split() == ["None"] * 3
    assert ended.err.count("the checkpoint of step 1 cannot be saved") == 1
    assert ended.message is not None
    assert "NoSuchBucket" in ended.message["message"] or "bucket does not exist" in ended.message["message"]


def test_an_address_without_its_back_end_names_the_package_to_install(trial: ATrial) -> None:
    ended = trial.with_env(SEATRIAL_CHECKPOINT_DIR="abfs://bucket/x/digits-3").run("seatrial.start()\n")

    assert ended.code == 1
    assert "the checkpoints of this trial lie at abfs://bucket/x/digits-3" in ended.err
    assert "pip install adlfs in the trial's image" in ended.err


def test_a_place_may_be_any_file_system_that_fsspec_knows() -> None:
    place = ObjectPlace("memory://studies/5eed/digits-1")
    store = CheckpointStore(place, 2, lambda: 0.0)
    inside = store.begin(4)
    (inside / "weights").write_text("w")
    store.commit(inside, 4)

    assert place.marks() == [Mark(4, 2)]
    assert place.remove(Mark(4, 2)) > 0
    assert place.marks() == []


def test_a_study_of_a_laptop_keeps_its_checkpoints_in_the_store_and_its_trials_remove_what_may_go(
    tmp_path: Path, bucket: Any
) -> None:
    script = """
        import threading, time
        import seatrial_harness as seatrial
        trial = seatrial.start()
        for epoch in trial.steps(2):
            trial.report(epoch, loss=trial.x + 1 / epoch)
            trial.save(epoch=epoch, now=True)
        for each in threading.enumerate():
            if each.name == "seatrial-removal":
                each.join()
    """
    (tmp_path / "train.py").write_text(dedent(script))
    env = [{"name": name, "value": value} for name, value in bucket.env.items()]
    container = {"name": "main", "command": [sys.executable, "train.py"], "env": env}
    trial = {
        "checkpoints": {"url": f"s3://{bucket.name}/lab", "keepBest": 1},
        "template": {"spec": {"containers": [container]}},
    }
    study = a_study(trial=trial, budget={"maxTrials": 5, "parallelTrials": 1}, steps={"unit": "epoch", "max": 2})

    run_study(study, RunOptions(directory=tmp_path / "state", workdir=tmp_path), SilentObserver())

    opened = open_study(tmp_path / "state")
    lab = f"s3://{bucket.name}/lab/{opened.study.metadata.uid}"
    place = open_place(f"{lab}/s-0")
    found = {name: marks for name, marks in place.survey().items() if marks}
    assert opened.study.status is not None
    assert opened.study.status.best is not None
    assert opened.study.status.trials.completed == 5
    best = opened.study.status.best
    assert best.checkpoint == "0/step-2"
    assert read_checkpoint(f"{lab}/{best.trial}/{best.checkpoint}").step == 2
    # Each trial is told what may go of those that ended before it; nobody comes after the last one.
    assert sum(trial.status.freed_bytes for trial in opened.trials) > 0
    assert found.keys() <= {best.trial, "s-3", "s-4"}
    assert found[best.trial][0] == Mark(2, 0)
