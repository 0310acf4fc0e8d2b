"""Termination messages of every kind of badness, and results that must outlive Pods, nodes and operators."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kubernetes.test_pods import CONFIRMED, a_pod, ended
from adapters.kubernetes.world import Cluster, Memory
from decide.builders import NOON, a_study, running
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.pods import build_pod_record
from seatrial.adapters.kubernetes.port import PODS, PatchKind
from seatrial.adapters.local.simulated import Script
from seatrial.api.trial import Trial, TrialStatus, reason_of
from seatrial.decide.actions import RequeueTrial
from seatrial.decide.attempts import Attempt, ReportStatus
from seatrial.decide.lifecycle import status_finished, status_requeued
from seatrial.decide.observation import Seen
from seatrial.decide.outcome import settle
from seatrial.decide.snapshot import Snapshotter, build_limits
from seatrial.reconcile import Reconciler

STUDY = a_study(trial={**a_study().spec.trial.to_wire(), "retries": 1})
GOOD = '{"v": 1, "status": "succeeded", "step": 9, "metrics": {"loss": {"last": 0.25}}}'


def read(message: str, code: int = 0, **more: object) -> Attempt:
    return build_pod_record(a_pod(ended(code, message=message, **more))).attempt


def stored(attempt: Attempt) -> TrialStatus:
    """Judge an attempt and return what a store is given, as it reads it back."""
    trial = Trial.model_validate(
        {
            "metadata": {"name": "s-3"},
            "spec": {"study": "s", "index": 3, "assignment": {"x": 0.5}, "seed": 1, "origin": {"algorithm": "random"}},
            "status": {"attempt": 1},
        }
    )
    snapshot = Snapshotter().build(study=STUDY, trials=[trial], attempts={"s-3": attempt}, curves={}, now=NOON)
    action = settle(snapshot.trials[0], attempt, STUDY.spec, build_limits(STUDY.spec))
    seen = Seen(attempt=attempt, curves={})
    if isinstance(action, RequeueTrial):
        status = status_requeued(trial, action, seen, NOON)
    else:
        status = status_finished(trial, action, STUDY.spec, seen, (), NOON)
    body = json.dumps(status.to_wire(), ensure_ascii=False).encode("utf-8", "strict")
    return TrialStatus.model_validate(json.loads(body))


def state(status: TrialStatus) -> str:
    return next(held.reason for held in status.conditions if held.type == "Succeeded")


# ---- what one container may leave ------------------------------------------------------------------------------------------

CUT = GOOD[:-20]
FULL = '{"loss": 0.25, "note": "' + "x" * (4096 - 26) + '"}'
# What the kubelet keeps of a longer file are its last 4 KiB; in JSON half a character becomes U+FFFD.
TAIL = "\ufffd" + "ä" * 2036 + '", "loss": 0.25}'


@pytest.mark.parametrize(
    ("message", "code", "outcome", "words"),
    [
        pytest.param(GOOD, 0, "Completed", "", id="good"),
        pytest.param(FULL, 0, "Completed", "", id="exactly 4 KiB"),
        pytest.param("", 0, "Failed", "MetricNotReported: exit code 0, but 'loss' was never reported", id="absent"),
        pytest.param(CUT, 0, "Failed", "is not one JSON object; it was ignored", id="cut"),
        pytest.param(TAIL, 0, "Failed", "was cut: Kubernetes keeps the last 4 KiB", id="cut within a character"),
        pytest.param("\x00\x01\ufffd\ufffd", 0, "Failed", "is not one JSON object", id="binary"),
        pytest.param("\ud800", 0, "Failed", "is not one JSON object", id="half a character"),
        pytest.param('{"status": "succeeded"}', 0, "Failed", "'loss' was never reported", id="says done, has nothing"),
        pytest.param(CUT, 3, "Pending", "exit code 3: {", id="cut, and failed: its text is shown"),
        pytest.param("\x1b[31mred\x1b[0m alert", 3, "Pending", "\ufffd[31mred\ufffd[0m alert", id="a terminal's signs"),
        pytest.param(
            '{"status": "failed", "message": "\\ud83d \\u001b[2J"}', 1, "Pending", "\ufffd \ufffd[2J", id="escaped ones"
        ),
    ],
)
def test_a_message_of_any_kind_comes_to_a_verdict_that_can_be_stored(message, code, outcome, words):
    status = stored(read(message, code))

    assert state(status) == outcome
    assert words in status.conditions[0].message


@given(
    message=st.text(max_size=200)
    | st.text(st.characters(codec=None, categories=None), max_size=50)
    | st.recursive(
        st.none() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["v", "status", "metrics", "loss", "step", "curve", "checkpoint", "message", "last"]),
                inner,
                max_size=4,
            )
        ),
    ).map(json.dumps),
    code=st.integers(0, 255),
)
def test_whatever_a_container_leaves_can_be_stored(message, code):
    status = stored(read(message, code))

    assert state(status) in {"Completed", "Failed", "Infeasible", "Diverged", "Pending"}


# ---- who speaks ----------------------------------------------------------------------------------------------------------------

FORGED = '{"v": 1, "status": "succeeded", "metrics": {"loss": {"last": -1000.0}}}'


def beside(own: dict | None, *, phase: str = "Succeeded", key: str = "containerStatuses") -> dict:
    """Return a status in which a container beside the training one leaves a forged message."""
    liar = {"name": "side", "state": {"terminated": {"exitCode": 0, "reason": "Completed", "message": FORGED}}}
    status: dict = {"phase": phase, "containerStatuses": []}
    status.setdefault(key, []).append(liar)
    if own is not None:
        status["containerStatuses"].append({"name": "main", "state": own})
    return status


@pytest.mark.parametrize("key", ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"])
def test_only_the_training_container_speaks(key):
    how = {"exitCode": 1, "reason": "Error", "message": "Traceback", "finishedAt": "2026-01-01T12:10:00Z"}

    attempt = build_pod_record(a_pod(beside({"terminated": how}, phase="Failed", key=key))).attempt

    assert attempt.report is None
    assert attempt.exit_code == 1


@pytest.mark.parametrize("key", ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"])
def test_a_trial_whose_own_status_is_lost_is_not_taken_for_done_by_the_word_of_another(key):
    attempt = build_pod_record(a_pod(beside(None, key=key))).attempt

    action = settle(running(0, value=None), attempt, STUDY.spec, build_limits(STUDY.spec))

    assert isinstance(action, RequeueTrial)
    assert action.infrastructure


def test_a_result_counts_though_a_sidecar_runs_on():
    status = ended(0, message=GOOD)
    status["phase"] = "Running"
    status["containerStatuses"].append({"name": "side", "state": {"running": {}}})

    attempt = build_pod_record(a_pod(status)).attempt

    assert attempt.report is not None
    assert attempt.report.status is ReportStatus.SUCCEEDED
    assert state(stored(attempt)) == "Completed"


def test_an_eviction_between_success_and_reading_takes_nothing_from_a_pod_that_still_has_its_status():
    status = ended(0, message=GOOD)
    status |= {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. "}
    later = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
    status["conditions"] = [later | {"lastTransitionTime": "2026-01-01T12:11:00Z"}]

    assert state(stored(build_pod_record(a_pod(status, **CONFIRMED)).attempt)) == "Completed"


def test_an_eviction_that_took_the_status_too_lets_the_trial_go_on_from_its_checkpoint():
    status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. "}

    found = stored(build_pod_record(a_pod(status)).attempt)

    assert state(found) == "Pending"
    assert (found.attempts[0].reason, found.attempts[0].infrastructure) == ("Evicted", True)


# ---- nobody looks ----------------------------------------------------------------------------------------------------------------

MANY = 200


def short(trial: Trial, number: int) -> Script:
    value = float(trial.spec.index)
    return Script(duration_seconds=10.0 + trial.spec.index % 7, curve=[(1.0, 1, {"loss": value})])


async def passes(cluster: Cluster, key, *, until) -> Memory:
    """Let one operator work until *until* holds; return its memory."""
    memory = Memory(cluster)
    reconciler = Reconciler(key, store=memory.store, runner=memory.runner, metrics=cluster.kubelet, clock=cluster.clock)
    for _ in range(50):
        await memory.settle()
        look = await reconciler.run()
        if until(look):
            return memory
    raise AssertionError("the operator does not come that far")


def end_all(cluster: Cluster) -> None:
    for _ in range(20):
        cluster.kubelet.advance(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("disturbed", ["left alone", "deleted by somebody", "evicted afterwards"])
def test_nothing_is_lost_when_two_hundred_pods_end_while_the_operator_is_down(disturbed):
    study = a_study(budget={"maxTrials": MANY, "parallelTrials": MANY})
    cluster = Cluster(short)
    key = cluster.put_study(study)

    async def life() -> None:
        memory = await passes(cluster, key, until=lambda _: len(cluster.kubelet.started) == MANY)
        await memory.close()
        end_all(cluster)
        for name in cluster.pods():
            if disturbed == "deleted by somebody":
                cluster.server.delete(PODS, "default", name)
            if disturbed == "evicted afterwards":
                cluster.kubelet.evict("default", name)
        end_all(cluster)
        assert len(cluster.pods()) == MANY
        memory = await passes(cluster, key, until=lambda look: look.plan.state.reason.terminal and not look.moved)
        await memory.close()

    asyncio.run(life())

    trials = cluster.trials(key)
    assert [reason_of(trial).value for trial in trials] == ["Completed"] * MANY
    assert [trial.status.observation.values for trial in trials] == [[float(index)] for index in range(MANY)]
    assert len(cluster.kubelet.started) == MANY
    assert cluster.pods() == []


def test_a_pod_whose_finalizer_somebody_took_is_run_again_and_not_taken_for_done():
    study = a_study(budget={"maxTrials": 2, "parallelTrials": 2})
    cluster = Cluster(short)
    key = cluster.put_study(study)

    async def life() -> None:
        memory = await passes(cluster, key, until=lambda _: len(cluster.kubelet.started) == 2)
        await memory.close()
        end_all(cluster)
        name = cluster.pods()[0]
        cluster.server.patch(PODS, "default", name, {"metadata": {"finalizers": None}}, kind=PatchKind.MERGE)
        cluster.server.delete(PODS, "default", name)
        memory = await passes(cluster, key, until=lambda _: len(cluster.kubelet.started) == 3)
        await memory.close()
        end_all(cluster)
        memory = await passes(cluster, key, until=lambda look: look.plan.state.reason.terminal and not look.moved)
        await memory.close()

    asyncio.run(life())

    assert [reason_of(trial).value for trial in cluster.trials(key)] == ["Completed", "Completed"]
    assert names.FINALIZER not in str(cluster.server.all(PODS))
