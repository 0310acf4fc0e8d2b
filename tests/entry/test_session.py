"""Opening a study from its directory, and running it where the world is not ready."""

import threading
from pathlib import Path

import pytest

from adapters.local_world import a_local_study
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.entry.session import RunOptions, open_study, run_study
from seatrial.errors import UsageError


@pytest.mark.parametrize("content", [b"", b'{"kind": "Stu', b"\x00\xff"])
def test_a_torn_study_is_named_in_words(tmp_path, content):
    (tmp_path / "study.json").write_bytes(content)

    with pytest.raises(UsageError, match=r"study\.json"):
        open_study(tmp_path)


def test_a_folder_without_a_study_says_what_is_missing(tmp_path):
    with pytest.raises(UsageError, match="holds no study"):
        open_study(tmp_path)


class Helped:
    """Watches a run, and makes room a moment after it was asked for."""

    def __init__(self, obstacle: Path) -> None:
        self.obstacle = obstacle
        self.notes: list[str] = []

    def on_look(self, *_: object) -> None:
        pass

    def on_action(self, _: object) -> None:
        pass

    def on_note(self, text: str) -> None:
        if not self.notes:
            threading.Timer(0.2, self.obstacle.unlink).start()
        self.notes.append(text)


@pytest.mark.slow
def test_a_run_whose_disk_takes_nothing_at_its_beginning_waits_for_room(tmp_path):
    directory = StudyDirectory(tmp_path / "study")
    directory.root.mkdir()
    directory.open.touch()
    helped = Helped(directory.open)
    study = a_local_study("sh", "-c", "echo loss=$HP_x", budget={"maxTrials": 1})

    outcome = run_study(study, RunOptions(directory=directory.root, workdir=tmp_path), helped)

    assert outcome.study.status.trials.completed == 1
    assert helped.notes == [f"{directory.open} cannot be made: File exists; make room on the disk; trying again"]
