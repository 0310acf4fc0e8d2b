"""Figures of the search itself: best so far, Pareto front, hypervolume."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from seatrial.api.study import Goal
from seatrial.report.figures.base import (
    Choice,
    Extent,
    Plot,
    Trace,
    build_figure,
    drawn_note,
    escape,
    extent_of,
    marks,
    star,
    state_groups,
    with_close_up,
)
from seatrial.report.palette import LIGHT
from seatrial.report.progress import finished_order, pick_to_draw
from seatrial.report.trials import TrialView
from seatrial.report.view import StudyView
from seatrial.report.words import format_number, plural

__all__ = ["plot_best", "plot_hypervolume", "plot_pareto"]

MOST_MARKS = 2000

_HOVER = "trial %{customdata}<br>%{y:.5~g}"


def plot_best(view: StudyView) -> Plot | None:
    """Return the first objective by the number of trials finished, None while none has a result."""
    order = finished_order(view.trials)
    place = {trial.index: i for i, trial in enumerate(order, 1)}
    drawn = pick_to_draw(order, MOST_MARKS)
    seen = [trial for trial in drawn if trial.has_result]
    if not seen:
        return None
    extent = extent_of((trial.values[0] for trial in seen), maximised=view.maximised)
    traces = [
        marks(state, [place[t.index] for t in group], _first(group), group, hovertemplate=_HOVER + "<extra></extra>")
        for state, group in state_groups(seen)
    ]
    traces.append(_stairs([(s.place, s.value) for s in view.improvements], len(order), "best so far"))
    if view.winner is not None and view.winner.values[0] is not None:
        traces.append(star(place[view.winner.index], view.winner.values[0], view.winner))
    without = [trial for trial in drawn if not trial.has_result]
    traces += _strip(without, place)
    layout = _best_layout(view, extent, len(order), strip=bool(without))
    better = "Higher" if view.maximised else "Lower"
    strip = " Marks in the strip below are trials without a result." if without else ""
    return Plot(
        key="best",
        title="Best so far",
        aid=f"Each mark is a trial in the order in which it finished, and the line is the best result up to then. {better} is better; a flat end means that more trials bring little.{strip}",
        choices=with_close_up(build_figure(traces, **layout), view, extent),
        notes=drawn_note(len(drawn), len(order)) + _beyond_note(extent.beyond),
    )


def _strip(trials: Sequence[TrialView], place: Mapping[int, int]) -> list[Trace]:
    """Return marks below the plot for the trials that have no value to be drawn at."""
    return [
        marks(
            state,
            [place[trial.index] for trial in group],
            [0.0] * len(group),
            group,
            yaxis="y2",
            hovertemplate=f"trial %{{customdata}}<br>{state.value.lower()}<extra></extra>",
        )
        for state, group in state_groups(trials)
    ]


def _best_layout(view: StudyView, extent: Extent, finished: int, *, strip: bool) -> Trace:
    across: Trace = {"title": {"text": "trials finished"}, "range": [0, finished + 1], "anchor": "y2" if strip else "y"}
    up: Trace = {"title": {"text": escape(view.objectives[0].metric)}, "domain": [0.12 if strip else 0, 1]}
    layout: Trace = {"xaxis": across, "yaxis": up | extent.layout}
    if strip:
        bare = {"showgrid": False, "zeroline": False, "showticklabels": False, "fixedrange": True}
        layout["yaxis2"] = {"domain": [0, 0.06], "range": [-1, 1], "title": {"text": ""}, **bare}
    target = view.objectives[0].target
    if target is not None and extent.low <= target <= extent.high:
        line = {"color": LIGHT["gold"], "width": 1.2, "dash": "dot"}
        layout["shapes"] = [
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target, "y1": target, "line": line}
        ]
        # plotly places annotations on a log axis by the exponent, shapes by the value.
        label = {"text": f"target {format_number(target)}", "y": math.log10(target) if extent.log else target}
        corner = {"xref": "paper", "x": 1, "xanchor": "right", "yanchor": "bottom", "showarrow": False}
        layout["annotations"] = [label | corner]
    return layout


def plot_pareto(view: StudyView) -> Plot | None:
    """Return each pair of objectives with the front, None with one objective or without results."""
    front = view.front
    seen = [trial for trial in view.trials if trial.has_result]
    if front is None or not front.trials or len(view.objectives) < 2:
        return None
    drawn = pick_to_draw(seen, MOST_MARKS)
    known = view.trials_by_index
    best = [known[index] for index in front.trials]
    choices = tuple(
        Choice(
            label=f"{view.objectives[a].metric} and {view.objectives[b].metric}", wide=_pair(view, drawn, best, a, b)
        )
        for a, b in combinations(range(len(view.objectives)), 2)
    )
    return Plot(
        key="pareto",
        title="Pareto front",
        aid=f"The {plural(len(best), 'highlighted trial')} cannot be improved in one objective without losing in another; every other trial is beaten by one of them. The arrows show the better direction.",
        choices=choices,
        notes=drawn_note(len(drawn), len(seen)),
    )


def _pair(view: StudyView, drawn: Sequence[TrialView], best: Sequence[TrialView], a: int, b: int) -> Trace:
    inside = {trial.index for trial in best}
    others = [trial for trial in drawn if trial.index not in inside]
    hover = f"trial %{{customdata}}<br>{escape(view.objectives[a].metric)} %{{x:.5~g}}<br>{escape(view.objectives[b].metric)} %{{y:.5~g}}<extra></extra>"
    traces = [
        marks(state, _value(group, a), _value(group, b), group, hovertemplate=hover, opacity=0.55)
        for state, group in state_groups(others)
    ]
    line = sorted(best, key=lambda trial: trial.losses[a])
    traces.append(
        {
            "type": "scatter",
            "mode": "lines+markers" if len(view.objectives) == 2 else "markers",
            "name": "Pareto front",
            "x": _value(line, a),
            "y": _value(line, b),
            "customdata": [trial.index for trial in line],
            # Between two points of the front only what both dominate is known: a corner, not a slope.
            "line": {"shape": "hv", "color": LIGHT["gold"], "width": 1.6},
            "marker": {
                "color": LIGHT["gold"],
                "size": 11,
                "symbol": "diamond",
                "line": {"color": LIGHT["card"], "width": 1},
            },
            "hovertemplate": hover,
        }
    )
    axes = []
    for i, arrows in ((a, "←→"), (b, "↓↑")):
        objective = view.objectives[i]
        arrow = arrows[1] if objective.goal is Goal.MAXIMIZE else arrows[0]
        extent = extent_of(_value(drawn, i), maximised=objective.goal is Goal.MAXIMIZE)
        axes.append({"title": {"text": f"{escape(objective.metric)} {arrow} better"}, **extent.layout})
    return dict(build_figure(traces, height=440, xaxis=axes[0], yaxis=axes[1]))


def plot_hypervolume(view: StudyView) -> Plot | None:
    """Return the dominated volume by the number of trials finished, None with one objective or without results."""
    if view.front is None or not view.front.volumes:
        return None
    finished = len(finished_order(view.trials))
    figure = build_figure(
        [_stairs(list(view.front.volumes), finished, "hypervolume")],
        height=420,
        xaxis={"title": {"text": "trials finished"}, "range": [0, finished + 1]},
        yaxis={"title": {"text": "hypervolume"}, "rangemode": "tozero"},
        showlegend=False,
    )
    return Plot(
        key="hypervolume",
        title="Hypervolume",
        aid="The space that the front dominates, up to the worst values seen: it grows whenever a trial moves the front, and a flat end means that the front has settled.",
        choices=(Choice(label="", wide=figure),),
    )


def _stairs(points: Sequence[tuple[int, float]], end: int, name: str) -> Trace:
    xs = [place for place, _ in points] + ([end] if points and points[-1][0] < end else [])
    ys = [value for _, value in points] + ([points[-1][1]] if points and points[-1][0] < end else [])
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": xs,
        "y": ys,
        "line": {"shape": "hv", "color": LIGHT["gold"], "width": 2.2},
        "hovertemplate": f"{name} %{{y:.5~g}}<br>after %{{x}} trials<extra></extra>",
    }


def _first(trials: Sequence[TrialView]) -> list[float]:
    return _value(trials, 0)


def _value(trials: Sequence[TrialView], objective: int) -> list[float]:
    return [value for trial in trials if (value := trial.values[objective]) is not None]


def _beyond_note(beyond: int) -> tuple[str, ...]:
    if not beyond:
        return ()
    return (f"{plural(beyond, 'poor result')} beyond the edge: double-click the plot to see all.",)
