"""The study's summary, recounted from its trials."""

from dataclasses import replace
from datetime import timedelta

import pytest

from decide.builders import NOON, a_snapshot, a_study, a_trial, done, running
from seatrial.api.conditions import StudyReason, TrialReason, find_condition
from seatrial.decide.actions import StudyState
from seatrial.decide.status import best_so_far, build_status, count_trials, front

TWO = a_study(objectives=[{"metric": "loss", "goal": "minimize"}, {"metric": "acc", "goal": "maximize"}])
DONE = StudyState(reason=StudyReason.MAX_TRIALS_REACHED, message="all done")
GOING = StudyState(reason=StudyReason.RUNNING, message="0 of 10 trials are done")


def status(*trials, study=None, state=GOING, recommended=None, old=None, seconds=60.0):
    study = study or a_study()
    study = study.model_copy(update={"status": old, "metadata": study.metadata.model_copy(update={"generation": 3})})
    snapshot = a_snapshot(*trials, study=study, seconds=seconds)
    return build_status(
        study=study, snapshot=snapshot, trials={}, state=state, recommended=recommended, now=snapshot.now
    )


def stopped(index: int, value: float, **changes: object):
    return a_trial(index, reason=TrialReason.STOPPED, value=value, **changes)


@pytest.mark.parametrize(
    ("trials", "winner"),
    [
        pytest.param([], None, id="no trial"),
        pytest.param([running(0, [(1, 0.1)])], None, id="nothing has ended"),
        pytest.param([done(0, 0.5), done(1, 0.2), done(2, 0.9)], 1, id="lowest"),
        pytest.param([done(0, 0.5), done(1, 0.2), done(2, 0.2)], 1, id="a tie goes to the lower index"),
        pytest.param([done(0, 0.5), stopped(1, 0.1)], 0, id="a stopped trial speaks of fewer steps"),
        pytest.param([stopped(0, 0.5), stopped(1, 0.1)], 1, id="nothing but stopped trials"),
        pytest.param([done(0, 0.5, violations=(-1.0, 0.0)), done(1, 0.1, violations=(0.1, -1.0))], 0, id="constraints"),
        pytest.param([done(0, 0.5, violations=(1.0,))], None, id="no trial keeps the constraints"),
        pytest.param([done(0, 0.5, violations=(1.0,)), stopped(1, 0.9)], 1, id="a stopped one keeps them"),
        pytest.param([a_trial(0, reason=TrialReason.DIVERGED, value=float("nan"))], None, id="NaN is never best"),
        pytest.param([a_trial(0, reason=TrialReason.REUSED, value=0.1), done(1, 0.2)], 1, id="a repeat is no winner"),
        pytest.param([a_trial(0, reason=TrialReason.CANCELLED, value=0.1)], None, id="cancelled"),
    ],
)
def test_the_best_is_the_lowest_that_keeps_all_constraints(trials, winner):
    best = best_so_far(a_snapshot(*trials))

    assert (None if best is None else best.index) == winner


@pytest.mark.parametrize(
    ("recommended", "winner"),
    [
        pytest.param(2, 2, id="a good trial"),
        pytest.param(None, 1, id="no opinion"),
        pytest.param(3, 1, id="a trial that failed"),
        pytest.param(4, 1, id="a trial that violates a constraint"),
        pytest.param(5, 1, id="a trial that still runs"),
        pytest.param(99, 1, id="no trial at all"),
    ],
)
def test_a_recommendation_counts_only_for_a_trial_that_can_win(recommended, winner):
    trials = [
        done(0, 0.5),
        done(1, 0.2),
        done(2, 0.3),
        a_trial(3, reason=TrialReason.FAILED),
        done(4, 0.1, violations=(1.0,)),
        running(5, [(1, 0.1)]),
    ]

    assert status(*trials, state=DONE, recommended=recommended).best.index == winner


def pair(index: int, loss: float, accuracy: float, **changes: object):
    return done(index, loss, values=(loss, -accuracy), **changes)


def test_the_front_holds_what_no_other_beats_and_the_best_is_its_first():
    trials = [
        pair(0, 0.5, 0.9),
        pair(1, 0.2, 0.5),
        pair(2, 0.6, 0.8),
        pair(3, 0.2, 0.5),
        pair(4, 0.1, 0.4, violations=(1.0,)),
    ]

    assert [trial.index for trial in front(a_snapshot(*trials, study=TWO))] == [1, 3, 0]
    found = status(*trials, study=TWO, state=DONE, recommended=0)
    assert [best.values for best in found.pareto_front] == [[0.2, 0.5], [0.2, 0.5], [0.5, 0.9]]
    assert found.best.index == 1


def test_a_long_front_is_cut_to_fifty():
    trials = [pair(i, i / 100, i / 100) for i in range(80)]

    assert len(status(*trials, study=TWO).pareto_front) == 50


def test_every_state_is_counted():
    trials = [a_trial(i, reason=reason) for i, reason in enumerate(TrialReason)]

    counts = count_trials(trials)

    assert counts.total == 11
    assert (counts.pending, counts.running, counts.paused, counts.completed, counts.stopped) == (1, 2, 1, 2, 1)
    assert (counts.failed, counts.diverged, counts.infeasible, counts.cancelled) == (1, 1, 1, 1)


def test_what_people_read_is_short():
    found = status(done(0, 1 / 3), running(1))
    assert (found.progress, found.best_value, found.state) == ("1/10", "0.3333", "Running")

    wait = StudyState(reason=StudyReason.WAITING, message="2 trials wait: " + "no GPU " * 60)
    found = status(state=wait, study=a_study(budget={"parallelTrials": 2}))
    assert (found.progress, found.best_value, len(found.state)) == ("0", "", 128)
    assert found.state.startswith("Waiting: 2 trials wait: no GPU")


def test_values_are_as_the_user_states_them_and_zero_has_no_sign():
    study = a_study(objectives=[{"metric": "acc", "goal": "maximize"}])

    found = status(done(0, -0.0), study=study)

    assert str(found.best.values[0]) == "0.0"
    assert found.best_value == "0"


def test_a_complete_study_keeps_its_times_and_one_that_goes_on_loses_its_end():
    first = status(done(0, 0.5), state=DONE, seconds=60)
    assert first.completion_time == "2026-01-01T12:01:00.000000Z"

    assert status(done(0, 0.5), state=DONE, old=first, seconds=9000) == first
    assert status(done(0, 0.5), running(1), state=GOING, old=first, seconds=9000).completion_time is None


def test_the_condition_changes_its_time_only_with_its_status():
    first = status(running(0), seconds=60)
    later = status(running(0), old=first, state=replace(GOING, message="1 of 10"), seconds=600)
    ended = status(done(0, 0.5), old=later, state=DONE, seconds=900)

    times = [find_condition(s.conditions, "Succeeded").last_transition_time for s in (first, later, ended)]
    assert times == [f"2026-01-01T12:{minute}:00.000000Z" for minute in ("01", "01", "15")]
    assert find_condition(later.conditions, "Succeeded").message == "1 of 10"
    assert find_condition(ended.conditions, "Succeeded").observed_generation == 3


def test_a_message_that_is_too_long_is_cut_and_says_so():
    found = status(state=replace(GOING, message="x" * 5000))

    message = find_condition(found.conditions, "Succeeded").message
    assert (len(message), message[-1]) == (1024, "…")


def test_a_study_starts_with_its_first_trial():
    assert status().start_time is None
    assert status(running(0)).start_time == "2026-01-01T12:01:00.000000Z"
    assert NOON + timedelta(seconds=60) == a_snapshot().now
