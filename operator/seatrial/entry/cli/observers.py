"""Who watches a run: the live view on a terminal, plain lines elsewhere, nobody with ``--quiet``.

An observer never harms the run: output that nobody reads any more is dropped, and drawing happens beside the loop, a few times a
second at most, from a picture that costs as much as the screen has rows.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from seatrial.decide.actions import Action
from seatrial.decide.curves import Curves
from seatrial.entry.cli.cells import ASCII, UNICODE, Line, Signs
from seatrial.entry.cli.chronicle import Chronicle, Event
from seatrial.entry.cli.frame import build_frame
from seatrial.entry.cli.plain import PlainLines
from seatrial.entry.cli.screen import build_screen
from seatrial.reconcile import Look

__all__ = ["LiveObserver", "PlainObserver", "QuietObserver", "Watcher", "build_observer", "signs_of", "to_text"]

_REDRAWS_PER_SECOND = 4

Now = Callable[[], datetime]


class Watcher(Protocol):
    """An observer that is opened and closed around a run."""

    def __enter__(self) -> Self:
        """Begin to watch."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        ...

    def on_look(self, look: Look, curves: Mapping[str, Curves]) -> None:
        """Take the newest look."""
        ...

    def on_action(self, action: Action) -> None:
        """Take an action that was applied."""
        ...

    def on_note(self, text: str) -> None:
        """Take something that the session says to people."""
        ...


def signs_of(console: Console) -> Signs:
    """Return what the console's encoding can show."""
    return UNICODE if console.encoding.lower().replace("-", "").startswith("utf") else ASCII


def build_observer(console: Console, *, now: Now, quiet: bool) -> "Watcher":
    """Return the observer that suits the console."""
    if quiet:
        return QuietObserver(console)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveObserver(console, now=now)
    return PlainObserver(console, now=now)


def to_text(line: Line) -> Text:
    """Return a line for rich; what trials said is never read as markup."""
    return Text.assemble(*((span.text, span.style) for span in line), no_wrap=True, overflow="crop")


class QuietObserver:
    """Says only what the session itself has to say."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        """Begin to watch."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""

    def on_look(self, look: Look, curves: Mapping[str, Curves]) -> None:
        """Ignore it."""

    def on_action(self, action: Action) -> None:
        """Ignore it."""

    def on_note(self, text: str) -> None:
        """Print it: it is about what the user does right now."""
        _print(self._console, signs_of(self._console).text(text))


class PlainObserver(QuietObserver):
    """Prints one line an event."""

    def __init__(self, console: Console, *, now: Now) -> None:
        super().__init__(console)
        self._now = now
        self._chronicle = Chronicle()
        self._lines: PlainLines | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print what was held back."""
        if self._lines is not None:
            self._print(self._lines.flush(self._now()))

    def on_look(self, look: Look, curves: Mapping[str, Curves]) -> None:  # noqa: ARG002 - as the protocol has it
        """Print what is new."""
        events: tuple[Event, ...] = self._chronicle.see(look)
        self._print(self._writer(look).tell(events, look.snapshot.now))

    def on_note(self, text: str) -> None:
        """Print it."""
        if self._lines is None:
            super().on_note(text)
        else:
            self._print(self._lines.note(text, self._now()))

    def _writer(self, look: Look) -> PlainLines:
        if self._lines is None:
            metrics = [objective.metric for objective in look.study.spec.objectives]
            self._lines = PlainLines(metrics=metrics, since=look.snapshot.now, signs=signs_of(self._console))
        return self._lines

    def _print(self, lines: list[str]) -> None:
        for line in lines:
            _print(self._console, line)


class LiveObserver(QuietObserver):
    """Draws the live view. The loop only hands over looks; a thread of rich's draws them."""

    def __init__(self, console: Console, *, now: Now) -> None:
        super().__init__(console)
        self._now, self._signs = now, signs_of(console)
        self._lock = threading.Lock()
        self._chronicle = Chronicle()
        self._look: Look | None = None
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=_REDRAWS_PER_SECOND,
            transient=True,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear the view away; the summary follows."""
        with contextlib.suppress(OSError):
            self._live.stop()

    def on_look(self, look: Look, curves: Mapping[str, Curves]) -> None:  # noqa: ARG002 - as the protocol has it
        """Hand over the newest look."""
        with self._lock:
            self._chronicle.see(look)
            self._look = look

    def on_note(self, text: str) -> None:
        """Print it above the view."""
        with contextlib.suppress(OSError):
            self._console.print(Text(self._signs.text(text)))

    def _draw(self) -> Group:
        with self._lock:
            if self._look is None:
                return Group(Text("starting", style="dim"))
            frame = build_frame(self._look, self._chronicle, now=self._now())
        width, height = self._console.size
        lines = build_screen(frame, width=width, height=height - 1, signs=self._signs)
        return Group(*(to_text(line) for line in lines))


def _print(console: Console, text: str) -> None:
    """Print one line; when nobody reads it any more, the run goes on in silence (rich would end it)."""
    with contextlib.suppress(OSError):
        console.file.write(f"{text}\n")
        console.file.flush()
