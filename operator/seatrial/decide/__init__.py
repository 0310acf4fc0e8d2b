"""From what is (a snapshot) to what should be done (actions as values, each with a reason).

Charter: pure and synchronous. No clock, no I/O: the time comes in with the snapshot. Planning the same snapshot twice gives the same plan.
"""
