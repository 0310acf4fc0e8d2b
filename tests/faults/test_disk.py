"""A few faults of a laptop's disk. `make faults` runs all of them."""

from __future__ import annotations

import pytest

from faults.disk import run_disk_plan
from faults.disk_plans import DiskPlan


@pytest.mark.parametrize(
    "text", ["asha:disk-kill@90", "random:disk-torn@9", "random:disk-full@4", "random:two-runners@15"]
)
def test_a_fault_of_the_disk_changes_no_result(text: str):
    result = run_disk_plan(DiskPlan.read(text))

    assert (result.struck, result.violations) == (True, ())
