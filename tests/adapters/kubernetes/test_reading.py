"""JSON deeper than Python reads is cut, and nothing else is changed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kubernetes.contract import a_study_object
from seatrial.adapters.kubernetes.reading import CUT, DEEPEST, _cut, read_json
from seatrial.adapters.kubernetes.records import build_study_record

_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['"', "\\", "[{", '\\"]', "\u2028"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(value=_ANY)
def test_what_is_not_deep_is_left_as_it_is(value: object):
    for ascii_only in (True, False):
        raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

        assert _cut(raw) == raw


@pytest.mark.parametrize("depth", [DEEPEST + 1, 2000, 9990])
@pytest.mark.parametrize(("open_", "close"), [(b'{"a]\\"}": ', b"}"), (b"[1, ", b', "]"]')], ids=["objects", "lists"])
def test_what_is_deep_is_cut_there_and_its_neighbours_stay(open_: bytes, close: bytes, depth: int):
    raw = b'{"deep": ' + open_ * depth + b'"x"' + close * depth + b', "after": [1, 2]}'

    found = json.loads(_cut(raw))

    assert found["after"] == [1, 2]
    inner, levels = found["deep"], 1
    while not isinstance(inner, str):
        inner, levels = inner['a]"}'] if isinstance(inner, dict) else inner[1], levels + 1
    assert (inner, levels) == (CUT, DEEPEST)


def test_what_python_can_read_is_not_cut():
    raw = b"[" * (DEEPEST + 50) + b"]" * (DEEPEST + 50)

    assert read_json(raw) == json.loads(raw)


def test_what_is_no_json_is_no_json_at_any_depth():
    with pytest.raises(ValueError, match="Expecting"):
        read_json(b"[" * 5000)


def test_a_study_that_was_cut_is_refused_in_words():
    deep = b'{"a": ' * 5000 + b"1" + b"}" * 5000
    body = json.dumps(a_study_object()).replace('"containers"', '"nodeSelector": 0, "containers"').encode()
    written = read_json(body.replace(b'"nodeSelector": 0', b'"nodeSelector": ' + deep))
    assert isinstance(written, dict)
    written["metadata"] |= {"namespace": "default", "uid": "u", "resourceVersion": "1", "generation": 1}

    record = build_study_record(written)

    assert record.model is None
    assert "nests deeper than 64 levels" in record.problem
