"""Parallel coordinates: one line a trial through all its parameters to its result.

Drawn from plain lines: plotly's own trace has no place for a parameter that is not active, none for a logarithmic axis, and needs
WebGL. On narrow screens the axes lie one below the other.
"""

from collections.abc import Sequence

from seatrial.report.axes import round_places
from seatrial.report.figures.base import Choice, Extent, Plot, Trace, build_figure, escape, extent_of, jitter
from seatrial.report.palette import LIGHT, RANKS
from seatrial.report.progress import pick_to_draw, rank_groups
from seatrial.report.trials import TrialView
from seatrial.report.view import StudyView
from seatrial.report.words import format_number

__all__ = ["Lines", "layout_lines", "plot_parallel"]

MOST_LINES = 400
MOST_AXES = 10
ABSENT = -0.14
"""Where lines run whose parameter is not active."""


class Lines:
    """Where the lines run: the ends of each axis, its ticks, and the height of each trial on each axis.

    Attributes:
        names: Of the axes; the last one is the objective.
        ticks: (height, label) for each axis.
        groups: (name, colour, width, trials) from the others to the winner, in the order of drawing.
    """

    def __init__(self, view: StudyView) -> None:
        self.axes = view.varying[:MOST_AXES]
        seen = [trial for trial in view.trials if trial.has_result]
        self.drawn = pick_to_draw(seen, MOST_LINES)
        self.total = len(seen)
        self.extent = extent_of((trial.values[0] for trial in self.drawn), maximised=view.maximised)
        self.names = (*(axis.name for axis in self.axes), view.objectives[0].metric)
        self.ticks = (
            *(tuple((tick.unit, tick.label) for tick in axis.ticks) for axis in self.axes),
            _value_ticks(self.extent),
        )
        self.conditional = any(axis.parameter.when for axis in self.axes)
        winner = [view.winner] if view.winner is not None else []
        best, good, fair, others = rank_groups(self.drawn)
        self.groups = tuple(
            (name, color, width, members)
            for name, color, width, members in (
                ("the rest", RANKS[3], 0.8, others),
                ("top 50 %", RANKS[2], 1.0, fair),
                ("top 25 %", RANKS[1], 1.4, good),
                ("top 10 %", RANKS[0], 1.9, best),
                ("winner", LIGHT["gold"], 2.8, winner),
            )
            if members
        )

    def heights(self, trial: TrialView) -> list[float]:
        """Return the trial's height on each axis, the result last."""
        found = []
        for axis in self.axes:
            unit = axis.unit(trial.assignment.get(axis.name))
            if unit is not None and not axis.numeric:
                unit += jitter(trial.index, 0.35 / (axis.parameter.levels or 1))
            found.append(ABSENT if unit is None else unit)
        return [*found, self.extent.unit(trial.values[0] or 0.0)]


def layout_lines(view: StudyView) -> Lines | None:
    """Return where the lines run, None when there is nothing to draw."""
    lines = Lines(view)
    return lines if lines.axes and lines.drawn else None


def plot_parallel(view: StudyView) -> Plot | None:
    """Return parallel coordinates, None without results or without a parameter that varies."""
    lines = layout_lines(view)
    if lines is None:
        return None
    notes = []
    if len(lines.drawn) < lines.total:
        notes.append(
            f"{len(lines.drawn)} of {lines.total:,} trials are drawn: the best, and the others evenly spaced by index."
        )
    if len(view.varying) > len(lines.axes):
        notes.append(
            f"The first {len(lines.axes)} of {len(view.varying)} parameters are drawn, the most important ones where that is known."
        )
    absent = " A line that runs along the edge has no such parameter." if lines.conditional else ""
    return Plot(
        key="parallel",
        title="All parameters together",
        aid=f"One line a trial from parameter to parameter to its result; where the strong lines bundle, good trials agree. Tap a name in the legend to hide or show its lines.{absent}",
        choices=(Choice(label="", wide=_figure(lines, upright=False), tall=_figure(lines, upright=True)),),
        notes=tuple(notes),
    )


def _figure(lines: Lines, *, upright: bool) -> Trace:
    places = list(range(len(lines.names)))
    traces = [_trace(lines, *group, upright=upright) for group in lines.groups]
    along: Trace = {
        "range": [-0.3, len(places) - 0.7] if not upright else [len(places) - 0.6, -0.45],
        "visible": False,
        "fixedrange": True,
    }
    value: Trace = {
        "range": [ABSENT - 0.06, 1.06] if lines.conditional else [-0.06, 1.06],
        "visible": False,
        "fixedrange": True,
    }
    return dict(
        build_figure(
            traces,
            height=440 if not upright else 90 + 92 * len(places),
            xaxis=value if upright else along,
            yaxis=along if upright else value,
            shapes=[_rail(place, upright=upright) for place in places],
            annotations=[label for place in places for label in _labels(lines, place, upright=upright)],
            margin={"l": 12, "r": 12, "t": 40 if not upright else 12, "b": 12},
            legend={"orientation": "h", "x": 0, "y": -0.02, "xanchor": "left", "yanchor": "top"},
        )
    )


def _trace(lines: Lines, name: str, color: str, width: float, members: Sequence[TrialView], *, upright: bool) -> Trace:
    along: list[float | None] = []
    heights: list[float | None] = []
    ids: list[int | None] = []
    for trial in members:
        found = lines.heights(trial)
        along += [*range(len(found)), None]
        heights += [*found, None]
        ids += [trial.index] * (len(found) + 1)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": heights if upright else along,
        "y": along if upright else heights,
        "customdata": ids,
        "line": {"color": color, "width": width},
        "opacity": 0.9,
        "hovertemplate": f"trial %{{customdata}}, {name}<extra></extra>",
    }


def _rail(place: int, *, upright: bool) -> Trace:
    line = {"color": LIGHT["soft"], "width": 1}
    if upright:
        return {"type": "line", "x0": 0, "x1": 1, "y0": place, "y1": place, "line": line}
    return {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "line": line}


def _labels(lines: Lines, place: int, *, upright: bool) -> list[Trace]:
    """Return the name of an axis and its ticks."""
    name = {"text": f"<b>{escape(_cut(lines.names[place]))}</b>", "showarrow": False, "font": {"size": 12}}
    if upright:
        found = [name | {"x": 0, "y": place, "xanchor": "left", "yanchor": "bottom", "yshift": 12}]
        shown = _thinned(lines.ticks[place], 0.17)
        return found + [_tick(label) | {"x": at, "y": place, "yanchor": "top", "yshift": -3} for at, label in shown]
    found = [name | {"x": place, "y": 1.06, "xanchor": "center", "yanchor": "bottom"}]
    shown = _thinned(lines.ticks[place], 0.055)
    return found + [_tick(label) | {"x": place, "y": at, "xanchor": "left", "xshift": 4} for at, label in shown]


def _tick(label: str) -> Trace:
    return {
        "text": escape(_cut(label)),
        "showarrow": False,
        "font": {"size": 10},
        "bgcolor": LIGHT["card"],
        "opacity": 0.82,
        "borderpad": 1,
    }


def _thinned(ticks: Sequence[tuple[float, str]], gap: float) -> list[tuple[float, str]]:
    """Return the ticks that are at least *gap* apart; the first and the last stay."""
    kept: list[tuple[float, str]] = []
    for at, label in ticks:
        if not kept or at - kept[-1][0] >= gap:
            kept.append((at, label))
    if kept and kept[-1] != ticks[-1]:
        kept = [*(tick for tick in kept if ticks[-1][0] - tick[0] >= gap), ticks[-1]]
    return kept


def _value_ticks(extent: Extent) -> tuple[tuple[float, str], ...]:
    """Return round values within the range, each with its height."""
    if extent.log:
        values = [extent.low * (extent.high / extent.low) ** (i / 4) for i in range(5)]
    else:
        values = round_places(extent.low, extent.high)
    return tuple((extent.unit(value), format_number(value, digits=3)) for value in values)


def _cut(text: str, limit: int = 16) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
