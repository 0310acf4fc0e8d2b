"""Which checkpoints stay: nothing that anybody needs is ever let go."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decide.builders import a_snapshot, a_trial
from seatrial.api.conditions import TrialReason
from seatrial.api.meta import Metadata
from seatrial.api.trial import Checkpoint, Origin, Parent, Trial, TrialSpec, TrialStatus
from seatrial.decide.retention import Need, Needed, Ref, future_parents, parse_ref, plan_retention
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot

FULL, STOPPED, RUNNING = TrialReason.COMPLETED, TrialReason.STOPPED, TrialReason.RUNNING


def a_record(trial: TrialSnapshot, path: str | None = "0/step-9", parent: Parent | None = None) -> Trial:
    saved = Checkpoint(step=int(path.rpartition("-")[2]), digest=f"sha256:{trial.name}", path=path) if path else None
    return Trial(
        metadata=Metadata(name=trial.name),
        spec=TrialSpec(
            study="s", index=trial.index, assignment={}, seed=1, origin=Origin(algorithm="random"), parent=parent
        ),
        status=TrialStatus(checkpoint=saved),
    )


def starting_from(trial: TrialSnapshot, step: int = 9) -> Parent:
    return Parent(trial=trial.name, step=step, digest=f"sha256:{trial.name}")


def keeping(best: int | None, **more: object) -> dict[str, object]:
    template = {"spec": {"containers": [{"name": "main", "command": ["true"]}]}}
    return {"trial": {"template": template, "checkpoints": {"keepBest": best}}} | more


def plan(snapshot: StudySnapshot, records: Mapping[str, Trial] | None = None, **more: object) -> Needed:
    records = records or {trial.name: a_record(trial) for trial in snapshot.trials}
    return plan_retention(snapshot, records, **more)  # type: ignore[arg-type]


def four() -> list[TrialSnapshot]:
    return [
        a_trial(0, reason=FULL, value=3.0),
        a_trial(1, reason=FULL, value=1.0),
        a_trial(2, reason=STOPPED, value=0.5),
        a_trial(3, reason=FULL, value=4.0),
    ]


@pytest.mark.parametrize(
    ("best", "kept"),
    [
        pytest.param(None, {0: Need.LAST, 1: Need.BEST, 2: Need.LAST, 3: Need.LAST}, id="without keepBest all"),
        pytest.param(0, {1: Need.BEST}, id="0, the winner"),
        pytest.param(2, {0: Need.BEST, 1: Need.BEST}, id="2, those trained in full first"),
        pytest.param(9, dict.fromkeys(range(4), Need.BEST), id="more than there are"),
    ],
)
def test_the_best_and_the_winner_stay(best: int | None, kept: dict[int, Need]) -> None:
    found = plan(a_snapshot(*four(), **keeping(best)))

    assert found.ended == {0, 1, 2, 3}
    assert dict(found.keep) == {Ref(index, 0, 9): need for index, need in kept.items()}


def test_the_winner_that_the_status_names_stays_whatever_its_value() -> None:
    assert dict(plan(a_snapshot(*four(), **keeping(0)), winners={3}).keep) == {
        Ref(1, 0, 9): Need.BEST,
        Ref(3, 0, 9): Need.WINNER,
    }


def test_while_a_model_may_still_choose_the_winner_its_candidates_stay() -> None:
    running = a_snapshot(*four(), **keeping(1, algorithm={"name": "gp"}))

    assert {ref.trial for ref in plan(running).keep} == {0, 1, 2, 3}


def test_of_several_objectives_the_whole_front_stays() -> None:
    trials = [a_trial(i, reason=FULL, values=(float(i), 3.0 - i)) for i in range(3)]
    trials.append(a_trial(3, reason=FULL, values=(9.0, 9.0)))
    objectives = [{"metric": "a", "goal": "minimize"}, {"metric": "b", "goal": "minimize"}]

    found = plan(a_snapshot(*trials, **keeping(0, objectives=objectives)))

    assert {ref.trial for ref in found.keep} == {0, 1, 2}
    assert 3 in found.ended


def test_an_open_trial_loses_nothing_and_what_it_starts_from_stays() -> None:
    trials = [*four(), a_trial(4, reason=RUNNING), a_trial(5)]
    records = {trial.name: a_record(trial) for trial in trials}
    records["s-4"] = a_record(trials[4], parent=starting_from(trials[0]))

    found = plan(a_snapshot(*trials, **keeping(0)), records)

    assert found.ended == {0, 1, 2, 3}
    assert dict(found.keep) == {Ref(0, 0, 9): Need.PARENT, Ref(1, 0, 9): Need.BEST}


@pytest.mark.parametrize("parent_step", [3, 9])
def test_a_parent_whose_exact_checkpoint_is_not_on_record_loses_nothing(parent_step: int) -> None:
    trials = [*four(), a_trial(4, reason=RUNNING)]
    records = {trial.name: a_record(trial) for trial in trials}
    other = Parent(trial="s-0", step=parent_step, digest="sha256:earlier")
    records["s-4"] = a_record(trials[4], parent=other)

    assert plan(a_snapshot(*trials, **keeping(0)), records).ended == {1, 2, 3}


def test_an_original_loses_nothing_while_a_repetition_waits_for_it() -> None:
    trials = [*four(), a_trial(4, reuse_of="s-3")]

    assert plan(a_snapshot(*trials, **keeping(0))).ended == {0, 1, 2}


def test_a_checkpoint_that_only_its_script_can_find_is_left_alone() -> None:
    trials = four()
    records = {trial.name: a_record(trial) for trial in trials}
    records["s-0"] = a_record(trials[0]).model_copy(
        update={"status": TrialStatus(checkpoint=Checkpoint(step=9, digest="", path="/mnt/mine/9.ckpt"))}
    )

    assert plan(a_snapshot(*trials, **keeping(0)), records).ended == {1, 2, 3}


def test_a_needed_trial_without_a_checkpoint_on_record_loses_nothing() -> None:
    trials = four()
    records = {trial.name: a_record(trial, path=None) for trial in trials}

    assert plan(a_snapshot(*trials, **keeping(0)), records).ended == {0, 2, 3}
    assert plan(a_snapshot(*trials), records).ended == frozenset()


@pytest.mark.parametrize(
    ("path", "ref"),
    [
        ("0/step-9", Ref(0, 0, 9)),
        ("12/step-0", Ref(0, 12, 0)),
        ("step-9", None),
        ("01/step-9", None),
        ("../0/step-9", None),
        ("0/step-9/x", None),
        ("/0/step-9", None),
    ],
)
def test_a_path_names_a_checkpoint_only_in_the_form_of_the_harness(path: str, ref: Ref | None) -> None:
    record = a_record(a_trial(0))
    status = TrialStatus(checkpoint=Checkpoint(step=9, digest="", path=path))

    assert parse_ref(record.model_copy(update={"status": status})) == ref


def test_on_the_wire_indices_are_ranges_and_trials_are_numbers() -> None:
    needed = Needed(ended=frozenset({0, 1, 2, 4, 7, 8}), keep={Ref(8, 1, 27): Need.BEST, Ref(1, 0, 9): Need.PARENT})

    assert json.loads(needed.to_wire() or "") == {
        "ended": [[0, 2], [4, 4], [7, 8]],
        "keep": ["1/0/step-9", "8/1/step-27"],
    }
    assert Needed(keep={}).to_wire() is None


def test_what_does_not_fit_a_variable_is_told_of_fewer_trials_and_never_of_fewer_that_stay() -> None:
    keep = {Ref(index, 0, 10**9): Need.LAST for index in range(20_000)}
    text = Needed(ended=frozenset(range(20_000)), keep=keep).to_wire()

    assert text is not None
    document = json.loads(text)
    [[first, last]] = document["ended"]
    assert len(text) <= 65_536
    assert last == 19_999
    assert first < 19_000
    assert document["keep"] == sorted(f"{index}/0/step-1000000000" for index in range(first, 20_000))


def test_a_study_without_a_population_has_no_future_parents() -> None:
    assert future_parents(a_snapshot(*four())) == frozenset()


# ---- properties --------------------------------------------------------------------------------------------------------


@st.composite
def studies(draw: st.DrawFn) -> tuple[StudySnapshot, dict[str, Trial], set[int], set[int]]:
    count = draw(st.integers(1, 12))
    trials, records = [], {}
    for index in range(count):
        reason = draw(st.sampled_from(list(TrialReason)))
        value = draw(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)))
        reuse = draw(st.one_of(st.none(), st.integers(0, index - 1))) if index and not draw(st.integers(0, 4)) else None
        trial = a_trial(index, reason=reason, value=value, reuse_of=None if reuse is None else f"s-{reuse}")
        path = draw(st.sampled_from([None, "0/step-9", "1/step-9", "2/step-3", "somewhere/9.ckpt-9"]))
        parent = None
        if index and draw(st.booleans()):
            source = trials[draw(st.integers(0, index - 1))]
            exact = draw(st.booleans())
            step = draw(st.sampled_from([3, 9]))
            parent = Parent(trial=source.name, step=step, digest=f"sha256:{source.name}" if exact else "sha256:x")
        trials.append(trial)
        records[trial.name] = a_record(trial, path, parent)
    best = draw(st.one_of(st.none(), st.integers(0, 4)))
    name = draw(st.sampled_from(["random", "gp"]))
    some = st.sets(st.integers(0, count - 1), max_size=3)
    return a_snapshot(*trials, **keeping(best, algorithm={"name": name})), records, draw(some), draw(some)


def stays(needed: Needed, index: int, path: str | None) -> bool:
    """Whether what a record names is kept: its trial is left alone, or exactly that checkpoint is."""
    if index not in needed.ended:
        return True
    return path is not None and any(
        f"{ref.attempt}/step-{ref.step}" == path for ref in needed.keep if ref.trial == index
    )


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(studies())
def test_nothing_that_anybody_needs_is_ever_let_go(
    case: tuple[StudySnapshot, dict[str, Trial], set[int], set[int]],
) -> None:
    snapshot, records, winners, candidates = case
    needed = plan_retention(snapshot, records, winners=winners, candidates=candidates)
    path_of = {
        trial.index: saved.path if (saved := records[trial.name].status.checkpoint) else None
        for trial in snapshot.trials
    }
    by_name = {trial.name: trial for trial in snapshot.trials}

    for trial in snapshot.trials:
        assert trial.terminal or trial.index not in needed.ended
        parent = records[trial.name].spec.parent
        if not trial.terminal and parent is not None:
            source = by_name[parent.trial]
            saved = records[source.name].status.checkpoint
            exact = saved is not None and (saved.step, saved.digest) == (parent.step, parent.digest)
            assert source.index not in needed.ended or (exact and stays(needed, source.index, path_of[source.index]))
        if not trial.terminal and trial.reuse_of is not None:
            assert by_name[trial.reuse_of].index not in needed.ended
    for index in winners | candidates:
        assert stays(needed, index, path_of[index])
    full = [t for t in snapshot.trials if t.feasible and t.reason is FULL]
    partial = [t for t in snapshot.trials if t.feasible and t.reason is not FULL]
    order = sorted(full, key=lambda t: (t.values[0], t.index)) + sorted(partial, key=lambda t: (t.values[0], t.index))
    settings_ = snapshot.spec.trial.checkpoints
    assert settings_ is not None
    count = len(order) if settings_.keep_best is None or snapshot.spec.algorithm.name == "gp" else settings_.keep_best
    for trial in order[: max(1, count)]:
        assert stays(needed, trial.index, path_of[trial.index])


@settings(max_examples=100, deadline=None)
@given(studies())
def test_a_plan_that_was_carried_out_is_the_same_again(
    case: tuple[StudySnapshot, dict[str, Trial], set[int], set[int]],
) -> None:
    snapshot, records, winners, candidates = case

    first, second = (plan_retention(snapshot, records, winners=winners, candidates=candidates) for _ in range(2))

    assert first == second
    assert all(ref.trial in first.ended for ref in first.keep)
