"""The figures of the report, one function each: a view in, a plot with its words out."""

from seatrial.report.figures.base import Choice, Plot
from seatrial.report.figures.curves import plot_curves
from seatrial.report.figures.lineage import plot_schedule, plot_tree
from seatrial.report.figures.parallel import plot_parallel
from seatrial.report.figures.parameters import plot_contour, plot_importances, plot_slices
from seatrial.report.figures.search import plot_best, plot_hypervolume, plot_pareto
from seatrial.report.figures.timeline import plot_timeline

__all__ = [
    "Choice",
    "Plot",
    "plot_best",
    "plot_contour",
    "plot_curves",
    "plot_hypervolume",
    "plot_importances",
    "plot_parallel",
    "plot_pareto",
    "plot_schedule",
    "plot_slices",
    "plot_timeline",
    "plot_tree",
]
