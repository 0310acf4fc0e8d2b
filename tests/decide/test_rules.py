"""Stopping rules against their papers, by hand."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decide.builders import a_snapshot, a_study, done, running
from seatrial.api.conditions import TrialReason
from seatrial.decide.actions import StopReason
from seatrial.decide.rules import RULES, Cohort, Pass, Stop, build_rule, rungs
from seatrial.decide.rules.asha import Asha, places, rung_steps
from seatrial.decide.rules.median import Median
from seatrial.decide.rules.patience import Patience
from seatrial.decide.rules.percentile import Percentile, percentile
from seatrial.decide.snapshot import TrialSnapshot

ASHA = Asha(eta=3, min_step=1, best_so_far=False)


def judge(rule, trial: TrialSnapshot, *others: TrialSnapshot, sign: int = 1):
    return rule.judge(trial, Cohort((trial, *others), sign=sign))


@pytest.mark.parametrize(
    ("min_step", "eta", "max_step", "expected"),
    [
        pytest.param(1, 3, 27, (1, 3, 9), id="the last step is no rung"),
        pytest.param(1, 3, 28, (1, 3, 9, 27), id="one step beyond a power"),
        pytest.param(2, 2, 17, (2, 4, 8, 16), id="from two, doubling"),
        pytest.param(5, 3, 5, (), id="first rung at the end"),
    ],
)
def test_rungs_grow_by_eta_and_end_before_the_last_step(min_step, eta, max_step, expected):
    assert rung_steps(min_step=min_step, eta=eta, max_step=max_step) == expected


@pytest.mark.parametrize(("reached", "expected"), [(1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (8, 2), (9, 3), (27, 9)])
def test_a_third_of_a_rung_goes_on_and_at_least_one(reached, expected):
    assert places(reached, 3) == expected


def test_the_first_trial_at_a_rung_goes_on():
    assert judge(ASHA, running(0, [(1, 0.5)])) == Pass(
        rung=1, message="at step 1: 0.5 is number 1 of 1; the best 1 go on"
    )


def test_the_second_trial_at_a_rung_is_stopped_if_it_is_worse():
    verdict = judge(ASHA, running(1, [(1, 0.9)]), running(0, [(1, 0.5), (2, 0.4)]))

    assert verdict == Stop(
        reason=StopReason.NOT_PROMOTED,
        message="at step 1: 0.9 is number 2 of 2, and only the best 1 go on (eta 3)",
    )


def test_equal_values_at_the_last_place_all_go_on():
    assert isinstance(judge(ASHA, running(1, [(1, 0.5)]), running(0, [(1, 0.5)])), Pass)


def test_a_trial_is_judged_at_each_rung_only_once():
    trial = running(1, [(1, 0.9), (2, 0.8)], rung=1)

    assert judge(ASHA, trial, running(0, [(1, 0.1)])) is None


def test_a_trial_that_reports_coarsely_is_judged_at_the_lowest_rung_by_its_first_report():
    verdict = judge(ASHA, running(1, [(10, 0.45)]), running(0, [(1, 0.5), (3, 0.4)]))

    assert verdict == Pass(rung=1, message="at step 1: 0.45 is number 1 of 2; the best 1 go on")


def test_the_last_step_of_a_training_is_no_rung():
    rule = build_rule(a_study(stopping={"rule": "asha"}, steps={"max": 27}).spec)
    trial = running(1, [(1, 0.9), (27, 0.8)], rung=9)

    assert judge(rule, trial, running(0, [(1, 0.1), (27, 0.1)])) is None


def test_values_that_are_not_finite_never_pass():
    assert isinstance(judge(ASHA, running(0, [(1, math.nan)])), Stop)


def test_a_maximised_objective_reads_as_the_user_states_it():
    verdict = judge(ASHA, running(1, [(1, -0.3)]), running(0, [(1, -0.9)]), sign=-1)

    assert isinstance(verdict, Stop)
    assert "0.3 is number 2 of 2" in verdict.message


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(2, 5), st.randoms())
def test_asha_never_stops_the_best_of_a_rung_and_keeps_no_more_than_its_share_plus_ties(values, eta, random):
    rule = Asha(eta=eta, min_step=1, best_so_far=False)
    trials = [running(i, [(1, value)]) for i, value in enumerate(values)]
    random.shuffle(trials)

    kept = [t for t in trials if isinstance(judge(rule, t, *(o for o in trials if o is not t)), Pass)]

    assert min(values) in [t.values[0] for t in kept]
    worst = max(t.values[0] for t in kept)
    assert sum(v < worst for v in values) < places(len(values), eta)


def test_a_new_worst_trial_never_costs_another_its_place():
    trial, others = running(0, [(1, 0.3)]), [running(i, [(1, 0.2 + i)]) for i in range(1, 9)]
    assert isinstance(judge(ASHA, trial, *others), Pass)

    assert isinstance(judge(ASHA, trial, *others, running(9, [(1, 99.0)])), Pass)


def test_failed_and_cancelled_trials_are_no_measure():
    reasons = (TrialReason.FAILED, TrialReason.CANCELLED, TrialReason.REUSED)
    others = [replace(running(i, [(1, 0.1)]), reason=reason) for i, reason in enumerate(reasons, 1)]

    assert isinstance(judge(ASHA, running(0, [(1, 0.5)]), *others), Pass)


MEDIAN = Median(min_trials=3, min_step=1)
# Running means at step 2: 1.5, 2.5, 3.5; their median is 2.5.
OTHERS = [running(1, [(1, 1.0), (2, 2.0)]), running(2, [(1, 2.0), (2, 3.0)]), running(3, [(1, 3.0), (2, 4.0)])]


@pytest.mark.parametrize(
    ("curve", "stopped"),
    [
        pytest.param([(1, 9.0), (2, 2.6)], True, id="best so far worse than the median of means"),
        pytest.param([(1, 9.0), (2, 2.5)], False, id="equal to the median"),
        pytest.param([(1, 2.4), (2, 9.0)], False, id="was good once: the best counts, not the last"),
        pytest.param([(1, math.nan), (2, math.nan)], True, id="never a finite value"),
    ],
)
def test_median_rule_compares_the_best_value_with_the_median_of_running_averages(curve, stopped):
    verdict = judge(MEDIAN, running(0, curve), *OTHERS)

    assert isinstance(verdict, Stop) is stopped


def test_median_rule_waits_for_enough_trials_at_the_step():
    assert judge(MEDIAN, running(0, [(1, 9.0), (2, 9.0)]), *OTHERS[:2]) is None
    assert judge(MEDIAN, running(0, [(3, 9.0)]), *OTHERS) is None


def test_median_rule_waits_for_its_first_step():
    assert judge(Median(min_trials=1, min_step=5), running(0, [(2, 9.0)]), *OTHERS) is None


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(50, 2.5), (25, 1.75), (75, 3.25), (1, 1.03)],
    ids=["median", "quarter", "three quarters", "one percent"],
)
def test_percentile_interpolates_linearly(percent, expected):
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == pytest.approx(expected)


def test_percentile_of_one_value_and_with_infinity():
    assert percentile([7.0], 30) == 7.0
    assert percentile([1.0, math.inf], 1) == math.inf
    assert percentile([1.0, 2.0, math.inf], 50) == 2.0


@pytest.mark.parametrize(("value", "stopped"), [(1.76, True), (1.75, False)])
def test_percentile_rule_stops_what_is_not_among_the_best_quarter(value, stopped):
    rule = Percentile(percent=25, min_trials=4, min_step=0)
    others = [running(i, [(1, float(i))]) for i in range(1, 5)]

    assert isinstance(judge(rule, running(0, [(1, value)]), *others), Stop) is stopped


@pytest.mark.parametrize(
    ("curve", "stopped"),
    [
        pytest.param([(1, 1.0), (2, 0.9), (3, 0.9), (4, 0.9), (5, 0.95)], True, id="three steps without gain"),
        pytest.param([(1, 1.0), (2, 0.9), (3, 0.9), (4, 0.9)], False, id="two steps without gain"),
        pytest.param([(1, 1.0), (2, 0.9), (3, 0.9), (4, 0.9), (5, 0.8)], False, id="gain at the last moment"),
        pytest.param([(1, 1.0), (2, 0.9), (3, 0.89), (4, 0.88), (5, 0.86)], True, id="gains below the threshold"),
    ],
)
def test_patience_ends_a_trial_without_improvement(curve, stopped):
    rule = Patience(steps=3, min_delta=0.05, min_step=0)

    assert isinstance(judge(rule, running(0, curve)), Stop) is stopped


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_silent_about_a_trial_without_reports_and_repeats_its_answer(name):
    study = a_study(stopping={"rule": name}, steps={"max": 27})
    rule = build_rule(study.spec)
    snapshot = a_snapshot(running(0), *(done(i, 0.1, curve=[(1, 0.1), (9, 0.1)]) for i in range(1, 9)), study=study)
    late = running(0, [(1, 5.0), (9, 5.0)])

    assert rule.judge(snapshot.trials[0], Cohort(snapshot.trials, sign=1)) is None
    first = rule.judge(late, Cohort((late, *snapshot.trials[1:]), sign=1))
    assert first == rule.judge(late, Cohort((*reversed(snapshot.trials[1:]), late), sign=1))
    assert rungs(study.spec) == tuple(sorted(set(rungs(study.spec))))
    assert all(step < 27 for step in rungs(study.spec))
