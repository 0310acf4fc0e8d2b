"""The wire models of ``seatrial.dev/v1alpha1`` and what can be said about them without running anything.

Charter: pure. Nothing here reads a clock, a file or a cluster. pydantic lives here and at no deeper layer.
"""
