"""What is written for server-side apply is JSON and YAML at once."""

from __future__ import annotations

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from seatrial.adapters.kubernetes.writing import write_yaml

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(body=st.dictionaries(_TEXTS, _VALUES, max_size=4))
def test_it_is_read_back_as_json_and_as_yaml(body: dict[str, object]):
    written = write_yaml(body)

    assert json.loads(written) == body
    assert yaml.safe_load(written) == body


def test_half_a_character_becomes_one_that_stands_for_it():
    assert write_yaml({"a": "x\ud83d"}) == '{"a": "x\\ufffd"}'
