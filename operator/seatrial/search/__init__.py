"""The search space and the algorithms that suggest assignments in it.

Charter: pure and synchronous. Everything is minimised. Chance comes in as a seed; the same history gives the same suggestion.
"""
