"""What holds for all tests: one BLAS thread, as in the product, set before NumPy is loaded; Hypothesis without deadlines or chance.

Of several workers one begins with the tests that take long, so that at the end there are short ones left to share.
"""

import pytest
from hypothesis import settings

from seatrial.entry.threads import limit_threads

limit_threads()

# Machines are shared and noisy: how long an example takes says nothing about whether it is right. A change is judged by the same
# examples as the version before it; `make fuzz` looks for new ones.
settings.register_profile("seatrial", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, print_blob=True)
settings.load_profile("seatrial")

# Those on a control plane stay together as long as may be: each worker that has any starts one.
_LONG = ("kind", "cluster", "torch", "prometheus", "browser", "slow")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long tests first where several workers share them, each kind in its own order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: next((rank for rank, mark in enumerate(_LONG) if item.get_closest_marker(mark)), 9))
