# ruff: noqa: ASYNC240 - a test waits for nobody else
"""What a directory adds to the contract of a store: files that survive, files that are torn, readers beside the owner."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from adapters.contracts import KEY, a_condition, a_record
from decide.builders import a_study
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.store import DirectoryStore
from seatrial.api.study import StudyStatus
from seatrial.api.trial import TrialStatus
from seatrial.errors import TransientError, UsageError


@pytest.fixture
def directory(tmp_path: Path) -> StudyDirectory:
    return StudyDirectory(tmp_path / "study")


async def fill(directory: StudyDirectory, trials: int = 3) -> DirectoryStore:
    store = DirectoryStore(directory)
    store.put_study(a_study())
    for index in range(trials):
        await store.create_trial(KEY, a_record(index))
    store.close()
    return store


async def test_another_process_finds_everything_as_it_was(directory: StudyDirectory):
    first = await fill(directory)
    trial = next(iter(await first.read_trials(KEY)))
    await first.update_trial(KEY, trial, TrialStatus(conditions=[a_condition()], run_seconds=1.5))
    await first.update_study(KEY, StudyStatus(gpu_hours=0.25))
    first.close()

    second = DirectoryStore(directory)

    assert list(await second.read_trials(KEY)) == list(await first.read_trials(KEY))
    assert await second.read_study(KEY) == await first.read_study(KEY)


async def test_files_are_what_kubectl_would_show(directory: StudyDirectory):
    await fill(directory, trials=1)

    trial = json.loads(directory.trial("s-0").read_text())

    assert (trial["apiVersion"], trial["kind"]) == ("seatrial.dev/v1alpha1", "Trial")
    assert trial["spec"]["origin"] == {"algorithm": "random", "detail": ""}


@pytest.mark.parametrize(
    ("torn", "words"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b'{"metadata": {"name": "s-1"}, "spec": {"stu', "is torn", id="half"),
        pytest.param(b"\x00" * 300, "is torn", id="zeroes"),
        pytest.param(b"\xff\xfe garbage", "is torn", id="no text"),
        pytest.param(b"[]", "is torn", id="a list"),
        pytest.param(b'{"metadata": {"name": "s-1"}}', "spec", id="a field missing"),
    ],
)
async def test_a_torn_trial_is_put_aside_and_named_and_the_others_are_kept(
    directory: StudyDirectory, torn: bytes, words: str
):
    await fill(directory)
    directory.trial("s-1").write_bytes(torn)

    with pytest.raises(UsageError) as refused:
        await DirectoryStore(directory).read_trials(KEY)

    assert str(directory.trial("s-1")) in str(refused.value)
    assert words in str(refused.value)
    assert "s-1.json.corrupt" in str(refused.value)
    assert directory.trials.joinpath("s-1.json.corrupt").read_bytes() == torn
    assert [trial.metadata.name for trial in await DirectoryStore(directory).read_trials(KEY)] == ["s-0", "s-2"]


async def test_a_reader_names_a_torn_trial_and_leaves_it_where_it_is(directory: StudyDirectory):
    await fill(directory)
    directory.trial("s-1").write_bytes(b"")

    with pytest.raises(UsageError, match="is empty"):
        await DirectoryStore(directory, owner=False).read_trials(KEY)

    assert directory.trial("s-1").exists()


async def test_a_torn_study_is_named_and_can_be_put_again(directory: StudyDirectory):
    await fill(directory)
    directory.study.write_bytes(b'{"apiVersion"')

    with pytest.raises(UsageError, match=r"study\.json is torn.*study\.json\.corrupt"):
        await DirectoryStore(directory).read_study(KEY)

    store = DirectoryStore(directory)
    store.put_study(a_study())
    assert len(await store.read_trials(KEY)) == 3


async def test_what_a_crash_left_half_written_is_cleaned_and_never_read(directory: StudyDirectory):
    await fill(directory)
    leftover = directory.trials / "s-1.json.tmp"
    leftover.write_bytes(b'{"half')

    trials = await DirectoryStore(directory).read_trials(KEY)

    assert len(trials) == 3
    assert not leftover.exists()


async def test_a_reader_sees_what_the_owner_writes_and_keeps_what_did_not_change(directory: StudyDirectory):
    owner = await fill(directory)
    reader = DirectoryStore(directory, owner=False)
    before = await reader.read_trials(KEY)

    await owner.update_trial(KEY, (await owner.read_trials(KEY))[1], TrialStatus(attempt=4))
    await owner.create_trial(KEY, a_record(3))

    after = await reader.read_trials(KEY)
    assert [trial.status.attempt for trial in after] == [0, 4, 0, 0]
    assert [old is new for old, new in zip(before, after, strict=False)] == [True, False, True]


async def test_a_reader_writes_nothing(directory: StudyDirectory):
    await fill(directory)
    reader = DirectoryStore(directory, owner=False)

    with pytest.raises(UsageError, match="only by the one that runs the study"):
        await reader.update_study(KEY, StudyStatus(gpu_hours=1))


async def test_a_study_of_another_name_is_not_this_one(directory: StudyDirectory):
    await fill(directory)

    assert await DirectoryStore(directory).read_study(KEY._replace(name="other")) is None


async def test_a_write_that_fails_is_told_with_its_path_and_can_be_repeated(directory: StudyDirectory):
    store = await fill(directory)
    trial = (await store.read_trials(KEY))[0]
    blocked = Path(f"{directory.trial('s-0')}.tmp")
    blocked.mkdir()

    with pytest.raises(TransientError, match=r"s-0\.json cannot be written"):
        await store.update_trial(KEY, trial, TrialStatus(attempt=1))
    blocked.rmdir()

    assert (await store.update_trial(KEY, trial, TrialStatus(attempt=1))).status.attempt == 1


async def test_a_disk_that_is_full_at_the_first_trial_is_waited_for(
    directory: StudyDirectory, monkeypatch: pytest.MonkeyPatch
):
    store = DirectoryStore(directory)
    store.put_study(a_study())
    with monkeypatch.context() as full:
        full.setattr(Path, "mkdir", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(TransientError, match="No space left on device; make room on the disk"):
            await store.create_trial(KEY, a_record(0))

    assert (await store.create_trial(KEY, a_record(0))).metadata.name == "s-0"


async def test_trials_come_by_index_whatever_the_order_in_which_they_were_made_and_changed(directory: StudyDirectory):
    store = DirectoryStore(directory)
    seen = []
    for index in (1, 3, 0, 2, 10):
        await store.create_trial(KEY, a_record(index))
        seen.append([trial.spec.index for trial in await store.read_trials(KEY)])
    first = await store.read_trials(KEY)
    await store.update_trial(KEY, first[2], TrialStatus(attempt=1))

    assert seen == [[1], [1, 3], [0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3, 10]]
    assert [(trial.spec.index, trial.status.attempt) for trial in await store.read_trials(KEY)] == [
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 0),
        (10, 0),
    ]
    assert await DirectoryStore(directory).read_trials(KEY) == await store.read_trials(KEY)
    # What was read stays as it was.
    assert first[2].status.attempt == 0
