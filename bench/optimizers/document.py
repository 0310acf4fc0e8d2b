"""The measured part of a document: everything between two marks is replaced by fresh tables."""

import contextlib
import io
import platform
from argparse import Namespace
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import tables
from suite import Run, Suite

BEGIN, END = "<!-- search quality: begin -->", "<!-- search quality: end -->"
BATCHES = (1, 8)
_PACKAGES = ("numpy", "scipy", "optuna", "scikit-learn", "coco-experiment")

__all__ = ["rewrite"]


def rewrite(path: Path, suite: Suite, own: Sequence[Run], options: Namespace) -> None:
    """Replace the marked part of *path* by the tables of one at a time and of batches.

    Raises:
        ValueError: If the marks are missing.
    """
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path} must contain {BEGIN} and {END}")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    path.write_text(head + BEGIN + "\n" + _machine() + _tables(suite, own, options) + "\n" + END + tail)


def _machine() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"\nPython {platform.python_version()} on {platform.system()} {platform.machine()}; {versions}; one BLAS thread.\n"


def _tables(suite: Suite, own: Sequence[Run], options: Namespace) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for batch in BATCHES:
            asked = {**vars(options), "batch": batch, "markdown": True}
            ran = {run.seed for run in own if run.batch == batch}
            if ran:
                tables.report(suite, own, Namespace(**asked))
    return out.getvalue()
