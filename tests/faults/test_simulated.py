"""A sample of the sweep over a cluster in memory, and that its oracles see what they are there for. `make faults` runs all of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from faults.cases import CASES
from faults.injector import coalesce
from faults.oracles import Ending, Witness, compare
from faults.plans import LASTING, Mode, Plan
from faults.simulated import count_writes, run_plan, run_reference
from faults.sweep import every_write, long_outages, sample, storms
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.informer import Informer

LONG = [mode for mode in LASTING if mode is not Mode.DROPPED]


def hold(plans: Sequence[Plan]) -> None:
    """Carry out plans; what fails, or never came to its fault, is named by the text that repeats it."""
    results = {str(plan): run_plan(plan) for plan in plans}

    assert {text: result.violations for text, result in results.items() if result.violations} == {}
    assert [text for text, result in results.items() if not result.struck] == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.KILLED])
@pytest.mark.parametrize("case", CASES)
def test_a_fault_at_some_write_changes_no_result(case: str, mode: Mode):
    hold([*sample(case, count_writes(case), mode, 1, seed=1)])


@pytest.mark.parametrize("case", CASES)
def test_an_operator_that_is_killed_ten_times_changes_no_result(case: str):
    hold([*storms(case, 1, seed=2)])


@pytest.mark.parametrize("mode", sorted(LONG))
def test_ten_minutes_of_it_cost_ten_minutes(mode: Mode):
    case = [*CASES][LONG.index(mode) % len(CASES)]

    hold([*long_outages(case, count_writes(case), mode, 1, seed=3)])


@pytest.mark.parametrize("text", ["pbt:late-events@43+600s#812", "pbt:dropped@42+8s#46"])
def test_a_failure_of_which_nobody_heard_in_time_is_no_straggler(text: str):
    hold([Plan.read(text)])


@pytest.mark.parametrize("mode", Mode)
def test_a_plan_is_read_back_from_its_text(mode: Mode):
    plan = Plan(case="pbt", mode=mode, at=17, seconds=5, seed=3)

    assert Plan.read(str(plan)) == plan


@pytest.mark.parametrize("text", ["", "pbt", "pbt:nothing@1+0s#0", "pbt:killed@1", "pbt:killed@-1+0s#0"])
def test_a_text_that_names_no_plan_is_refused(text: str):
    with pytest.raises(ValueError, match=r"is no plan|is not a valid Mode"):
        Plan.read(text)


def test_a_plan_gives_the_same_run_each_time():
    plan = Plan(case="random", mode=Mode.KILLED, at=3, seed=5)

    assert run_plan(plan) == run_plan(plan)


def test_every_write_has_a_plan():
    plans = [*every_write("grid", 9, Mode.CONFLICT)]

    assert [plan.at for plan in plans] == [*range(1, 10)]


def test_of_events_that_are_coalesced_the_last_of_each_object_is_told():
    def event(kind: str, uid: str, version: int) -> tuple[str, dict[str, object]]:
        return kind, {"metadata": {"uid": uid, "resourceVersion": version}}

    first = [event("ADDED", "a", 1), event("MODIFIED", "b", 2), event("MODIFIED", "a", 3), event("ADDED", "c", 4)]

    told = coalesce([*first, event("DELETED", "c", 5), event("DELETED", "b", 6)])

    assert told == [event("ADDED", "a", 3), event("DELETED", "b", 6)]


# ---- the oracles see -------------------------------------------------------------------------------------------------------------


def test_a_cache_that_never_lists_again_is_found_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Informer, "_is_old", lambda _: False)
    (plan,) = sample("random", 20, Mode.DROPPED, 1)

    (words, *_) = run_plan(plan).violations

    assert words.startswith("it does not end within")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"trials": ()}, "indices are", id="a trial is lost"),
        pytest.param({"state": "Running"}, "state of the study is Running", id="another state"),
        pytest.param({"best": None}, "best of the study is None", id="no winner"),
        pytest.param({"pods": ("s-0-0",), "held": ("s-0-0",)}, "Pods are left: s-0-0", id="a Pod is left"),
        pytest.param({"seconds": 1000.0}, "it took 1000 s", id="too late"),
    ],
)
def test_an_ending_that_differs_is_told(change: dict[str, object], words: str):
    wanted, _ = run_reference("grid")
    found = {name: getattr(wanted, name) for name in Ending.__slots__} | change

    assert any(told.startswith(words) for told in compare(Ending(**found), wanted, limit_seconds=500))
    assert compare(wanted, wanted, limit_seconds=500) == []


def test_two_pods_of_one_attempt_and_too_many_at_once_are_seen():
    witness = Witness(parallel=1)

    def pod(name: str, uid: str) -> dict[str, object]:
        return {"metadata": {"name": name, "uid": uid}, "status": {"phase": "Running"}}

    witness.see_pods([pod("s-0-0", "1")])
    witness.see_pods([pod("s-0-0", "2")])
    witness.see_pods([pod("s-0-0", "2"), pod("s-1-0", "3")])

    assert witness.violations == [
        "attempt s-0-0 had two Pods",
        "2 Pods are alive, but at most 1 may be: ['s-0-0', 's-1-0']",
    ]


def test_an_attempt_that_two_pods_were_handed_on_to_is_seen_and_a_pod_that_waits_is_no_attempt():
    witness = Witness(parallel=1)

    def pod(name: str, trial: str, *, ready: bool) -> dict[str, object]:
        labels = {names.LABEL_TRIAL: trial, names.LABEL_ATTEMPT: "0"}
        metadata = {"name": name, "uid": name, "labels": labels, "annotations": {names.ANNOTATION_DIRECTIVE: "{}"}}
        return {
            "metadata": metadata,
            "status": {"phase": "Running", "containerStatuses": [{"ready": ready, "state": {"running": {}}}]},
        }

    witness.see_pods([pod("s-0-0", "s-0", ready=False), pod("s-1-0", "s-1", ready=True)])
    witness.see_pods([pod("s-0-0", "s-2", ready=True), pod("s-1-0", "s-1", ready=False)])
    assert witness.violations == []
    witness.see_pods([pod("s-0-0", "s-1", ready=True), pod("s-1-0", "s-1", ready=True)])

    assert witness.violations == [
        "2 Pods are alive, but at most 1 may be: ['s-0-0', 's-1-0']",
        "attempt s-1-0 had two Pods",
    ]


def test_a_trial_that_goes_on_after_its_end_is_seen():
    witness = Witness(parallel=1)

    def trial(reason: str, value: float) -> dict[str, object]:
        summary = {"type": "Succeeded", "reason": reason}
        return {"metadata": {"name": "s-0"}, "status": {"conditions": [summary], "observation": {"values": [value]}}}

    witness.see_trial(trial("Completed", 1.0))
    witness.see_trial(trial("Completed", 2.0))
    witness.see_trial(trial("Running", 2.0))

    assert len(witness.violations) == 2
