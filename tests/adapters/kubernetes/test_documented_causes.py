"""The table in docs/retries.md, row by row: it says what the code's table says, and a Pod that ends so is treated as the row says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.kubernetes.test_pod_ends import LOW, UNKNOWN, UNREACHABLE, disrupted
from adapters.kubernetes.test_pods import CONFIRMED, NOWHERE, a_pod, condition, ended, state
from decide.builders import a_snapshot, a_study, a_trial, running
from seatrial.adapters.kubernetes.pods import build_pod_record, read_attempt
from seatrial.api.conditions import TrialReason
from seatrial.api.study import Study
from seatrial.decide.actions import FinishTrial, RequeueTrial, StopAttempt, StopReason
from seatrial.decide.attempts import Attempt, Phase
from seatrial.decide.causes import CANNOT_START_LIMIT, LOSSES, TREATMENTS, Backoff, Cause, find_cause, start_deadline
from seatrial.decide.outcome import settle, settle_vanished
from seatrial.decide.planner import plan_study
from seatrial.decide.snapshot import TrialSnapshot, build_limits

PAGE = (Path(__file__).parents[3] / "docs" / "retries.md").read_text("utf-8")
NOW = datetime(2026, 1, 1, 13, tzinfo=UTC)
RETRIES = 2
_NEXT = re.compile(r"from the last checkpoint: (at once, then )?after (\d+) s, doubling up to (\d+) s, ± 25 %")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the page, as it is read."""

    reason: str
    what: str
    signs: tuple[str, ...]
    fault: str
    counts: str
    limit: str
    following: str
    told: str
    advice: str

    @property
    def times(self) -> int | None:
        """How often in a row, where it says so."""
        found = re.fullmatch(r"(\d+) in a row", self.limit)
        return int(found[1]) if found else None

    @property
    def backoff(self) -> Backoff | None:
        """When the next attempt starts, where it says so."""
        found = _NEXT.fullmatch(self.following)
        if found is None:
            return None
        return Backoff(base_seconds=float(found[2]), cap_seconds=float(found[3]), at_once=bool(found[1]))


def read_rows() -> dict[str, Row]:
    found = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 9:
            reason, what, signs, fault, counts, limit, following, told, advice = cells
            words = tuple(re.findall(r"`([^`]+)`", signs))
            found[reason.strip("`")] = Row(
                reason=reason.strip("`"),
                what=what,
                signs=words,
                fault=fault,
                counts=counts,
                limit=limit,
                following=following,
                told=told,
                advice=advice,
            )
    return found


ROWS = read_rows()


# ---- the page and the table --------------------------------------------------------------------------------------------


def test_the_page_has_a_row_for_every_cause_and_no_other() -> None:
    assert list(ROWS) == [cause.value for cause in TREATMENTS]
    assert set(ROWS) == {cause.value for cause in Cause}


@pytest.mark.parametrize("cause", list(Cause))
def test_a_row_says_what_the_code_decides_by(cause: Cause) -> None:
    row, treatment = ROWS[cause.value], TREATMENTS[cause]

    assert (row.what, row.signs, row.advice) == (treatment.what, treatment.signs, treatment.advice)
    assert (row.fault, row.counts, row.told) == (treatment.fault.value, treatment.counts.value, treatment.told.value)
    assert row.times == treatment.limit
    if row.times is None:
        expected = {"trial.retries": "`trial.retries`", "never tried again": "1", "nothing": "none"}
        assert row.limit == expected[row.counts]
    words = {"none": None, "the same one, when there is room": None}
    if row.following in words:
        assert treatment.backoff is None
    elif row.following != "when the study goes on, from the last checkpoint":
        assert row.backoff == treatment.backoff


@pytest.mark.parametrize(
    "words",
    [
        f"up to {LOSSES} times in a row",
        f"After the {LOSSES + 1}st the trial has failed",
        "After three in a row, of either kind, the trial has failed",
        "30 minutes\n  unless set",
        "is waited for\n  ten minutes; a name of an image that can never be right is not waited for",
    ],
)
def test_the_text_below_names_the_same_numbers(words: str) -> None:
    assert words in PAGE
    assert CANNOT_START_LIMIT == 3
    assert a_study().spec.trial.start_timeout == "30m"
    # Longer than ten minutes nothing is waited for that its node calls an error.
    pull = read(a_pod({**waiting("ImagePullBackOff"), **SCHEDULED}))
    assert start_deadline(pull, 1800) == 600
    assert start_deadline(read(a_pod({**waiting("InvalidImageName"), **SCHEDULED})), 1800) == 0


# ---- Pods ---------------------------------------------------------------------------------------------------------------


def waiting(reason: str) -> dict:
    return state("Pending", waiting={"reason": reason, "message": "no"})


def said(status: str, code: int = 1, **more: str) -> dict:
    inside = ", ".join(f'"{key}": "{text}"' for key, text in {"status": status, **more}.items())
    return ended(code, message=f'{{"v": 1, {inside}}}')


SCHEDULED = condition("PodScheduled", "True")
RULES = {
    65: ("infeasible", "InfeasibleByRule"),
    66: ("fail", "FailedByRule"),
    67: ("retry", "RetriedByRule"),
    68: ("excludeNode", "NodeFault"),
}
PREEMPTED = "default-scheduler: preempting to accommodate a higher priority pod"
KUEUE = disrupted("WorkloadEvicted", "Preempted to accommodate a workload", "TerminationTarget")
INITIAL = {"name": "fetch", "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no"}}}

PODS: dict[str, list[tuple[str, dict]]] = {
    "Preempted": [
        ("by the scheduler", a_pod({**ended(143), **disrupted("PreemptionByScheduler", PREEMPTED)}, **CONFIRMED)),
        ("by the kubelet", a_pod({"phase": "Failed", "reason": "Preempting", "message": "for a critical Pod"})),
    ],
    "Evicted": [
        ("memory", a_pod({**ended(137), **disrupted("TerminationByKubelet", LOW, phase="Failed", reason="Evicted")})),
        (
            "disk",
            a_pod({"phase": "Failed", "reason": "Evicted", "message": "The node had condition: [DiskPressure]. "}),
        ),
    ],
    "NodeDrained": [
        ("kubectl drain", a_pod({**ended(143), **disrupted("EvictionByEvictionAPI", "evicting")}, **CONFIRMED)),
        ("shutdown", a_pod({"phase": "Failed", "reason": "Terminated", "message": "imminent node shutdown"})),
    ],
    "NodeLost": [
        ("unreachable", a_pod({"phase": "Running", **disrupted("DeletionByTaintManager", UNREACHABLE)}, **CONFIRMED)),
        ("gone", a_pod({"phase": "Failed", **disrupted("DeletionByPodGC", "node no longer exists")}, **CONFIRMED)),
    ],
    "NodeRefused": [
        ("no room after all", a_pod({"phase": "Failed", "reason": "OutOfnvidia.com/gpu", "message": "full"}))
    ],
    "Deleted": [("kubectl delete pod", a_pod(ended(143), **CONFIRMED))],
    "StoppedByKueue": [("preempted by another workload", a_pod({**ended(143), **KUEUE}, **CONFIRMED))],
    "Lost": [("the node does not know the end", a_pod(state("Failed", terminated=UNKNOWN)))],
    "EndedFromOutside": [("stopped in good order", a_pod(said("stopped", 143)))],
    "PausedUnasked": [("paused where nobody asked", a_pod(said("paused", 0)))],
    "NodeFault": [("a broken GPU", a_pod(ended(68)))],
    "RetriedByRule": [("a flaky store", a_pod(ended(67)))],
    "CheckpointsUnreachable": [("the store is away", a_pod(said("failed", reason="CheckpointsUnreachable")))],
    "CannotStart": [
        ("image pull back-off", a_pod({**waiting("ImagePullBackOff"), **SCHEDULED})),
        ("no such Secret", a_pod({**waiting("CreateContainerConfigError"), **SCHEDULED})),
        ("no name of an image", a_pod({**waiting("InvalidImageName"), **SCHEDULED})),
    ],
    "StartTimeout": [("a volume that is missing", a_pod({**waiting("ContainerCreating"), **SCHEDULED}))],
    "Insufficient": [
        (
            "no GPU is free",
            a_pod(
                {
                    "phase": "Pending",
                    **condition("PodScheduled", "False", "Unschedulable", "0/3 nodes: 3 Insufficient nvidia.com/gpu."),
                },
                spec=NOWHERE,
            ),
        ),
        ("held back by Kueue", a_pod(spec={**NOWHERE, "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]})),
    ],
    "Error": [
        ("exit code 3", a_pod(ended(3))),
        ("no such command", a_pod(ended(128, "StartError", "exec: pyton: not found"))),
        ("killed from inside", a_pod(ended(137))),
        ("says that it failed", a_pod(said("failed", 0))),
    ],
    "InitContainerFailed": [("a download", a_pod({"phase": "Failed", "initContainerStatuses": [INITIAL]}))],
    "StorageExceeded": [
        (
            "a volume's limit",
            a_pod(
                {
                    "phase": "Failed",
                    "reason": "Evicted",
                    "message": 'Usage of EmptyDir volume "scratch" exceeds the limit "1Gi". ',
                }
            ),
        )
    ],
    "Timeout": [("the kubelet's deadline", a_pod({**ended(137), "reason": "DeadlineExceeded", "message": "too long"}))],
    "MetricNotReported": [("a good end without a word", a_pod(ended(0)))],
    "ParentCheckpointMissing": [("not there", a_pod(said("failed", reason="ParentCheckpointMissing")))],
    "ParentCheckpointCorrupt": [("torn", a_pod(said("failed", reason="ParentCheckpointCorrupt")))],
    "FailedByRule": [("a mistake in the script", a_pod(ended(66)))],
    "OOMKilled": [("over its memory limit", a_pod(ended(137, "OOMKilled")))],
    "Infeasible": [("it says so", a_pod(said("infeasible")))],
    "InfeasibleByRule": [("an exit code says so", a_pod(ended(65)))],
    "Diverged": [
        ("the loss is NaN", a_pod(ended(0, message='{"loss": NaN}'))),
        ("the loss is infinite", a_pod(ended(0, message='{"loss": Infinity}'))),
        ("it says so", a_pod(said("diverged", 0))),
    ],
}
"""Pods that end so, or wait so, by the reason of their row."""

NO_POD = {"PodRefused", "Suspended"}
"""Reasons that no Pod tells: there is none, and it was stopped by Seatrial itself."""

CASES = [pytest.param(reason, pod, id=f"{reason}: {name}") for reason, pods in PODS.items() for name, pod in pods]


def study() -> Study:
    rules = [{"action": action, "onExitCodes": {"values": [code]}} for code, (action, _) in RULES.items()]
    trial = {**a_study().spec.trial.to_wire(), "retries": RETRIES, "retryPolicy": {"rules": rules}}
    return a_study(trial=trial, steps={"max": 27})


def read(pod: dict) -> Attempt:
    return read_attempt(build_pod_record(pod), NOW)


def judged(attempt: Attempt, **past: int) -> FinishTrial | RequeueTrial:
    """Judge an attempt of a trial with this past; its value is that of its last word."""
    last = {metric.name: metric.last for metric in (attempt.report.metrics if attempt.report else ())}
    paused = {"value": 0.5, "step": 5, "until_step": 9} if attempt.report and attempt.report.status == "paused" else {}
    trial = running(0, **{"value": last.get("loss"), **paused, **past})
    action = settle(trial, attempt, study().spec, build_limits(study().spec))
    assert isinstance(action, FinishTrial | RequeueTrial)
    return action


def test_every_row_is_produced_from_a_pod_or_needs_none() -> None:
    assert set(PODS) | NO_POD == set(ROWS)
    assert not set(PODS) & NO_POD


@pytest.mark.parametrize(("reason", "pod"), CASES)
def test_a_pod_is_treated_as_its_row_says(reason: str, pod: dict) -> None:
    row, attempt = ROWS[reason], read(pod)

    match row.counts:
        case "losses in a row":
            assert_tried_again(row, attempt, "losses", infrastructure=True, limit=row.times)
        case "trial.retries":
            assert_tried_again(row, attempt, "failures", infrastructure=False, limit=RETRIES)
        case "never tried again":
            assert_ended(row, judged(attempt))
        case "starts in vain":
            assert_given_up_when_it_does_not_begin(row, attempt)
        case "nothing":
            assert_waited_for(row, attempt)
        case other:
            raise AssertionError(other)


def assert_tried_again(row: Row, attempt: Attempt, past: str, *, infrastructure: bool, limit: int | None) -> None:
    assert limit is not None
    assert row.backoff is not None
    for times in range(limit):
        action = judged(attempt, **{past: times})
        assert isinstance(action, RequeueTrial)
        assert action.reason in {row.reason, *row.signs}
        assert action.infrastructure is infrastructure
        assert_delayed(action.delay_seconds, row.backoff, times)
    # What the one is counted against says nothing of the other.
    other = "failures" if past == "losses" else "losses"
    assert isinstance(judged(attempt, **{other: 100}), RequeueTrial)
    assert_ended(row, judged(attempt, **{past: limit}))


def assert_delayed(seconds: float, backoff: Backoff, times: int) -> None:
    doublings = times - backoff.at_once
    plain = min(backoff.base_seconds * 2.0**doublings, backoff.cap_seconds) if doublings >= 0 else 0.0
    assert 0.75 * plain <= seconds <= 1.25 * plain


def assert_ended(row: Row, action: FinishTrial | RequeueTrial) -> None:
    assert isinstance(action, FinishTrial)
    assert action.reason in {row.reason, *row.signs}
    results = {TrialReason.INFEASIBLE, TrialReason.DIVERGED}
    assert action.outcome in ({TrialReason.FAILED} if row.told == "failed: as bad" else results)


def assert_given_up_when_it_does_not_begin(row: Row, attempt: Attempt) -> None:
    assert attempt.phase is Phase.WAITING
    trial = a_trial(0, live=attempt)
    limit = start_deadline(attempt, 1800)
    assert limit is not None
    before, then = (plan_study(a_snapshot(trial, study=study(), seconds=limit + more)) for more in (-1, 0))
    assert not [action for action in before.actions if isinstance(action, StopAttempt)]
    (stop,) = [action for action in then.actions if isinstance(action, StopAttempt)]
    assert stop.reason == row.reason
    assert row.times is not None
    assert row.backoff is not None
    for times in range(row.times - 1):
        action = settle_vanished(stopped(stop, starts_in_vain=times))
        assert isinstance(action, RequeueTrial)
        assert action.infrastructure
        assert_delayed(action.delay_seconds, row.backoff, times)
    last = settle_vanished(stopped(stop, starts_in_vain=row.times - 1))
    assert isinstance(last, FinishTrial)
    assert_ended(row, last)


def stopped(stop: StopAttempt, **past: int) -> TrialSnapshot:
    return running(0, stop=StopReason(stop.reason), stop_message=stop.message, **past)


def assert_waited_for(row: Row, attempt: Attempt) -> None:
    assert attempt.phase is Phase.WAITING
    assert attempt.reason in {row.reason, *row.signs}
    plan = plan_study(a_snapshot(a_trial(0, live=attempt), study=study(), seconds=1e7))
    assert not [action for action in plan.actions if isinstance(action, StopAttempt | FinishTrial | RequeueTrial)]


def is_disrupted(pod: dict) -> bool:
    attempt = read(pod)
    return attempt.infrastructure or attempt.phase is Phase.LOST


DISRUPTED = [case for case in CASES if is_disrupted(case.values[1]) and case.values[0] != "Lost"]


@pytest.mark.parametrize(("reason", "pod"), DISRUPTED)
def test_what_the_cluster_did_is_told_in_the_words_of_its_row(reason: str, pod: dict) -> None:
    assert judged(read(pod)).message.startswith(ROWS[reason].what)


def test_what_we_stopped_to_go_on_later_counts_against_nothing() -> None:
    row = ROWS["Suspended"]
    for sign in row.signs:
        trial = running(0, stop=StopReason(sign), stop_message="by and by", losses=LOSSES, failures=RETRIES)

        action = settle(trial, read(a_pod(ended(143), **CONFIRMED)), study().spec, build_limits(study().spec))

        assert isinstance(action, RequeueTrial)
        assert (action.reason, action.infrastructure, action.delay_seconds) == (sign, True, 0.0)


@pytest.mark.parametrize("sign", ROWS["PodRefused"].signs)
def test_a_pod_that_the_server_refuses_is_waited_for_without_end(sign: str) -> None:
    attempt = Attempt(trial="s-0", number=0, phase=Phase.WAITING, reason=sign, message="by a policy")

    assert find_cause(attempt) is Cause.UNWANTED
    assert_waited_for(ROWS["PodRefused"], attempt)
