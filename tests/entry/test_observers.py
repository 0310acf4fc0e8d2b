"""Which observer a console gets, and that the live one leaves the terminal as it found it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest
from rich.console import Console

from entry.rehearsal import digits_study, rehearse
from seatrial.entry.cli.observers import LiveObserver, PlainObserver, QuietObserver, Watcher, build_observer
from seatrial.reconcile import Look


def console(*, terminal: bool, environment: Mapping[str, str] | None = None) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=80,
        height=24,
        _environ={"TERM": "xterm", **(environment or {})},
    )


def watch(console: Console, *, quiet: bool = False) -> str:
    """Let the observer of *console* watch the rehearsal and return what it wrote."""
    looks = rehearse(digits_study())
    with build_observer(console, now=lambda: looks[-1].snapshot.now, quiet=quiet) as observer:
        for look in looks:
            observer.on_look(look, {})
        observer.on_note("stopping")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("terminal", "environment", "quiet", "kind"),
    [
        pytest.param(True, {}, False, LiveObserver, id="a terminal"),
        pytest.param(False, {}, False, PlainObserver, id="a file or a pipe"),
        pytest.param(True, {"TERM": "dumb"}, False, PlainObserver, id="a terminal that cannot move its cursor"),
        pytest.param(True, {}, True, QuietObserver, id="quiet"),
    ],
)
def test_the_observer_suits_the_console(
    terminal: bool, environment: dict[str, str], quiet: bool, kind: type[Watcher]
) -> None:
    observer = build_observer(console(terminal=terminal, environment=environment), now=_never, quiet=quiet)

    assert type(observer) is kind


def _never() -> None:
    raise AssertionError("nothing is drawn before the first look")


def test_the_live_view_is_drawn_and_cleared_away_and_the_cursor_comes_back() -> None:
    written = watch(console(terminal=True))

    assert "\x1b[?25l" in written  # hidden while drawing
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert "digits-6" in written
    assert written.endswith("\x1b[2K")  # the last thing is that its lines are erased


def test_no_color_is_respected() -> None:
    coloured = watch(console(terminal=True))
    plain = watch(console(terminal=True, environment={"NO_COLOR": "1"}))

    assert "\x1b[32m" in coloured or "\x1b[1;32m" in coloured
    assert "32m" not in plain


def test_a_pipe_gets_no_escape_sequence_and_every_line_at_once() -> None:
    written = watch(console(terminal=False))

    assert "\x1b" not in written
    assert len(written.splitlines()) == 18
    assert written.endswith("stopping\n")


def test_quiet_says_only_what_the_session_says() -> None:
    assert watch(console(terminal=True), quiet=True) == "stopping\n"


class Gone(io.StringIO):
    """A pipe whose reader left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_an_observer_outlives_its_reader() -> None:
    looks: list[Look] = rehearse(digits_study())
    observer = PlainObserver(Console(file=Gone()), now=lambda: looks[0].snapshot.now)

    with observer:
        for look in looks:
            observer.on_look(look, {})
        observer.on_note("stopping")
