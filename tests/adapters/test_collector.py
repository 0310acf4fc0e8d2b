"""A laptop removes the checkpoints that need not stay, and nothing else."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from seatrial.adapters.local.collector import Collector, Freed
from seatrial.api.load import parse_study
from seatrial.decide.retention import Need, Needed, Ref
from seatrial.entry.session import RunOptions, open_study, run_study
from seatrial_harness.checkpoints import CheckpointStore, read_checkpoint
from seatrial_harness.directory import DirectoryPlace
from seatrial_harness.manifest import Mark

pytestmark = pytest.mark.slow


def save(trial: Path, *steps: int, attempt: int = 0) -> None:
    store = CheckpointStore(DirectoryPlace(trial), attempt, lambda: 0.0)
    for step in steps:
        folder = store.begin(step)
        (folder / "weights").write_text("w" * 1000 * step)
        store.commit(folder, step)


def needed(*ended: int, keep: tuple[Ref, ...] = ()) -> Needed:
    return Needed(ended=frozenset(ended), keep=dict.fromkeys(keep, Need.BEST))


def there(root: Path, index: int) -> list[Mark]:
    return DirectoryPlace(root / f"s-{index}").marks()


def test_of_ended_trials_only_what_must_stay_does(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / f"s-{index}", 1, 9)
        save(tmp_path / f"s-{index}", 12, attempt=1)
    (tmp_path / "s-0/0/.step-3.77.tmp").mkdir()
    (tmp_path / "s-1/notes.txt").write_text("of the user")
    collector = Collector(tmp_path, "s")

    freed = collector.collect(needed(0, 1, 7, keep=(Ref(1, 0, 9), Ref(2, 0, 9))))

    assert (there(tmp_path, 0), (tmp_path / "s-0").exists()) == ([], False)
    assert there(tmp_path, 1) == [Mark(9, 0)]
    assert (tmp_path / "s-1/notes.txt").read_text() == "of the user"
    assert there(tmp_path, 2) == [Mark(12, 1), Mark(9, 0), Mark(1, 0)]
    assert freed.checkpoints == 5
    # Of the first trial all weights, of the second those of steps 1 and 12, and five manifests.
    assert 35_000 < freed.size < 38_000
    assert read_checkpoint(tmp_path / "s-1/0/step-9").step == 9


def test_what_was_kept_goes_when_it_is_not_needed_any_more_and_only_then(tmp_path: Path) -> None:
    save(tmp_path / "s-0", 9)
    collector = Collector(tmp_path, "s")

    first = [collector.collect(needed(0, keep=(Ref(0, 0, 9),))) for _ in range(2)]
    last = collector.collect(needed(0))

    assert first == [Freed(), Freed()]
    assert last.checkpoints == 1


def test_one_that_cannot_be_removed_keeps_no_other_from_it(tmp_path: Path) -> None:
    save(tmp_path / "s-0", 9)
    save(tmp_path / "s-1", 9)
    (tmp_path / "s-0/0/step-9/manifest.json").unlink()
    (tmp_path / "s-0/0/step-9/manifest.json").mkdir()

    freed = Collector(tmp_path, "s").collect(needed(0, 1))

    assert freed.checkpoints == 1
    assert (tmp_path / "s-0/0/step-9/weights").exists()
    assert there(tmp_path, 1) == []


_TRAINER = """
    import seatrial_harness as seatrial
    trial = seatrial.start()
    for epoch in trial.steps(4):
        trial.report(epoch, loss=trial.x + 1 / epoch)
        trial.save(epoch=epoch, weights=[0.5] * 1000, now=True)
"""


class Notes:
    """Listens to what a session says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def on_look(self, *_: object) -> None:
        """Nothing to see."""

    def on_action(self, *_: object) -> None:
        """Nothing to see."""

    def on_note(self, text: str) -> None:
        """Remember it."""
        self.said.append(text)


@pytest.mark.parametrize(
    ("best", "left"),
    [pytest.param("", {0, 1, 2, 3}, id="all"), pytest.param("checkpoints: {keepBest: 1}", None, id="1")],
)
def test_a_study_keeps_the_checkpoints_that_its_specification_wants_and_says_what_it_freed(
    tmp_path: Path, best: str, left: set[int] | None
) -> None:
    (tmp_path / "train.py").write_text(dedent(_TRAINER))
    text = f"""
        apiVersion: seatrial.dev/v1alpha1
        kind: Study
        metadata: {{name: s}}
        spec:
          objectives: [{{metric: loss, goal: minimize}}]
          parameters: [{{name: x, type: float, min: 0, max: 1}}]
          algorithm: {{name: sobol}}
          budget: {{maxTrials: 4, parallelTrials: 2}}
          steps: {{unit: epoch, max: 4}}
          trial:
            {best}
            template: {{spec: {{containers: [{{name: main, command: ["{sys.executable}", train.py]}}]}}}}
    """
    notes = Notes()
    study = parse_study(dedent(text).encode(), source="study.yaml").study

    run_study(study, RunOptions(directory=tmp_path / "state", workdir=tmp_path), notes)

    opened = open_study(tmp_path / "state")
    assert opened.study.status is not None
    assert opened.study.status.best is not None
    winner = opened.study.status.best
    root = tmp_path / "state/checkpoints"
    found = {index: there(root, index) for index in range(4) if there(root, index)}
    assert found == {index: [Mark(4, 0)] for index in left or {winner.index}}
    assert winner.checkpoint == "0/step-4"
    assert read_checkpoint(root / winner.trial / winner.checkpoint).step == 4
    [told] = [note for note in notes.said if "checkpoints that nothing needs" in note]
    assert told.startswith(f"removed {4 if left else 7} checkpoints")
