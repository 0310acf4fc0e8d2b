"""The live view as lines of text: a frame, a width and a height in, styled lines out. Pure; rich only colours what comes out.

No line is wider than the width and there are never more lines than the height, whatever trials report or print.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.decide.lifecycle import describe_assignment
from seatrial.entry.cli.cells import UNICODE, Line, Signs, Span, fit, shorten, trim
from seatrial.entry.cli.chronicle import Ended
from seatrial.entry.cli.frame import Frame, OpenRow, Use
from seatrial.entry.cli.spark import bar, sparkline
from seatrial.report.words import format_duration, format_number

__all__ = ["OUTCOME_STYLES", "build_screen", "format_values"]

OUTCOME_STYLES: dict[TrialReason, str] = {
    TrialReason.COMPLETED: "green",
    TrialReason.REUSED: "green",
    TrialReason.STOPPED: "yellow",
    TrialReason.FAILED: "red",
    TrialReason.DIVERGED: "magenta",
    TrialReason.INFEASIBLE: "magenta",
    TrialReason.CANCELLED: "dim",
}

_LABEL = 8
_ECHO = 4  # the cursor rests behind the last line: a terminal that echoes ^C there must not wrap, or clearing would miss a line
_LEAST_ENDED, _MOST_ENDED = 2, 6
_STATE_STYLES = {StudyReason.RUNNING: "cyan", StudyReason.WAITING: "yellow", StudyReason.SUSPENDED: "yellow"}


def build_screen(frame: Frame, *, width: int, height: int, signs: Signs = UNICODE) -> list[Line]:
    """Return the lines of the live view.

    Args:
        frame: What to show.
        width: Cells of a line.
        height: Most lines.
        signs: What the terminal can draw.
    """
    top = [_title(frame, width, signs), _budget(frame, width, signs), *_best(frame, width, signs)]
    top.append(_pace(frame, signs))
    bottom = [_last(frame, width - _ECHO, signs)]
    room = height - len(top) - len(bottom)
    lines = [*top, *_tables(frame, width, room, signs), *bottom]
    shown = lines[: max(0, height)]
    return [trim(line, width - (_ECHO if i == len(shown) - 1 else 0), signs) for i, line in enumerate(shown)]


# ---- head --------------------------------------------------------------------------------------------------------------


def _title(frame: Frame, width: int, signs: Signs) -> Line:
    clock = _clock(frame.elapsed_seconds)
    style = _STATE_STYLES.get(frame.state, "green" if frame.state.status == "True" else "red")
    name = shorten(frame.name, max(8, width // 3), signs)
    left = f"{name} {signs.dot} {frame.algorithm} {signs.dot} "
    room = max(0, width - len(left) - len(clock) - 1)
    return (
        Span(name, "bold"),
        Span(left[len(name) :], "dim"),
        Span(fit(frame.sentence, room, signs), style),
        Span(f" {clock}", "dim"),
    )


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _budget(frame: Frame, width: int, signs: Signs) -> Line:
    words = [
        f"{frame.trials.used:g}{_limit(frame.trials)} trials",
        f"failed {frame.failed.used:g}{_limit(frame.failed)}",
    ]
    if frame.seconds.limit is not None:
        words.append(f"time {format_duration(frame.seconds.used)}/{format_duration(frame.seconds.limit)}")
    if frame.gpu_hours.limit is not None:
        words.append(f"GPU hours {frame.gpu_hours.used:.2g}/{frame.gpu_hours.limit:g}")
    text = f" {signs.dot} ".join(words)
    shares = [u.used / u.limit for u in (frame.trials, frame.seconds, frame.gpu_hours) if u.limit]
    cells = min(40, width - _LABEL - len(text) - 4)
    if not shares or cells < 6:
        return (_label("budget"), Span(text))
    used, free = bar(max(shares), cells, signs)
    return (_label("budget"), Span(used, "cyan"), Span(free, "dim"), Span(f"  {text}"))


def _limit(use: Use) -> str:
    return "" if use.limit is None else f"/{use.limit:g}"


def _best(frame: Frame, width: int, signs: Signs) -> list[Line]:
    if frame.best is None:
        return [(_label("best"), Span("no result yet", "dim"))]
    values = format_values(frame.metrics, tuple(frame.best.values))
    front = f"  first of {frame.front} on the front" if frame.front else ""
    first = (
        _label("best"),
        Span(signs.text(values), "bold green"),
        Span(f"  {signs.text(frame.best.trial)}{front}", ""),
    )
    second = (_label(""), Span(shorten(describe_assignment(frame.best.assignment), width - _LABEL, signs)))
    if len(frame.best_values) < 2:
        return [first, second]
    curve = sparkline(frame.best_values, max(8, min(40, width // 4)), signs)
    return [(*first, Span("  "), Span(curve, "green")), second]


def format_values(metrics: Sequence[str], values: Sequence[float | None]) -> str:
    """Return ``val_accuracy 0.9821, weights 1204``."""
    return ", ".join(f"{metric} {format_number(value)}" for metric, value in zip(metrics, values, strict=False))


def _pace(frame: Frame, signs: Signs) -> Line:
    counts = frame.counts
    states = [
        (counts.running, "running", "cyan"),
        (counts.pending, "waiting", ""),
        (counts.paused, "paused", ""),
        (counts.completed, "completed", "green"),
        (counts.stopped, "stopped", "yellow"),
        (counts.failed, "failed", "red"),
        (counts.diverged, "diverged", "magenta"),
        (counts.infeasible, "infeasible", "magenta"),
        (counts.cancelled, "cancelled", "dim"),
    ]
    spans = [_label("pace" if frame.rate_per_minute is not None or frame.left_seconds is not None else "trials")]
    if frame.rate_per_minute is not None:
        spans.append(Span(f"{format_number(frame.rate_per_minute, digits=2)} trials/min  "))
    if frame.left_seconds is not None:
        spans.append(Span(f"about {format_duration(frame.left_seconds)} left  "))
    spans += [Span(f"{signs.dot} {number} {word} ", style) for number, word, style in states if number]
    return tuple(spans)


def _label(word: str) -> Span:
    return Span(f"{word:<{_LABEL}}", "dim")


# ---- tables ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Widths:
    name: int
    step: int
    value: int
    middle: int
    rest: int


def _tables(frame: Frame, width: int, room: int, signs: Signs) -> list[Line]:
    """Share the rows between trials that run and trials that ended: at most six ended ones, at least two."""
    if room < 4:
        return []
    ended_wanted = min(_MOST_ENDED, len(frame.ended))
    open_wanted = max(1, len(frame.rows))
    heads = 2 + (2 if frame.ended else 0)  # a blank line and a heading each
    ended_room = min(ended_wanted, max(_LEAST_ENDED, room - heads - open_wanted)) if room >= heads + 3 else 0
    open_room = room - 2 - (ended_room + 2 if ended_room else 0)
    widths = _widths(frame, width, ended_room)
    lines: list[Line] = [(), _open_heading(frame, widths, signs), *_open_rows(frame, widths, open_room, signs)]
    if ended_room:
        lines += [(), (Span("FINISHED", "dim"),)]
        lines += [_ended_row(frame, row, widths, signs) for row in list(frame.ended)[-ended_room:][::-1]]
    return lines


def _widths(frame: Frame, width: int, ended_room: int) -> _Widths:
    shown = [row.name for row in frame.rows[:64]] + [row.name for row in list(frame.ended)[-max(1, ended_room) :]]
    name = min(max((len(text) for text in shown), default=6) + 2, max(10, width // 4))
    step = min(max(len(f"{frame.max_step or 0}") * 2 + 3, 7), max(7, width // 8))
    several = len(frame.metrics) > 1
    value = min(max(11, len(_heading(frame)) + 1), max(11, width // (4 if several else 6)))
    middle = max(10, min(24, (width - name - step - value) // 3))
    return _Widths(name=name, step=step, value=value, middle=middle, rest=max(0, width - name - step - value - middle))


def _open_heading(frame: Frame, widths: _Widths, signs: Signs) -> Line:
    cells = [
        fit("RUNNING", widths.name, signs),
        fit(frame.step_unit.upper(), widths.step - 1, signs) + " ",
        fit(_heading(frame), widths.value - 1, signs) + " ",
        fit("CURVE", widths.middle, signs),
        shorten("PARAMETERS", widths.rest, signs),
    ]
    return (Span("".join(cells), "dim"),)


def _open_rows(frame: Frame, widths: _Widths, room: int, signs: Signs) -> list[Line]:
    rows = frame.rows
    if not rows:
        return [(Span("none", "dim"),)] if room > 0 else []
    if len(rows) <= room:
        return [_open_row(frame, row, widths, signs) for row in rows]
    hidden = rows[max(0, room - 1) :]
    running = sum(row.running for row in hidden)
    text = f"and {len(hidden)} more ({running} running, {len(hidden) - running} waiting)"
    shown = [_open_row(frame, row, widths, signs) for row in rows[: max(0, room - 1)]]
    return [*shown, (Span(text, "dim"),)] if room > 0 else []


def _open_row(frame: Frame, row: OpenRow, widths: _Widths, signs: Signs) -> Line:
    cells = [
        Span(fit(row.name, widths.name - 1, signs) + " "),
        Span(fit(_step(row.step, frame.max_step), widths.step - 1, signs) + " ", "dim"),
        Span(fit(_values(row.values), widths.value - 1, signs) + " "),
    ]
    if row.note:
        return (*cells, Span(shorten(row.note, widths.middle + widths.rest, signs), "yellow"))
    curve = sparkline(row.curve, widths.middle - 2, signs)
    return (
        *cells,
        Span(fit(curve, widths.middle, signs), "cyan"),
        Span(shorten(row.parameters, widths.rest, signs), "dim"),
    )


def _ended_row(frame: Frame, row: Ended, widths: _Widths, signs: Signs) -> Line:
    word = row.outcome.value.lower()
    mark = f" {signs.star}" if row.best else ""
    return (
        Span(fit(row.name, widths.name - 1, signs) + " "),
        Span(fit(_step(row.step, frame.max_step), widths.step - 1, signs) + " ", "dim"),
        Span(fit(_values(row.values), widths.value - 1, signs) + " "),
        Span(fit(f"{word}{mark}", min(12, widths.middle), signs) + " ", OUTCOME_STYLES.get(row.outcome, "")),
        Span(shorten(row.text, max(0, widths.rest + widths.middle - min(12, widths.middle) - 1), signs), "dim"),
    )


def _heading(frame: Frame) -> str:
    return " / ".join(frame.metrics)


def _values(values: Sequence[float | None]) -> str:
    if all(value is None for value in values):
        return ""
    return " / ".join(format_number(value) for value in values)


def _step(step: int | None, most: int | None) -> str:
    if step is None:
        return ""
    return f"{step}/{most}" if most else f"{step}"


# ---- foot --------------------------------------------------------------------------------------------------------------


def _last(frame: Frame, width: int, signs: Signs) -> Line:
    if frame.event is None:
        return (Span("Ctrl-C stops; the same command goes on", "dim"),)
    event = frame.event
    word = event.outcome.value.lower() if event.outcome else event.kind.value
    start = f"{event.trial} {word}: " if event.trial else ""
    return (Span(shorten(f"last: {start}{event.text}".rstrip(": "), width, signs), "dim"),)
