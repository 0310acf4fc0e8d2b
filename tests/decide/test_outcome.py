"""Every row of the outcome table, reason and sentence."""

import math

import pytest

from decide.builders import a_report, a_study, an_attempt, running
from seatrial.api.conditions import TrialReason
from seatrial.decide.actions import FinishTrial, RequeueTrial, StopReason
from seatrial.decide.attempts import Phase, ReportStatus
from seatrial.decide.outcome import LOSSES, settle, settle_vanished
from seatrial.decide.snapshot import build_limits

NAN = math.nan
SPEC = a_study(trial={**a_study().spec.trial.to_wire(), "retries": 2}).spec
TOLD = "rule says so"


def settled(phase: Phase = Phase.EXITED, *, value: float | None = 0.5, trial: dict | None = None, **attempt: object):
    snapshot = running(0, value=value, **(trial or {}))
    return settle(snapshot, an_attempt(0, phase, **attempt), SPEC, build_limits(SPEC))


def finished(outcome: TrialReason, reason: str, message: str) -> FinishTrial:
    return FinishTrial(trial="s-0", outcome=outcome, reason=reason, message=message)


def again(reason: str, message: str, *, infrastructure: bool) -> RequeueTrial:
    return RequeueTrial(trial="s-0", attempt=0, reason=reason, message=message, infrastructure=infrastructure)


def said(status: ReportStatus, text: str = "", reason: str = ""):
    report = a_report(status)
    return type(report)(status=report.status, metrics=report.metrics, message=text, reason=reason)


def stopped(stop: StopReason) -> dict:
    return {"stop": stop, "stop_message": TOLD}


T, R, S = TrialReason, ReportStatus, StopReason


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, finished(T.COMPLETED, "Completed", ""), id="exit 0, objective reported"),
        pytest.param(
            {"report": said(R.SUCCEEDED, "the checkpoint of step 3 cannot be saved: No space left")},
            finished(T.COMPLETED, "Completed", "the checkpoint of step 3 cannot be saved: No space left"),
            id="exit 0, without a checkpoint on a full disk",
        ),
        pytest.param(
            {"value": None},
            finished(
                T.FAILED,
                "MetricNotReported",
                "exit code 0, but 'loss' was never reported; report it, print loss=<value>, or write it to the termination message",
            ),
            id="exit 0, nothing reported",
        ),
        pytest.param(
            {"exit_code": 1, "report": said(R.FAILED, "no step 9", "ParentCheckpointMissing")},
            finished(T.FAILED, "ParentCheckpointMissing", "no step 9"),
            id="the parent's checkpoint is not there",
        ),
        pytest.param(
            {"exit_code": 1, "report": said(R.FAILED, "changed", "ParentCheckpointCorrupt")},
            finished(T.FAILED, "ParentCheckpointCorrupt", "changed"),
            id="the parent's checkpoint is not whole",
        ),
        pytest.param(
            {"exit_code": 1, "report": said(R.FAILED, "no route", "CheckpointsUnreachable")},
            again("CheckpointsUnreachable", "no route", infrastructure=True),
            id="the checkpoints cannot be reached",
        ),
        pytest.param(
            {"exit_code": 1, "report": said(R.FAILED, "odd", "Whatever")},
            again("Error", "odd; 1 retries left", infrastructure=False),
            id="a reason that nobody knows",
        ),
        pytest.param(
            {"value": NAN}, finished(T.DIVERGED, "Diverged", "the final value of loss is not finite"), id="NaN last"
        ),
        pytest.param(
            {"report": said(R.DIVERGED)},
            finished(T.DIVERGED, "Diverged", "the trial says that it diverged"),
            id="says diverged",
        ),
        pytest.param(
            {"report": said(R.INFEASIBLE, "batch does not fit"), "exit_code": 1},
            finished(T.INFEASIBLE, "Infeasible", "batch does not fit"),
            id="says infeasible",
        ),
        pytest.param(
            {"exit_code": 137, "reason": "OOMKilled", "message": "memory ran out"},
            finished(T.INFEASIBLE, "OOMKilled", "memory ran out"),
            id="killed for memory",
        ),
        pytest.param(
            {"report": said(R.STOPPED), "exit_code": 143},
            again("EndedFromOutside", "was asked to end from outside", infrastructure=True),
            id="stopped by somebody else",
        ),
        pytest.param(
            {"exit_code": 137, "reason": "DeadlineExceeded", "message": "too long"},
            finished(T.FAILED, "Timeout", "too long"),
            id="the kubelet's deadline is the timeout, and no retry gets past it",
        ),
        pytest.param(
            {"report": said(R.STOPPED), "trial": {"losses": LOSSES}},
            finished(T.FAILED, "EndedFromOutside", "was asked to end from outside; given up after 21 such attempts"),
            id="a program that says stopped each time does not go on for ever",
        ),
        pytest.param(
            {"exit_code": 3},
            again("Error", "exit code 3; 1 retries left", infrastructure=False),
            id="first failure of two retries",
        ),
        pytest.param(
            {"exit_code": 3, "trial": {"failures": 2}, "message": "Traceback"},
            finished(T.FAILED, "Error", "Traceback"),
            id="no retries left",
        ),
        pytest.param(
            {"report": said(R.FAILED, "ValueError: lr"), "trial": {"failures": 2}, "reason": "Completed"},
            finished(T.FAILED, "Error", "ValueError: lr"),
            id="says failed at exit code 0",
        ),
        pytest.param(
            {"phase": Phase.LOST},
            again("Lost", "the attempt is gone without a trace of how it ended", infrastructure=True),
            id="lost",
        ),
        pytest.param(
            {"exit_code": 137, "infrastructure": True, "reason": "Evicted", "message": "node is full"},
            again("Evicted", "its node ran short of memory, disk or processes: node is full", infrastructure=True),
            id="evicted",
        ),
        pytest.param(
            {"exit_code": 137, "infrastructure": True, "reason": "OOMKilled", "message": "node ran out"},
            again("OOMKilled", "node ran out", infrastructure=True),
            id="killed for the memory of others",
        ),
        pytest.param(
            {"phase": Phase.LOST, "trial": {"losses": LOSSES}, "reason": "NodeLost", "message": "node is gone"},
            finished(
                T.FAILED, "NodeLost", "its node is unreachable or gone: node is gone; given up after 21 such attempts"
            ),
            id="lost too often",
        ),
        pytest.param(
            {"phase": Phase.LOST, "report": said(R.SUCCEEDED)},
            finished(T.COMPLETED, "Completed", "was done before its attempt was lost"),
            id="lost after its last word",
        ),
        pytest.param(
            {"phase": Phase.LOST, "report": said(R.DIVERGED)},
            finished(T.DIVERGED, "Diverged", "the trial says that it diverged"),
            id="lost after it said that it diverged",
        ),
        *[
            pytest.param(
                {"trial": stopped(stop), "exit_code": 143},
                finished(outcome, stop.value, TOLD),
                id=f"we stopped it: {stop}",
            )
            for stop, outcome in [
                (S.BELOW_MEDIAN, T.STOPPED),
                (S.BELOW_PERCENTILE, T.STOPPED),
                (S.NOT_PROMOTED, T.STOPPED),
                (S.NO_IMPROVEMENT, T.STOPPED),
                (S.DIVERGED, T.DIVERGED),
                (S.TIMEOUT, T.FAILED),
                (S.STUDY_COMPLETE, T.CANCELLED),
            ]
        ],
        *[
            pytest.param(
                {"trial": stopped(stop), "exit_code": 1}, again(stop.value, TOLD, infrastructure=True), id=stop.value
            )
            for stop in (S.SUSPENDED, S.INTERRUPTED)
        ],
        pytest.param(
            {"trial": stopped(S.SUSPENDED), "report": said(R.DIVERGED, "loss is NaN")},
            finished(T.DIVERGED, "Diverged", "loss is NaN"),
            id="laid down, but it says that it diverged",
        ),
        pytest.param(
            {"trial": stopped(S.NOT_PROMOTED), "value": NAN},
            finished(T.DIVERGED, "Diverged", f"{TOLD}; its objective is not finite"),
            id="stopped while its objective was NaN",
        ),
        *[
            pytest.param(
                {"trial": stopped(stop), "report": said(R.SUCCEEDED), "exit_code": code},
                finished(T.COMPLETED, "Completed", "was done before it could be stopped"),
                id=f"done before it noticed {stop}, exit code {code}",
            )
            for stop in (S.NOT_PROMOTED, S.TIMEOUT, S.SUSPENDED, S.STUDY_COMPLETE)
            for code in (0, 143)
        ],
        pytest.param(
            {"trial": stopped(S.NOT_PROMOTED), "report": said(R.SUCCEEDED), "value": None},
            finished(T.STOPPED, "NotPromoted", TOLD),
            id="says done without a value",
        ),
    ],
)
def test_an_attempt_that_ended_is_judged(given, expected):
    assert settled(**given) == expected


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (None, None),
        (S.SUSPENDED, again("Suspended", TOLD, infrastructure=True)),
        (S.NOT_PROMOTED, finished(T.STOPPED, "NotPromoted", TOLD)),
        (S.STUDY_COMPLETE, finished(T.CANCELLED, "StudyComplete", TOLD)),
    ],
)
def test_a_stop_whose_attempt_is_gone_is_carried_out(stop, expected):
    assert settle_vanished(running(0, stop=stop, stop_message=TOLD if stop else "")) == expected


@pytest.mark.parametrize(
    ("source", "reuse", "expected"),
    [
        ("prometheus", False, ""),
        ("termination-message", False, " (on a cluster what is printed is read with another metrics.source only)"),
        ("termination-message", True, " (on a cluster what is printed is read with another metrics.source only)"),
        (
            "scrape",
            True,
            " (on a cluster what is printed is read without trial.reuse, or with metrics.source: logs, only)",
        ),
        ("logs", True, ""),
    ],
)
def test_who_reports_nothing_is_told_where_printing_does_not_help(source, reuse, expected):
    known = a_study().spec.trial.to_wire()
    study = a_study(metrics={"source": source}, trial={**known, "reuse": reuse})

    action = settle(running(0, value=None), an_attempt(0, Phase.EXITED), study.spec, build_limits(study.spec))

    assert action.reason == "MetricNotReported"
    assert action.message == (
        "exit code 0, but 'loss' was never reported; report it, print loss=<value>, or write it to the termination message"
        + expected
    )


def test_two_objectives_of_which_one_is_missing_name_it():
    study = a_study(objectives=[{"metric": "a", "goal": "minimize"}, {"metric": "b", "goal": "minimize"}])

    action = settle(running(0, values=(0.5, None)), an_attempt(0, Phase.EXITED), study.spec, build_limits(study.spec))

    assert action.reason == "MetricNotReported"
    assert "'b' was never reported" in action.message
