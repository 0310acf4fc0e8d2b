"""Text in terminal cells: cleaned of what would move the cursor, cut to a width, drawn with the signs that the terminal has.

Pure. What trials print may hold anything (escape sequences, line ends, wide characters); nothing of it reaches a screen uncut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

__all__ = ["ASCII", "UNICODE", "Line", "Signs", "Span", "clean", "fit", "line_text", "line_width", "shorten", "trim"]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line in one style of rich's."""

    text: str
    style: str = ""


Line = tuple[Span, ...]
"""One line of a screen, from left to right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What the terminal can draw.

    Attributes:
        levels: Signs of rising height, for sparklines.
        full: A used cell of a bar.
        empty: A free cell of a bar.
        hole: A value in a sparkline that is not finite.
    """

    levels: str
    full: str
    empty: str
    ellipsis: str
    dot: str
    dash: str
    star: str
    hole: str
    ascii_only: bool

    def text(self, text: str) -> str:
        """Return *text* on one line, free of control characters, in characters that can be drawn."""
        text = clean(text)
        if self.ascii_only and not text.isascii():
            text = text.translate(_PLAIN).encode("ascii", "replace").decode()
        return text


UNICODE = Signs(
    levels="▁▂▃▄▅▆▇█",
    full="█",
    empty="░",
    ellipsis="…",
    dot="·",
    dash="–",
    star="★",
    hole="×",
    ascii_only=False,
)
ASCII = Signs(
    levels="_.-~=+*#", full="#", empty=".", ellipsis="~", dot="-", dash="-", star="*", hole="x", ascii_only=True
)

_PLAIN = str.maketrans(
    {
        "…": "...",
        "·": "-",
        "–": "-",
        "—": "-",
        "−": "-",
        "×": "x",
        "≤": "<=",
        "≥": ">=",
        "→": "->",
        "★": "*",
        "∞": "inf",
        "’": "'",
    }
)


def clean(text: str) -> str:
    """Return *text* on one line: everything that is not printable becomes a space, runs of spaces become one."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split()) if "  " in text or text[:1] == " " or text[-1:] == " " else text


def shorten(text: str, width: int, signs: Signs = UNICODE) -> str:
    """Return *text* in at most *width* cells; what is cut ends with an ellipsis."""
    text = signs.text(text)
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    return set_cell_size(text, width - 1).rstrip() + signs.ellipsis


def fit(text: str, width: int, signs: Signs = UNICODE, *, right: bool = False) -> str:
    """Return *text* in exactly *width* cells."""
    text = shorten(text, width, signs)
    padding = " " * max(0, width - cell_len(text))
    return padding + text if right else text + padding


def line_text(line: Line) -> str:
    """Return a line without its styles."""
    return "".join(span.text for span in line)


def line_width(line: Line) -> int:
    """Return the cells that a line takes."""
    return sum(cell_len(span.text) for span in line)


def trim(line: Sequence[Span], width: int, signs: Signs = UNICODE) -> Line:
    """Return a line in at most *width* cells; its texts are clean already, spaces included."""
    room, kept = width, []
    for span in line:
        size = cell_len(span.text)
        if size > room:
            text = set_cell_size(span.text, room - 1) + signs.ellipsis if room > 0 else ""
            kept.append(Span(text, span.style))
            break
        kept.append(span)
        room -= size
    return tuple(kept)
