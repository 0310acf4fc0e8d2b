"""The parts of the report that are text: header, result, budget, how trials ended, how to repeat the study.

Everything that a user wrote goes through ``escape``.
"""

from collections.abc import Sequence
from html import escape

from seatrial.api.conditions import TrialReason
from seatrial.api.study import Goal
from seatrial.report.trials import TrialView
from seatrial.report.view import BudgetUse, StudyView
from seatrial.report.words import (
    format_duration,
    format_number,
    format_time_of_day,
    format_value,
    plural,
)

__all__ = ["render_endings", "render_footer", "render_header", "render_result"]

_MOST_ENDINGS = 50
_MOST_FRONT = 50
_MOST_LINKS = 16

_ENDINGS: tuple[tuple[TrialReason, str], ...] = (
    (TrialReason.FAILED, "The trial broke; its parameters are not to blame as far as anybody knows."),
    (TrialReason.DIVERGED, "The objective became NaN or infinite; the search was told that this is bad."),
    (TrialReason.INFEASIBLE, "The trial cannot work with its parameters; the search was told that this is bad."),
    (TrialReason.STOPPED, "The rule ended the trial early, or did not promote it: its budget went to better ones."),
    (TrialReason.CANCELLED, "The study was over before the trial was."),
    (TrialReason.REUSED, "Exactly this assignment had been run: the result was taken over."),
)


def render_header(view: StudyView, contents: Sequence[tuple[str, str]], *, slices: bool) -> str:
    """Return the top of the page: name, state, the sentence, the key figures and links to the sections."""
    tone = {"True": "good", "False": "bad", "Unknown": "open"}[view.state.status]
    links = [("result", "Result"), *contents]
    if slices:
        links.insert(
            next((i for i, (key, _) in enumerate(links) if key == "contour"), len(links)),
            ("slices", "Parameter by parameter"),
        )
    links += [("endings", "How trials ended"), ("table", "All trials"), ("repeat", "Repeat it")]
    menu = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title in links)
    tiles = "".join(
        f'<div class="tile"><span>{escape(label)}</span><b>{escape(value)}</b><small>{escape(small)}</small></div>'
        for label, value, small in _tiles(view)
    )
    return (
        '<header><div class="top"><p class="brand">Seatrial<span> study report</span></p>'
        '<button id="theme" type="button" aria-label="Light or dark">◐</button></div>'
        f'<h1>{escape(view.name)} <span class="badge {tone}">{escape(view.state.value)}</span></h1>'
        f'<p class="lead">{escape(view.sentence)}</p>'
        f'<div class="tiles">{tiles}</div></header><nav class="menu" aria-label="Sections">{menu}</nav>'
    )


def _tiles(view: StudyView) -> list[tuple[str, str, str]]:
    over = sum(trial.state.terminal for trial in view.trials)
    tiles = []
    if view.front is not None:
        tiles.append(("Pareto front", str(len(view.front.trials)), "trials that no other one beats"))
    else:
        value = view.winner.values[0] if view.winner else None
        goal = "higher is better" if view.maximised else "lower is better"
        tiles.append((f"Best {view.objectives[0].metric}", format_number(value), goal))
    limit = next((use.limit for use in view.budget if use.unit == "trials"), None)
    open_trials = len(view.trials) - over
    tiles.append(
        (
            "Trials finished",
            f"{over:,}" + (f" of {limit:,.0f}" if limit else ""),
            f"{open_trials} open" if open_trials else "none open",
        )
    )
    early, failed = view.count(TrialReason.STOPPED), view.count(TrialReason.FAILED)
    bad = view.count(TrialReason.DIVERGED) + view.count(TrialReason.INFEASIBLE)
    tiles.append(("Stopped early", f"{early:,}", f"{failed:,} failed, {bad:,} diverged or infeasible"))
    if view.started:
        length = ((view.ended or view.generated) - view.started).total_seconds()
        work = sum(trial.seconds or 0.0 for trial in view.trials)
        tiles.append(
            ("Took" if view.ended else "So far", format_duration(length), f"{format_duration(work)} of training")
        )
    return tiles


def render_result(view: StudyView) -> str:
    """Return the winner or the front, and the budget."""
    budget = "".join(_budget_bar(use) for use in view.budget)
    several = view.front is not None
    result = _front(view) if several else _winner(view)
    side = f'<section class="card" id="budget"><h2>Budget</h2>{budget}{_method(view)}</section>'
    return f'<section class="card winner" id="result">{result}</section>{side}'


def _winner(view: StudyView) -> str:
    trial = view.winner
    if trial is None:
        words = "No trial has a result yet." if view.running else "No trial has a result that could win."
        if any(trial.has_result for trial in view.trials):
            words = "No trial keeps all constraints so far." if view.running else "No trial keeps all constraints."
        return f'<h2>Winner</h2><p class="aid">{words}</p>'
    objective = view.objectives[0]
    early = " It was stopped early: no trial was trained in full." if trial.state is TrialReason.STOPPED else ""
    at = f" at {escape(view.step_unit)} {trial.step}" if trial.step is not None else ""
    target = _against_target(view, trial)
    return (
        f"<h2>{'Leader so far' if view.running else 'Winner'}</h2>"
        f'<p class="value"><b>{format_number(trial.values[0], digits=5)}</b> {escape(objective.metric)}</p>'
        f'<p class="aid"><button class="link" data-trial="{trial.index}">{escape(trial.name)}</button>{at}; suggested by {escape(trial.origin)}.{early}{target}</p>'
        f"{_rival(view, trial)}{_parameters(view, trial)}{_checkpoint(trial)}{_command(view.export_command)}"
    )


def _rival(view: StudyView, winner: TrialView) -> str:
    """Name the trial with a better measured value that the algorithm did not choose, if there is one."""
    same = [trial for trial in view.trials if trial.eligible and trial.state is winner.state]
    best = min(same, key=lambda trial: (trial.losses[0], trial.index), default=winner)
    if best.losses[0] >= winner.losses[0]:
        return ""
    return (
        f'<p class="note">The best measured value is {format_number(best.values[0], digits=5)} of '
        f'<button class="link" data-trial="{best.index}">{escape(best.name)}</button>; by its model of all trials '
        "the algorithm takes that for luck and expects more of the winner.</p>"
    )


def _against_target(view: StudyView, trial: TrialView) -> str:
    target, value = view.objectives[0].target, trial.values[0]
    if target is None or value is None:
        return ""
    reached = value >= target if view.maximised else value <= target
    return f" The target {format_number(target)} was {'reached' if reached else 'not reached'}."


def _parameters(view: StudyView, trial: TrialView) -> str:
    rows = "".join(
        f"<div><dt>{escape(axis.name)}</dt><dd>{escape(format_value(trial.assignment[axis.name]))}</dd></div>"
        for axis in view.axes
        if axis.name in trial.assignment
    )
    return f'<dl class="parameters">{rows}</dl>'


def _checkpoint(trial: TrialView) -> str:
    if trial.checkpoint is None:
        return '<p class="note">The trial saved no checkpoint.</p>'
    return f'<p class="path"><span>Checkpoint</span> <code>{escape(trial.checkpoint)}</code></p>'


def _command(command: str) -> str:
    return (
        f'<p class="path"><span>Get it</span> <code>{escape(command)}</code> '
        f'<button type="button" class="copy" data-copy="{escape(command)}">Copy</button></p>'
    )


def _front(view: StudyView) -> str:
    front = view.front
    if front is None or not front.trials:
        words = "No trial has a result yet." if view.running else "No trial has a result."
        return f'<h2>Pareto front</h2><p class="aid">{words}</p>'
    heads = "".join(f"<th>{escape(o.metric)} {'↑' if o.goal is Goal.MAXIMIZE else '↓'}</th>" for o in view.objectives)
    known = view.trials_by_index
    rows = "".join(_front_row(known[index]) for index in front.trials[:_MOST_FRONT])
    more = len(front.trials) - _MOST_FRONT
    note = f'<p class="note">{plural(more, "more trial")} on the front: see the table.</p>' if more > 0 else ""
    return (
        f"<h2>{'Pareto front so far' if view.running else 'Pareto front'}</h2>"
        '<p class="aid">None of these trials can be improved in one objective without losing in another; which one is the winner is your choice.</p>'
        f'<div class="scroll"><table class="front"><thead><tr><th>Trial</th>{heads}<th>Parameters</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f"{note}{_command(view.export_command)}"
    )


def _front_row(trial: TrialView) -> str:
    values = "".join(f'<td class="n">{format_number(value)}</td>' for value in trial.values)
    words = ", ".join(f"{name}={format_value(value)}" for name, value in trial.assignment.items())
    return f'<tr><td><button class="link" data-trial="{trial.index}">{trial.index}</button></td>{values}<td>{escape(words)}</td></tr>'


def _budget_bar(use: BudgetUse) -> str:
    write = format_duration if use.unit == "seconds" else format_number
    label = "time" if use.unit == "seconds" else use.unit
    amount = write(use.used) + (f" of {write(use.limit)}" if use.limit is not None else ", no limit")
    share = use.share
    bar = "" if share is None else f'<div class="bar"><i style="width:{100 * share:.1f}%"></i></div>'
    return f'<div class="use"><span>{escape(label)}</span><b>{escape(amount)}</b>{bar}</div>'


def _method(view: StudyView) -> str:
    goals = ", ".join(f"{o.goal.value} {o.metric}" for o in view.objectives)
    rule = f"stopping rule {view.stopping}" if view.stopping else "no early stopping"
    steps = f", at most {plural(view.max_step, view.step_unit)} a trial" if view.max_step else ""
    words = f"{goals}; algorithm {view.algorithm} with seed {view.seed}; {rule}{steps}."
    return f'<p class="note">{escape(words[0].upper() + words[1:])}</p>'


def render_endings(view: StudyView) -> str:
    """Return how the trials ended that were not trained in full, each with its reason in words."""
    groups = [
        _ending_group(view, state, words, members)
        for state, words in _ENDINGS
        if (members := [trial for trial in view.trials if trial.state is state])
    ]
    over = any(trial.state.terminal for trial in view.trials)
    none = "Every trial that is over was trained in full." if over else "No trial is over yet."
    text = "".join(groups) or f'<p class="aid">{none}</p>'
    return f'<section class="card wide" id="endings"><h2>How trials ended</h2>{text}</section>'


def _ending_group(view: StudyView, state: TrialReason, words: str, members: Sequence[TrialView]) -> str:
    # A cluster that is down fails a hundred trials in the same words: said once.
    alike: dict[str, list[TrialView]] = {}
    for trial in members:
        alike.setdefault(trial.words, []).append(trial)
    rows = "".join(_ending_row(view, trials) for trials in list(alike.values())[:_MOST_ENDINGS])
    more = sum(len(trials) for trials in list(alike.values())[_MOST_ENDINGS:])
    note = f'<p class="note">{plural(more, "more trial")}: see the table.</p>' if more > 0 else ""
    opened = " open" if state not in {TrialReason.STOPPED, TrialReason.CANCELLED, TrialReason.REUSED} else ""
    return (
        f'<details class="ending"{opened}><summary><i class="dot {state.value.lower()}"></i><b>{len(members):,} {state.value.lower()}</b> '
        f"<span>{escape(words)}</span></summary><ul>{rows}</ul>{note}</details>"
    )


def _ending_row(view: StudyView, trials: Sequence[TrialView]) -> str:
    first = trials[0]
    step = f"{view.step_unit} {first.step}" if first.step is not None else "no step"
    where = step if len(trials) == 1 else plural(len(trials), "trial")
    others = " ".join(_link(trial) for trial in trials[1:_MOST_LINKS])
    if len(trials) > _MOST_LINKS:
        others += f" and {plural(len(trials) - _MOST_LINKS, 'more trial')}"
    also = f'<span class="also">also {others}</span>' if others else ""
    return f'<li>{_link(first)} <span class="at">{escape(where)}</span> <span>{escape(first.words)} {also}</span></li>'


def _link(trial: TrialView) -> str:
    return f'<button class="link" data-trial="{trial.index}">{trial.index}</button>'


def render_footer(view: StudyView) -> str:
    """Return how to repeat the study."""
    versions = ", ".join(f"{name} {number}" for name, number in view.versions)
    moment = " The study was still running." if view.running else ""
    curves = f" Curves: {escape(view.curves_from)}" if view.curves_from else ""
    file = f"{view.name}.json"
    return (
        '<section class="card wide" id="repeat"><h2>Repeat it</h2>'
        f'<p class="aid">Save this specification as <code>{escape(file)}</code> and run <code>seatrial run {escape(file)}</code>, or <code>kubectl apply -f {escape(file)}</code>: '
        f"the same seed ({view.seed}) and the same results give the same suggestions.</p>"
        f"<details><summary>Specification</summary><pre>{escape(view.specification)}</pre></details>"
        f'<p class="note">Report of {format_time_of_day(view.generated)}.{moment}{curves} Written by {escape(versions)}.</p></section>'
    )
