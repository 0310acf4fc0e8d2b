"""What a population does between two stretches of training: who takes over whom, and how what is taken over changes.

Pure functions over outcomes and a random generator; when they are asked is the business of :mod:`seatrial.search.algorithms.pbt`.
"""
