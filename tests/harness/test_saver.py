"""How often a loop is saved: what all saving costs is half a percent of the training, rungs included."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from seatrial_harness import saver as module
from seatrial_harness.notices import Notices
from seatrial_harness.saver import Saver
from seatrial_harness.surroundings import Surroundings

COST = 0.25
STEP = 1.0


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Train steps of a second, whose saves take a quarter of one; give the steps that were saved."""
    time = SimpleNamespace(now=0.0)

    def write_state(folder: Path, state: Mapping[str, object]) -> Mapping[str, str]:
        time.now += COST
        (folder / "state").write_text(str(state))
        return {}

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: time.now, time=lambda: time.now))
    monkeypatch.setattr(module, "write_state", write_state)
    monkeypatch.setattr(module, "_rehearse", lambda _: None)

    def run(steps: int, rungs: frozenset[int]) -> list[int]:
        surroundings = Surroundings(checkpoint_dir=str(tmp_path / "checkpoints"), rungs=rungs)
        saver = Saver(surroundings, Notices(), quiet=False, before=dict)
        saved = []
        for step in range(1, steps + 1):
            saver.forget()
            time.now += STEP
            if saver.offer(step, 1, {"step": step}) is not None:
                saved.append(step)
        return saved

    return run


def test_a_save_is_due_again_when_the_last_one_has_cost_half_a_percent(train):
    # The pause is 200 times a quarter of a second, 50 s.
    assert train(160, frozenset()) == [1, 51, 101, 151]


def test_saves_at_rungs_are_never_put_off_and_put_off_others(train):
    # Four saves are paid for after 200 s; a pause is never longer than a minute.
    assert train(160, frozenset({2, 4, 8})) == [1, 2, 4, 8, 68, 128]
