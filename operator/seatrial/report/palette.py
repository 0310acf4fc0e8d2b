"""The colours of the report by what they mean, in a light and a dark version.

Figures are built in the light colours; the page swaps each for its dark partner. The better a trial, the stronger its colour: pale
is poor in both versions. States differ in lightness as well as in hue, and in their marks, so that colour is never alone.
"""

from seatrial.api.conditions import TrialReason

__all__ = ["DARK", "LIGHT", "RANKS", "SEQUENCE", "STATES", "SYMBOLS"]

LIGHT: dict[str, str] = {
    "page": "#f4f6f8",
    "card": "#ffffff",
    "ink": "#13212f",
    "soft": "#566676",
    "line": "#dde3e9",
    "grid": "#e8edf1",
    "accent": "#0b6e7f",
    "gold": "#d9480f",
    "completed": "#0b7285",
    "stopped": "#e08e0b",
    "failed": "#c92a2b",
    "diverged": "#8e3fbf",
    "infeasible": "#8a5a44",
    "cancelled": "#98a4b0",
    "running": "#1c7ed7",
    "reused": "#63b3a6",
    "pending": "#b9c3cc",
    "rank0": "#0a5a69",
    "rank1": "#3a96a3",
    "rank2": "#92c3ca",
    "rank3": "#c3ccd4",
    "seq0": "#e9eef2",
    "seq1": "#c2d9de",
    "seq2": "#8fc0c9",
    "seq3": "#529fac",
    "seq4": "#1f7887",
    "seq5": "#074450",
}

DARK: dict[str, str] = {
    "page": "#0d151d",
    "card": "#152029",
    "ink": "#e6edf3",
    "soft": "#9aabba",
    "line": "#283743",
    "grid": "#22303b",
    "accent": "#4cc9d9",
    "gold": "#ff9f57",
    "completed": "#35b6c8",
    "stopped": "#f2b233",
    "failed": "#ff6b6b",
    "diverged": "#c58af0",
    "infeasible": "#c49a84",
    "cancelled": "#6d7c89",
    "running": "#5aa9f5",
    "reused": "#7fd1c3",
    "pending": "#4d5c69",
    "rank0": "#5ee6f2",
    "rank1": "#2fa3b3",
    "rank2": "#2c6470",
    "rank3": "#3a4753",
    "seq0": "#1d2a34",
    "seq1": "#224552",
    "seq2": "#276775",
    "seq3": "#2f8f9f",
    "seq4": "#45bfcf",
    "seq5": "#9df3fb",
}

SEQUENCE: tuple[str, ...] = tuple(LIGHT[f"seq{i}"] for i in range(6))
"""From poor to good."""

RANKS: tuple[str, ...] = tuple(LIGHT[f"rank{i}"] for i in range(4))
"""From the best group of trials to the rest."""

STATES: dict[TrialReason, str] = {
    TrialReason.PENDING: LIGHT["pending"],
    TrialReason.RUNNING: LIGHT["running"],
    TrialReason.STOPPING: LIGHT["running"],
    TrialReason.PAUSED: LIGHT["pending"],
    TrialReason.COMPLETED: LIGHT["completed"],
    TrialReason.STOPPED: LIGHT["stopped"],
    TrialReason.REUSED: LIGHT["reused"],
    TrialReason.FAILED: LIGHT["failed"],
    TrialReason.DIVERGED: LIGHT["diverged"],
    TrialReason.INFEASIBLE: LIGHT["infeasible"],
    TrialReason.CANCELLED: LIGHT["cancelled"],
}

SYMBOLS: dict[TrialReason, str] = {
    TrialReason.PENDING: "circle-open",
    TrialReason.RUNNING: "circle-open",
    TrialReason.STOPPING: "circle-open",
    TrialReason.PAUSED: "triangle-down-open",
    TrialReason.COMPLETED: "circle",
    TrialReason.STOPPED: "triangle-down",
    TrialReason.REUSED: "diamond",
    TrialReason.FAILED: "x",
    TrialReason.DIVERGED: "x",
    TrialReason.INFEASIBLE: "square-x",
    TrialReason.CANCELLED: "line-ew",
}
"""Marks by state, in plotly's names."""
