"""Which trials come next."""

import pytest

from decide.builders import a_snapshot, a_study, a_trial, done, running
from seatrial.api.conditions import TrialReason
from seatrial.decide.history import HistoryReader
from seatrial.decide.suggest import Proposer, trial_seed
from seatrial.search.build import initial_assignments

KINDS = [{"name": "kind", "type": "categorical", "choices": ["a", "b", "c"]}]


def proposals(*trials, count=3, **spec):
    return Proposer().propose(a_snapshot(*trials, study=a_study(**spec)), count)


def test_known_good_points_come_first_in_their_order():
    found = proposals(initialTrials=[{"x": 0.5}, {"x": 0.25}]).proposals

    assert [p.assignment for p in found[:2]] == [{"x": 0.5}, {"x": 0.25}]
    assert [p.algorithm for p in found] == ["initial", "initial", "random"]
    assert [p.index for p in found] == [0, 1, 2]


def test_known_good_points_that_exist_already_do_not_come_again():
    found = proposals(done(0, 1.0, assignment={"x": 0.5}), initialTrials=[{"x": 0.5}, {"x": 0.25}]).proposals

    assert [(p.index, p.algorithm) for p in found] == [(1, "initial"), (2, "random"), (3, "random")]
    assert found[0].assignment == {"x": 0.25}


@pytest.mark.parametrize(
    ("default", "algorithm", "expected"),
    [(0.7, "random", [{"x": 0.7}]), (None, "random", []), (0.7, "grid", [])],
    ids=["the author's default", "no default given", "a grid has its own order"],
)
def test_defaults_are_tried_first_where_the_author_gave_any(default, algorithm, expected):
    given = {} if default is None else {"default": default}
    study = a_study(
        parameters=[{"name": "x", "type": "float", "min": 0, "max": 1, **given}], algorithm={"name": algorithm}
    )

    assert list(initial_assignments(study.spec)) == expected


def test_a_repeated_point_names_the_trial_whose_result_it_takes():
    found = proposals(initialTrials=[{"x": 0.5}, {"x": 0.5}, {"x": 0.5}]).proposals

    assert [p.reuse_of for p in found] == [None, "s-0", "s-0"]


def test_a_cancelled_trial_has_no_result_to_take():
    cancelled = a_trial(0, reason=TrialReason.CANCELLED, assignment={"x": 0.5})

    found = proposals(cancelled, initialTrials=[{"x": 0.5}, {"x": 0.5}, {"x": 0.5}]).proposals

    assert [p.reuse_of for p in found] == [None, "s-1", None]


def test_a_space_that_is_used_up_says_so():
    trials = [done(i, 1.0, assignment={"kind": kind}) for i, kind in enumerate("ab")]

    found = proposals(*trials, parameters=KINDS)

    assert [p.assignment for p in found.proposals] == [{"kind": "c"}]
    assert found.exhausted.message == "all 3 assignments of the search space have been used"


def test_what_runs_is_not_proposed_again():
    trials = [running(i, assignment={"kind": kind}) for i, kind in enumerate("abc")]

    assert proposals(*trials, parameters=KINDS).proposals == ()


@pytest.mark.parametrize("algorithm", ["random", "grid", "tpe", "evolution", "sobol"])
def test_the_same_history_gives_the_same_proposals(algorithm):
    trials = [done(i, (i - 3.0) ** 2) for i in range(12)]
    spec = {"algorithm": {"name": algorithm, "seed": 5, **({"grid": {"points": 50}} if algorithm == "grid" else {})}}

    first = proposals(*trials, **spec)

    assert first == proposals(*trials, **spec)
    assert len({str(p.assignment) for p in first.proposals}) == 3


def test_a_lost_record_leaves_a_gap_that_is_filled_first():
    trials = [done(i, 1.0) for i in (0, 1, 4, 5)]

    found = proposals(*trials)

    assert [p.index for p in found.proposals] == [2, 3]
    snapshot = a_snapshot(*trials)
    assert (snapshot.next_index, snapshot.free_indices) == (2, 2)
    assert snapshot.find("s-4").index == 4
    assert snapshot.find("s-2") is None
    assert HistoryReader().read(snapshot).next_index == 2


def test_a_snapshot_without_gaps_has_no_end_of_free_numbers():
    snapshot = a_snapshot(done(0, 1.0), done(1, 1.0))

    assert (snapshot.next_index, snapshot.free_indices) == (2, None)


def test_trial_seeds_fit_31_bits_and_differ():
    seeds = [trial_seed(7, i) for i in range(1000)]

    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert trial_seed(7, 3) == seeds[3]
    assert trial_seed(8, 3) != seeds[3]


def test_what_an_assignment_cannot_do_is_told_to_the_search_and_what_the_cluster_did_is_not():
    study = a_snapshot(
        done(0, 1.0),
        *(a_trial(1 + n, reason=reason) for n, reason in enumerate([TrialReason.INFEASIBLE, TrialReason.DIVERGED])),
        a_trial(3, reason=TrialReason.FAILED),
        # Taken from it by the cluster, and waits for its next attempt.
        a_trial(4, losses=3),
        a_trial(5, reason=TrialReason.CANCELLED),
    )

    history = HistoryReader().read(study)

    assert [(seen.index, seen.failed) for seen in history.evaluated] == [(0, False), (1, True), (2, True), (3, True)]
    assert [seen.index for seen in history.pending] == [4]
