"""What a Pod says of its attempt, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.pods import (
    LOST_AFTER_SECONDS,
    STARTING_SECONDS,
    build_pod_record,
    find_turn,
    read_attempt,
)
from seatrial.decide.attempts import Attempt, Phase, ReportStatus
from seatrial.ports import StudyKey

BEGAN, ENDED = "2026-01-01T12:00:00Z", "2026-01-01T12:10:00Z"
NOW = datetime(2026, 1, 1, 13, tzinfo=UTC)


def a_pod(status: dict | None = None, *, spec: dict | None = None, **metadata: object) -> dict:
    labels = {
        names.LABEL_STUDY: "s",
        names.LABEL_STUDY_UID: "su",
        names.LABEL_TRIAL: "s-3",
        names.LABEL_ATTEMPT: "1",
    }
    return {
        "metadata": {
            "name": "s-3-1",
            "namespace": "lab",
            "uid": "pu",
            "labels": labels,
            "finalizers": ["other", names.FINALIZER],
            "ownerReferences": [{"kind": "Trial", "uid": "tu", "controller": True}],
            **metadata,
        },
        "spec": {
            "nodeName": "n",
            "containers": [{"name": "side"}, {"name": "main", "env": [{"name": "SEATRIAL_TRIAL", "value": "s-3"}]}],
            **(spec or {}),
        },
        "status": status or {"phase": "Pending"},
    }


def state(phase: str = "Running", *, name: str = "main", **states: object) -> dict:
    return {"phase": phase, "containerStatuses": [{"name": name, "state": states}]}


def ended(code: int = 0, reason: str = "", message: str = "", **more: object) -> dict:
    reason = reason or ("Completed" if code == 0 else "Error")
    how = {"exitCode": code, "reason": reason, "message": message, "startedAt": BEGAN, "finishedAt": ENDED}
    return {**state("Succeeded" if code == 0 else "Failed", terminated=how), **more}


def condition(kind: str, status: str, reason: str = "", message: str = "", at: str = BEGAN) -> dict:
    found = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}
    return {"conditions": [found]}


def disrupted(reason: str, at: str = BEGAN) -> dict:
    return condition("DisruptionTarget", "True", reason, "the words of it", at)


DELETED = {"deletionTimestamp": "2026-01-01T12:09:30Z", "deletionGracePeriodSeconds": 30}
DELETED_LATER = {"deletionTimestamp": "2026-01-01T12:11:00Z", "deletionGracePeriodSeconds": 30}
CONFIRMED = {"deletionTimestamp": "2026-01-01T12:09:00Z", "deletionGracePeriodSeconds": 0}
NOWHERE = {"nodeName": None}


@pytest.mark.parametrize(
    ("pod", "phase", "reason", "message", "infrastructure"),
    [
        # Waiting
        pytest.param(
            a_pod(spec={**NOWHERE, "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}),
            Phase.WAITING,
            "SchedulingGated",
            "SchedulingGated by kueue.x-k8s.io/admission",
            False,
            id="held back by Kueue",
        ),
        pytest.param(
            a_pod(
                {
                    "phase": "Pending",
                    **condition(
                        "PodScheduled",
                        "False",
                        "Unschedulable",
                        "0/3 nodes are available: 1 node(s) had untolerated taint {a: }, 2 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No preemption victims found.",
                    ),
                },
                spec=NOWHERE,
            ),
            Phase.WAITING,
            "Insufficient",
            "Insufficient nvidia.com/gpu (0/3 nodes are available: 1 node(s) had untolerated taint {a: }, 2 Insufficient nvidia.com/gpu)",
            False,
            id="no GPU is free",
        ),
        pytest.param(
            a_pod(
                {"phase": "Pending", **condition("PodScheduled", "False", "Unschedulable", "no nodes available")},
                spec=NOWHERE,
            ),
            Phase.WAITING,
            "Unschedulable",
            "no nodes available",
            False,
            id="no node at all",
        ),
        pytest.param(a_pod(spec=NOWHERE), Phase.WAITING, "Pending", "waits for the scheduler", False, id="just made"),
        pytest.param(
            a_pod(),
            Phase.WAITING,
            "ContainerCreating",
            "its node prepares images, volumes, ConfigMaps and Secrets",
            False,
            id="placed a moment ago",
        ),
        pytest.param(
            a_pod(state("Pending", waiting={"reason": "ContainerCreating"})),
            Phase.WAITING,
            "ContainerCreating",
            "container main",
            False,
            id="volumes and images come",
        ),
        pytest.param(
            a_pod(state("Pending", waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling image x"})),
            Phase.WAITING,
            "ImagePullBackOff",
            "container main: Back-off pulling image x",
            False,
            id="no such image",
        ),
        pytest.param(
            a_pod(state("Pending", waiting={"reason": "CreateContainerConfigError", "message": "image runs as root"})),
            Phase.WAITING,
            "CreateContainerConfigError",
            "container main: image runs as root",
            False,
            id="an image that wants to be root",
        ),
        pytest.param(
            a_pod(
                {
                    **state("Pending", waiting={"reason": "PodInitializing"}),
                    "initContainerStatuses": [{"name": "fetch", "state": {"running": {}}}],
                }
            ),
            Phase.WAITING,
            "PodInitializing",
            "init container fetch runs",
            False,
            id="init containers",
        ),
        # Running
        pytest.param(a_pod(state(running={"startedAt": BEGAN})), Phase.RUNNING, "", "", False, id="runs"),
        pytest.param(
            a_pod(state(running={"startedAt": BEGAN}), **DELETED), Phase.RUNNING, "", "", False, id="is being ended"
        ),
        # Ended by itself
        pytest.param(a_pod(ended()), Phase.EXITED, "Completed", "", False, id="done"),
        pytest.param(
            a_pod({**ended(), "phase": "Running"}), Phase.EXITED, "Completed", "", False, id="done, its sidecar is not"
        ),
        pytest.param(
            a_pod(ended(1, message="Traceback\nValueError: no")),
            Phase.EXITED,
            "Error",
            "exit code 1: Traceback\nValueError: no",
            False,
            id="failed",
        ),
        pytest.param(
            a_pod(ended(137, "OOMKilled")), Phase.EXITED, "OOMKilled", "exit code 137", False, id="out of memory"
        ),
        pytest.param(
            a_pod({**ended(143), "reason": "DeadlineExceeded", "message": "too long"}),
            Phase.EXITED,
            "DeadlineExceeded",
            "exit code 143: too long",
            False,
            id="the kubelet's deadline",
        ),
        pytest.param(
            a_pod({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"}),
            Phase.EXITED,
            "DeadlineExceeded",
            "too long",
            False,
            id="the kubelet's deadline before it began",
        ),
        pytest.param(
            a_pod(
                {
                    "phase": "Failed",
                    "initContainerStatuses": [
                        {"name": "fetch", "state": {"terminated": {"exitCode": 4, "message": "404"}}}
                    ],
                }
            ),
            Phase.EXITED,
            "InitContainerFailed",
            "init container fetch ended with exit code 4: 404",
            False,
            id="an init container failed",
        ),
        pytest.param(
            a_pod(ended(1), **DELETED_LATER), Phase.EXITED, "Error", "exit code 1", False, id="failed, then deleted"
        ),
        # Ended from outside
        pytest.param(
            a_pod(ended(143), **CONFIRMED),
            Phase.EXITED,
            "SIGTERM",
            "exit code 143: the Pod was deleted",
            True,
            id="deleted",
        ),
        pytest.param(
            a_pod(ended(137), **DELETED),
            Phase.EXITED,
            "SIGKILL",
            "exit code 137: the Pod was deleted",
            True,
            id="deleted and killed",
        ),
        pytest.param(
            a_pod(ended(0), **DELETED),
            Phase.EXITED,
            "Deleted",
            "the Pod was deleted",
            True,
            id="deleted, left politely",
        ),
        pytest.param(
            a_pod({"phase": "Pending"}, spec=NOWHERE, **CONFIRMED),
            Phase.EXITED,
            "Deleted",
            "the Pod was deleted before it began",
            True,
            id="deleted before it began",
        ),
        pytest.param(
            a_pod(
                {"phase": "Pending", **condition("TerminationTarget", "True", "WorkloadPreempted", "by another")},
                spec=NOWHERE,
                **CONFIRMED,
            ),
            Phase.EXITED,
            "StoppedByKueue",
            "WorkloadPreempted: by another",
            True,
            id="taken back by Kueue",
        ),
        pytest.param(
            a_pod({**ended(143), **disrupted("PreemptionByScheduler")}, **CONFIRMED),
            Phase.EXITED,
            "PreemptionByScheduler",
            "exit code 143: the words of it",
            True,
            id="preempted",
        ),
        pytest.param(
            a_pod({**ended(1), **disrupted("DeletionByPodGC", at="2026-01-01T12:30:00Z")}),
            Phase.EXITED,
            "Error",
            "exit code 1",
            False,
            id="failed, then its node was drained",
        ),
        pytest.param(
            a_pod({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
            Phase.LOST,
            "Evicted",
            "The node was low on resource: memory.",
            True,
            id="evicted",
        ),
        pytest.param(
            a_pod({"phase": "Failed", "reason": "OutOfnvidia.com/gpu", "message": "Pod was rejected"}),
            Phase.LOST,
            "OutOfnvidia.com/gpu",
            "Pod was rejected",
            True,
            id="refused by its node",
        ),
        pytest.param(
            a_pod({**state("Failed", running={"startedAt": BEGAN}), **disrupted("DeletionByPodGC")}),
            Phase.LOST,
            "DeletionByPodGC",
            "the words of it",
            True,
            id="its node is gone",
        ),
        pytest.param(
            a_pod({"phase": "Failed"}),
            Phase.LOST,
            "Lost",
            "the Pod failed, and its container left no trace of how it ended",
            True,
            id="no trace",
        ),
    ],
)
def test_a_pod_tells_how_its_attempt_stands(pod, phase, reason, message, infrastructure):
    record = build_pod_record(pod)

    seen = record.attempt
    assert (seen.phase, seen.reason, seen.message, seen.infrastructure) == (phase, reason, message, infrastructure)
    assert (seen.trial, seen.number) == ("s-3", 1)


def test_what_else_is_kept_of_a_pod():
    annotations = {"prometheus.io/port": "9464"}
    record = build_pod_record(a_pod({**ended(), "podIP": "fd00::7"}, annotations=annotations))

    assert record.study == StudyKey("lab", "s")
    assert (record.uid, record.study_uid, record.trial_uid) == ("pu", "su", "tu")
    assert (record.finalizer, record.held, record.ended, record.deleting) == (1, True, True, False)
    assert (record.address, record.container) == ("[fd00::7]:9464", "main")
    assert record.attempt.started_at == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert record.attempt.finished_at == datetime(2026, 1, 1, 12, 10, tzinfo=UTC)


def test_the_termination_message_is_read():
    text = '{"v": 1, "status": "stopped", "step": 3, "metrics": {"loss": {"last": 0.5}}}'

    report = build_pod_record(a_pod(ended(143, message=text))).attempt.report

    assert report is not None
    assert (report.status, report.step) == (ReportStatus.STOPPED, 3)
    assert [(final.name, final.last) for final in report.metrics] == [("loss", 0.5)]


def test_a_torn_termination_message_is_noted_and_shown():
    seen = build_pod_record(a_pod(ended(1, message='{"loss": 0.'))).attempt

    assert seen.report is None
    assert seen.notes == ("the termination message is not one JSON object; it was ignored",)
    assert seen.message == 'exit code 1: {"loss": 0.'


@pytest.mark.parametrize(
    ("limits", "gpus"),
    [
        ({"nvidia.com/gpu": "2"}, 2),
        ({"nvidia.com/gpu.shared": 1}, 1),
        ({"nvidia.com/mig-1g.10gb": 1}, 1),
        ({"amd.com/gpu": 4, "cpu": 8}, 4),
        ({"cpu": "1"}, 0),
    ],
)
def test_gpus_are_counted(limits: dict, gpus: float):
    pod = a_pod(spec={"containers": [{"name": "main", "resources": {"limits": limits}}]})

    assert build_pod_record(pod).attempt.gpus == gpus


def test_a_pod_whose_node_stays_silent_after_its_deletion_is_lost():
    status = {**state(running={"startedAt": BEGAN}), **disrupted("DeletionByTaintManager")}
    record = build_pod_record(a_pod(status, **DELETED))
    deadline = datetime(2026, 1, 1, 12, 9, 30, tzinfo=UTC)

    before = read_attempt(record, deadline + timedelta(seconds=LOST_AFTER_SECONDS - 1))
    after = read_attempt(record, deadline + timedelta(seconds=LOST_AFTER_SECONDS))

    assert before.phase is Phase.RUNNING
    assert (after.phase, after.reason, after.infrastructure) == (Phase.LOST, "DeletionByTaintManager", True)
    assert (after.started_at, after.finished_at) == (before.started_at, deadline)


def test_a_pod_that_ended_is_never_lost_afterwards():
    record = build_pod_record(a_pod(ended(), **DELETED))

    assert read_attempt(record, NOW) is record.attempt


@pytest.mark.parametrize("label", [names.LABEL_STUDY, names.LABEL_TRIAL, names.LABEL_ATTEMPT])
def test_a_pod_without_our_labels_is_none_of_ours(label: str):
    pod = a_pod()
    del pod["metadata"]["labels"][label]

    with pytest.raises(ValueError, match="has no label"):
        build_pod_record(pod)


def test_only_what_was_let_go_and_is_over_is_released():
    assert not build_pod_record(a_pod(ended())).released
    assert build_pod_record(a_pod(ended(), finalizers=[])).released
    assert build_pod_record(a_pod(state(running={}), finalizers=[], **DELETED)).released
    assert not build_pod_record(a_pod(state(running={}), finalizers=[])).released
    assert isinstance(build_pod_record(a_pod()).attempt, Attempt)


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", ""])
def test_a_new_pod_waits_for_nothing_in_particular_until_that_takes_long(reason: str):
    waiting = state("Pending", waiting={"reason": reason}) if reason else {"phase": "Pending"}
    record = build_pod_record(a_pod(waiting, creationTimestamp=BEGAN))
    began = datetime.fromisoformat(BEGAN)

    at_first = read_attempt(record, began + timedelta(seconds=STARTING_SECONDS - 1))
    later = read_attempt(record, began + timedelta(seconds=STARTING_SECONDS))
    assert (at_first.phase, at_first.reason, at_first.message) == (Phase.WAITING, "", "")
    assert later is record.attempt
    assert later.reason


@pytest.mark.parametrize(
    ("pod", "seconds"),
    [
        (a_pod({"phase": "Pending"}, creationTimestamp=BEGAN), STARTING_SECONDS),
        (a_pod(state("Pending", waiting={"reason": "ImagePullBackOff"}), creationTimestamp=BEGAN), None),
        (a_pod(state(running={}), creationTimestamp=BEGAN), None),
        (a_pod(state(running={}), creationTimestamp=BEGAN, deletionTimestamp=BEGAN), LOST_AFTER_SECONDS),
        (a_pod(ended(), creationTimestamp=BEGAN, deletionTimestamp=BEGAN), None),
    ],
)
def test_it_is_known_when_the_passing_of_time_alone_will_show_something_of_a_pod(pod: dict, seconds: float | None):
    record, began = build_pod_record(pod), datetime.fromisoformat(BEGAN)

    turn = find_turn(record, began)

    assert turn == (None if seconds is None else began + timedelta(seconds=seconds))
    if turn is not None:
        before, at = (read_attempt(record, turn - timedelta(microseconds=left)) for left in (1, 0))
        assert read_attempt(record, began) == before != at
        assert find_turn(record, turn) is None


def test_a_new_pod_that_lacks_something_says_so_at_once():
    lacking = condition(
        "PodScheduled", "False", "Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    )
    for status, reason in (
        ({"phase": "Pending", **lacking}, "Insufficient"),
        (state("Pending", waiting={"reason": "ImagePullBackOff", "message": "no such image"}), "ImagePullBackOff"),
    ):
        record = build_pod_record(a_pod(status, creationTimestamp=BEGAN))

        assert read_attempt(record, datetime.fromisoformat(BEGAN)).reason == reason


@pytest.mark.parametrize(
    ("message", "code", "from_outside"),
    [
        ('{"loss": 0.25}', 0, False),
        ('{"status": "succeeded", "metrics": {}}', 0, False),
        ('{"status": "stopped", "metrics": {}}', 0, True),
        ("", 0, True),
        ("", 143, True),
        ('{"loss": 0.25}', 1, True),
    ],
)
def test_a_whole_result_counts_though_the_pod_was_deleted_in_the_second_of_its_end(message, code, from_outside):
    same_second = {"deletionTimestamp": ENDED, "deletionGracePeriodSeconds": 0}

    pod = a_pod(ended(code, message=message), **same_second)

    attempt = build_pod_record(pod).attempt
    assert (attempt.phase, attempt.exit_code, attempt.infrastructure) == (Phase.EXITED, code, from_outside)
