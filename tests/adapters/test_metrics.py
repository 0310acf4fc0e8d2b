"""Metrics of a laptop's trials: what is read, and that nothing a trial writes does harm."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decide.builders import a_study
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.logs import LogLimits, trim
from seatrial.adapters.metrics.lines import LineReader
from seatrial.adapters.metrics.local import LocalMetricSource, TrialStory
from seatrial.adapters.metrics.names import CurveTable
from seatrial.adapters.metrics.observations import Observations
from seatrial.adapters.metrics.printed import Printed, parse_pairs
from seatrial.adapters.metrics.termination import parse_report
from seatrial.decide.attempts import Attempt, FinalMetric, Phase, ReportStatus, SavedCheckpoint
from seatrial.decide.curves import LIMIT, Curve

NAN, INF = math.nan, math.inf


def points(curve: Curve) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in curve.points]


def a_table(*wanted: str, others: int = 256) -> CurveTable:
    return CurveTable(wanted, rungs=(), window=5, most_others=others)


# ---- the termination message -------------------------------------------------------------------------------------------


def test_a_full_message_is_read():
    message = {
        "v": 1,
        "status": "succeeded",
        "step": 27,
        "metrics": {"acc": {"last": 0.97, "min": 0.11, "max": 0.98, "lastStep": 27, "minStep": 1, "maxStep": 25}},
        "curve": {"metric": "acc", "points": [[1, 0.11], [27, 0.97]]},
        "checkpoint": {"step": 27, "digest": "sha256:ab", "path": "step-27"},
        "stepsTrained": 27,
        "freedBytes": 4096,
        "message": "fine",
    }

    report, note = parse_report(json.dumps(message).encode())

    assert note == ""
    assert report is not None
    assert (report.status, report.step, report.message) == (ReportStatus.SUCCEEDED, 27, "fine")
    acc = FinalMetric(name="acc", last=0.97, low=0.11, high=0.98, low_step=1, high_step=25, last_step=27)
    assert report.metrics == (acc,)
    assert report.curve == ((1, 0.11), (27, 0.97))
    assert report.checkpoint == SavedCheckpoint(step=27, digest="sha256:ab", path="step-27")
    assert (report.freed_bytes, report.reason) == (4096, "")


@pytest.mark.parametrize(
    ("written", "read"),
    [("ParentCheckpointMissing", "ParentCheckpointMissing"), ("no word", ""), ("lower", ""), ("A" * 64, ""), (7, "")],
)
def test_a_reason_is_one_word_that_begins_with_a_capital_letter(written: object, read: str):
    report, _ = parse_report(json.dumps({"v": 1, "status": "failed", "reason": written}).encode())

    assert report is not None
    assert report.reason == read


@pytest.mark.parametrize(
    ("raw", "metrics", "step"),
    [
        pytest.param(b'{"acc": 0.97}', {"acc": 0.97}, None, id="minimal"),
        pytest.param(b'{"acc": 0.97, "step": 3}', {"acc": 0.97}, 3, id="minimal with a step"),
        pytest.param(
            b' {"acc": 1, "who": "me", "done": true, "x": null}\n', {"acc": 1.0}, None, id="only numbers count"
        ),
        pytest.param(
            b'{"loss": NaN, "a": Infinity, "b": -Infinity}', {"loss": NAN, "a": INF, "b": -INF}, None, id="bare words"
        ),
        pytest.param(b'{"loss": "NaN", "a": "Infinity"}', {"loss": NAN, "a": INF}, None, id="words in quotes"),
        pytest.param(b'{"a": 1' + b"0" * 400 + b"}", {"a": INF}, None, id="beyond a float"),
        pytest.param(b'{"metrics": {"a": 2, "b": {"last": 3}, "c": {}, "d": []}}', {"a": 2, "b": 3}, None, id="mixed"),
    ],
)
def test_final_values_are_read(raw: bytes, metrics: dict[str, float], step: int | None):
    report, note = parse_report(raw)

    assert note == ""
    assert report is not None
    assert report.status is None
    assert report.step == step
    assert {m.name: m.last for m in report.metrics} == pytest.approx(metrics, nan_ok=True)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(b'{"acc": 0.9', "is not one JSON object", id="half"),
        pytest.param(bytes(range(256)), "is not one JSON object", id="binary"),
        pytest.param(b'{"a": 1}{"a": 2}', "is not one JSON object", id="two"),
        pytest.param(b"[" * 4096, "is not one JSON object", id="deep"),
        pytest.param(b'{"a": ' + b"9" * 4090 + b"}", "is longer than 4096 bytes", id="longer than the kubelet keeps"),
        pytest.param(b"[1, 2]", "no object", id="a list"),
        pytest.param(b"0.97", "no object", id="a number"),
        pytest.param(b'{"who": "me"}', "no number", id="no numbers"),
        pytest.param(b"", "", id="empty"),
        pytest.param(b" \n\t", "", id="blank"),
    ],
)
def test_what_is_no_message_is_none_and_a_note(raw: bytes, words: str):
    report, note = parse_report(raw)

    assert report is None
    assert words in note
    assert bool(note) == bool(words)


def test_an_unknown_status_is_a_note_and_the_rest_counts():
    report, note = parse_report(b'{"status": "great", "metrics": {"a": 1}}')

    assert report is not None
    assert report.status is None
    assert report.metrics[0].last == 1
    assert "'great'" in note


@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["v", "status", "step", "metrics", "curve", "points", "checkpoint", "last", "message"])
                | st.text(),
                x,
            )
        ),
    ).map(lambda x: json.dumps(x).encode())
)
def test_no_message_ever_raises(raw: bytes):
    report, note = parse_report(raw)

    assert isinstance(note, str)
    assert report is None or all(isinstance(m.last, float) for m in report.metrics)


# ---- printed lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("step=3 val_accuracy=0.93 loss=nan", {"step": 3, "val_accuracy": 0.93, "loss": NAN}),
        ("val/loss=0.3", {"val/loss": 0.3}),
        ("lr=1e-5,loss=.5", {"lr": 1e-5, "loss": 0.5}),
        ("a=1, b=2.", {"a": 1, "b": 2}),
        ("a=+1 b=-2 c=-inf d=Infinity e=NaN", {"a": 1, "b": -2, "c": -INF, "d": INF, "e": NAN}),
        ("2026-01-01 12:00:00,123 INFO trainer: loss=0.25", {"loss": 0.25}),
        ("\x1b[32mloss=0.3\x1b[0m acc=\x1b[1m0.9\x1b[0m", {"loss": 0.3, "acc": 0.9}),
        ("100%|####| 10/10 [00:01<00:00, 9.9it/s, loss=0.5]", {"loss": 0.5}),
        ("loss=1 loss=2", {"loss": 2}),
        ("loss: 0.3", {}),
        ("a==1", {}),
        ("a=1=2", {}),
        ("http://host/path?x=1", {}),
        ("http://host/x=1", {}),
        ("95%: acc=95%", {}),
        ("loss=0.3x", {}),
        ("loss=abc", {}),
        ("loss=", {}),
        ("loss =0.3", {}),
        ("loss= 0.3", {}),
        ("=3", {}),
        ("3x=3", {}),
        ("f(loss=3)", {}),
        ('loss="3"', {}),
        ("loss=0x10", {}),
        ("loss=1_000", {}),
        ("loss=nano", {}),
        ("loss=1e", {}),
        ("", {}),
    ],
)
def test_pairs_are_found_in_a_line(line: str, expected: dict[str, float]):
    assert parse_pairs(line) == pytest.approx(expected, nan_ok=True)


def printed(
    text: str, *, unit: str | None = None, wanted: tuple[str, ...] = ("loss",)
) -> dict[str, list[tuple[int, float]]]:
    reader = Printed(a_table(*wanted, others=32), wanted, unit)
    reader.feed(text.encode().split(b"\n"))
    return {name: points(curve) for name, curve in reader.table.build().items()}


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        pytest.param("step=3 loss=2\nstep=5 loss=1", None, [(3, 2), (5, 1)], id="step"),
        pytest.param(
            "epoch=1 step=10 loss=2\nepoch=2 step=20 loss=1", "epoch", [(1, 2), (2, 1)], id="the study's unit first"
        ),
        pytest.param("epoch=1 loss=2", None, [(1, 2)], id="another unit is a metric, lines are counted"),
        pytest.param("loss=3\nnothing\nloss=2\n\nloss=1", None, [(1, 3), (2, 2), (3, 1)], id="lines are counted"),
        pytest.param("lr=1\nloss=3\nlr=2\nloss=2", None, [(1, 3), (2, 2)], id="only lines with a wanted metric count"),
        pytest.param("step=4\nloss=3\nacc=1 loss=2", None, [(4, 2)], id="a told step stands until the next"),
        pytest.param("step=1 loss=3\nstep=2 loss=2\nstep=1 loss=9", None, [(1, 9)], id="backwards is a restart"),
        pytest.param("step=1.5 loss=3\nstep=nan loss=2\nstep=-1 loss=1", None, [(1, 3), (2, 2), (3, 1)], id="no steps"),
        pytest.param("loss=3\rloss=2\rloss=1", None, [(1, 3), (2, 2), (3, 1)], id="a progress bar"),
    ],
)
def test_printed_lines_become_curves(text: str, unit: str | None, expected: list[tuple[int, float]]):
    assert printed(text, unit=unit)["loss"] == expected


def test_a_metric_that_is_called_step_is_a_metric():
    assert printed("step=7\nstep=8", wanted=("step",)) == {"step": [(1, 7), (2, 8)]}


def test_invented_names_are_bounded_and_wanted_ones_always_have_a_place():
    text = "\n".join(f"m{i}=1" for i in range(1000)) + "\nloss=0.5"

    found = printed(text)

    assert len(found) == 33
    assert found["loss"] == [(1, 0.5)]


# ---- observations ------------------------------------------------------------------------------------------------------


def observed(*lines: bytes) -> Observations:
    reader = Observations(a_table("loss"))
    reader.feed(list(lines))
    return reader


def test_observations_become_curves():
    found = observed(
        b'{"step": 1, "time": 1.5, "metrics": {"loss": 2, "acc": 0.1}}',
        b'{"step": 2.0, "metrics": {"loss": NaN}}',
        b'{"step": 2, "metrics": {"acc": Infinity}}',
    )

    curves = found.table.build()
    assert points(curves["loss"])[0] == (1, 2)
    assert math.isnan(points(curves["loss"])[1][1])
    assert points(curves["acc"]) == [(1, 0.1), (2, INF)]
    assert (found.taken, found.skipped) == (3, 0)


def test_a_step_backwards_is_a_restart_and_later_lines_win():
    lines = [
        f'{{"step": {step}, "metrics": {{"loss": {loss}}}}}'.encode()
        for step, loss in [(1, 9), (2, 8), (3, 7), (2, 5), (3, 4)]
    ]

    assert points(observed(*lines).table.build()["loss"]) == [(1, 9), (2, 5), (3, 4)]


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'{"step": 1}',
        b'{"metrics": {"loss": 1}}',
        b'{"step": "1", "metrics": {"loss": 1}}',
        b'{"step": 1.5, "metrics": {"loss": 1}}',
        b'{"step": -1, "metrics": {"loss": 1}}',
        b'{"step": true, "metrics": {"loss": 1}}',
        b'{"step": 1e300, "metrics": {"loss": 1}}',
        b'{"step": NaN, "metrics": {"loss": 1}}',
        b'{"step": 1, "metrics": [1]}',
        b'{"step": 1, "metrics": 1}',
        b"\xff\xfe",
        b"\x00\x00",
        b"[" * 10_000,
        b'{"step": ' + b"1" * 5000 + b', "metrics": {}}',
    ],
)
def test_a_line_that_is_no_observation_is_skipped_and_counted(line: bytes):
    found = observed(b'{"step": 1, "metrics": {"loss": 1}}', line, b'{"step": 2, "metrics": {"loss": 2}}')

    assert (found.taken, found.skipped) == (2, 1)
    assert points(found.table.build()["loss"]) == [(1, 1), (2, 2)]


def test_values_that_are_no_numbers_are_left_out():
    found = observed(
        b'{"step": 1, "metrics": {"loss": 1, "a": "x", "b": null, "c": true, "d": [1], "": 2, "e": "NaN"}}'
    )

    assert sorted(found.table.build()) == ["e", "loss"]


def test_ten_thousand_metric_names_keep_a_few_and_say_so():
    table = a_table("loss")
    reader = Observations(table)

    reader.feed([json.dumps({"step": 1, "metrics": {f"m{i}": 1.0}}).encode() for i in range(10_000)])
    reader.feed([b'{"step": 2, "metrics": {"loss": 1}}'])

    assert len(table.build()) == 257
    assert 0 < len(table.dropped) <= 10


def test_a_hundred_thousand_points_are_kept_in_bounded_memory():
    found = observed(*(b'{"step": %d, "metrics": {"loss": %d}}' % (i, i % 7) for i in range(100_000)))

    curve = found.table.build()["loss"]
    assert curve.count == 100_000
    assert len(curve.points) <= LIMIT + 1
    assert curve.step == 99_999


# ---- lines -------------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=20), st.integers(1, 50), st.data()
)
def test_lines_come_whole_however_the_file_grows(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], most: int, data: st.DataObject
):
    path = tmp_path_factory.mktemp("lines") / "file"
    content = b"".join(line + b"\n" for line in lines)
    reader, found, written = LineReader(path, longest=40), [], 0
    with path.open("wb", buffering=0) as file:
        while written < len(content):
            size = data.draw(st.integers(1, len(content) - written))
            file.write(content[written : written + size])
            written += size
            more = True
            while more:
                read, more = reader.read(most)
                found += read

    assert found == lines
    assert reader.skipped == 0


def test_a_line_without_an_end_is_not_read_until_its_writer_is_gone(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"one\ntw")
    reader = LineReader(path, longest=100)

    assert reader.read(1000) == ([b"one"], False)
    path.write_bytes(b"one\ntwo")
    assert reader.read(1000) == ([], False)
    assert reader.finish() == [b"two"]
    assert reader.finish() == []


def test_a_line_that_is_too_long_is_skipped_in_bounded_memory(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"a\n" + b"\x00" * 100_000 + b"\nb\n" + b"x" * 100)
    reader, found, longest, more = LineReader(path, longest=50), [], 0, True
    while more:
        lines, more = reader.read(1000)
        found += lines
        longest = max(longest, len(reader._partial))

    assert found == [b"a", b"b"]
    assert reader.skipped == 2
    assert longest <= 50
    assert reader.finish() == []


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path):
    assert LineReader(tmp_path / "none", longest=10).read(10) == ([], False)


def test_a_log_whose_middle_was_cut_out_is_read_on_where_it_was(tmp_path: Path):
    path = tmp_path / "log"
    lines = [b"line %04d" % i for i in range(1000)]
    path.write_bytes(b"\n".join(lines[:900]) + b"\n")
    reader = LineReader(path, longest=100)
    before, _ = reader.read(1 << 20)
    with path.open("ab") as file:
        file.write(b"\n".join(lines[900:]) + b"\n")

    trim(path, path.stat().st_size, LogLimits(most_bytes=5000, head_bytes=1000, tail_bytes=3000))

    after, _ = reader.read(1 << 20)
    assert path.stat().st_size < 5000
    assert before + after == lines


def test_a_log_is_not_cut_again_by_the_size_it_had_before_the_first_cut(tmp_path):
    path = tmp_path / "output.log"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(1000)))
    size, limits = path.stat().st_size, LogLimits(most_bytes=5000, head_bytes=1000, tail_bytes=3000)

    trim(path, size, limits)
    once = path.read_bytes()
    trim(path, size, limits)

    assert once.endswith(b"line 999\n")
    assert path.read_bytes() == once


# ---- the source --------------------------------------------------------------------------------------------------------


def an_attempt(number: int = 0, phase: Phase = Phase.EXITED) -> dict[str, Attempt]:
    return {"s-0": Attempt(trial="s-0", number=number, phase=phase)}


@pytest.fixture
def directory(tmp_path: Path) -> StudyDirectory:
    return StudyDirectory(tmp_path)


def write(directory: StudyDirectory, number: int, *, observations: str = "", output: str = "") -> None:
    files = directory.attempt("s-0", number)
    files.folder.mkdir(parents=True, exist_ok=True)
    files.output.write_text(output)
    if observations:
        with files.observations.open("a") as file:
            file.write(observations)


def an_observation(step: int, loss: float) -> str:
    return json.dumps({"step": step, "metrics": {"loss": loss}}) + "\n"


async def test_observations_count_and_what_is_printed_beside_them_does_not(directory: StudyDirectory):
    write(directory, 0, observations=an_observation(4, 0.5), output="step=9 loss=9\n")

    curves = await LocalMetricSource(directory).read(a_study(), an_attempt())

    assert points(curves["s-0"]["loss"]) == [(4, 0.5)]


async def test_without_observations_what_is_printed_counts(directory: StudyDirectory):
    write(directory, 0, output="step=9 loss=9")

    curves = await LocalMetricSource(directory).read(a_study(), an_attempt())

    assert points(curves["s-0"]["loss"]) == [(9, 9)]


async def test_a_growing_trial_is_read_on_and_unchanged_curves_are_the_same_object(directory: StudyDirectory):
    source, study = LocalMetricSource(directory), a_study()
    running = an_attempt(phase=Phase.RUNNING)
    write(directory, 0, observations=an_observation(1, 3))
    first = (await source.read(study, running))["s-0"]
    same = (await source.read(study, running))["s-0"]
    write(directory, 0, observations=an_observation(2, 2))

    second = (await source.read(study, running))["s-0"]

    assert same is first
    assert points(second["loss"]) == [(1, 3), (2, 2)]


async def test_attempts_tell_one_story(directory: StudyDirectory):
    write(directory, 0, observations="".join(an_observation(step, 10 - step) for step in (1, 2, 3)))
    write(directory, 1, observations=an_observation(3, 0.3) + an_observation(4, 0.4))

    curves = await LocalMetricSource(directory).read(a_study(), an_attempt(number=1, phase=Phase.RUNNING))

    assert points(curves["s-0"]["loss"]) == [(1, 9), (2, 8), (3, 0.3), (4, 0.4)]


async def test_lines_of_a_new_attempt_are_counted_from_one_again(directory: StudyDirectory):
    write(directory, 0, output="loss=9\nloss=8\nloss=7\n")
    write(directory, 1, output="loss=1\nloss=2\n")

    curves = await LocalMetricSource(directory).read(a_study(), an_attempt(number=1))

    assert points(curves["s-0"]["loss"]) == [(1, 1), (2, 2)]


async def test_a_running_flood_is_read_in_pieces_and_an_ended_one_to_its_end(directory: StudyDirectory):
    write(directory, 0, observations="".join(an_observation(step, 1) for step in range(20_000)))
    source, study = LocalMetricSource(directory), a_study()

    piece = (await source.read(study, an_attempt(phase=Phase.RUNNING)))["s-0"]["loss"]
    whole = (await source.read(study, an_attempt()))["s-0"]["loss"]

    assert piece.count < 20_000
    assert (whole.count, whole.step) == (20_000, 19_999)


async def test_values_at_rungs_are_exact_in_a_flood(directory: StudyDirectory):
    write(directory, 0, observations="".join(an_observation(step, step) for step in range(1, 20_000)))

    source = LocalMetricSource(directory, find_rungs=lambda _: (4321, 8642))
    curve = (await source.read(a_study(), an_attempt()))["s-0"]["loss"]

    assert [point.value for rung in (4321, 8642) if (point := curve.at(rung))] == [4321, 8642]


async def test_a_trial_that_is_gone_is_forgotten(directory: StudyDirectory):
    write(directory, 0, observations=an_observation(1, 1))
    source, study = LocalMetricSource(directory), a_study()
    await source.read(study, an_attempt())

    assert await source.read(study, {}) == {}
    assert source.notes("s-0") == ()


def test_what_was_left_out_is_said(directory: StudyDirectory):
    write(directory, 0, observations="garbage\n" + "x" * 20_000 + "\n" + an_observation(1, 1))
    story = TrialStory(directory, a_study(), "s-0")

    while story.read(0, ended=True):
        pass

    assert story.notes() == ("2 lines among the observations are none and were skipped",)
