"""The main plots as PNG files, for slides and papers. Needs matplotlib, which is an optional extra."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.api.conditions import TrialReason
from seatrial.api.study import Goal
from seatrial.errors import UsageError
from seatrial.report.figures.base import Extent, extent_of, state_groups
from seatrial.report.figures.parallel import ABSENT, layout_lines
from seatrial.report.palette import LIGHT, RANKS, STATES
from seatrial.report.progress import finished_order, pick_to_draw, plan_lanes, rank_groups
from seatrial.report.trials import TrialView
from seatrial.report.view import StudyView

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PLOTS", "write_png"]

_MOST_TRIALS = 2000
_MOST_CURVES = 300
_MARKS = {TrialReason.STOPPED: "v", TrialReason.FAILED: "x", TrialReason.DIVERGED: "x", TrialReason.INFEASIBLE: "s"}


def write_png(view: StudyView, folder: Path) -> list[Path]:
    """Write ``best.png``, ``curves.png``, ``importances.png``, ``parallel.png``, ``timeline.png`` and ``pareto.png`` where they apply.

    Args:
        view: Of ``build_view``.
        folder: Is made if it is missing; files of these names are replaced.

    Returns:
        The files written, a plot without anything to show left out.

    Raises:
        UsageError: If matplotlib is not installed.
    """
    try:
        # The object-oriented interface: no window, no global state, no interference with a notebook's own figures.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as err:
        raise UsageError(
            "PNG files need matplotlib, which is not installed; install it with: pip install 'seatrial[png]'"
        ) from err
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, draw in PLOTS.items():
        figure = Figure(figsize=(9, 5), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=LIGHT["grid"], linewidth=0.8)
        axes.set_axisbelow(True)
        if draw(view, axes):
            path = folder / f"{name}.png"
            figure.savefig(path)
            written.append(path)
    return written


def _best(view: StudyView, axes: "Axes") -> bool:
    order = finished_order(view.trials)
    place = {trial.index: i for i, trial in enumerate(order, 1)}
    seen = [trial for trial in pick_to_draw(order, _MOST_TRIALS) if trial.has_result]
    if not seen:
        return False
    for state, group in state_groups(seen):
        x, y = [place[trial.index] for trial in group], [trial.stated() for trial in group]
        axes.scatter(x, y, s=22, color=STATES[state], marker=_MARKS.get(state, "o"), label=state.value.lower())
    steps = [*((s.place, s.value) for s in view.improvements)]
    if steps:
        steps.append((len(order), steps[-1][1]))
        axes.step(*zip(*steps, strict=True), where="post", color=LIGHT["gold"], label="best so far")
    _span(axes, extent_of((trial.values[0] for trial in seen), maximised=view.maximised))
    _words(axes, f"{view.name}: best so far", "trials finished", view.objectives[0].metric)
    return True


def _curves(view: StudyView, axes: "Axes") -> bool:
    drawn = pick_to_draw([trial for trial in view.trials if len(trial.curve) > 1], _MOST_CURVES)
    if not drawn:
        return False
    names = ("top 10 %", "top 25 %", "top 50 %", "the rest")
    others = [trial for trial in drawn if not trial.has_result]
    groups = [
        ("no result", LIGHT["cancelled"], others),
        *reversed(list(zip(names, RANKS, rank_groups(drawn), strict=True))),
    ]
    for name, color, members in groups:
        for i, trial in enumerate(members):
            axes.plot(*zip(*trial.curve, strict=True), color=color, linewidth=1.1, label=name if i == 0 else None)
    for state, group in state_groups([trial for trial in drawn if trial.state in _MARKS]):
        x, y = [trial.curve[-1][0] for trial in group], [trial.curve[-1][1] for trial in group]
        axes.scatter(x, y, s=26, color=STATES[state], marker=_MARKS[state], label=state.value.lower(), zorder=3)
    last = max(trial.curve[-1][0] for trial in drawn)
    for rung in view.rungs:
        if rung <= last:
            axes.axvline(rung, color=LIGHT["soft"], linewidth=0.8, linestyle=":")
    _span(axes, extent_of((v for trial in drawn for _, v in trial.curve), maximised=view.maximised))
    _words(axes, f"{view.name}: learning curves", view.step_unit, view.objectives[0].metric)
    return True


def _importances(view: StudyView, axes: "Axes") -> bool:
    entries = view.importances[0].entries[:20]
    if not entries:
        return False
    names = [_plain(entry.name) for entry in entries]
    shares, spreads = [entry.share for entry in entries], [entry.spread for entry in entries]
    axes.barh(names, shares, xerr=spreads, color=LIGHT["completed"], error_kw={"ecolor": LIGHT["soft"], "capsize": 2})
    axes.invert_yaxis()
    axes.set_xlim(0, min(1.0, 1.1 * max(share + spread for share, spread in zip(shares, spreads, strict=True))))
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    _words(
        axes, f"{view.name}: what matters for {view.objectives[0].metric}", "share of the variance", "", legend=False
    )
    return True


def _parallel(view: StudyView, axes: "Axes") -> bool:
    lines = layout_lines(view)
    if lines is None:
        return False
    places = range(len(lines.names))
    for name, color, width, members in lines.groups:
        for i, trial in enumerate(members):
            axes.plot(places, lines.heights(trial), color=color, linewidth=width, label=name if i == 0 else None)
    for place, ticks in zip(places, lines.ticks, strict=True):
        axes.axvline(place, ymin=0.02, color=LIGHT["soft"], linewidth=1)
        for at, label in ticks:
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
            axes.annotate(
                _plain(label), (place, at), xytext=(3, 0), textcoords="offset points", fontsize=7, va="center", bbox=box
            )
    axes.set_xticks(list(places), [_plain(name) for name in lines.names])
    axes.set_yticks([])
    axes.set_ylim(ABSENT - 0.05 if lines.conditional else -0.05, 1.05)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _words(axes, f"{view.name}: all parameters together", "", "")
    return True


def _timeline(view: StudyView, axes: "Axes") -> bool:
    lanes = plan_lanes(view.trials, view.ended or view.generated)
    if not lanes:
        return False
    drawn = {trial.index for trial in pick_to_draw([lane.trial for lane in lanes], _MOST_TRIALS)}
    shown = [lane for lane in lanes if lane.trial.index in drawn]
    for state, group in state_groups([lane.trial for lane in shown]):
        members = {trial.index for trial in group}
        chosen = [lane for lane in shown if lane.trial.index in members]
        axes.barh(
            [lane.row + 1 for lane in chosen],
            [lane.seconds / 60 for lane in chosen],
            left=[lane.start_seconds / 60 for lane in chosen],
            color=STATES[state],
            edgecolor="white",
            linewidth=0.5,
            label=state.value.lower(),
        )
    rows = max(lane.row for lane in lanes) + 1
    axes.invert_yaxis()
    axes.set_yticks(range(1, rows + 1, max(1, rows // 12)))
    _words(axes, f"{view.name}: timeline", "min since the first start", "slot")
    return True


def _pareto(view: StudyView, axes: "Axes") -> bool:
    if view.front is None or not view.front.trials:
        return False
    first, second = view.objectives[:2]
    seen = pick_to_draw([trial for trial in view.trials if trial.has_result], _MOST_TRIALS)
    for state, group in state_groups(seen):
        x, y = _pairs(group)
        axes.scatter(
            x, y, s=20, color=STATES[state], alpha=0.55, marker=_MARKS.get(state, "o"), label=state.value.lower()
        )
    known = view.trials_by_index
    front = sorted((known[index] for index in view.front.trials), key=lambda trial: trial.losses[0])
    x, y = _pairs(front)
    if len(view.objectives) == 2:
        axes.step(x, y, where="post", color=LIGHT["gold"], linewidth=1.4)
    axes.scatter(x, y, s=46, color=LIGHT["gold"], marker="D", label="Pareto front", zorder=3)
    better = {Goal.MAXIMIZE: "higher is better", Goal.MINIMIZE: "lower is better"}
    _words(
        axes,
        f"{view.name}: Pareto front",
        f"{first.metric} ({better[first.goal]})",
        f"{second.metric} ({better[second.goal]})",
    )
    return True


PLOTS: dict[str, Callable[[StudyView, "Axes"], bool]] = {
    "best": _best,
    "curves": _curves,
    "importances": _importances,
    "parallel": _parallel,
    "timeline": _timeline,
    "pareto": _pareto,
}
"""File name -> function that draws on matplotlib axes and says whether there was anything to draw."""


def _pairs(trials: Sequence[TrialView]) -> tuple[list[float], list[float]]:
    return [trial.stated(0) for trial in trials], [trial.stated(1) for trial in trials]


def _span(axes: "Axes", extent: Extent) -> None:
    axes.set_yscale("log" if extent.log else "linear")
    axes.set_ylim(extent.low, extent.high)


def _words(axes: "Axes", title: str, x: str, y: str, *, legend: bool = True) -> None:
    axes.set_title(_plain(title), loc="left", fontweight="bold", color=LIGHT["ink"])
    axes.set_xlabel(_plain(x))
    axes.set_ylabel(_plain(y))
    labels = axes.get_legend_handles_labels()[1]
    if legend and labels:
        # Below the plot: inside, it would hide the very marks that it explains.
        axes.legend(
            frameon=False, fontsize=8, ncols=min(len(labels), 7), loc="upper center", bbox_to_anchor=(0.5, -0.1)
        )


def _plain(text: str) -> str:
    # A dollar sign would open mathematics.
    return text.replace("$", r"\$")
