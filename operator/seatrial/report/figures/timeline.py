"""The timeline: which trial ran when."""

from collections.abc import Sequence

from seatrial.report.figures.base import Choice, Plot, Trace, build_figure, drawn_note, state_groups
from seatrial.report.palette import LIGHT, STATES
from seatrial.report.progress import Lane, pick_to_draw, plan_lanes
from seatrial.report.view import StudyView

__all__ = ["plot_timeline"]

MOST_BARS = 1000


def plot_timeline(view: StudyView) -> Plot | None:
    """Return when each trial ran, None while none has started."""
    started = [trial for trial in view.trials if trial.started]
    if not started:
        return None
    lanes = plan_lanes(view.trials, view.ended or view.generated)
    drawn = {trial.index for trial in pick_to_draw(started, MOST_BARS)}
    last = max(lane.start_seconds + lane.seconds for lane in lanes)
    unit, size = next(
        (u, s) for u, s, most in (("s", 1, 300), ("min", 60, 18_000), ("h", 3_600, float("inf"))) if last <= most
    )
    rows = max(lane.row for lane in lanes) + 1
    shown = [lane for lane in lanes if lane.trial.index in drawn]
    traces = [
        _bars(state.value.lower(), STATES[state], [lane for lane in shown if lane.trial.state is state], size, last)
        for state, _ in state_groups([lane.trial for lane in shown])
    ]
    figure = build_figure(
        traces,
        height=min(760, 130 + rows * (30 if rows <= 8 else 16)),
        barmode="overlay",
        bargap=0.18,
        xaxis={"title": {"text": f"{unit} since the first start"}, "range": [0, last / size * 1.01 or 1]},
        yaxis={
            "title": {"text": "slot"},
            "autorange": "reversed",
            "tickvals": _slots(rows),
            "ticktext": [str(row + 1) for row in _slots(rows)],
            "showgrid": False,
        },
    )
    return Plot(
        key="timeline",
        title="Timeline",
        aid="Each bar is a trial from its first start to its end, in the lowest slot that was free; gaps are idle time.",
        choices=(Choice(label="", wide=figure),),
        notes=drawn_note(len(shown), len(lanes)),
    )


def _slots(rows: int) -> list[int]:
    return list(range(0, rows, max(1, rows // 12)))


def _bars(name: str, color: str, lanes: Sequence[Lane], size: float, last: float) -> Trace:
    # The number is written where the bar is wide enough for it.
    texts = [str(lane.trial.index) if lane.seconds > last * 0.025 else "" for lane in lanes]
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        # Without a width plotly takes the distance of the trace's own rows: a state that skips a row would get thicker bars.
        "width": 0.82,
        "y": [lane.row for lane in lanes],
        "base": [lane.start_seconds / size for lane in lanes],
        # A bar of no width is a trial that nobody sees.
        "x": [max(lane.seconds, last * 0.001) / size for lane in lanes],
        "customdata": [lane.trial.index for lane in lanes],
        "marker": {"color": color, "line": {"width": 1, "color": LIGHT["card"]}},
        "text": texts,
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "constraintext": "none",
        "textfont": {"size": 10, "color": LIGHT["card"]},
        "hovertemplate": f"trial %{{customdata}}, {name}<br>from %{{base:.2f}}, for %{{x:.2f}}<extra></extra>",
    }
