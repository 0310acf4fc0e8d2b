"""What the report says about a study, before anything is drawn."""

import math
from datetime import timedelta

import pytest

from report.studies import START, a_spec, a_study, a_trial, curves_of, digits_study, two_objectives
from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.report import build_view
from seatrial.report.front import hypervolume

POINT = {"lr": 0.001, "hidden": 64, "batchSize": 64, "optimizer": "adamw", "dropout": 0.1, "classes": 10}
NOW = START + timedelta(minutes=5)


def view_of(*trials, curves=None, **study):
    return build_view(a_study(**study), trials, curves or {}, NOW)


def test_the_best_of_a_maximised_study_is_its_highest_value_as_the_user_states_it():
    view = view_of(a_trial(0, POINT, 0.8), a_trial(1, POINT, 0.9), a_trial(2, POINT, 0.85))

    assert view.winner is not None
    assert (view.winner.index, view.winner.values) == (1, (0.9,))


def test_the_best_of_a_minimised_study_is_its_lowest_value():
    spec = a_spec(objectives=[{"metric": "loss", "goal": "minimize"}])

    view = view_of(a_trial(0, POINT, 0.8), a_trial(1, POINT, 0.9), spec=spec)

    assert view.winner is not None
    assert (view.winner.index, view.winner.values) == (0, (0.8,))


@pytest.mark.parametrize(
    ("value", "state"),
    [
        pytest.param(2.0, TrialReason.FAILED, id="failed after a fine report"),
        pytest.param(2.0, TrialReason.DIVERGED, id="diverged after a fine report"),
        pytest.param(math.nan, TrialReason.DIVERGED, id="NaN"),
        pytest.param(math.inf, TrialReason.DIVERGED, id="infinite"),
        pytest.param(math.inf, TrialReason.COMPLETED, id="infinite and yet called completed"),
        pytest.param(2.0, TrialReason.INFEASIBLE, id="infeasible"),
        pytest.param(2.0, TrialReason.CANCELLED, id="cancelled"),
        pytest.param(2.0, TrialReason.RUNNING, id="still running"),
        pytest.param(2.0, TrialReason.STOPPED, id="stopped early beside a full training"),
    ],
)
def test_only_a_full_training_with_a_finite_result_is_best(value, state):
    view = view_of(a_trial(0, POINT, 0.5), a_trial(1, POINT, value, state=state))

    assert view.winner is not None
    assert view.winner.index == 0
    assert [step.trial for step in view.improvements] == [0]


def test_a_stopped_trial_is_best_where_no_trial_was_trained_in_full():
    view = view_of(a_trial(0, POINT, 0.5, state=TrialReason.STOPPED), a_trial(1, POINT, 0.6, state=TrialReason.STOPPED))

    assert view.winner is not None
    assert view.winner.index == 1


def test_a_trial_that_breaks_a_constraint_is_never_best():
    spec = a_spec(constraints=[{"metric": "inference_ms", "max": 5}])

    view = view_of(
        a_trial(0, POINT, 0.9, metrics={"inference_ms": 7.0}),
        a_trial(1, POINT, 0.7, metrics={"inference_ms": 4.0}),
        spec=spec,
    )

    assert view.winner is not None
    assert view.winner.index == 1


def test_improvements_follow_the_order_in_which_trials_ended():
    trials = [
        a_trial(0, POINT, 0.5, begins=0, lasts=90),
        a_trial(1, POINT, 0.4, begins=0, lasts=10),
        a_trial(2, POINT, 0.6, begins=10, lasts=10),
        a_trial(3, POINT, 0.55, begins=20, lasts=10),
        a_trial(4, POINT, begins=20, lasts=20, state=TrialReason.FAILED),
    ]

    view = view_of(*trials)

    assert [(s.place, s.trial, s.value) for s in view.improvements] == [(1, 1, 0.4), (2, 2, 0.6)]


def test_the_order_in_which_trials_are_given_does_not_matter():
    study, trials, curves, now = digits_study(20)

    # Compared as text: NaN is not equal to itself.
    assert repr(build_view(study, trials, curves, now)) == repr(build_view(study, trials[::-1], curves, now))


def test_the_curve_comes_from_the_status_when_the_points_are_gone():
    stored = a_trial(0, POINT, 0.9, step=3, curve=[(1, 0.1), (2, math.nan), (3, 0.9)])

    assert view_of(stored).trials[0].curve == ((1, 0.1), (3, 0.9))


def test_full_curves_win_over_the_thinned_one():
    stored = a_trial(0, POINT, 0.9, step=3, curve=[(1, 0.1), (3, 0.9)])
    curves = {"digits-0": curves_of("val_accuracy", [(1, 0.1), (2, 0.5), (3, 0.9)])}

    assert view_of(stored, curves=curves).trials[0].curve == ((1, 0.1), (2, 0.5), (3, 0.9))


def test_a_running_trial_shows_what_it_reported_last():
    trial = a_trial(0, POINT, state=TrialReason.RUNNING, begins=60)
    curves = {"digits-0": curves_of("val_accuracy", [(1, 0.1), (2, 0.5)])}

    (seen,) = view_of(trial, curves=curves, reason=StudyReason.RUNNING).trials

    assert (seen.values, seen.step, seen.seconds) == ((0.5,), 2, 240.0)


@pytest.mark.parametrize(
    ("reason", "message", "sentence"),
    [
        pytest.param(None, "", "The study has not started yet.", id="no condition"),
        pytest.param(
            StudyReason.RUNNING,
            "3 of 9 trials are done, 2 are open",
            "The study is running: 3 of 9 trials are done, 2 are open.",
            id="running",
        ),
        pytest.param(StudyReason.MAX_TRIALS_REACHED, "", "The study is complete.", id="no message"),
        pytest.param(
            StudyReason.TARGET_REACHED,
            "digits-3 reached val_accuracy=0.99",
            "The study is complete: the target was reached; digits-3 reached val_accuracy=0.99.",
            id="target",
        ),
        pytest.param(
            StudyReason.NO_TRIAL_SUCCEEDED,
            "all 4 trials failed",
            "The study failed: no trial has a result; all 4 trials failed.",
            id="failed",
        ),
    ],
)
def test_the_state_is_one_whole_sentence(reason, message, sentence):
    assert view_of(reason=reason, message=message).sentence == sentence


@pytest.mark.parametrize(
    ("trial", "reason", "words"),
    [
        pytest.param(
            a_trial(
                0,
                POINT,
                0.4,
                state=TrialReason.STOPPED,
                reason="NotPromoted",
                message="at step 3: 0.4 is number 5 of 6",
            ),
            "NotPromoted",
            "At step 3: 0.4 is number 5 of 6.",
            id="stopped by a rule",
        ),
        pytest.param(
            a_trial(0, POINT, state=TrialReason.FAILED, message="exit code 1"), "Failed", "Exit code 1.", id="failed"
        ),
        pytest.param(
            a_trial(0, POINT, math.nan, state=TrialReason.DIVERGED),
            "Diverged",
            "The trial diverged: its objective was not a finite number.",
            id="no message",
        ),
        pytest.param(
            a_trial(1, POINT, 0.5, state=TrialReason.REUSED, reuse_of="digits-0"),
            "Reused",
            "Repeats digits-0 and took over its result.",
            id="reused",
        ),
    ],
)
def test_the_end_of_a_trial_is_told_in_words(trial, reason, words):
    (seen,) = view_of(trial).trials

    assert (seen.reason, seen.words) == (reason, words)


def test_the_budget_counts_what_is_used():
    view = view_of(
        a_trial(0, POINT, 0.5),
        a_trial(1, POINT, state=TrialReason.FAILED),
        a_trial(2, POINT, state=TrialReason.RUNNING),
        ended=START + timedelta(minutes=90),
    )

    found = {use.unit: (use.used, use.limit, use.share) for use in view.budget}
    assert found == {"trials": (2, 60, 2 / 60), "failed trials": (1, 6, 1 / 6), "seconds": (5400.0, 7200, 0.75)}


def test_rungs_below_the_last_step_are_marked():
    assert view_of().rungs == (1, 3, 9)


def test_the_front_holds_exactly_the_trials_that_no_other_beats():
    study, trials, curves, now = two_objectives(40)
    view = build_view(study, trials, curves, now)

    done = [trial for trial in view.trials if trial.has_result]
    expected = {
        a.index
        for a in done
        if not any(b.values[0] >= a.values[0] and b.values[1] <= a.values[1] and b.values != a.values for b in done)
    }
    assert view.front is not None
    assert set(view.front.trials) == expected
    assert view.winner is None


def test_the_hypervolume_never_shrinks():
    study, trials, curves, now = two_objectives(40)
    front = build_view(study, trials, curves, now).front

    assert front is not None
    volumes = [volume for _, volume in front.volumes]
    assert volumes == sorted(volumes)
    assert len(volumes) > 3


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        pytest.param([(1.0,), (2.0,)], (5.0,), 4.0, id="a line"),
        pytest.param([(0.0, 1.0), (1.0, 0.0)], (2.0, 2.0), 3.0, id="two corners of a square: 2 + 2 - 1"),
        pytest.param([(0.0, 0.0, 0.0)], (2.0, 3.0, 4.0), 24.0, id="a box"),
        pytest.param([(0.0, 0.0, 1.0), (1.0, 1.0, 0.0)], (2.0, 2.0, 2.0), 5.0, id="two boxes: 4 + 2 - 1"),
        pytest.param([(0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 0.0)], (2.0, 2.0, 2.0, 2.0), 9.0, id="in four: 8 + 2 - 1"),
        pytest.param([(3.0, 0.0)], (2.0, 2.0), 0.0, id="beyond the reference"),
        pytest.param([], (2.0, 2.0), 0.0, id="no point"),
    ],
)
def test_hypervolumes_match_those_worked_by_hand(points, reference, volume):
    assert hypervolume(points, reference) == pytest.approx(volume)
