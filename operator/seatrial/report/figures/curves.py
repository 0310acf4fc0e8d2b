"""Learning curves of the first objective."""

from collections.abc import Sequence

from seatrial.report.figures.base import (
    Plot,
    Trace,
    build_figure,
    escape,
    extent_of,
    marks,
    state_groups,
    with_close_up,
)
from seatrial.report.palette import LIGHT, RANKS
from seatrial.report.progress import pick_to_draw, rank_groups
from seatrial.report.trials import TrialView, thin
from seatrial.report.view import StudyView
from seatrial.report.words import plural

__all__ = ["plot_curves"]

MOST_CURVES = 300
_MOST_POINTS = 24_000


def plot_curves(view: StudyView) -> Plot | None:
    """Return the first objective by step for each trial, None when no trial reported more than one step."""
    with_curve = [trial for trial in view.trials if len(trial.curve) > 1]
    if not with_curve:
        return None
    drawn = pick_to_draw(with_curve, MOST_CURVES)
    each = max(8, _MOST_POINTS // len(drawn))
    curves = {trial.index: thin(trial.curve, each) for trial in drawn}
    traces: list[Trace] = []
    ranked = rank_groups(drawn)
    others = [trial for trial in drawn if not trial.has_result]
    if others:
        traces.append(_lines("no result", LIGHT["cancelled"], 1.0, others, curves, dash="dot"))
    names = ("top 10 %", "top 25 %", "top 50 %", "the rest")
    for name, color, width, group in reversed(list(zip(names, RANKS, (2.2, 1.7, 1.3, 1.0), ranked, strict=True))):
        if group:
            traces.append(_lines(name, color, width, group, curves))
    traces += _ends(drawn)
    winner = view.winner
    if winner is not None and winner.index in curves:
        line = [trial for trial in drawn if view.descent is not None and trial.index in view.descent.line]
        traces.append(_lines("winner", LIGHT["gold"], 2.8, line or [winner], curves))
    last = max(trial.curve[-1][0] for trial in drawn)
    extent = extent_of((value for trial in drawn for _, value in curves[trial.index]), maximised=view.maximised)
    rungs = [rung for rung in view.rungs if rung <= last]
    figure = build_figure(
        traces,
        height=430,
        xaxis={"title": {"text": escape(view.step_unit)}, "range": [0, last * 1.02]},
        yaxis={"title": {"text": escape(view.objectives[0].metric)}, **extent.layout},
        shapes=[_rung(rung) for rung in rungs],
        annotations=[_rung_label(rung) for rung in rungs if rung > last * 0.06 or rung == rungs[-1]],
    )
    marked = " Dotted verticals are the rungs at which the stopping rule judges." if rungs else ""
    notes = []
    if len(drawn) < len(with_curve):
        notes.append(
            f"{len(drawn)} of {len(with_curve):,} curves are drawn: the best, and the others evenly spaced by index."
        )
    if extent.beyond:
        notes.append(f"{plural(extent.beyond, 'point')} beyond the edge: double-click the plot to see all.")
    return Plot(
        key="curves",
        title="Learning curves",
        aid=f"One line a trial, the stronger its colour the better its result; a mark ends a trial that did not train in full.{marked}",
        choices=with_close_up(figure, view, extent),
        notes=tuple(notes),
    )


def _lines(
    name: str,
    color: str,
    width: float,
    trials: Sequence[TrialView],
    curves: dict[int, tuple[tuple[int, float], ...]],
    dash: str = "solid",
) -> Trace:
    """Return one trace for many trials: a gap between two of them. Hundreds of traces would make the page slow."""
    x: list[float | None] = []
    y: list[float | None] = []
    ids: list[int | None] = []
    for trial in trials:
        for step, value in curves[trial.index]:
            x.append(step)
            y.append(value)
            ids.append(trial.index)
        x.append(None)
        y.append(None)
        ids.append(None)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "customdata": ids,
        "line": {"color": color, "width": width, "dash": dash},
        "hovertemplate": f"trial %{{customdata}}, {name}<br>step %{{x}}: %{{y:.5~g}}<extra></extra>",
    }


def _ends(trials: Sequence[TrialView]) -> list[Trace]:
    ended = [trial for trial in trials if trial.state.value not in {"Completed", "Reused"}]
    return [
        marks(
            state,
            [trial.curve[-1][0] for trial in group],
            [trial.curve[-1][1] for trial in group],
            group,
            hovertemplate=f"trial %{{customdata}}, {state.value.lower()}<br>step %{{x}}: %{{y:.5~g}}<extra></extra>",
        )
        for state, group in state_groups(ended)
    ]


def _rung(step: int) -> Trace:
    line = {"color": LIGHT["soft"], "width": 1, "dash": "dot"}
    return {"type": "line", "x0": step, "x1": step, "yref": "paper", "y0": 0, "y1": 1, "line": line, "layer": "below"}


def _rung_label(step: int) -> Trace:
    return {
        "x": step,
        "yref": "paper",
        "y": 0,
        "xanchor": "left",
        "yanchor": "bottom",
        "xshift": 2,
        "text": f"rung {step}",
        "showarrow": False,
        "font": {"size": 10, "color": LIGHT["soft"]},
    }
