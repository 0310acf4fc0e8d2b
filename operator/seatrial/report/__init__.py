"""The study's report: one HTML file that opens anywhere without a network, and the main plots as PNG.

``build_view`` computes, ``render_html`` and ``write_png`` draw. Importing this package loads neither plotly nor matplotlib.
"""

from seatrial.report.page import render_html
from seatrial.report.png import write_png
from seatrial.report.view import StudyView, build_view

__all__ = ["StudyView", "build_view", "render_html", "write_png"]
