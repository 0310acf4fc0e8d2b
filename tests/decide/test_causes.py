"""Why attempts end, what that is counted against, and when the next one starts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decide.builders import NOON, a_report, a_snapshot, a_study, a_trial, an_attempt, running
from seatrial.api.conditions import TrialReason
from seatrial.api.retry import RetryPolicy
from seatrial.api.study import Study
from seatrial.api.trial import AttemptRecord, Trial, TrialStatus
from seatrial.decide.actions import FinishTrial, RequeueTrial, StartAttempt, StopAttempt, StopReason
from seatrial.decide.attempts import Attempt, Phase, Report, ReportStatus
from seatrial.decide.causes import (
    CANNOT_START_LIMIT,
    LOSSES,
    TREATMENTS,
    Backoff,
    Cause,
    Counts,
    Fault,
    Told,
    find_cause,
)
from seatrial.decide.lifecycle import status_requeued, with_exclusions
from seatrial.decide.observation import Seen
from seatrial.decide.outcome import settle, settle_vanished
from seatrial.decide.planner import plan_study
from seatrial.decide.snapshot import build_limits, build_trial

INFRASTRUCTURE = sorted(
    cause for cause, row in TREATMENTS.items() if row.fault is Fault.CLUSTER and row.counts is not Counts.ONCE
)
SIGNS = sorted(sign for cause in INFRASTRUCTURE for sign in TREATMENTS[cause].signs)


def with_retries(retries: int = 2, **trial: object) -> Study:
    return a_study(trial={**a_study().spec.trial.to_wire(), "retries": retries, **trial})


def judged(attempt: Attempt, *, study: Study | None = None, **trial: object) -> FinishTrial | RequeueTrial:
    study = study or with_retries()
    trial.setdefault("value", None)
    return settle(running(0, **trial), attempt, study.spec, build_limits(study.spec))


# ---- the table ---------------------------------------------------------------------------------------------------------


def test_every_cause_has_a_row_and_no_sign_stands_for_two():
    signs = [sign for row in TREATMENTS.values() for sign in row.signs]

    assert set(TREATMENTS) == set(Cause)
    assert len(signs) == len(set(signs))


def test_only_the_assignments_faults_are_told_as_results():
    told = {cause for cause, row in TREATMENTS.items() if row.told is Told.BAD}

    assert told == {cause for cause, row in TREATMENTS.items() if row.fault is Fault.ASSIGNMENT}


def test_what_the_cluster_did_is_counted_apart_from_retries_and_not_for_ever():
    rows = [TREATMENTS[cause] for cause in INFRASTRUCTURE]

    assert {row.counts for row in rows} == {Counts.LOSSES}
    assert all(row.resumes and row.backoff for row in rows)
    assert {row.limit for row in rows} == {LOSSES}


@pytest.mark.parametrize(
    ("attempt", "cause"),
    [
        ({"reason": "PreemptionByScheduler", "infrastructure": True}, Cause.PREEMPTED),
        ({"reason": "Evicted", "infrastructure": True}, Cause.EVICTED),
        ({"reason": "EvictionByEvictionAPI", "infrastructure": True}, Cause.DRAINED),
        ({"reason": "DeletionByTaintManager", "infrastructure": True}, Cause.NODE_LOST),
        ({"reason": "OutOfnvidia.com/gpu", "infrastructure": True, "exit_code": None}, Cause.NODE_REFUSED),
        ({"reason": "SIGTERM", "infrastructure": True, "exit_code": 143}, Cause.DELETED),
        ({"reason": "StoppedByKueue", "infrastructure": True}, Cause.KUEUE),
        ({"reason": "OOMKilled", "infrastructure": True, "exit_code": 137}, Cause.LOST),
        ({"reason": "OOMKilled", "exit_code": 137}, Cause.OUT_OF_MEMORY),
        ({"reason": "SIGKILL", "exit_code": 137}, Cause.EXIT),
        ({"reason": "Error", "exit_code": 3}, Cause.EXIT),
        ({"reason": "StorageExceeded", "exit_code": 137}, Cause.STORAGE),
        ({"reason": "DeadlineExceeded", "exit_code": 137}, Cause.TIMEOUT),
        ({"reason": "Error", "exit_code": 1, "report": a_report(ReportStatus.INFEASIBLE)}, Cause.INFEASIBLE),
        ({"reason": "Error", "exit_code": 1, "report": a_report(ReportStatus.DIVERGED)}, Cause.DIVERGED),
        ({"reason": "Error", "exit_code": 143, "report": a_report(ReportStatus.STOPPED)}, Cause.ENDED_FROM_OUTSIDE),
        ({"reason": "ImagePullBackOff", "phase": Phase.WAITING, "exit_code": None}, Cause.CANNOT_START),
        ({"reason": "PodSecurity", "phase": Phase.WAITING, "exit_code": None}, Cause.UNWANTED),
        ({"reason": "Insufficient", "phase": Phase.WAITING, "exit_code": None}, Cause.NO_ROOM),
    ],
)
def test_a_cause_is_found_in_what_a_runner_says(attempt, cause):
    assert find_cause(an_attempt(0, attempt.pop("phase", Phase.EXITED), **attempt)) is cause


# ---- properties ----------------------------------------------------------------------------------------------------------


@given(
    reasons=st.lists(st.sampled_from([*SIGNS, "SomethingNew", ""]), min_size=1, max_size=LOSSES),
    failed=st.integers(0, 2),
)
def test_what_the_cluster_does_never_uses_up_retries(reasons, failed):
    study = with_retries(2)
    past = [AttemptRecord(attempt=number, reason="Error") for number in range(failed)]
    trial = Trial.model_validate(
        {
            "metadata": {"name": "s-0"},
            "spec": {"study": "s", "index": 0, "assignment": {"x": 0.5}, "seed": 1, "origin": {"algorithm": "random"}},
            "status": {"attempt": failed, "attempts": [record.to_wire() for record in past]},
        }
    )

    for reason in reasons:
        number = trial.status.attempt
        attempt = an_attempt(0, Phase.LOST, number, reason=reason, infrastructure=True)
        action = settle(build_trial(study.spec, trial), attempt, study.spec, build_limits(study.spec))
        assert isinstance(action, RequeueTrial)
        assert action.infrastructure
        trial = trial.model_copy(update={"status": status_requeued(trial, action, Seen(attempt=attempt), NOON)})

    snapshot = build_trial(study.spec, trial)
    assert snapshot.failures == failed
    assert snapshot.losses == len(reasons)
    after = settle(snapshot, an_attempt(0, Phase.EXITED, exit_code=1), study.spec, build_limits(study.spec))
    assert isinstance(after, RequeueTrial if failed < 2 else FinishTrial)


@given(reason=st.sampled_from([*SIGNS, "SomethingNew"]))
def test_endless_losses_end(reason):
    action = judged(an_attempt(0, Phase.LOST, reason=reason, infrastructure=True), losses=LOSSES)

    assert isinstance(action, FinishTrial)
    assert action.outcome is TrialReason.FAILED
    assert f"given up after {LOSSES + 1} such attempts" in action.message


@given(earlier=st.integers(0, 10_000), seed=st.integers(0, 2**31 - 1), attempt=st.integers(0, 1000))
def test_back_off_grows_to_its_cap_and_strays_by_a_quarter(earlier, seed, attempt):
    backoff = Backoff(base_seconds=10, cap_seconds=300)

    delay = backoff.delay_seconds(earlier, seed=seed, trial="s-1", attempt=attempt)

    plain = 0.0 if earlier == 0 else min(300.0, 10.0 * 2 ** min(earlier - 1, 10))
    assert 0.75 * plain <= delay <= 1.25 * plain
    assert delay == backoff.delay_seconds(earlier, seed=seed, trial="s-1", attempt=attempt)


def test_trials_that_were_hit_together_do_not_come_back_together():
    delays = {Backoff().delay_seconds(3, seed=7, trial=f"s-{index}", attempt=3) for index in range(50)}

    assert len(delays) == 50


# ---- counting in a row ---------------------------------------------------------------------------------------------------


def lost(attempt: int, step: int | None, reason: str = "Preempted") -> AttemptRecord:
    return AttemptRecord(attempt=attempt, reason=reason, infrastructure=True, step=step)


@pytest.mark.parametrize(
    ("past", "losses"),
    [
        pytest.param([lost(0, None), lost(1, None)], 2, id="no step is known"),
        pytest.param([lost(0, 5), lost(1, 9)], 0, id="each got further"),
        pytest.param([lost(0, 5), lost(1, 5), lost(2, 4)], 2, id="the second and third brought nothing"),
        pytest.param([lost(0, 5), lost(1, 5), lost(2, 6), lost(3, 2)], 1, id="from anew after the third"),
        pytest.param([lost(0, 5, "Suspended"), lost(1, 5)], 1, id="laid down by the user"),
        pytest.param([AttemptRecord(attempt=0, reason="Error", step=7), lost(1, 7)], 1, id="a failure had got as far"),
    ],
)
def test_losses_count_while_no_attempt_gets_further(past, losses):
    trial = Trial.model_validate(
        {
            "metadata": {"name": "s-0"},
            "spec": {"study": "s", "index": 0, "assignment": {"x": 0.5}, "seed": 1, "origin": {"algorithm": "random"}},
            "status": {"attempt": len(past), "attempts": [record.to_wire() for record in past]},
        }
    )

    assert build_trial(a_study().spec, trial).losses == losses


def test_a_hundred_losses_do_not_push_the_failures_out_of_the_record():
    past = [AttemptRecord(attempt=0, reason="Error")]
    trial = Trial.model_validate(
        {
            "metadata": {"name": "s-0"},
            "spec": {"study": "s", "index": 0, "assignment": {"x": 0.5}, "seed": 1, "origin": {"algorithm": "random"}},
            "status": TrialStatus(attempt=1, attempts=past).to_wire(),
        }
    )

    for number in range(1, 100):
        action = RequeueTrial(trial="s-0", attempt=number, reason="Preempted", message="", infrastructure=True)
        trial = trial.model_copy(update={"status": status_requeued(trial, action, Seen(), NOON)})

    assert len(trial.status.attempts) == 64
    assert build_trial(a_study().spec, trial).failures == 1


# ---- after a loss --------------------------------------------------------------------------------------------------------


def test_a_trial_that_had_trained_in_full_is_complete_though_its_message_is_lost():
    study = a_study(steps={"unit": "epoch", "max": 9})
    attempt = an_attempt(0, Phase.LOST, reason="DeletionByPodGC", infrastructure=True)

    full = settle(running(0, [(9, 0.5)]), attempt, study.spec, build_limits(study.spec))
    almost = settle(running(0, [(8, 0.5)]), attempt, study.spec, build_limits(study.spec))

    assert isinstance(full, FinishTrial)
    assert (full.outcome, full.message) == (
        TrialReason.COMPLETED,
        "had reached the last epoch before its attempt was lost",
    )
    assert isinstance(almost, RequeueTrial)


def test_the_first_loss_is_made_good_at_once_and_later_ones_wait():
    attempt = an_attempt(0, Phase.LOST, reason="Evicted", infrastructure=True)

    first, third = judged(attempt), judged(attempt, losses=2)

    assert isinstance(first, RequeueTrial)
    assert isinstance(third, RequeueTrial)
    assert first.delay_seconds == 0
    assert 15 <= third.delay_seconds <= 25


# ---- planned times -------------------------------------------------------------------------------------------------------


def test_a_trial_that_backs_off_keeps_its_slot_and_the_plan_says_when_to_look_again():
    waiting = a_trial(0, attempt=3, not_before=NOON + timedelta(seconds=100))

    plan = plan_study(a_snapshot(waiting, seconds=60, budget={"maxTrials": 10, "parallelTrials": 1}))

    assert plan.actions == ()
    assert plan.wake_after_seconds == 40


def test_a_trial_starts_when_its_time_has_come():
    waiting = a_trial(0, attempt=3, not_before=NOON + timedelta(seconds=100))

    plan = plan_study(a_snapshot(waiting, seconds=100, budget={"maxTrials": 10, "parallelTrials": 1}))

    assert [type(action) for action in plan.actions] == [StartAttempt]


def test_the_record_holds_the_time_of_the_next_attempt():
    trial = Trial.model_validate(
        {
            "metadata": {"name": "s-0"},
            "spec": {"study": "s", "index": 0, "assignment": {"x": 0.5}, "seed": 1, "origin": {"algorithm": "random"}},
        }
    )
    late = RequeueTrial(
        trial="s-0", attempt=0, reason="Lost", message="gone", infrastructure=True, delay_seconds=30, excluded_node="n1"
    )
    soon = RequeueTrial(trial="s-0", attempt=1, reason="Lost", message="gone", infrastructure=True)

    delayed = trial.model_copy(update={"status": status_requeued(trial, late, Seen(), NOON)})
    at_once = status_requeued(delayed, soon, Seen(), NOON)

    assert delayed.status.retry_time == "2026-01-01T12:00:30.000000Z"
    assert delayed.status.excluded_nodes == ["n1"]
    assert delayed.status.conditions[0].message == "attempt 0 ended: Lost: gone; the next one starts in 30 s"
    assert (at_once.retry_time, at_once.excluded_nodes) == (None, ["n1"])


# ---- containers that cannot be created --------------------------------------------------------------------------------------


def stuck(reason: str, seconds: float) -> Attempt:
    since = NOON + timedelta(seconds=60 - seconds)
    return an_attempt(0, Phase.WAITING, reason=reason, message="container main: no", waits_since=since)


@pytest.mark.parametrize(
    ("reason", "seconds", "ends"),
    [
        ("ImagePullBackOff", 599, False),
        ("ImagePullBackOff", 600, True),
        ("CreateContainerConfigError", 600, True),
        ("InvalidImageName", 0, True),
        ("ErrImageNeverPull", 0, True),
        ("Insufficient", 10_000, False),
        ("SchedulingGated", 10_000, False),
        ("Unschedulable", 10_000, False),
        ("Pending", 10_000, False),
        ("PodSecurity", 10_000, False),
    ],
)
def test_a_container_that_cannot_be_created_is_given_up_in_time(reason, seconds, ends):
    trial = a_trial(0, reason=TrialReason.PENDING, live=stuck(reason, seconds))

    plan = plan_study(a_snapshot(trial, budget={"maxTrials": 1}))

    stops = [action for action in plan.actions if isinstance(action, StopAttempt)]
    assert [stop.reason for stop in stops] == (["CannotStart"] if ends else [])
    assert plan.wake_after_seconds == (1 if seconds == 599 else None)


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
@pytest.mark.parametrize(
    ("limit", "seconds", "left"),
    [("30m", 1799, 1), ("30m", 1800, None), ("2h", 7199, 1), ("2h", 7200, None), ("10s", 10, None)],
)
def test_a_container_that_does_not_begin_is_given_up_at_the_limit_of_the_study(reason, limit, seconds, left):
    study = with_retries(startTimeout=limit)
    live = replace(stuck(reason, seconds), message="its node prepares it")
    trial = a_trial(0, reason=TrialReason.PENDING, live=live)

    plan = plan_study(a_snapshot(trial, study=study))

    stops = [action for action in plan.actions if isinstance(action, StopAttempt)]
    words = f"its container did not begin within trial.startTimeout ({limit}): {reason}: its node prepares it"
    assert [(stop.reason, stop.message) for stop in stops] == ([] if left else [("StartTimeout", words)])
    assert plan.wake_after_seconds == left


def test_what_a_node_calls_an_error_is_not_waited_for_longer_than_for_any_start():
    live = stuck("ImagePullBackOff", 60)

    plan = plan_study(a_snapshot(a_trial(0, live=live), study=with_retries(startTimeout="1m")))

    assert [action.reason for action in plan.actions if isinstance(action, StopAttempt)] == ["CannotStart"]


def test_a_container_that_did_not_begin_counts_as_a_start_in_vain_and_is_told_as_what_it_was():
    stopped = {"stop": StopReason.START_TIMEOUT, "stop_message": "no volume"}

    first = settle_vanished(running(0, **stopped))
    last = settle_vanished(running(0, **stopped, starts_in_vain=CANNOT_START_LIMIT - 1))

    assert isinstance(first, RequeueTrial)
    assert (first.reason, first.infrastructure) == ("StartTimeout", True)
    assert isinstance(last, FinishTrial)
    assert (last.outcome, last.reason) == (TrialReason.FAILED, "StartTimeout")


def test_the_default_limit_of_a_start_is_half_an_hour():
    assert a_study().spec.trial.start_timeout == "30m"


def test_an_attempt_that_waits_for_a_place_does_not_lose_its_patience():
    live = an_attempt(0, Phase.WAITING, reason="ImagePullBackOff", waits_since=None)

    plan = plan_study(a_snapshot(a_trial(0, live=live), seconds=1e6, budget={"maxTrials": 1}))

    assert not any(isinstance(action, StopAttempt) for action in plan.actions)


def test_starts_in_vain_are_repeated_and_then_given_up():
    stopped = {"stop": StopReason.CANNOT_START, "stop_message": "no image"}

    first = settle_vanished(running(0, **stopped))
    last = settle_vanished(running(0, **stopped, starts_in_vain=CANNOT_START_LIMIT - 1))

    assert isinstance(first, RequeueTrial)
    assert first.infrastructure
    assert 22.5 <= first.delay_seconds <= 37.5
    assert last == FinishTrial(
        trial="s-0",
        outcome=TrialReason.FAILED,
        reason="CannotStart",
        message="no image; given up after 3 such attempts",
    )


# ---- rules ---------------------------------------------------------------------------------------------------------------


def ruled(*rules: dict, attempt: Attempt, **trial: object) -> FinishTrial | RequeueTrial:
    return judged(attempt, study=with_retries(retryPolicy={"rules": list(rules)}), **trial)


def failed(code: int = 1, **more: object) -> Attempt:
    return an_attempt(0, Phase.EXITED, exit_code=code, reason="Error", message="boom", **more)


ECC = {"action": "excludeNode", "onMessage": ["CUDA error: uncorrectable ECC*"]}
ECC_OUTPUT = "step=3\nRuntimeError: CUDA error: uncorrectable ECC error encountered\n"


@pytest.mark.parametrize(
    ("rule", "attempt", "outcome", "reason"),
    [
        pytest.param(
            {"action": "fail", "onExitCodes": {"values": [2]}}, failed(2), TrialReason.FAILED, "FailedByRule", id="fail"
        ),
        pytest.param(
            {"action": "infeasible", "onExitCodes": {"values": [65]}},
            failed(65),
            TrialReason.INFEASIBLE,
            "InfeasibleByRule",
            id="infeasible",
        ),
        pytest.param(
            {"action": "retry", "onExitCodes": {"operator": "NotIn", "values": [2, 3]}},
            failed(1),
            None,
            "RetriedByRule",
            id="not in",
        ),
        pytest.param(ECC, failed(output=ECC_OUTPUT, node="n7"), None, "NodeFault", id="printed"),
        pytest.param(
            ECC,
            failed(report=Report(status=ReportStatus.FAILED, message=ECC_OUTPUT)),
            None,
            "NodeFault",
            id="in the termination message",
        ),
        pytest.param(
            {"action": "retry", "onExitCodes": {"values": [137]}},
            an_attempt(0, Phase.EXITED, exit_code=137, reason="OOMKilled"),
            None,
            "RetriedByRule",
            id="a rule comes before OOMKilled",
        ),
    ],
)
def test_a_rule_that_matches_decides(rule, attempt, outcome, reason):
    action = ruled(rule, attempt=attempt, failures=2)

    assert action.reason == reason
    assert "spec.trial.retryPolicy.rules[0]" in action.message
    if outcome is None:
        assert isinstance(action, RequeueTrial)
        assert action.infrastructure
    else:
        assert isinstance(action, FinishTrial)
        assert action.outcome is outcome


@pytest.mark.parametrize(
    ("rule", "attempt", "reason"),
    [
        pytest.param(
            {"action": "fail", "onExitCodes": {"operator": "NotIn", "values": [2]}},
            an_attempt(0, Phase.EXITED, reason="Completed"),
            "MetricNotReported",
            id="success is in neither",
        ),
        pytest.param(
            {"action": "fail", "onExitCodes": {"values": [143]}},
            an_attempt(0, Phase.EXITED, exit_code=143, reason="SIGTERM", infrastructure=True),
            "Deleted",
            id="ended from outside",
        ),
        pytest.param(
            {"action": "retry", "onMessage": ["*"]},
            failed(report=Report(status=ReportStatus.INFEASIBLE, message="no")),
            "Infeasible",
            id="its own word",
        ),
        pytest.param(
            {"action": "fail", "onExitCodes": {"values": [1]}, "onMessage": ["other"]},
            failed(1),
            "Error",
            id="both have to match",
        ),
    ],
)
def test_a_rule_does_not_decide_where_it_does_not_apply(rule, attempt, reason):
    assert ruled(rule, attempt=attempt).reason == reason


def test_the_first_rule_that_matches_decides():
    rules = [{"action": "fail", "onExitCodes": {"values": [1]}}, {"action": "retry", "onExitCodes": {"values": [1]}}]

    assert ruled(*rules, attempt=failed(1)).reason == "FailedByRule"


def test_a_node_is_excluded_after_as_many_faults_as_the_rule_wants():
    rule = {"action": "excludeNode", "onExitCodes": {"values": [74]}, "after": 2}

    once = ruled(rule, attempt=failed(74, node="n7"), node_faults=("n3",))
    twice = ruled(rule, attempt=failed(74, node="n7"), node_faults=("n7", "n3"))
    laptop = ruled({**rule, "after": 1}, attempt=failed(74))

    assert [action.excluded_node for action in (once, twice, laptop)] == ["", "n7", ""]


def test_what_one_trial_found_counts_for_all_trials_of_its_study_while_there_is_a_rule():
    def named(index: int, *nodes: str) -> Trial:
        spec = {"study": "s", "index": index, "assignment": {"x": 0.5}, "seed": 1, "origin": {"algorithm": "random"}}
        body = {"metadata": {"name": f"s-{index}"}, "spec": spec, "status": {"excludedNodes": list(nodes)}}
        return Trial.model_validate(body)

    trials = {f"s-{trial.spec.index}": trial for trial in (named(0, "n1"), named(1, "n2", "n1"), named(2))}
    ruled_study = with_retries(retryPolicy={"rules": [ECC]})

    placed = with_exclusions(trials["s-2"], ruled_study, trials)
    free = with_exclusions(trials["s-2"], with_retries(), trials)

    assert placed.status.excluded_nodes == ["n1", "n2"]
    assert free.status.excluded_nodes == []
    assert trials["s-2"].status.excluded_nodes == []


def test_rules_of_a_flaky_kind_end_too():
    action = ruled({"action": "retry", "onExitCodes": {"values": [1]}}, attempt=failed(1), losses=LOSSES)

    assert isinstance(action, FinishTrial)
    assert action.outcome is TrialReason.FAILED


def test_a_policy_without_rules_is_none():
    with pytest.raises(ValueError, match="rules"):
        RetryPolicy.model_validate({"rules": []})
