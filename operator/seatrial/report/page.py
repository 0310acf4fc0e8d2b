"""The report as one HTML file: text first, then the plots, the table and how to repeat the study."""

from collections.abc import Sequence
from html import escape

from seatrial.report import figures
from seatrial.report.embed import Json, asset, pack, plotly_script, policy, to_json
from seatrial.report.figures import Plot
from seatrial.report.palette import DARK, LIGHT
from seatrial.report.sections import render_endings, render_footer, render_header, render_result
from seatrial.report.table import build_table
from seatrial.report.view import StudyView

__all__ = ["render_html"]

# Larger data are compressed: a page of 10,000 trials stays below 6 MB.
_PLAIN_LIMIT_CHARACTERS = 400_000


def render_html(view: StudyView) -> str:
    """Return the report.

    The page needs no network and no server, follows the reader's light or dark setting, and works at any width.

    Args:
        view: Of ``build_view``.

    Returns:
        A complete HTML document, UTF-8.
    """
    plots = _plots(view)
    slices = figures.plot_slices(view)
    program = asset("report.js")
    payload = to_json(_payload(view, [*plots.values(), *slices]))
    packed = len(payload) > _PLAIN_LIMIT_CHARACTERS
    body = [
        render_header(view, [(plot.key, plot.title) for plot in plots.values()], slices=bool(slices)),
        "<main>",
        render_result(view),
        *_sections(view, plots, slices),
        render_endings(view),
        _table(view),
        render_footer(view),
        "</main>",
        '<dialog id="trial"><form method="dialog"><button class="close" aria-label="Close">×</button></form><div id="trial-body"></div></dialog>',
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy(program))}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(view.name)} – Seatrial report</title>",
            f"<style>{_variables()}{asset('report.css')}</style>",
            "</head>",
            "<body>",
            *body,
            f'<script type="application/{"gzip" if packed else "json"}" id="payload">{pack(payload) if packed else payload}</script>',
            f'<script type="application/gzip" id="plotly">{plotly_script()[0]}</script>',
            f"<script>{program}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _plots(view: StudyView) -> dict[str, Plot]:
    drawn = (
        figures.plot_pareto(view),
        figures.plot_hypervolume(view),
        figures.plot_best(view),
        figures.plot_tree(view),
        figures.plot_schedule(view),
        figures.plot_importances(view),
        figures.plot_curves(view),
        figures.plot_parallel(view),
        figures.plot_contour(view),
        figures.plot_timeline(view),
    )
    return {plot.key: plot for plot in drawn if plot is not None}


def _sections(view: StudyView, plots: dict[str, Plot], slices: Sequence[Plot]) -> list[str]:
    parts = [
        _section(plot) if (plot := plots.get(key)) else _empty(key, title, words)
        for key, title, words in _absent(view)
        if plots.get(key) or words
    ]
    place = next((i for i, part in enumerate(parts) if 'id="contour"' in part), len(parts))
    if slices:
        parts.insert(place, _slices(view, slices))
    return parts


def _absent(view: StudyView) -> list[tuple[str, str, str]]:
    """Return (key, title, why it is missing) for each section in order; without a reason it is left out silently."""
    several = view.front is not None
    none = "No trial has a result yet." if view.running else "No trial has a result."
    found = view.importances[0]
    constant = "" if view.varying else "No parameter varies."
    return [
        ("pareto", "Pareto front", none if several else ""),
        ("hypervolume", "Hypervolume", ""),
        ("best", "Best so far", none),
        ("tree", "Family tree", ""),
        ("schedule", "Schedule", ""),
        ("importances", "What matters", found.warning),
        ("curves", "Learning curves", "No trial reported more than one step, so there are no curves."),
        ("parallel", "All parameters together", constant or none),
        (
            "contour",
            "Two parameters together",
            constant or "This needs two numeric parameters and at least 6 trials that have both.",
        ),
        ("timeline", "Timeline", "No trial has started yet."),
    ]


def _section(plot: Plot) -> str:
    selector = ""
    if len(plot.choices) > 1:
        options = "".join(
            f'<option value="{i}">{escape(choice.label)}</option>' for i, choice in enumerate(plot.choices)
        )
        selector = f'<label class="choose">Show <select data-for="{plot.key}">{options}</select></label>'
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in plot.notes)
    return (
        f'<section class="card" id="{plot.key}"><div class="head"><h2>{escape(plot.title)}</h2>{selector}</div>'
        f'<p class="aid">{escape(plot.aid)}</p>{_canvas(plot)}{notes}</section>'
    )


def _canvas(plot: Plot) -> str:
    choice = plot.choices[0]
    height = choice.wide["layout"]["height"]
    return f'<div class="plot" data-plot="{plot.key}" style="height:{height}px" role="img" aria-label="{escape(plot.title)}"></div>'


def _empty(key: str, title: str, words: str) -> str:
    return (
        f'<section class="card empty" id="{key}"><h2>{escape(title)}</h2><p class="aid">{escape(words)}</p></section>'
    )


def _slices(view: StudyView, slices: Sequence[Plot]) -> str:
    cards = "".join(
        f'<figure class="slice"><figcaption><b>{escape(plot.title)}</b> <span>{escape(plot.aid)}</span></figcaption>{_canvas(plot)}</figure>'
        for plot in slices
    )
    several = f" ({escape(view.objectives[0].metric)}, the first objective)" if len(view.objectives) > 1 else ""
    return (
        '<section class="card wide" id="slices"><h2>Parameter by parameter</h2>'
        f'<p class="aid">Each mark is a trial at its value of one parameter{several}; short bars are the medians of choices, and the star is the winner. '
        f'A slope or a gap between bars shows an effect, a flat cloud none.</p><div class="slices">{cards}</div></section>'
    )


def _table(view: StudyView) -> str:
    count = len(view.trials)
    return (
        '<section class="card wide" id="table"><h2>All trials</h2>'
        '<p class="aid">Tap a heading to sort, a row to see everything about a trial; the search looks in every column.</p>'
        '<div class="controls"><input id="filter" type="search" placeholder="Search: adamw, OOM, 17 …" aria-label="Search trials">'
        '<span id="states" class="chips"></span><button id="download" type="button">Download CSV</button></div>'
        f'<p id="shown" class="note" aria-live="polite">{count:,} trials</p>'
        '<div class="scroll"><table id="trials"><thead></thead><tbody></tbody></table></div>'
        '<nav id="pages" aria-label="Pages of the table"></nav>'
        "<noscript><p>The table and the plots need JavaScript; nothing is loaded from a network.</p></noscript></section>"
    )


def _payload(view: StudyView, plots: Sequence[Plot]) -> Json:
    return {
        "study": view.name,
        "plots": {plot.key: [{"wide": choice.wide, "tall": choice.tall} for choice in plot.choices] for plot in plots},
        "table": build_table(view),
        "dark": {LIGHT[role]: DARK[role] for role in LIGHT},
    }


def _variables() -> str:
    light = "".join(f"--{role}:{color};" for role, color in LIGHT.items())
    dark = "".join(f"--{role}:{color};" for role, color in DARK.items())
    return (
        f":root{{{light}}}@media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}"
        f":root[data-theme=dark]{{{dark}}}"
    )
