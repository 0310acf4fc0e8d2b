"""When a study is over, and why."""

from dataclasses import replace
from datetime import timedelta

import pytest

from decide.builders import NOON, a_snapshot, a_trial, an_attempt, done, running
from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.decide.attempts import Phase
from seatrial.decide.budget import gpu_seconds, judge_budget
from seatrial.decide.snapshot import default_max_failed
from seatrial.search.base import Exhausted


def failed(index: int):
    return a_trial(index, reason=TrialReason.FAILED)


def reason(snapshot) -> StudyReason | None:
    verdict = judge_budget(snapshot)
    return verdict.reason if verdict else None


TARGET = {"objectives": [{"metric": "loss", "goal": "minimize", "target": 0.2}]}


@pytest.mark.parametrize(
    ("trials", "spec", "seconds", "expected"),
    [
        pytest.param([done(0, 1.0)], {}, 60, None, id="nothing reached"),
        pytest.param([failed(i) for i in range(3)], {}, 60, None, id="three failures of three"),
        pytest.param([failed(i) for i in range(4)], {}, 60, StudyReason.MAX_FAILED_TRIALS_EXCEEDED, id="four"),
        pytest.param([failed(0)], {"budget": {"maxFailedTrials": 0}}, 60, StudyReason.MAX_FAILED_TRIALS_EXCEEDED, id="none allowed"),
        pytest.param([done(0, 0.2)], TARGET, 60, StudyReason.TARGET_REACHED, id="target met exactly"),
        pytest.param([done(0, 0.21)], TARGET, 60, None, id="target missed"),
        pytest.param([done(0, 0.1, violations=(0.5,))], TARGET, 60, None, id="target met against a constraint"),
        pytest.param([a_trial(0, reason=TrialReason.CANCELLED, value=0.1)], TARGET, 60, None, id="target met by a cancelled trial"),
        pytest.param([running(0, [(1, 0.1)])], TARGET, 60, None, id="target met on the way only"),
        pytest.param([running(0)], {"budget": {"maxDuration": "1m"}}, 59, None, id="just before the end"),
        pytest.param([running(0)], {"budget": {"maxDuration": "1m"}}, 60, StudyReason.MAX_DURATION_REACHED, id="at the end"),
        pytest.param([done(0, 1.0, gpu_seconds=3600.0)], {"budget": {"maxGPUHours": 1.0}}, 60, StudyReason.MAX_GPU_HOURS_REACHED, id="GPU hours"),
        pytest.param([done(i, 1.0) for i in range(2)], {"budget": {"maxTrials": 2}}, 60, StudyReason.MAX_TRIALS_REACHED, id="all trials"),
        pytest.param([done(i, 1.0) for i in range(2)], {"budget": {"maxTrials": 2, "maxDuration": "1m"}}, 9e5, StudyReason.MAX_TRIALS_REACHED, id="all trials, looked at much later"),
        pytest.param([done(0, 1.0), running(1)], {"budget": {"maxTrials": 2, "maxDuration": "1m"}}, 61, StudyReason.MAX_DURATION_REACHED, id="time is up while the last one runs"),
        pytest.param([done(0, 1.0), a_trial(1, reason=TrialReason.CANCELLED)], {"budget": {"maxTrials": 2, "maxDuration": "1m"}}, 61, StudyReason.MAX_DURATION_REACHED, id="time was up and the last one was cancelled"),
        pytest.param([failed(i) for i in range(4)], {**TARGET, "budget": {"maxTrials": 4}}, 60, StudyReason.MAX_FAILED_TRIALS_EXCEEDED, id="failures come before the number"),
    ],
)  # fmt: skip
def test_a_study_ends_for_the_first_reason_that_holds(trials, spec, seconds, expected):
    assert reason(a_snapshot(*trials, seconds=seconds, **spec)) is expected


def test_a_target_to_maximise_reads_as_the_user_states_it():
    snapshot = a_snapshot(done(0, -0.95), objectives=[{"metric": "acc", "goal": "maximize", "target": 0.9}])

    assert judge_budget(snapshot).message == "s-0 reached acc=0.95; the target is 0.9"


def test_the_clock_of_a_complete_study_stands_still():
    exhausted = Exhausted(message="all 6 assignments of the search space have been used")
    running_still = a_snapshot(done(0, 1.0), budget={"maxDuration": "1h"}, seconds=1e6)
    complete = replace(running_still, completed_at=NOON + timedelta(minutes=5))

    assert reason(running_still) is StudyReason.MAX_DURATION_REACHED
    # After a restart nobody knows yet that the space is exhausted: it is asked again instead of called too late.
    assert reason(complete) is None
    assert reason(replace(complete, exhausted=exhausted)) is StudyReason.SEARCH_SPACE_EXHAUSTED


def test_a_lowered_number_of_trials_is_told_as_it_is():
    snapshot = a_snapshot(*(done(i, 1.0) for i in range(5)), budget={"maxTrials": 3})

    assert judge_budget(snapshot).message == "5 trials are done, and budget.maxTrials is 3"


def test_gpu_time_counts_what_still_runs():
    live = an_attempt(1, Phase.RUNNING, gpus=2.0)

    assert gpu_seconds(a_snapshot(done(0, 1.0, gpu_seconds=10.0), running(1, live=live), seconds=60)) == 130.0


@pytest.mark.parametrize(("trials", "expected"), [(None, 3), (10, 3), (60, 6), (1000, 100)])
def test_a_tenth_of_the_trials_may_fail_and_at_least_three(trials, expected):
    assert default_max_failed(trials) == expected
