"""What holds for all tests: one BLAS thread, as in the product, set before NumPy is loaded; Hypothesis without deadlines."""

from hypothesis import settings

from seatrial.entry.threads import limit_threads

limit_threads()

# Machines are shared and noisy: how long an example takes says nothing about whether it is right.
settings.register_profile("seatrial", deadline=None)
settings.load_profile("seatrial")
