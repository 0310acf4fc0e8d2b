"""The family tree of a population, and the schedule that the winner's line followed."""

from collections.abc import Mapping, Sequence

from seatrial.report.axes import Axis
from seatrial.report.descent import Descent, Part
from seatrial.report.figures.base import Choice, Plot, Trace, axis_layout, build_figure, escape, state_groups
from seatrial.report.palette import LIGHT, RANKS, STATES, SYMBOLS
from seatrial.report.progress import rank_groups
from seatrial.report.trials import TrialView
from seatrial.report.view import StudyView
from seatrial.report.words import plural

__all__ = ["plot_schedule", "plot_tree"]

_MOST_PARTS = 3000
_MOST_PARAMETERS = 12


def plot_tree(view: StudyView) -> Plot | None:
    """Return who went on from whom, None for a study in which no trial starts from another one's checkpoint."""
    descent = view.descent
    if descent is None or not any(part.source is not None for part in descent.parts):
        return None
    parts = descent.parts[-_MOST_PARTS:]
    rows = max(part.member for part in parts) + 1
    trials = view.trials_by_index
    traces = [_lines("goes on", LIGHT["rank3"], 2.0, [_points(part) for part in parts])]
    takeovers = [jump for part in parts if (jump := _jump(part, descent)) is not None]
    if takeovers:
        traces.append(_lines("takes over", LIGHT["soft"], 1.0, takeovers, dash="dot"))
    line = [part for part in parts if part.index in descent.line]
    traces.append(_lines("the winner's line", LIGHT["gold"], 3.5, [*map(_points, line), *_jumps(line, descent)]))
    traces += _ends(parts, trials)
    figure = build_figure(
        traces,
        height=min(900, 150 + rows * (34 if rows <= 16 else 18)),
        xaxis={"title": {"text": escape(view.step_unit)}, "range": [0, descent.last_step * 1.02]},
        yaxis={
            "title": {"text": "member"},
            "range": [rows - 0.5, -0.5],
            "tickvals": list(range(0, rows, max(1, rows // 16))),
            "showgrid": False,
            "zeroline": False,
        },
    )
    return Plot(
        key="tree",
        title="Family tree",
        aid=(
            "One row a member: solid is training, dotted is where a member takes over another one's weights and parameters. Every mark ends "
            "a trial; the stronger its colour, the better it was among those of its step."
        ),
        choices=(Choice(label="", wide=figure),),
        notes=()
        if len(parts) == len(descent.parts)
        else (f"The last {len(parts):,} of {len(descent.parts):,} trials are drawn.",),
    )


def plot_schedule(view: StudyView) -> Plot | None:
    """Return the parameters by step along the winner's line, None where there is no such line."""
    descent = view.descent
    if descent is None or len(descent.line) < 2:
        return None
    axes = [axis for axis in view.varying if any(axis.name in part.assignment for part in descent.parts)]
    choices = [
        Choice(label=axis.name if len(axes) > 1 else "", wide=_schedule(view, descent, axis))
        for axis in axes[:_MOST_PARAMETERS]
    ]
    if not choices:
        return None
    return Plot(
        key="schedule",
        title="Schedule",
        aid="What the winner was trained with, step by step, along its line; pale are the other trials.",
        choices=tuple(choices),
        notes=(
            f"{plural(len(descent.line), 'trial')} in a row; `seatrial lineage` writes them as a file that one model can be trained along.",
        ),
    )


def _schedule(view: StudyView, descent: Descent, axis: Axis) -> dict[str, object]:
    def points(part: Part) -> list[tuple[float, float]]:
        at = axis.place(part.assignment[axis.name])
        return [] if at is None else [(part.from_step, at), (part.to_step, at)]

    having = [part for part in descent.parts[-_MOST_PARTS:] if axis.name in part.assignment]
    line = [part for part in having if part.index in descent.line]
    joined = [point for part in line for point in points(part)]
    traces = [
        _lines(
            "other trials", LIGHT["rank3"], 1.5, [points(part) for part in having if part.index not in descent.line]
        ),
        _lines("the winner's line", LIGHT["gold"], 3.5, [joined]),
    ]
    return dict(
        build_figure(
            traces,
            height=340,
            xaxis={"title": {"text": escape(view.step_unit)}, "range": [0, descent.last_step * 1.02]},
            yaxis=axis_layout(axis),
        )
    )


def _points(part: Part) -> list[tuple[float, float]]:
    return [(part.from_step, part.member), (part.to_step, part.member)]


def _jump(part: Part, descent: Descent) -> list[tuple[float, float]] | None:
    """Return the line from a source to the member that takes it over, None where a member goes on by itself."""
    source = None if part.source is None else descent.by_index.get(part.source)
    if source is None or source.member == part.member:
        return None
    return [(part.from_step, source.member), (part.from_step, part.member)]


def _jumps(parts: Sequence[Part], descent: Descent) -> list[list[tuple[float, float]]]:
    return [jump for part in parts if (jump := _jump(part, descent)) is not None]


def _lines(
    name: str, color: str, width: float, lines: Sequence[Sequence[tuple[float, float]]], dash: str = "solid"
) -> Trace:
    x: list[float | None] = []
    y: list[float | None] = []
    for line in lines:
        x += [*(point[0] for point in line), None]
        y += [*(point[1] for point in line), None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": color, "width": width, "dash": dash},
        "hoverinfo": "skip",
    }


def _ends(parts: Sequence[Part], trials: Mapping[int, TrialView]) -> list[Trace]:
    """Return the marks: by rank among the trials that reached the same step, by state where there is no result."""
    groups: dict[str, tuple[str, str, list[Part]]] = {}
    by_step: dict[int, list[TrialView]] = {}
    for part in parts:
        if trials[part.index].has_result:
            by_step.setdefault(part.to_step, []).append(trials[part.index])
    names = ("top 10 %", "top 25 %", "top 50 %", "the rest")
    place = {part.index: part for part in parts}
    for peers in by_step.values():
        for name, color, group in zip(names, RANKS, rank_groups(peers), strict=True):
            groups.setdefault(name, (color, "circle", []))[2].extend(place[trial.index] for trial in group)
    for state, group in state_groups([trials[part.index] for part in parts if not trials[part.index].has_result]):
        groups[state.value.lower()] = (STATES[state], SYMBOLS[state], [place[trial.index] for trial in group])
    order = [*names, *(name for name in groups if name not in names)]
    return [_marks(name, *groups[name], trials) for name in order if name in groups]


def _marks(name: str, color: str, symbol: str, parts: Sequence[Part], trials: Mapping[int, TrialView]) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [part.to_step for part in parts],
        "y": [part.member for part in parts],
        "customdata": [part.index for part in parts],
        "marker": {"color": color, "symbol": symbol, "size": 9, "line": {"color": LIGHT["card"], "width": 1}},
        "text": [f"{part.move}: {_value(trials[part.index])}" for part in parts],
        "hovertemplate": f"trial %{{customdata}}, {name}<br>%{{text}}<extra></extra>",
    }


def _value(trial: TrialView) -> str:
    value = trial.values[0]
    return trial.state.value if value is None else f"{value:.5g}"
