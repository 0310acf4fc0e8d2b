"""Numbers and times in words, places on axes, lanes of the timeline, and which trials a plot draws."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.studies import START, a_study, a_trial
from seatrial.api.conditions import TrialReason
from seatrial.report import build_view
from seatrial.report.axes import build_axes, round_places
from seatrial.report.figures.base import extent_of
from seatrial.report.palette import DARK, LIGHT
from seatrial.report.progress import pick_to_draw, plan_lanes, rank_groups
from seatrial.report.words import format_duration, format_number, format_value, plural
from seatrial.search.parameters import Categorical, Condition, Float, Int
from seatrial.search.space import SearchSpace


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.98213, "0.9821"),
        (1e-05, "1e-5"),
        (3.0, "3"),
        (1234567.0, "1.235e6"),
        (math.nan, "NaN"),
        (-math.inf, "−∞"),
        (0.0, "0"),
    ],
)
def test_numbers_are_short_and_never_lie_about_what_is_missing(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.003, "<0.01 s"),
        (0.84, "0.84 s"),
        (45.2, "45 s"),
        (60, "1 min"),
        (3725, "1 h 2 min"),
        (90_000, "1 d 1 h"),
        (59.7, "1 min"),
    ],
)
def test_durations_name_their_two_largest_units(seconds, text):
    assert format_duration(seconds) == text


def test_values_read_as_the_specification_writes_them():
    assert [format_value(value) for value in (True, False, 3, 0.1, "a", None)] == [
        "true",
        "false",
        "3",
        "0.1",
        "a",
        "–",
    ]


def test_one_is_singular():
    assert [plural(n, "trial") for n in (0, 1, 10_000)] == ["0 trials", "1 trial", "10,000 trials"]


def test_axes_know_their_scale_their_ticks_and_their_condition():
    space = SearchSpace(
        [
            Float(name="lr", low=1e-5, high=1e-1, log=True),
            Categorical(name="optimizer", choices=("sgd", "adamw")),
            Float(name="momentum", low=0, high=1, when=Condition(parent="optimizer", values=("sgd",))),
            Int(name="layers", low=1, high=3),
        ]
    )

    lr, optimizer, momentum, layers = build_axes(space)

    assert [tick.label for tick in lr.ticks] == ["1e-5", "0.0001", "0.001", "0.01", "0.1"]
    assert (lr.unit(1e-3), lr.place(1e-3), lr.unit(5.0)) == (pytest.approx(0.5), 1e-3, None)
    assert ([tick.label for tick in optimizer.ticks], optimizer.place("adamw"), optimizer.place("adam")) == (
        ["sgd", "adamw"],
        1.0,
        None,
    )
    assert (momentum.condition, momentum.place(None)) == ("only when optimizer is sgd", None)
    assert [tick.place for tick in layers.ticks] == [1, 2, 3]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_round_places_lie_inside_the_range_and_are_few(low, width):
    places = round_places(low, low + width)

    slack = 1e-6 * (abs(low) + width)
    assert all(low - slack <= place <= low + width + slack for place in places)
    assert len(places) <= 7


def test_one_terrible_result_does_not_flatten_a_plot():
    extent = extent_of([0.1, 0.2, 0.3, 0.25, 0.15, 1e9], maximised=False)

    assert extent.high < 2
    assert extent.beyond == 1


def test_an_outlier_on_the_good_side_stays_in_view():
    extent = extent_of([0.1, 0.2, 0.3, 0.25, 0.15, 1e9], maximised=True)

    assert extent.high > 1e9


def timeline(*spans):
    trials = [a_trial(i, {}, 0.5, begins=begin, lasts=last) for i, (begin, last) in enumerate(spans)]
    view = build_view(a_study(), trials, {}, START + timedelta(hours=1))
    return [(lane.trial.index, lane.row) for lane in plan_lanes(view.trials, view.generated)]


def test_a_trial_takes_the_lowest_lane_that_is_free():
    assert timeline((0, 10), (0, 4), (5, 10), (10, 5)) == [(0, 0), (1, 1), (2, 1), (3, 0)]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 50)), max_size=20))
def test_two_trials_in_one_lane_never_overlap(spans):
    rows = timeline(*spans)

    for i, (a, row) in enumerate(rows):
        for b, other in rows[i + 1 :]:
            if row == other:
                (begin_a, last_a), (begin_b, last_b) = spans[a], spans[b]
                assert begin_a + last_a <= begin_b or begin_b + last_b <= begin_a


def views(count):
    trials = [a_trial(i, {}, (i * 37 % count) / count) for i in range(count)]
    return build_view(a_study(), trials, {}, START).trials


def test_a_plot_with_a_limit_draws_the_best_and_a_fair_share_of_the_rest():
    trials = views(500)

    drawn = pick_to_draw(trials, 100)

    best = sorted(trials, key=lambda trial: trial.losses[0])[:20]
    assert len(drawn) == 100
    assert {trial.index for trial in best} <= {trial.index for trial in drawn}
    assert [trial.index for trial in drawn] == sorted(trial.index for trial in drawn)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, [0, 0, 0, 0]), (1, [1, 0, 0, 0]), (4, [1, 0, 1, 2]), (20, [2, 3, 5, 10]), (60, [6, 9, 15, 30])],
)
def test_trials_are_grouped_by_rank(count, sizes):
    assert [len(group) for group in rank_groups(views(count))] == sizes


def test_failed_trials_have_no_rank():
    trials = [a_trial(0, {}, 0.5), a_trial(1, {}, 0.9, state=TrialReason.FAILED)]
    groups = rank_groups(build_view(a_study(), trials, {}, START).trials)

    assert [trial.index for group in groups for trial in group] == [0]


def test_every_colour_has_one_meaning_and_a_dark_partner():
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT)
