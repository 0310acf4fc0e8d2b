"""Opening a study from its directory, and running it where the world is not ready."""

import threading
from pathlib import Path

import pytest

from adapters.local_world import a_local_study
from decide.builders import a_snapshot, a_study, a_trial, an_attempt, running
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.decide.actions import CreateTrials, FinishTrial, Plan, StopAttempt, StudyState
from seatrial.decide.attempts import Phase
from seatrial.entry.session import RunOptions, _find_breath, open_study, run_study
from seatrial.errors import UsageError
from seatrial.reconcile import Look


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


ENDED = a_trial(0, live=an_attempt(0, Phase.EXITED))
FINISH = FinishTrial(trial="s-0", outcome=TrialReason.COMPLETED, reason="Completed", message="")
CREATE = CreateTrials(count=1, reason="SlotsFree", message="")
STOP = StopAttempt(trial="s-1", attempt=0, reason="Stopped", message="")


@pytest.mark.parametrize(
    ("trials", "actions", "waits_for_ends"),
    [
        pytest.param([ENDED, running(1)], [FINISH], True, id="another one runs"),
        pytest.param([ENDED], [FINISH, CREATE], True, id="a new one was started"),
        pytest.param([ENDED], [FINISH], False, id="nothing runs any more: the study is over"),
        pytest.param([ENDED, running(1)], [FINISH, STOP], False, id="more may follow from a stop"),
    ],
)
def test_after_a_pass_that_did_something_the_next_end_is_waited_for_where_nothing_else_can_follow(
    trials, actions, waits_for_ends
):
    plan = Plan(actions=tuple(actions), state=StudyState(reason=StudyReason.RUNNING, message=""))
    look = Look(study=a_study(), snapshot=a_snapshot(*trials), curves={}, plan=plan, moved=True)

    assert (_find_breath(look) > 0.01) is waits_for_ends
