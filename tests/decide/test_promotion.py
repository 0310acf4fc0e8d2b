"""Rules under which trials pause at rungs, against their papers."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decide.builders import a_snapshot, a_study, a_trial, done, running
from seatrial.api.conditions import TrialReason
from seatrial.decide.promoting import judge_paused
from seatrial.decide.rules import PAUSERS, build_pauser, rungs
from seatrial.decide.rules.base import Measure
from seatrial.decide.rules.halving import Halving, halving_brackets, hyperband_brackets
from seatrial.decide.rules.ladder import Climber, Field, Place, build_climber, halve
from seatrial.decide.rules.promotion import Promotions

ASHA = Promotions(eta=3, min_step=1, max_step=27, measure=Measure.VALUE)
RULES = {
    "asha": {"rule": "asha", "asha": {"promote": True}},
    "successiveHalving": {"rule": "successiveHalving"},
    "hyperband": {"rule": "hyperband"},
}


def climber(index: int, *values: float, passed: int = 0, place: Place = Place.WAITING, ladder=(1, 3, 9)) -> Climber:
    """A trial with its values at the rungs that it has reached; *passed* counts those that it left."""
    return Climber(
        index=index,
        name=f"s-{index}",
        passed=ladder[passed - 1] if passed else -1,
        values=tuple(zip(ladder, values, strict=False)),
        place=place,
    )


def a_field(*trials: Climber, growing: bool = True, moving: bool = True, created=None, total=None) -> Field:
    created = len(trials) if created is None else created
    return Field(
        trials=trials, growing=growing, moving=moving, created=created, total=total, show=lambda value: f"{value:g}"
    )


def promoted(rule, field: Field) -> list[tuple[str, int]]:
    return [(promotion.trial, promotion.rung) for promotion in rule.decide(field).promotions]


# ---- asynchronous successive halving: get_job of Algorithm 2 ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        pytest.param([climber(0, 0.5)], [], id="1 of 1: floor(1/3) is nobody, the bottom grows"),
        pytest.param([climber(0, 0.5), climber(1, 0.4)], [], id="2 of 2 likewise"),
        pytest.param([climber(0, 0.5), climber(1, 0.4), climber(2, 0.6)], [("s-1", 1)], id="the best of 3"),
        pytest.param(
            [climber(0, 0.5), climber(1, 0.4, passed=1, place=Place.CLIMBING), climber(2, 0.6)],
            [],
            id="the best of 3 was promoted before: nobody takes its place",
        ),
        pytest.param(
            [climber(i, v) for i, v in enumerate([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])],
            [("s-5", 1), ("s-4", 1)],
            id="the best 2 of 6, the better one first",
        ),
        pytest.param(
            [climber(i, v, v / 2, passed=1) for i, v in enumerate([0.6, 0.5, 0.4])]
            + [climber(i, v) for i, v in ((3, 0.1), (4, 0.9), (5, 0.9), (6, 0.9), (7, 0.9), (8, 0.9))],
            [("s-2", 3), ("s-3", 1)],
            id="the highest rung comes first",
        ),
        pytest.param(
            [climber(0, 0.5), climber(1, 0.5), climber(2, 0.5)], [("s-0", 1)], id="ties go to the lower index"
        ),
        pytest.param([climber(i, math.inf) for i in range(3)], [], id="what is not finite never goes on"),
        pytest.param(
            [climber(0, 0.1, passed=1, place=Place.BROKEN), climber(1, 0.2), climber(2, 0.3)],
            [],
            id="one that failed after its promotion keeps its place",
        ),
    ],
)
def test_asha_promotes_the_best_third_of_a_rung_from_the_highest_down(trials, expected):
    assert promoted(ASHA, a_field(*trials)) == expected


def test_asha_says_why_in_the_users_numbers():
    trials = [climber(0, 0.5), climber(1, 0.4), climber(2, 0.6)]

    (promotion,) = ASHA.decide(a_field(*trials)).promotions

    assert promotion.message == "at step 1: 0.4 is number 1 of 3; the best 1 go on"


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        pytest.param([climber(0, 0.5), climber(1, 0.4)], [("s-1", 1)], id="two trials: the better one is seen through"),
        pytest.param(
            [climber(0, 0.5), climber(1, 0.4, 0.3, passed=1)], [("s-1", 3)], id="from the highest rung that has one"
        ),
        pytest.param(
            [climber(0, 0.5), climber(1, 0.4, 0.3, passed=2, place=Place.BROKEN)],
            [("s-0", 1)],
            id="after the best one failed, the next best",
        ),
        pytest.param(
            [climber(0, 0.5), climber(1, 0.4, 0.3, 0.2, passed=3, place=Place.THROUGH)], [], id="one is through"
        ),
        pytest.param(
            [climber(0, 0.5), climber(1, 0.4, 0.3, passed=2, place=Place.GONE)], [], id="the best one diverged later"
        ),
        pytest.param([climber(0, math.inf)], [], id="nobody has a value"),
    ],
)
def test_at_the_end_of_an_asha_study_one_trial_is_seen_through(trials, expected):
    verdicts = ASHA.decide(a_field(*trials, growing=False, moving=False))

    assert [(p.trial, p.rung) for p in verdicts.promotions] == expected
    waiting = {trial.name for trial in trials if trial.place is Place.WAITING}
    assert {d.trial for d in verdicts.dismissals} == (set() if expected else waiting)


@pytest.mark.parametrize(("growing", "moving"), [(True, False), (False, True), (True, True)])
def test_asha_dismisses_nobody_as_long_as_more_may_come(growing, moving):
    verdicts = ASHA.decide(a_field(climber(0, 0.5), climber(1, 0.4), growing=growing, moving=moving))

    assert verdicts.promotions == verdicts.dismissals == ()


def test_who_is_dismissed_hears_its_place():
    through = climber(0, 0.1, 0.1, 0.1, passed=3, place=Place.THROUGH)
    trials = [through, *(climber(i, 0.1 * i) for i in range(1, 9))]
    trials[1:3] = [climber(1, 0.1, 0.3, passed=1), climber(2, 0.2, 0.2, passed=1)]

    found = {d.trial: d.message for d in ASHA.decide(a_field(*trials, growing=False, moving=False)).dismissals}

    assert found["s-4"] == "at step 1: 0.4 is number 5 of 9, and only the best 3 go on (eta 3)"
    assert found["s-2"] == "at step 3: 0.2 is number 2 of 3, and only the best 1 go on (eta 3)"


# ---- successive halving and Hyperband -----------------------------------------------------------------------------------------


def test_the_brackets_are_those_of_the_paper_for_81_steps_and_eta_3():
    """Table 1 of Li et al. 2018: n_i and r_i of the brackets s = 4, 3, 2, 1, 0."""
    brackets = hyperband_brackets(min_step=1, eta=3, max_step=81)

    found = [
        [(bracket.size if i == 0 else halve(bracket.size, 3, i), step) for i, step in enumerate((*bracket.ladder, 81))]
        for bracket in brackets
    ]
    assert found == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]


@pytest.mark.parametrize(
    ("min_step", "eta", "max_step", "sizes", "first"),
    [
        pytest.param(1, 3, 27, (27, 12, 6, 4), (1, 3, 9), id="27 steps"),
        pytest.param(1, 4, 16, (16, 6, 3), (1, 4), id="eta 4"),
        pytest.param(3, 3, 27, (9, 5, 3), (3, 9), id="from step 3"),
        pytest.param(1, 3, 100, (81, 34, 15, 8, 5), (1, 3, 11, 33), id="no power of eta: floor(R / 3^k)"),
        pytest.param(1, 3, 2, (1,), (), id="too short to halve"),
    ],
)
def test_brackets_of_other_lengths(min_step, eta, max_step, sizes, first):
    brackets = hyperband_brackets(min_step=min_step, eta=eta, max_step=max_step)

    assert tuple(bracket.size for bracket in brackets) == sizes
    assert brackets[0].ladder == first


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        pytest.param(None, [27, 9, 3, 1], id="by default one is trained in full"),
        pytest.param(9, [9, 3, 1, 1], id="a small cohort"),
        pytest.param(60, [60, 20, 6, 2], id="a large one"),
        pytest.param(10, [10, 3, 1, 1], id="rounded down"),
    ],
)
def test_a_cohort_is_divided_by_eta_at_each_rung(size, expected):
    (bracket,) = halving_brackets(min_step=1, eta=3, max_step=27, size=size)

    assert [halve(bracket.size, 3, i) for i in range(4)] == expected


def test_a_trials_bracket_follows_from_its_index_alone():
    rule = Halving(eta=3, brackets=hyperband_brackets(min_step=1, eta=3, max_step=9), measure=Measure.VALUE)

    assert [len(rule.ladder(i)) for i in (0, 8, 9, 13, 14, 16, 17, 26)] == [2, 2, 1, 1, 0, 0, 2, 1]
    assert rule.rungs(9) == (1, 3)


def a_halving(size: int = 6) -> Halving:
    return Halving(eta=3, brackets=halving_brackets(min_step=1, eta=3, max_step=9, size=size), measure=Measure.VALUE)


def six(*values: float) -> list[Climber]:
    return [climber(i, value, ladder=(1, 3)) for i, value in enumerate(values)]


def test_nobody_goes_on_before_the_whole_cohort_has_come():
    trials = six(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    late = replace(trials[5], values=(), place=Place.CLIMBING)

    assert promoted(a_halving(), a_field(*trials[:5], late, total=9)) == []
    assert promoted(a_halving(), a_field(*trials[:5], total=9)) == []
    assert promoted(a_halving(), a_field(*trials, total=9)) == [("s-0", 1), ("s-1", 1)]


def test_the_others_of_a_rung_that_is_decided_are_dismissed_at_once():
    verdicts = a_halving().decide(a_field(*six(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), total=9))

    assert [d.trial for d in verdicts.dismissals] == ["s-2", "s-3", "s-4", "s-5"]
    assert verdicts.dismissals[0].message == "at step 1: 0.3 is number 3 of 6, and only the best 2 go on (eta 3)"


def test_a_failed_trial_holds_nobody_up_and_its_place_is_not_given_away():
    trials = six(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    broken = replace(trials[0], values=(), place=Place.BROKEN)

    assert promoted(a_halving(), a_field(broken, *trials[1:], total=9)) == [("s-1", 1), ("s-2", 1)]


def test_the_second_rung_waits_for_those_who_were_promoted_to_it():
    rest = [climber(i, 0.5, ladder=(1, 3), place=Place.GONE) for i in range(2, 6)]
    first = climber(0, 0.2, 0.2, passed=1, ladder=(1, 3))
    second = climber(1, 0.3, passed=1, ladder=(1, 3), place=Place.CLIMBING)

    assert promoted(a_halving(), a_field(first, second, *rest)) == []
    gone = replace(second, place=Place.BROKEN)
    assert promoted(a_halving(), a_field(first, gone, *rest)) == [("s-0", 3)]


def test_the_last_cohort_is_judged_by_the_size_that_it_has():
    trials = [climber(i, 0.1 * i, ladder=(1, 3), place=Place.GONE) for i in range(6)]
    last = [climber(6, 0.4, ladder=(1, 3)), climber(7, 0.3, ladder=(1, 3))]

    assert promoted(a_halving(), a_field(*trials, *last, total=12)) == []
    assert promoted(a_halving(), a_field(*trials, *last, total=8)) == [("s-7", 1)]


# ---- what is on record of a trial ---------------------------------------------------------------------------------------------

LADDER = (1, 3, 9)
CURVE = [(1, 0.9), (2, 0.8), (3, 0.7), (4, 0.6)]


@pytest.mark.parametrize(
    ("trial", "values", "place", "waits"),
    [
        pytest.param(
            a_trial(0, reason=TrialReason.PAUSED, curve=CURVE[:3], rung=1, paused_at=3),
            ((1, 0.9), (3, 0.7)),
            Place.WAITING,
            3,
            id="paused",
        ),
        pytest.param(running(0, CURVE[:3], rung=1), ((1, 0.9),), Place.CLIMBING, None, id="live values are no record"),
        pytest.param(
            done(0, 0.6, curve=CURVE, rung=3),
            ((1, 0.9), (3, 0.7)),
            Place.THROUGH,
            None,
            id="never came to a rung again",
        ),
        pytest.param(
            a_trial(0, reason=TrialReason.DIVERGED, curve=CURVE[:2], rung=1),
            ((1, 0.9), (3, math.inf)),
            Place.GONE,
            None,
            id="diverged on its way: as bad as can be",
        ),
        pytest.param(a_trial(0, reason=TrialReason.FAILED), (), Place.BROKEN, None, id="failed before the first rung"),
        pytest.param(
            a_trial(0, reason=TrialReason.PAUSED, curve=[(4, 0.6)], paused_at=4),
            ((1, 0.6), (3, 0.6)),
            Place.WAITING,
            1,
            id="reports coarsely: its first value counts, from the lowest rung on",
        ),
    ],
)
def test_rungs_see_what_is_recorded(trial, values, place, waits):
    found = build_climber(trial, LADDER, Measure.VALUE)

    assert (found.values, found.place, found.waits_at) == (values, place, waits)


@pytest.mark.parametrize("reason", [TrialReason.REUSED, TrialReason.INFEASIBLE, TrialReason.CANCELLED])
def test_some_trials_are_no_measure_for_others(reason):
    assert build_climber(a_trial(0, reason=reason, curve=CURVE), LADDER, Measure.VALUE) is None


# ---- the contract of all rules under which trials pause -----------------------------------------------------------------------


def paused_study(name: str, values: list[float], **budget: object):
    study = a_study(stopping=RULES[name], steps={"max": 9}, budget={"maxTrials": len(values), **budget})
    trials = [a_trial(i, reason=TrialReason.PAUSED, curve=[(1, value)], paused_at=1) for i, value in enumerate(values)]
    return a_snapshot(*trials, study=study)


@pytest.mark.parametrize("name", PAUSERS)
def test_every_such_rule_names_rungs_below_the_last_step(name):
    spec = a_study(stopping=RULES[name], steps={"max": 27}).spec

    assert rungs(spec) == tuple(sorted(set(rungs(spec)))) == (1, 3, 9)
    for index in range(60):
        assert set(build_pauser(spec).ladder(index)) <= set(rungs(spec))


@pytest.mark.parametrize("name", PAUSERS)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.booleans())
def test_every_such_rule_promotes_the_best_and_never_promotes_and_dismisses_the_same(name, values, growing):
    snapshot = paused_study(name, values)
    waiting = snapshot.trials

    verdicts = judge_paused(snapshot, waiting, growing=growing, moving=False)

    chosen, out = [p.trial for p in verdicts.promotions], [d.trial for d in verdicts.dismissals]
    assert len({*chosen, *out}) == len(chosen) + len(out)
    assert len(chosen) <= max(1, len(values) // 3)
    if chosen:
        # Ties go to the lower index.
        assert f"s-{values.index(min(values))}" in chosen
    if not growing:
        assert chosen or len(out) == len(values)


@pytest.mark.parametrize("name", PAUSERS)
def test_a_maximised_objective_reads_as_the_user_states_it(name):
    study = a_study(
        stopping=RULES[name],
        steps={"max": 9},
        budget={"maxTrials": 3},
        objectives=[{"metric": "accuracy", "goal": "maximize"}],
    )
    trials = [
        a_trial(i, reason=TrialReason.PAUSED, curve=[(1, -v)], paused_at=1) for i, v in enumerate((0.3, 0.9, 0.6))
    ]

    verdicts = judge_paused(a_snapshot(*trials, study=study), trials, growing=False, moving=False)

    (promotion,) = verdicts.promotions
    assert promotion.message.startswith("at step 1: 0.9 is number 1 of 3")
