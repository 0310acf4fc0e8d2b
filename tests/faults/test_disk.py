"""A few faults of a laptop's disk. `make faults` runs all of them."""

from __future__ import annotations

import pytest

from faults.disk import DiskPlan, run_disk_plan


@pytest.mark.parametrize(
    "text", ["random:disk-kill@20", "random:disk-torn@9", "random:disk-full@12", "random:two-runners@15"]
)
def test_a_fault_of_the_disk_changes_no_result(text: str):
    _, violations = run_disk_plan(DiskPlan.read(text))

    assert violations == ()
