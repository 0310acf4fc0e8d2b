"""Settings of this folder's tests."""

import os

# Small matrices gain nothing from threads, and on a busy machine the threads wait for each other. Has to come before NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import settings

# A machine under load is slow, not wrong: no example has a deadline.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
