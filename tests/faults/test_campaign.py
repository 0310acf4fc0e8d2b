"""That the sweep over all tiers says when one of them did not end well."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from faults import campaign


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
