"""How far an attempt trains, and what it means that it ended there."""

import pytest

from decide.builders import a_report, a_snapshot, a_study, a_trial, an_attempt, running
from seatrial.api.conditions import TrialReason
from seatrial.api.trial import Trial
from seatrial.decide.actions import FinishTrial, RequeueTrial, StopReason
from seatrial.decide.attempts import Phase, ReportStatus
from seatrial.decide.fidelity import until_step
from seatrial.decide.outcome import settle


def a_record(until: int | None, **status: object) -> Trial:
    spec = {"study": "s", "index": 0, "assignment": {"x": 0.5}, "seed": 1, "origin": {"algorithm": "pbt"}}
    return Trial.model_validate(
        {"metadata": {"name": "s-0"}, "spec": spec | {"untilStep": until}, "status": status or {}}
    )


@pytest.mark.parametrize(
    ("until", "steps", "expected"),
    [
        pytest.param(None, 27, None, id="a full training"),
        pytest.param(9, 27, 9, id="a part of it"),
        pytest.param(9, None, 9, id="of a training that ends by itself"),
        pytest.param(27, 27, None, id="the last part ends with the training"),
        pytest.param(40, 27, None, id="beyond its end"),
    ],
)
def test_an_attempt_trains_until_the_step_of_its_trial(until, steps, expected):
    study = a_study(steps={"max": steps} if steps else None)

    assert until_step(study.spec, a_record(until)) == expected


def ended(phase: Phase = Phase.EXITED, code: int | None = 0, status: ReportStatus = ReportStatus.PAUSED):
    return an_attempt(0, phase, exit_code=code, report=a_report(status, loss=0.5))


def judge(trial, attempt):
    study = a_snapshot(trial, steps={"max": 27})
    return settle(trial, attempt, study.spec, study.limits)


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(ended(), id="in good order"),
        pytest.param(ended(Phase.LOST, None), id="lost after its last word"),
        pytest.param(ended(code=137), id="killed after its last word"),
    ],
)
def test_a_trial_that_ends_at_its_own_last_step_is_complete(attempt):
    assert judge(running(0, [(9, 0.5)], until_step=9), attempt) == FinishTrial(
        trial="s-0", outcome=TrialReason.COMPLETED, reason="Completed", message=""
    )


@pytest.mark.parametrize("stop", [StopReason.SUSPENDED, StopReason.STUDY_COMPLETE, StopReason.TIMEOUT])
def test_a_trial_that_was_through_before_it_could_be_stopped_is_complete(stop):
    trial = running(0, [(9, 0.5)], until_step=9, stop=stop, stop_message="stop")

    assert judge(trial, ended()).outcome is TrialReason.COMPLETED


def test_an_end_at_a_step_that_nobody_named_is_a_loss():
    action = judge(running(0, [(5, 0.5)], until_step=9), ended())

    assert isinstance(action, RequeueTrial)
    assert (action.reason, action.infrastructure) == ("PausedUnasked", True)


def test_a_trial_that_ends_at_its_step_without_its_objective_has_failed():
    action = judge(a_trial(0, step=9, until_step=9), an_attempt(0, Phase.EXITED, report=a_report(ReportStatus.PAUSED)))

    assert (action.outcome, action.reason) == (TrialReason.FAILED, "MetricNotReported")
