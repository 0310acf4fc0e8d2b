"""That the sweep over all tiers says when one of them did not end well, and publishes nothing of less than all."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from faults import campaign
from faults.disk_plans import DiskPlan
from faults.table import Figures, Row


class Ended:
    """A sweep of one tier that has ended."""

    codes: list[int]

    def __init__(self, _command: list[str]) -> None:
        self.code = self.codes.pop()

    def wait(self) -> int:
        return self.code


@pytest.mark.parametrize(
    ("codes", "failed"),
    [([0, 0, 0], False), ([0, 1, 0], True), ([0, -9, 0], True)],
    ids=["all is well", "something is violated", "one tier was killed"],
)
def test_a_tier_that_did_not_end_well_fails_the_sweep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, codes: list[int], failed: bool
) -> None:
    monkeypatch.setattr(campaign.subprocess, "Popen", type("Sweep", (Ended,), {"codes": [*codes]}))
    given = argparse.Namespace(minutes=0, seed=1, workers=1, results=tmp_path, memory_minutes=0)

    assert campaign._sweep_all(given) is failed
    assert campaign.subprocess.Popen.codes == []


def figures(tier: str, *, seed: int = 1, cut: bool = False) -> Figures:
    return Figures(seed=seed, cut=cut, rows=[Row(tier=tier, mode="conflict", case="grid", runs=7)])


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A page with figures of an earlier sweep."""
    found = tmp_path / "reliability.md"
    found.write_text("before\n<!-- begin: figures -->\nold\n<!-- end: figures -->\nafter\n")
    monkeypatch.setattr(campaign, "_PAGE", found)
    return found


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the figures of all tiers, of an earlier sweep of the same seed; the next one of memory ends well."""
    folder = tmp_path / "results"
    folder.mkdir()
    for tier in campaign._TIERS:
        figures(tier).save(folder / f"{tier}.json")
    monkeypatch.setattr(campaign, "_sweep", lambda tier, given: figures(tier, seed=given.seed))
    return folder


def test_a_sweep_that_ended_is_published(page: Path, results: Path) -> None:
    figures("disk", cut=True).save(results / "disk.json")

    assert campaign.main(["--tier", "memory", "--write", "--results", str(results)]) == 0

    text = page.read_text()
    assert (text[:7], text[-6:], "old" in text) == ("before\n", "after\n", False)
    memory, _, disk = text.partition("### Laptop")
    assert "7 runs with 0 SIGKILLs; 0 with a violation.\n" in memory
    assert "A sample" not in memory
    assert "7 runs with 0 SIGKILLs; 0 with a violation. A sample: the time was over before the plans were.\n" in disk


def test_a_tier_that_died_is_named_and_nothing_is_published(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], page: Path, results: Path
) -> None:
    class Sweep(Ended):
        """All tiers keep their figures but the one that is killed."""

        codes = [0, -9, 0]  # noqa: RUF012 - as the class above has it

        def __init__(self, command: list[str]) -> None:
            super().__init__(command)
            if self.code == 0:
                figures(command[-1]).save(results / f"{command[-1]}.json")

    monkeypatch.setattr(campaign.subprocess, "Popen", Sweep)
    before = page.read_text()

    assert campaign.main(["--write", "--results", str(results)]) == 1

    assert page.read_text() == before
    assert "reliability.md stays as it was: real was not swept to its end" in capsys.readouterr().out


def test_a_tier_that_breaks_leaves_no_figures_of_an_earlier_sweep(
    monkeypatch: pytest.MonkeyPatch, results: Path
) -> None:
    def broken(tier: str, given: argparse.Namespace) -> Figures:
        raise MemoryError(f"{tier}, seed {given.seed}")

    monkeypatch.setattr(campaign, "_sweep", broken)

    with pytest.raises(MemoryError):
        campaign.main(["--tier", "disk", "--write", "--results", str(results)])

    assert not (results / "disk.json").exists()


def test_tiers_of_several_seeds_are_no_table(capsys: pytest.CaptureFixture[str], page: Path, results: Path) -> None:
    before = page.read_text()

    assert campaign.main(["--tier", "memory", "--seed", "2", "--write", "--results", str(results)]) == 1

    assert page.read_text() == before
    assert "real has seed 1, not 2; disk has seed 1, not 2" in capsys.readouterr().out


@pytest.mark.parametrize(("minutes", "cut"), [(0, False), (1e-9, True)])
def test_a_tier_knows_whether_its_time_sufficed(minutes: float, cut: bool) -> None:
    plans = campaign._Until(iter([DiskPlan(case="grid", mode="disk-full", at=1)] * 2), minutes)

    found = list(plans)

    assert (plans.cut, len(found)) == (cut, 0 if cut else 2)
