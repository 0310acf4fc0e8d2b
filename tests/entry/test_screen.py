"""The live view at the sizes that people have, and at any size with anything in it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decide.builders import NOON
from entry.rehearsal import digits_study, rehearse
from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.api.study import Best, TrialCounts
from seatrial.entry.cli.cells import ASCII, UNICODE, Signs, line_text, line_width
from seatrial.entry.cli.chronicle import Chronicle, Ended, Event, EventKind
from seatrial.entry.cli.frame import Frame, OpenRow, Use, build_frame
from seatrial.entry.cli.screen import build_screen

GOLDEN = Path(__file__).parent / "golden"


def frames() -> dict[float, Frame]:
    """Return the frames of the rehearsal by seconds since its start, the last one of each moment."""
    chronicle, found = Chronicle(), {}
    for look in rehearse(digits_study()):
        chronicle.see(look)
        now = look.snapshot.now
        start = chronicle.began_at or now
        found[(now - start).total_seconds()] = build_frame(look, chronicle, now=now)
    return found


@pytest.mark.parametrize(
    ("name", "second", "width", "height", "signs"),
    [
        ("live-80x24", 6.0, 80, 24, UNICODE),
        ("live-120x30", 6.0, 120, 30, UNICODE),
        ("live-80x24-ascii", 6.0, 80, 24, ASCII),
        ("live-80x12-small", 6.0, 80, 12, UNICODE),
        ("live-80x24-over", 23.0, 80, 24, UNICODE),
    ],
)
def test_the_live_view_looks_as_it_did(name: str, second: float, width: int, height: int, signs: Signs) -> None:
    lines = build_screen(frames()[second], width=width, height=height, signs=signs)

    shown = "".join(f"{line_text(line).rstrip()}\n" for line in lines)
    assert shown == (GOLDEN / f"{name}.txt").read_text()


def test_many_running_trials_leave_two_rows_for_those_that_ended() -> None:
    frame = frames()[6.0]
    crowd = tuple(
        OpenRow(
            name=f"digits-{i}",
            running=i < 90,
            step=None,
            values=(None,),
            curve=(),
            seconds=None,
            note="",
            parameters="",
        )
        for i in range(100)
    )

    lines = [line_text(line) for line in build_screen(_with(frame, rows=crowd), width=80, height=24)]

    assert len(lines) == 24
    assert "and 89 more (79 running, 10 waiting)" in lines
    assert sum("stopped  " in line for line in lines) == 2


def _with(frame: Frame, **changes: object) -> Frame:
    from dataclasses import replace

    return replace(frame, **changes)  # type: ignore[arg-type]


# ---- any frame ---------------------------------------------------------------------------------------------------------

NUMBERS = st.floats() | st.integers(-(10**15), 10**15).map(float)
TEXTS = st.text(max_size=40)
VALUES = st.lists(st.none() | NUMBERS, min_size=1, max_size=3).map(tuple)
USES = st.builds(Use, used=st.floats(0, 1e9), limit=st.none() | st.floats(0, 1e9))
COUNTS = st.builds(TrialCounts, total=st.integers(0, 10**6), running=st.integers(0, 10**6), failed=st.integers(0, 9))
ROWS = st.builds(
    OpenRow,
    name=TEXTS,
    running=st.booleans(),
    step=st.none() | st.integers(0, 10**9),
    values=VALUES,
    curve=st.lists(NUMBERS, max_size=30).map(tuple),
    seconds=st.none() | st.floats(0, 1e7),
    note=TEXTS,
    parameters=TEXTS,
)
ENDED = st.builds(
    Ended,
    name=TEXTS,
    outcome=st.sampled_from(TrialReason),
    values=VALUES,
    step=st.none() | st.integers(0, 10**9),
    best=st.booleans(),
    text=TEXTS,
)
EVENTS = st.builds(
    Event,
    kind=st.sampled_from(EventKind),
    at=st.just(NOON),
    trial=TEXTS,
    outcome=st.none() | st.sampled_from(TrialReason),
    text=TEXTS,
)
BESTS = st.builds(
    lambda trial, values, assignment: Best.model_construct(trial=trial, index=0, values=values, assignment=assignment),
    TEXTS,
    st.lists(NUMBERS, min_size=1, max_size=3),
    st.dictionaries(TEXTS, NUMBERS | TEXTS | st.booleans() | st.integers(), max_size=5),
)
FRAMES = st.builds(
    Frame,
    name=TEXTS,
    algorithm=st.sampled_from(["auto", "tpe"]),
    state=st.sampled_from(StudyReason),
    sentence=TEXTS,
    metrics=st.lists(st.text("abc/_:.", min_size=1, max_size=40), min_size=1, max_size=3).map(tuple),
    max_step=st.none() | st.integers(1, 10**9),
    step_unit=st.sampled_from(["step", "epoch", "a_very_long_name_of_a_step"]),
    elapsed_seconds=st.floats(0, 1e8),
    counts=COUNTS,
    trials=USES,
    failed=USES,
    seconds=USES,
    gpu_hours=USES,
    best=st.none() | BESTS,
    front=st.integers(0, 50),
    best_values=st.lists(NUMBERS, max_size=30).map(tuple),
    rate_per_minute=st.none() | st.floats(0, 1e6),
    left_seconds=st.none() | st.floats(0, 1e9),
    rows=st.lists(ROWS, max_size=12).map(tuple),
    ended=st.lists(ENDED, max_size=12).map(tuple),
    event=st.none() | EVENTS,
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(frame=FRAMES, width=st.integers(1, 200), height=st.integers(0, 60), signs=st.sampled_from([UNICODE, ASCII]))
def test_whatever_trials_say_no_line_is_too_wide_and_none_too_many(
    frame: Frame, width: int, height: int, signs: Signs
) -> None:
    lines = build_screen(frame, width=width, height=height, signs=signs)

    assert len(lines) <= height
    assert all(line_width(line) <= width for line in lines)
    assert not lines or line_width(lines[-1]) <= max(0, width - 4)  # room for the echo of ^C
    assert all(line_text(line).isprintable() for line in lines)
    assert signs is UNICODE or all(line_text(line).isascii() for line in lines)


def test_the_clock_goes_on_between_two_looks() -> None:
    chronicle = Chronicle()
    look = rehearse(digits_study())[0]
    chronicle.see(look)

    later = build_frame(look, chronicle, now=look.snapshot.now + timedelta(seconds=75))

    assert line_text(build_screen(later, width=80, height=24)[0]).endswith(" 1:15")
