"""Texts of trials on a terminal: nothing moves the cursor, nothing is wider than it may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from seatrial.entry.cli.cells import ASCII, UNICODE, Signs, Span, clean, fit, line_width, shorten, trim

ANY_SIGNS = st.sampled_from([UNICODE, ASCII])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain words", "plain words", id="stays"),
        pytest.param("\x1b[2J\x1b[31mred\x1b[0m", "[2J [31mred [0m", id="escape sequences lose their escape"),
        pytest.param("first\nsecond\r\n\tthird ", "first second third", id="one line"),
        pytest.param("a\u202eb\u0000c", "a b c", id="marks of direction and NUL go"),
    ],
)
def test_what_trials_print_cannot_move_the_cursor(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(text=st.text(), width=st.integers(0, 120), signs=ANY_SIGNS, right=st.booleans())
def test_a_fitted_text_takes_exactly_its_width(text: str, width: int, signs: Signs, right: bool) -> None:
    fitted = fit(text, width, signs, right=right)

    assert cell_len(fitted) == width
    assert fitted == "" or fitted.isprintable()


@given(text=st.text(), width=st.integers(0, 120))
def test_a_terminal_without_unicode_is_sent_ascii_only(text: str, width: int) -> None:
    assert shorten(text, width, ASCII).isascii()


def test_a_text_that_is_cut_says_so() -> None:
    assert shorten("learning rate", 9) == "learning…"
    assert shorten("learning rate", 13) == "learning rate"
    assert shorten("漢字漢字", 5) == "漢字…"


@given(
    texts=st.lists(st.text(st.characters(codec="utf-8", categories=["L", "N", "P"])), max_size=5),
    width=st.integers(0, 60),
)
def test_a_trimmed_line_is_never_wider(texts: list[str], width: int) -> None:
    assert line_width(trim([Span(text) for text in texts], width)) <= width
