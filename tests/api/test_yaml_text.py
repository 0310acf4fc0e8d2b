"""YAML is read as kubectl reads it; the table was printed by kubectl's own library (sigs.k8s.io/yaml 1.6, YAMLToJSON)."""

import json

import pytest

from seatrial.api.nodes import MAX_BYTES, MAX_DEPTH, Json, to_json
from seatrial.api.yaml_text import read_documents
from seatrial.errors import Problem, SpecError


def read(text: str | bytes) -> Json:
    (document,) = read_documents(text.encode() if isinstance(text, str) else text, source="study.yaml")
    assert list(document.all_problems()) == []
    return to_json(document)


def complaints(text: str | bytes) -> list[str]:
    """Return what is said against *text*, whether it stops the reading or not."""
    try:
        documents = read_documents(text.encode() if isinstance(text, str) else text, source="study.yaml")
    except SpecError as err:
        return [str(problem) for problem in err.problems]
    told = [(line, ".".join(map(str, path)), message) for d in documents for path, message, line in d.all_problems()]
    return [str(Problem(path=path, message=message, line=line)) for line, path, message in told]


# (as written, as kubectl sends it)
KUBECTL = [
    ("1e-5", "0.00001"),
    ("1.0e-5", "0.00001"),
    ("1e5", "100000"),
    ("1E5", "100000"),
    ("1e+5", "100000"),
    ("1.0", "1"),
    ("60.0", "60"),
    ("0o17", "15"),
    ("017", "15"),
    ("-017", "-15"),
    ("-0o17", "-15"),
    ("0o8", '"0o8"'),
    ("08", "8"),
    ("0x1F", "31"),
    ("0x", '"0x"'),
    ("0x1p4", '"0x1p4"'),
    ("0b101", "5"),
    ("-0b11", "-3"),
    ("1_000", "1000"),
    ("1__0", "10"),
    ("1_0.5", "10.5"),
    ("0.1_5", "0.15"),
    ("_1", '"_1"'),
    ("~", "null"),
    ("null", "null"),
    ("Null", "null"),
    ("yes", "true"),
    ("no", "false"),
    ("on", "true"),
    ("off", "false"),
    ("y", "true"),
    ("n", "false"),
    ("Y", "true"),
    ("N", "false"),
    ("True", "true"),
    ("TRUE", "true"),
    ("tRUE", '"tRUE"'),
    ("true", "true"),
    (".5", "0.5"),
    ("5.", "5"),
    ("+.5", "0.5"),
    ("+5", "5"),
    ("-5", "-5"),
    (".1e3", "100"),
    ("1.e3", "1000"),
    ("1e", '"1e"'),
    ("1e400", '"1e400"'),
    ("1e-400", "0"),
    ("-0", "0"),
    ("-0.0", "0"),
    ("1e15", "1000000000000000"),
    ("1e21", "1e+21"),
    ("9223372036854775807", "9223372036854775807"),
    ("9223372036854775808", "9223372036854775808.0"),
    ("18446744073709551616", "18446744073709552000.0"),
    ("2024-01-01", '"2024-01-01"'),
    ("2024-01-01T00:00:00Z", '"2024-01-01T00:00:00Z"'),
    ("12:30", '"12:30"'),
    ("190:20:30", '"190:20:30"'),
    ("1.2.3", '"1.2.3"'),
    ("=", '"="'),
    ("<<", '"<<"'),
    ("infinity", '"infinity"'),
    ("nan", '"nan"'),
    ("Inf", '"Inf"'),
    ("'017'", '"017"'),
    ('"yes"', '"yes"'),
    ("'1e-5'", '"1e-5"'),
    ("!!str yes", '"yes"'),
    ("!!int 3", "3"),
    ("!!float 3", "3"),
    ("!!bool yes", "true"),
    ("|\n  x\n", '"x\\n"'),
    (">-\n  x\n  y\n", '"x y"'),
    ('"\\x41"', '"A"'),
]


@pytest.mark.parametrize(("written", "sent"), KUBECTL, ids=[repr(written) for written, _ in KUBECTL])
def test_a_scalar_is_read_as_kubectl_reads_it(written: str, sent: str) -> None:
    expected = json.loads(sent)

    actual = read(f"v: {written}")

    assert actual == {"v": expected}
    assert type(actual["v"]) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}),
        ("d: {<<: [{a: 1}, {a: 2, b: 3}]}", {"d": {"a": 1, "b": 3}}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("1: a", {"1": "a"}),
        ("{a}", {"a": None}),
        ('{"a":\t1}', {"a": 1}),
        ('{"a": "\\ud83d\\ude00", "b": 1.0, "c": [1e-5]}', {"a": "😀", "b": 1, "c": [1e-5]}),
        ('{"a": "\\/"}', {"a": "/"}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("a: ü # comment", {"a": "ü"}),
        ("---\n---\na: 1\n...\n", {"a": 1}),
    ],
)
def test_structure_is_read_as_kubectl_reads_it(text: str, expected: Json) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "a:\n\t- b",
            "line 2: study.yaml is no YAML here (while scanning for the next token: found character that cannot start any token); it has a tab, but YAML indents by spaces: replace each tab by two spaces",
            id="a tab",
        ),
        pytest.param(
            "a: b: c",
            "line 1: study.yaml is no YAML here (mapping values are not allowed in this context); check the indentation, and put a value that contains a colon in quotes",
            id="two colons",
        ),
        pytest.param(
            "a: @x",
            "line 1: study.yaml is no YAML here (while scanning for the next token: found character that cannot start any token); a value cannot start with @: put it in quotes",
            id="an at sign",
        ),
        pytest.param("a: 1\nb: 2\na: 3", "line 3: a is given twice (first in line 1); remove one", id="a repeated key"),
        pytest.param(
            '{"a": "\\ud83d\\ude00", "a": 2}', "line 1: a is given twice; remove one", id="a repeated key in JSON"
        ),
        pytest.param(
            "y: 1",
            "line 1: has the key y, which YAML reads as the boolean true; put it in quotes",
            id="a boolean as a key",
        ),
        pytest.param("~: 1", "line 1: has the key ~, which is no name; put it in quotes", id="null as a key"),
        pytest.param(
            "? [1, 2]\n: 3", "line 1: has a list or mapping as a key; write a name instead", id="a list as a key"
        ),
        pytest.param(
            "a: &x {b: 1}\nd:\n  b: 3\n  <<: *x",
            "line 4: d has << below b, which it brings along too; put << first",
            id="a merge that would override",
        ),
        pytest.param(
            "d: {<<: 3}",
            "line 1: d has << with something that is no mapping; give it an alias of a mapping",
            id="a merge of a number",
        ),
        pytest.param(
            "a: *x", "line 1: uses the alias *x, but no &x stands before it; define it first", id="an unknown alias"
        ),
        pytest.param(
            "a: &x [*x]", "line 1: uses the alias *x inside its own value; write the value out", id="an alias in itself"
        ),
        pytest.param(
            "a: .inf",
            "line 1: a is .inf, but must be finite: Kubernetes cannot hold it; write a number or leave it out",
            id="infinity",
        ),
        pytest.param(
            "a: !ref x",
            "line 1: a has the tag !ref, but only !!str, !!int, !!float and !!bool have a meaning here; remove it",
            id="a tag of somebody else's",
        ),
        pytest.param(
            "a: !!int x", "line 1: a is 'x', but its tag !!int says otherwise; remove the tag", id="a tag that lies"
        ),
        pytest.param(
            'a: "x\\0"',
            "line 1: a holds a NUL character, which neither a Pod nor a process can be given; remove it",
            id="a NUL in quotes",
        ),
        pytest.param(
            "a: \x07", "line 1: study.yaml holds the control character '\\x07'; remove it", id="a control character"
        ),
        pytest.param(
            b"a: \xff", "line 1: study.yaml is not UTF-8 (byte 0xff); save it as UTF-8 text", id="another encoding"
        ),
        pytest.param(
            b"\x7fELF\0\0",
            "study.yaml is a binary file, but a study is YAML or JSON text; is it the right file?",
            id="a binary file",
        ),
        pytest.param(
            b"#" * 50_000_000,
            f"study.yaml is 50.0 MB large, but a study has at most {MAX_BYTES // 1024} KiB; is it the right file?",
            id="50 MB",
        ),
        pytest.param(
            '{"a": "\\ud83d"}',
            "line 1: study.yaml is no YAML here (while parsing a quoted scalar: found invalid Unicode character escape code); a bracket or a quote is not closed",
            id="half a surrogate pair",
        ),
    ],
)
def test_what_would_surprise_or_cannot_be_read_is_refused(text: str | bytes, expected: str) -> None:
    assert complaints(text) == [expected]


@pytest.mark.parametrize(
    "bomb", ["[" * 10_000, "a: " + "[" * 500, "{a: " * 10_000, '{"a":' * 10_000, '{"\\ud83d\\ude00":' * 900]
)
def test_ten_thousand_brackets_are_too_deep(bomb: str) -> None:
    (complaint,) = complaints(bomb)

    assert "nest" in complaint or "no YAML" in complaint


def test_nesting_by_aliases_counts_as_nesting() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))

    (complaint,) = complaints(chain)

    assert f"nests deeper than {MAX_DEPTH} levels" in complaint


def test_a_billion_laughs_stay_a_smile() -> None:
    laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
    )

    (complaint,) = complaints(laughs)

    assert complaint.startswith("line 5: holds more than 100000 values once its aliases are expanded")


def test_every_place_knows_its_line() -> None:
    (document,) = read_documents(b"# c\na:\n  - x: 1\n    k:\n      - 2\n      - 3\nb: {c: 4}\n", source="s")

    assert [
        document.line_of(path) for path in [(), ("a",), ("a", 0, "x"), ("a", 0, "k", 1), ("b", "c"), ("b", "none")]
    ] == [
        2,
        2,
        3,
        6,
        7,
        7,
    ]
