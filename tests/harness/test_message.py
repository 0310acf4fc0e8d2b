"""The termination message and the record behind it."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial_harness.message import CheckpointMark, Ending, Status, build_message, clip
from seatrial_harness.record import CURVE_POINTS, METRICS_LIMIT, Curve, Record

values = st.floats()
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_./:-]{0,119}", fullmatch=True)
reports = st.lists(st.tuples(st.integers(0, 2**53), st.dictionaries(names, values, max_size=40)), max_size=30)


@pytest.mark.slow
@given(
    reports=reports,
    objectives=st.lists(names, max_size=6, unique=True),
    rungs=st.frozensets(st.integers(0, 100), max_size=40),
    text=st.text(st.characters(), max_size=4000),
)
def test_whatever_is_reported_the_message_is_json_within_its_limit(
    reports: list[tuple[int, dict[str, float]]], objectives: list[str], rungs: frozenset[int], text: str
) -> None:
    record = Record(tuple(objectives), rungs)
    for step, metrics in reports:
        record.add(step, metrics | {name: float(step) for name in objectives}, now=0.0)
    mark = CheckpointMark(step=2**53, digest="sha256:" + "f" * 64, path="step-9007199254740992")

    encoded = build_message(Ending(status=Status.FAILED, record=record, checkpoint=mark, text=text))

    message = json.loads(encoded.decode("utf-8"))
    assert len(encoded) <= 2048
    assert message["status"] == "failed"
    assert message.get("step") == record.step


@pytest.mark.parametrize("objectives", [1, 2, 4])
def test_objectives_of_ordinary_names_are_never_dropped(objectives: int) -> None:
    wanted = tuple(f"validation_accuracy_{number}" for number in range(objectives))
    record = Record(wanted, frozenset(3**power for power in range(9)))
    for step in range(10_000):
        record.add(
            step,
            {f"layer_{number}_gradient_norm": math.pi * step for number in range(60)} | dict.fromkeys(wanted, step / 7),
            now=0.0,
        )

    message = json.loads(build_message(Ending(status=Status.SUCCEEDED, record=record, text="x" * 4000)))

    assert [message["metrics"][name]["last"] for name in wanted] == [9999 / 7] * objectives


def test_the_curve_is_thinned_before_a_metric_is_dropped_and_a_metric_before_the_text_is_cut() -> None:
    def message_with(*, others: int, text: str) -> dict[str, Any]:
        record = Record(("val",), frozenset())
        for step in range(1, 1001):
            record.add(step, {"val": step / 7, **{f"other_{number}": 0.5 for number in range(others)}}, now=0.0)
        message: dict[str, Any] = json.loads(build_message(Ending(status=Status.FAILED, record=record, text=text)))
        return message

    roomy, tight = message_with(others=5, text="x" * 500), message_with(others=20, text="x" * 1000)

    assert (len(roomy["metrics"]), roomy["message"]) == (6, "x" * 500)
    assert 8 < len(roomy["curve"]["points"]) < 64
    assert (len(tight["curve"]["points"]), tight["message"]) == (8, "x" * 1000)
    assert 1 < len(tight["metrics"]) < 21


@given(text=st.text(), limit=st.integers(0, 60))
def test_a_clipped_text_fits_and_a_short_one_is_kept(text: str, limit: int) -> None:
    clipped = clip(text, limit)

    assert len(clipped.encode()) <= limit
    if len(text.encode("utf-8", "replace")) <= limit:
        assert clipped == text.encode("utf-8", "replace").decode()


@given(
    steps=st.lists(st.integers(0, 10**6), min_size=1, max_size=600, unique=True),
    rungs=st.frozensets(st.integers(0, 1000), max_size=20),
)
def test_a_curve_is_bounded_and_keeps_rungs_and_both_ends_exactly(steps: list[int], rungs: frozenset[int]) -> None:
    curve = Curve("val", rungs)
    for step in steps:
        curve.add(step, step * 2.0)

    points = curve.points()

    assert len(points) <= CURVE_POINTS + len(rungs) + 2
    assert points == sorted(points)
    assert all(value == step * 2.0 for step, value in points)
    assert {step for step, _ in points} >= (rungs & set(steps)) | {min(steps), steps[-1]}


@given(steps=st.lists(st.integers(0, 10**4), min_size=1, max_size=300), limit=st.integers(1, 20))
def test_a_curve_cut_to_a_limit_keeps_its_last_point(steps: list[int], limit: int) -> None:
    curve = Curve("val", frozenset({1, 3, 9, 27, 81}))
    for step in steps:
        curve.add(step, 1.0)

    points = curve.points(limit)

    assert 1 <= len(points) <= limit
    assert steps[-1] in {step for step, _ in points}


def test_extremes_are_of_finite_values_only() -> None:
    record = Record(("val",), frozenset())
    for step, value in enumerate((math.nan, math.inf, 0.5, -math.inf, 0.25, math.nan), start=1):
        record.add(step, {"val": value}, now=0.0)

    tally = record.tallies["val"]
    assert (tally.min, tally.min_step, tally.max, tally.max_step) == (0.25, 5, 0.5, 3)
    assert record.diverged() == ["val"]


@pytest.mark.parametrize(
    ("resumed_at", "reported", "expected"),
    [
        pytest.param(None, [1, 2, 3], 3, id="from one"),
        pytest.param(None, [0, 1, 2], 3, id="from zero"),
        pytest.param(None, [10, 20, 30], 30, id="every tenth"),
        pytest.param(9, [10, 11], 2, id="resumed at nine"),
        pytest.param(None, [1, 2, 1, 2, 3], 3, id="backwards"),
        pytest.param(None, [], 0, id="nothing reported"),
    ],
)
def test_the_steps_of_a_checkpoint_do_not_count_as_trained(
    resumed_at: int | None, reported: list[int], expected: int
) -> None:
    record = Record((), frozenset())
    if resumed_at is not None:
        record.resume_at(resumed_at)
    for step in reported:
        record.add(step, {"val": 1.0}, now=0.0)

    assert record.steps_trained == expected


def test_names_made_of_the_step_do_not_grow_for_ever() -> None:
    record = Record((), frozenset(range(100_000)))
    for step in range(10_000):
        record.add(step, {f"val_{step}": 1.0}, now=0.0)

    assert len(record.tallies) == METRICS_LIMIT
    assert len(record.rung_values) <= 4096
