from pathlib import Path

import pytest

from harness.scripts import ATrial


@pytest.fixture
def trial(tmp_path: Path) -> ATrial:
    """A trial that runs under Seatrial."""
    return ATrial(folder=tmp_path)


@pytest.fixture
def lonely(tmp_path: Path) -> ATrial:
    """A script that somebody runs by hand."""
    return ATrial(folder=tmp_path, alone=True)
