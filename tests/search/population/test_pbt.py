"""Population-based training as a function of history and seed."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.population.populations import SPACE, Rehearsal, a_pbt, falling
from seatrial.search.algorithms.pbt import build_pbt
from seatrial.search.base import Evaluated, History, Membership, Move, Saved, Settings, Source, Why
from seatrial.search.parameters import Constant, Float, Int
from seatrial.search.population.intervals import generations
from seatrial.search.space import SearchSpace


def ended(index: int, value: float | None, *, saved: bool = True, generation: int = 0, member: int | None = None):
    """A trial of a population of four with an interval of three steps."""
    step = 3 * (generation + 1)
    return Evaluated(
        index=index,
        assignment={"lr": 0.01 * (index + 1)},
        values=(math.inf if value is None else value,),
        failed=value is None,
        step=step,
        until_step=step,
        saved=Saved(step=step, digest=f"sha256:{index}") if saved and value is not None else None,
        membership=Membership(member=index % 4 if member is None else member, generation=generation, move=Move.START),
    )


def after(*trials: Evaluated) -> History:
    return History(evaluated=trials, next_index=max(trial.index for trial in trials) + 1)


FIRST = [ended(0, 4.0), ended(1, 1.0), ended(2, 3.0), ended(3, 2.0)]


@pytest.mark.parametrize(("steps", "interval", "expected"), [(9, 3, 3), (10, 3, 4), (3, 3, 1), (27, 1, 27)])
def test_the_number_of_generations(steps, interval, expected):
    assert generations(steps, interval) == expected


def test_the_paper_s_loop_by_hand():
    """Truncation at a quarter of four: the worst takes over the best, the other two go on as they are."""
    answer = a_pbt(resample_probability=0).ask(after(*FIRST), 4)

    moves = [(s.membership.member, s.membership.move.value, s.source, s.until_step) for s in answer.suggestions]
    assert moves == [
        (0, "exploit", Source(trial=1, step=3, digest="sha256:1"), 6),
        (1, "continue", Source(trial=1, step=3, digest="sha256:1"), 6),
        (2, "continue", Source(trial=2, step=3, digest="sha256:2"), 6),
        (3, "continue", Source(trial=3, step=3, digest="sha256:3"), 6),
    ]
    first, *others = [s.assignment["lr"] for s in answer.suggestions]
    assert first in (pytest.approx(0.02 * 0.8), pytest.approx(0.02 * 1.2))
    assert others == [0.02, 0.03, 0.04]


def test_known_good_points_are_the_first_members_and_the_others_are_drawn():
    found = a_pbt(initial=[{"lr": 0.5}, {"lr": 0.25}]).ask(History(), 4).suggestions

    assert [s.assignment["lr"] for s in found[:2]] == [0.5, 0.25]
    assert [s.algorithm for s in found] == ["initial", "initial", "pbt", "pbt"]
    assert {(s.until_step, s.source, s.membership.move) for s in found} == {(3, None, Move.START)}


def test_a_generation_waits_for_all_of_the_one_before():
    history = after(*FIRST[:3]).with_suggestion(a_pbt().ask(after(*FIRST[:3]), 1).suggestions[0])

    answer = a_pbt().ask(history, 4)

    assert (answer.suggestions, answer.exhausted) == ((), None)


@pytest.mark.parametrize(
    "bad",
    [ended(1, None), ended(1, 1.0, saved=False)],
    ids=["it failed", "it left no checkpoint"],
)
def test_a_member_that_cannot_go_on_is_replaced_and_never_copied(bad):
    found = a_pbt().ask(after(FIRST[0], bad, *FIRST[2:]), 4).suggestions

    assert [s.membership.move.value for s in found] == ["continue", "replace", "continue", "continue"]
    assert found[1].source.trial == 3
    assert 1 not in [s.source.trial for s in found]


def test_a_record_that_is_gone_is_a_member_that_cannot_go_on():
    found = a_pbt().ask(after(FIRST[0], *FIRST[2:]), 4).suggestions

    assert found[1].membership == Membership(member=1, generation=1, move=Move.REPLACE)
    assert found[1].source.trial == 3


@pytest.mark.parametrize(
    ("trials", "why", "words"),
    [
        ([ended(i, None) for i in range(4)], Why.LOST, "all 4 members of the population failed"),
        (
            [ended(i, 1.0, saved=False) for i in range(4)],
            Why.NO_CHECKPOINT,
            "trial 0 ended well at step 3 and left none",
        ),
        (
            [ended(0, None), *(ended(i, 1.0, saved=False) for i in range(1, 4))],
            Why.NO_CHECKPOINT,
            "trial 1 ended well at step 3 and left none",
        ),
    ],
    ids=["all failed", "no checkpoint", "one failed, no checkpoint"],
)
@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_a_population_from_which_nobody_can_go_on_ends_in_words(mode, trials, why, words):
    answer = a_pbt(mode=mode).ask(after(*trials), 4)

    assert answer.suggestions == ()
    assert answer.exhausted.why is why
    assert words in answer.exhausted.message


def test_a_study_that_was_ended_in_a_generation_and_then_extended_goes_on_from_the_one_before():
    cut = History(evaluated=tuple(FIRST), next_index=8)  # generation 1 was cancelled

    found = a_pbt().ask(cut, 4).suggestions

    assert [(s.source.trial, s.source.step, s.until_step) for s in found] == [
        (1, 3, 9),
        (1, 3, 9),
        (2, 3, 9),
        (3, 3, 9),
    ]


def test_the_last_interval_may_be_shorter_and_then_the_population_is_trained():
    run = Rehearsal(a_pbt(max_step=8)).run()

    assert [t.until_step for t in run.trials] == [3] * 4 + [6] * 4 + [8] * 4
    assert run.answer.exhausted.why is Why.TRAINED
    assert run.answer.exhausted.message == "the population of 4 has trained all 8 steps"


def test_the_winner_is_the_best_member_at_the_last_step_even_if_an_earlier_value_was_lower():
    run = Rehearsal(a_pbt(), train=lambda trial, _: float(trial.index)).run()

    assert run.algorithm.recommend(run.history) == 8


@given(order=st.integers(0, 10_000), parallel=st.integers(1, 6), explore=st.sampled_from(["perturb", "pb2"]))
@settings(max_examples=40, deadline=None)
def test_the_order_in_which_members_finish_changes_nothing_in_synchronous_mode(order, parallel, explore):
    def sometimes(trial, source):
        return None if trial.index % 7 == 3 else falling(trial, source)

    def run(order, parallel):
        return Rehearsal(a_pbt(explore=explore), train=sometimes, order=order, parallel=parallel).run()

    assert run(order, parallel).trials == run(0, 1).trials


@given(
    order=st.integers(0, 10_000),
    parallel=st.integers(1, 6),
    mode=st.sampled_from(["synchronous", "asynchronous"]),
    selection=st.sampled_from(["truncation", "tournament"]),
    luck=st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_every_population_keeps_its_promises(order, parallel, mode, selection, luck):
    def unlucky(trial, source):
        return None if (trial.index * 2654435761 + luck) % 5 == 0 else falling(trial, source)

    run = Rehearsal(a_pbt(mode=mode, selection=selection), train=unlucky, order=order, parallel=parallel).run(trials=60)

    by_index = {trial.index: trial for trial in run.trials}
    assert [trial.index for trial in run.trials] == list(range(len(run.trials)))
    for trial in run.trials:
        assert SPACE.problems(trial.assignment) == []
        if trial.source is None:
            assert trial.membership.generation == 0
            continue
        parent = by_index[trial.source.trial]
        assert parent.index < trial.index
        assert not parent.failed
        assert (parent.saved.step, parent.saved.digest) == (trial.source.step, trial.source.digest)
        assert trial.source.step < trial.until_step <= 9
        if trial.membership.move is Move.CONTINUE:
            assert (parent.membership.member, parent.assignment) == (trial.membership.member, trial.assignment)
    assert run.answer.exhausted is not None
    if run.answer.exhausted.why is Why.TRAINED:
        assert max(trial.until_step for trial in run.trials) == 9


def test_nobody_waits_in_asynchronous_mode_and_everybody_reaches_the_last_step():
    history = after(*FIRST[:3]).with_suggestion(a_pbt().ask(after(*FIRST[:3]), 1).suggestions[0])

    found = a_pbt(mode="asynchronous", population_size=4, quantile=0.5).ask(history, 9).suggestions

    assert [s.membership.member for s in found] == [0, 1, 2]
    run = Rehearsal(a_pbt(mode="asynchronous"), order=5).run()
    last = {trial.membership.member: trial.until_step for trial in run.trials}
    assert last == dict.fromkeys(range(4), 9)


def test_in_asynchronous_mode_a_member_is_judged_among_its_own_generation():
    """Member 1 is far behind, but better than the others were at its step."""
    slow = [ended(0, 9.0), ended(1, 2.5), ended(2, 3.0), ended(3, 2.0)]
    ahead = [ended(4, 1.0, generation=1, member=0), ended(5, 1.0, generation=1, member=2)]

    found = a_pbt(mode="asynchronous").ask(after(*slow, *ahead), 4).suggestions

    moves = [(s.membership.member, s.membership.move.value, s.source.trial, s.until_step) for s in found]
    assert moves == [(1, "continue", 1, 6), (3, "continue", 3, 6), (0, "continue", 4, 9), (2, "continue", 5, 9)]


def test_a_loser_takes_over_the_weights_and_only_the_parameters_that_fit_them():
    space = SearchSpace([Float(name="lr", low=0.001, high=1.0, log=True), Int(name="hidden", low=8, high=512)])
    run = Rehearsal(a_pbt(space, mutable=["lr"]), order=2).run()
    by_index = {trial.index: trial for trial in run.trials}

    moved = [trial for trial in run.trials if trial.source]

    assert all(t.assignment["hidden"] == by_index[t.source.trial].assignment["hidden"] for t in moved)
    exploited = [t for t in moved if t.membership.move is Move.EXPLOIT]
    assert exploited
    assert all(t.assignment["lr"] != by_index[t.source.trial].assignment["lr"] for t in exploited)


def test_a_population_beats_its_own_members_left_alone():
    def best(quantile, seed):
        run = Rehearsal(a_pbt(seed=seed, max_step=60, population_size=8, quantile=quantile), parallel=8).run()
        return min(t.values[0] for t in run.trials if t.until_step == 60)

    # A tournament of nobody: the same starts, but each member goes on as it began.
    def alone(seed):
        starts = a_pbt(seed=seed, population_size=8).ask(History(), 8).suggestions
        return min(10 - 60 / (1 + abs(math.log10(s.assignment["lr"]) + 1)) for s in starts)

    gains = sorted(alone(seed) - best(0.25, seed) for seed in range(9))
    assert gains[4] > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"population_size": 1}, "at least 2"),
        ({"ready_interval": 10}, "interval of 10 steps, but a training has 9"),
        ({"quantile": 0.2}, "selects nobody"),
        ({"space": SearchSpace([Constant(name="lr", value=1)])}, "no parameter that may change"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        a_pbt(changes.pop("space", SPACE), **changes)


def test_it_needs_steps():
    with pytest.raises(ValueError, match="needs the study's steps"):
        build_pbt(SPACE, Settings())
