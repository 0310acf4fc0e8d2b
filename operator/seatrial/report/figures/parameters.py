"""Figures of the parameters: importances, slices, contour."""

import statistics
from collections.abc import Sequence
from itertools import combinations

from seatrial.api.conditions import TrialReason
from seatrial.report.axes import Axis
from seatrial.report.figures.base import (
    Choice,
    Extent,
    Plot,
    Trace,
    axis_layout,
    build_figure,
    escape,
    extent_of,
    jitter,
    marks,
    star,
    state_groups,
)
from seatrial.report.importance import Importances
from seatrial.report.palette import LIGHT, SEQUENCE
from seatrial.report.progress import pick_to_draw
from seatrial.report.surface import Surface, build_surface
from seatrial.report.trials import TrialView
from seatrial.report.view import StudyView
from seatrial.report.words import format_percent

__all__ = ["plot_contour", "plot_importances", "plot_slices"]

MOST_MARKS = 600
_MOST_BARS = 20
_MOST_SLICE_MARKS = 16_000
_CONTOUR_PARAMETERS = 5


def plot_importances(view: StudyView) -> Plot | None:
    """Return the share of each parameter, None while nothing can be said."""
    known = [(o, i) for o, i in zip(view.objectives, view.importances, strict=True) if i.entries]
    if not known:
        return None
    choices = [Choice(label=objective.metric, wide=_bars(found)) for objective, found in known]
    first = known[0][1]
    notes = [found.warning for _, found in known[:1] if found.warning]
    if any(trial.state in {TrialReason.STOPPED, TrialReason.DIVERGED} for trial in view.trials):
        notes.append(
            "Stopped trials count with the value that they had reached, diverged ones as the worst; failed ones are left out."
        )
    if len(first.entries) > _MOST_BARS:
        notes.append(f"The {_MOST_BARS} most important of {len(first.entries)} parameters are drawn.")
    return Plot(
        key="importances",
        title="What matters",
        aid=f"How much of the difference between results comes from each parameter alone, by functional ANOVA on {first.trials} trials; whiskers show how far the share moves when the trials are drawn again. The model predicts {format_percent(max(0.0, first.explained))} of the variance of trials that it was not shown.",
        choices=tuple(choices),
        notes=tuple(notes),
    )


def _bars(found: Importances) -> Trace:
    entries = [*found.entries[:_MOST_BARS]]
    names = [escape(entry.name) for entry in entries]
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "name": "alone",
        "y": names,
        "x": [entry.share for entry in entries],
        "error_x": {
            "type": "data",
            "array": [entry.spread for entry in entries],
            "thickness": 1.2,
            "width": 3,
            "color": LIGHT["soft"],
        },
        "marker": {"color": LIGHT["completed"]},
        "hovertemplate": "%{y}: %{x:.1%} ± %{error_x.array:.1%}<extra></extra>",
    }
    together: Trace = {
        "type": "bar",
        "orientation": "h",
        "y": ["several together"],
        "x": [found.together],
        "marker": {"color": LIGHT["cancelled"]},
        "hovertemplate": "joint effects: %{x:.1%}<extra></extra>",
    }
    return dict(
        build_figure(
            [bars, together],
            height=90 + 30 * (len(entries) + 1),
            xaxis={
                "tickformat": ".0%",
                "range": [0, min(1.0, 1.15 * max(e.share + e.spread for e in entries) + 0.02)],
                "title": {"text": "share of the variance"},
            },
            yaxis={"autorange": "reversed", "automargin": True, "ticksuffix": " ", "showgrid": False},
            showlegend=False,
            margin={"l": 8, "r": 16, "t": 30, "b": 48},
        )
    )


def plot_slices(view: StudyView) -> tuple[Plot, ...]:
    """Return the first objective over each parameter that varies, most important first; empty while no trial has a result."""
    seen = [trial for trial in view.trials if trial.has_result]
    if not seen or not view.varying:
        return ()
    limit = max(100, min(MOST_MARKS, _MOST_SLICE_MARKS // len(view.varying)))
    drawn = pick_to_draw(seen, limit)
    extent = extent_of((trial.values[0] for trial in drawn), maximised=view.maximised)
    return tuple(
        Plot(
            key=f"slice-{place}",
            title=axis.name,
            aid=axis.words,
            choices=(Choice(label="", wide=_slice(view, axis, drawn, extent)),),
        )
        for place, axis in enumerate(view.varying)
    )


def _slice(view: StudyView, axis: Axis, drawn: Sequence[TrialView], extent: Extent) -> Trace:
    active = [(trial, place) for trial in drawn if (place := axis.place(trial.assignment.get(axis.name))) is not None]
    where = {trial.index: place if axis.numeric else place + jitter(trial.index, 0.5) for trial, place in active}
    traces = [
        marks(
            state,
            [where[trial.index] for trial in group],
            [value for trial in group if (value := trial.values[0]) is not None],
            group,
            hovertemplate="trial %{customdata}<br>%{y:.5~g}<extra></extra>",
        )
        for state, group in state_groups([trial for trial, _ in active])
    ]
    for trace in traces:
        trace["marker"] |= {"size": 6, "opacity": 0.7}
    if not axis.numeric:
        traces.append(_medians(axis, active))
    winner = view.winner
    if winner is not None and winner.index in where and winner.values[0] is not None:
        traces.append(star(where[winner.index], winner.values[0], winner))
    return dict(
        build_figure(
            traces,
            height=250,
            xaxis=axis_layout(axis) | {"title": {"text": ""}},
            yaxis={"title": {"text": ""}, **extent.layout},
            showlegend=False,
            margin={"l": 44, "r": 10, "t": 8, "b": 34},
        )
    )


def _medians(axis: Axis, active: Sequence[tuple[TrialView, float]]) -> Trace:
    """Return a short bar at the median of each choice."""
    x: list[float | None] = []
    y: list[float | None] = []
    for tick in axis.ticks:
        values = [value for trial, place in active if place == tick.place and (value := trial.values[0]) is not None]
        if values:
            middle = statistics.median(values)
            x += [tick.place - 0.36, tick.place + 0.36, None]
            y += [middle, middle, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "median",
        "x": x,
        "y": y,
        "line": {"color": LIGHT["ink"], "width": 2},
        "hovertemplate": "median %{y:.5~g}<extra></extra>",
    }


def plot_contour(view: StudyView) -> Plot | None:
    """Return the first objective over pairs of the most important numbers, None when there is no pair with enough trials."""
    seen = [trial for trial in view.trials if trial.has_result]
    # A parameter that few trials have would be a map of little: it comes after the others.
    numbers = sorted(
        (axis for axis in view.varying if axis.numeric),
        key=lambda axis: sum(axis.name in trial.assignment for trial in seen) < 0.5 * len(seen),
    )[:_CONTOUR_PARAMETERS]
    choices = []
    for across, up in combinations(numbers, 2):
        surface = build_surface(across, up, seen, maximised=view.maximised)
        if surface is not None:
            choices.append(Choice(label=f"{across.name} and {up.name}", wide=_contour(view, surface, seen)))
    if not choices:
        return None
    return Plot(
        key="contour",
        title="Two parameters together",
        aid=f"Mean {view.objectives[0].metric} of the trials nearby, the stronger the better; dots are trials, and where none is near nothing is claimed.",
        choices=tuple(choices),
    )


def _contour(view: StudyView, surface: Surface, seen: Sequence[TrialView]) -> Trace:
    shades = SEQUENCE if view.maximised else tuple(reversed(SEQUENCE))
    drawn = pick_to_draw(seen, MOST_MARKS // 2)
    places = [
        (trial, x, y)
        for trial in drawn
        if (x := surface.across.place(trial.assignment.get(surface.across.name))) is not None
        and (y := surface.up.place(trial.assignment.get(surface.up.name))) is not None
    ]
    traces: list[Trace] = [
        {
            "type": "contour",
            "x": list(surface.x),
            "y": list(surface.y),
            "z": surface.z.tolist(),
            "colorscale": [[i / (len(shades) - 1), shade] for i, shade in enumerate(shades)],
            "contours": {"coloring": "heatmap", "showlines": True},
            "line": {"width": 0.6, "color": LIGHT["card"], "smoothing": 0.9},
            "ncontours": 12,
            "colorbar": {"thickness": 10, "outlinewidth": 0, "title": {"text": ""}, "len": 0.95},
            "hovertemplate": f"{escape(surface.across.name)} %{{x:.3~g}}<br>{escape(surface.up.name)} %{{y:.3~g}}<br>mean %{{z:.5~g}}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": [x for _, x, _ in places],
            "y": [y for _, _, y in places],
            "customdata": [trial.index for trial, _, _ in places],
            "text": [f"{trial.values[0]:.5g}" for trial, _, _ in places],
            "marker": {
                "size": 5,
                "color": LIGHT["ink"],
                "opacity": 0.75,
                "line": {"width": 0.7, "color": LIGHT["card"]},
            },
            "hovertemplate": "trial %{customdata}<br>%{text}<extra></extra>",
        },
    ]
    winner = view.winner
    if winner is not None:
        at = [axis.place(winner.assignment.get(axis.name)) for axis in (surface.across, surface.up)]
        if at[0] is not None and at[1] is not None:
            traces.append(star(at[0], at[1], winner) | {"hovertemplate": "trial %{customdata}, winner<extra></extra>"})
    return dict(
        build_figure(
            traces,
            height=440,
            xaxis=axis_layout(surface.across),
            yaxis=axis_layout(surface.up),
            showlegend=False,
            margin={"l": 64, "r": 8, "t": 12, "b": 48},
        )
    )
