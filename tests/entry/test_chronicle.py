"""What is told of a run: every trial's end once, in order, at a cost that does not grow with what is over."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import overload

import pytest

from decide.builders import a_snapshot, done, running
from entry.rehearsal import digits_study, rehearse
from seatrial.api.conditions import StudyReason, TrialReason
from seatrial.decide.actions import CreateTrials, Plan, StudyState
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot
from seatrial.entry.cli.chronicle import Chronicle, Event, EventKind
from seatrial.entry.cli.frame import build_frame
from seatrial.reconcile import Look


def story() -> tuple[Chronicle, list[Event]]:
    chronicle, events = Chronicle(), []
    for look in rehearse(digits_study()):
        events += chronicle.see(look)
    return chronicle, events


def test_each_trial_ends_once_and_starts_before_it_ends() -> None:
    _, events = story()

    ends = [event.trial for event in events if event.kind is EventKind.ENDED]
    starts = [event.trial for event in events if event.kind is EventKind.STARTED]
    assert Counter(ends) == Counter(starts) == Counter(f"digits-{i}" for i in range(8))
    for name in ends:
        first = next(i for i, event in enumerate(events) if event.trial == name)
        assert events[first].kind is EventKind.STARTED


def test_the_best_so_far_is_marked_as_the_user_counts() -> None:
    _, events = story()

    marked = [event for event in events if event.best]
    values = [event.values[0] for event in marked]
    assert marked
    assert all(event.outcome is TrialReason.COMPLETED for event in marked)
    assert values == sorted(values)  # accuracy is maximised


def test_a_failure_is_told_with_its_reason() -> None:
    _, events = story()

    (failure,) = [event for event in events if event.outcome is TrialReason.FAILED]
    assert (failure.trial, failure.text) == ("digits-3", "Error: exit code 1")


def test_the_end_of_the_study_is_told_last() -> None:
    chronicle, events = story()

    assert events[-1].kind is EventKind.STUDY
    assert events[-1].text == "The study is complete: all 8 trials of budget.maxTrials are done."
    assert chronicle.open_indexes == ()


def test_trials_of_an_earlier_run_are_no_news() -> None:
    last = rehearse(digits_study())[-1]
    chronicle = Chronicle()

    assert chronicle.see(last) == ()
    assert len(chronicle.ended) == 8
    assert chronicle.best_values == sorted(chronicle.best_values)


def test_a_trial_that_repeats_another_shows_its_result() -> None:
    twice = [{"lr": 0.03, "hidden": 16, "optimizer": "sgd"}] * 2
    study = digits_study(initialTrials=twice, budget={"maxTrials": 2, "parallelTrials": 1}, stopping=None)
    chronicle, events = Chronicle(), []
    for look in rehearse(study):
        events += chronicle.see(look)

    first, second = [event for event in events if event.kind is EventKind.ENDED]
    assert second.outcome is TrialReason.REUSED
    assert second.values == first.values != (None,)


class Counted(tuple[TrialSnapshot, ...]):
    """Trials that count how often one of them is looked at."""

    seen = 0

    @overload
    def __getitem__(self, index: int) -> TrialSnapshot: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TrialSnapshot, ...]: ...
    def __getitem__(self, index):
        type(self).seen += 1
        return super().__getitem__(index)

    def __iter__(self):
        raise AssertionError("a look must not walk over all trials")


def look_at(snapshot: StudySnapshot) -> Look:
    from decide.builders import a_study

    plan = Plan(
        actions=(CreateTrials(count=1, reason="SlotsFree", message=""),),
        state=StudyState(reason=StudyReason.RUNNING, message="goes on"),
    )
    return Look(study=a_study(), snapshot=snapshot, plan=plan, moved=False, curves={})


@pytest.mark.parametrize("over", [100, 10_000])
def test_a_look_costs_what_is_open_however_much_is_over(over: int) -> None:
    trials = [*(done(i, 1.0 / (i + 1)) for i in range(over)), *(running(over + i) for i in range(5))]
    snapshot = a_snapshot()
    chronicle = Chronicle()
    chronicle.see(look_at(replace(snapshot, trials=Counted(trials))))
    Counted.seen = 0

    look = look_at(replace(snapshot, trials=Counted(trials)))
    chronicle.see(look)
    build_frame(look, chronicle, now=snapshot.now)

    assert Counted.seen <= 4 * 5
