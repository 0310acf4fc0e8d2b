"""What all figures share: a bare layout, marks by state, ranges that one bad trial cannot stretch.

Figures are plain plotly JSON in the light colours of the palette; the page themes and draws them. plotly is imported when the first
figure is made.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seatrial.api.conditions import TrialReason
from seatrial.report.axes import Axis
from seatrial.report.palette import LIGHT, STATES, SYMBOLS
from seatrial.report.trials import TrialView
from seatrial.report.view import StudyView
from seatrial.report.words import format_number

__all__ = [
    "Choice",
    "Extent",
    "Plot",
    "Trace",
    "axis_layout",
    "build_figure",
    "drawn_note",
    "escape",
    "extent_of",
    "jitter",
    "marks",
    "star",
    "state_groups",
    "with_close_up",
]

_LARGEST = 1e300

Trace = dict[str, Any]
"""A trace or a layout as plotly takes it: the adapter to an untyped library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of several figures in the same place.

    Attributes:
        label: What the reader chooses; empty when there is nothing to choose.
        wide: Figure as plotly JSON; without ``data`` it shows those of the first choice in another layout.
        tall: Another one for narrow screens, None when the same one serves.
    """

    label: str
    wide: Mapping[str, Any]
    tall: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot with the words around it.

    Attributes:
        key: Identity in the page.
        aid: How to read it, one sentence.
        notes: What is not drawn, and by which rule.
        choices: At least one; several make a selector.
    """

    key: str
    title: str
    aid: str
    choices: tuple[Choice, ...]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What an axis of values shows.

    Attributes:
        beyond: How many values lie outside, all on the poor side.
    """

    low: float
    high: float
    log: bool
    beyond: int

    @property
    def layout(self) -> Trace:
        """The axis' type and range as plotly takes them."""
        if not self.log:
            return {"type": "linear", "range": [self.low, self.high]}
        return {"type": "log", "range": [math.log10(self.low), math.log10(self.high)]}

    def unit(self, value: float) -> float:
        """Return where *value* lies from 0 to 1, clipped."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, low))
        return min(max((at - low) / (high - low), 0.0), 1.0)


def escape(text: str) -> str:
    """Return *text* for plotly, whose labels read a little HTML: nothing in it is markup."""
    return html.escape(text, quote=False)


def extent_of(values: Iterable[float | None], *, maximised: bool) -> Extent:
    """Return the range to show: all good values, and poor ones up to three times the spread of the middle half beyond its edge.

    The scale is logarithmic when all values are positive and the largest shown is more than 50 times the smallest.
    """
    seen = np.array([value for value in values if value is not None and math.isfinite(value)])
    # Differences of values at the very end of the floats would be infinite.
    seen = np.clip(seen, -_LARGEST, _LARGEST)
    if not len(seen):
        return Extent(low=0.0, high=1.0, log=False, beyond=0)
    low, high = float(seen.min()), float(seen.max())
    lower, upper = (float(q) for q in np.quantile(seen, [0.25, 0.75]))
    reach = 3 * (upper - lower)
    if reach > 0 and maximised:
        low = max(low, lower - reach)
    elif reach > 0:
        high = min(high, upper + reach)
    beyond = int(np.sum((seen < low) | (seen > high)))
    if low > 0 and high > 50 * low:
        margin = (high / low) ** 0.05
        return Extent(low=low / margin, high=high * margin, log=True, beyond=beyond)
    margin = 0.05 * (high - low) or max(abs(high) * 0.05, 0.05)
    return Extent(low=low - margin, high=high + margin, log=False, beyond=beyond)


def with_close_up(figure: Mapping[str, Any], view: StudyView, extent: Extent) -> tuple[Choice, ...]:
    """Return the figure, and where that tells more the same one zoomed in on the better half of the results.

    A study that stops hopeless trials early leaves values far from the best ones; beside them a gain of 0.001 is invisible.
    """
    full = [t for t in view.trials if t.has_result and t.state is TrialReason.COMPLETED]
    ranked = sorted(full, key=lambda trial: trial.losses[0])
    values = [trial.values[0] for trial in ranked[: max(2, -(-len(ranked) // 2))]]
    near = extent_of(values, maximised=view.maximised)
    whole = Choice(label="all results", wide=figure)
    if len(values) < 2 or extent.log or near.log or near.high - near.low > 0.4 * (extent.high - extent.low):
        return (Choice(label="", wide=figure),)
    layout = dict(figure["layout"])
    layout["yaxis"] = {**layout["yaxis"], **near.layout}
    return (whole, Choice(label="the better half", wide={"layout": layout}))


def state_groups(trials: Sequence[TrialView]) -> tuple[tuple[TrialReason, tuple[TrialView, ...]], ...]:
    """Return the trials by state, in the order of the states, empty ones left out."""
    groups = ((state, tuple(trial for trial in trials if trial.state is state)) for state in TrialReason)
    return tuple((state, members) for state, members in groups if members)


def marks(
    state: TrialReason, x: Sequence[float], y: Sequence[float], trials: Sequence[TrialView], **more: object
) -> Trace:
    """Return a trace of marks for trials in one state."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": state.value.lower(),
        "x": list(x),
        "y": list(y),
        "customdata": [trial.index for trial in trials],
        "marker": {
            "color": STATES[state],
            "symbol": SYMBOLS[state],
            "size": 8,
            "opacity": 0.85,
        },
        **more,
    }


def star(x: float, y: float, trial: TrialView, name: str = "winner") -> Trace:
    """Return the mark of the winner."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [x],
        "y": [y],
        "customdata": [trial.index],
        "marker": {
            "symbol": "star",
            "size": 17,
            "color": LIGHT["gold"],
            "line": {"color": LIGHT["card"], "width": 1.5},
        },
        "hovertemplate": f"trial %{{customdata}}, {name}<br>%{{y:.5~g}}<extra></extra>",
    }


def jitter(index: int, width: float) -> float:
    """Return a shift in ±width / 2 that depends on the trial alone, so that marks on the same choice do not hide each other."""
    # Multiples of the golden ratio spread evenly however many there are.
    return ((index * 0.618033988749895) % 1.0 - 0.5) * width


def axis_layout(axis: Axis) -> Trace:
    """Return a parameter's axis as plotly takes it: its scale, its range with a little margin, and its ticks."""
    low, high = axis.range()
    layout: Trace = {"title": {"text": escape(axis.name)}}
    if axis.log:
        margin = 0.03 * math.log10(high / low)
        layout |= {"type": "log", "range": [math.log10(low) - margin, math.log10(high) + margin]}
    else:
        margin = 0.03 * (high - low) if axis.numeric else 0.0
        layout |= {"type": "linear", "range": [low - margin, high + margin]}
    return layout | {
        "tickvals": [tick.place for tick in axis.ticks],
        "ticktext": [escape(tick.label) for tick in axis.ticks],
    }


def drawn_note(drawn: int, total: int) -> tuple[str, ...]:
    """Return what is said of a plot that draws only some of the trials; nothing when it draws all."""
    if drawn >= total:
        return ()
    return (
        f"{drawn:,} of {total:,} trials are drawn: the best, and the others evenly spaced by index. The table has all.",
    )


def build_figure(traces: Sequence[Trace], *, height: int = 380, **layout: object) -> Mapping[str, Any]:
    """Return plotly JSON, checked by plotly itself.

    Args:
        traces: As plotly takes them.
        height: In pixels.
        layout: Added to, and instead of parts of, the common layout.
    """
    from plotly import graph_objects

    common: Trace = {
        "height": height,
        "autosize": True,
        "margin": {"l": 56, "r": 16, "t": 36, "b": 48},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        "template": {},
    }
    figure = graph_objects.Figure(data=list(traces), layout=common | layout)
    return {
        "data": [_rounded(trace) for trace in figure.to_plotly_json()["data"]],
        "layout": figure.to_plotly_json()["layout"],
    }


def _rounded(value: object) -> object:
    """Return JSON with six significant digits: more than a screen shows, and a third of the size."""
    if isinstance(value, np.ndarray):
        return _rounded(value.tolist())
    if isinstance(value, float):
        return float(format_number(value, digits=6)) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
