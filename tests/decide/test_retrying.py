"""Patterns of a retry policy: plain text and ``*``, in time that grows with the text alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.decide.retrying import matches_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("Xid", "NVRM: Xid (PCI:0000:01:00): 79", True),
        ("Xid*79", "NVRM: Xid (PCI:0000:01:00): 79", True),
        ("79*Xid", "NVRM: Xid (PCI:0000:01:00): 79", False),
        ("one*two", "one\ntwo", False),
        ("a.c", "abc", False),
        ("a.c", "xa.cx", True),
        ("*", "  \n", False),
        ("*", "x", True),
        ("aba*ab", "aba", False),
        ("(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", False),
        ("ECC", "", False),
    ],
)
def test_a_pattern_is_text_with_stars(pattern, text, found):
    assert matches_pattern(pattern, text) is found


@given(
    pattern=st.text(alphabet="ab*", min_size=1, max_size=6).filter(lambda text: text.strip("*")),
    text=st.text(alphabet="ab\n", max_size=12),
)
def test_it_finds_what_the_regular_expression_of_the_same_meaning_finds(pattern, text):
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))

    assert matches_pattern(pattern, text) == (re.search(expression, text) is not None)
