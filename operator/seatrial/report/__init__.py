"""The study's report: one HTML file that opens anywhere without a network, and the main plots as PNG.

``build_view`` computes, ``render_html`` and ``write_png`` draw. Importing this package loads none of them: most commands want only
the words in it, and the modules of the plots take longer to load than such a command takes to run.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seatrial.report.page import render_html
    from seatrial.report.png import write_png
    from seatrial.report.view import StudyView, build_view

__all__ = ["StudyView", "build_view", "render_html", "write_png"]

_PLACES = {"StudyView": "view", "build_view": "view", "render_html": "page", "write_png": "png"}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = found
    return found
