"""What the search is told of a study."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from decide.builders import a_snapshot, a_trial
from seatrial.api.conditions import TrialReason
from seatrial.decide.history import HistoryReader, ResultReader
from seatrial.search.parameters import Categorical
from seatrial.search.space import SearchSpace

REASONS = [reason for reason in TrialReason if reason is not TrialReason.PAUSED]


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 9), st.sampled_from(REASONS), st.sampled_from([None, 0.5, 0.25])), max_size=4
        ),
        max_size=6,
    ),
    st.lists(st.integers(0, 10), min_size=6, max_size=6),
)
def test_a_reader_that_has_seen_earlier_snapshots_reads_what_a_new_one_does(changes, lengths):
    reader, trials = HistoryReader(), {index: a_trial(index) for index in range(10)}

    for changed, length in zip(changes, lengths, strict=False):
        for index, reason, value in changed:
            trials[index] = replace(trials[index], reason=reason, values=(value,))
        snapshot = a_snapshot(*[trials[index] for index in range(length)])
        assert reader.read(snapshot) == HistoryReader().read(snapshot)


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 9), st.sampled_from(REASONS), st.sampled_from(["a", "b", "c"])),
            max_size=4,
        ),
        max_size=6,
    ),
    st.lists(st.sets(st.integers(0, 9)), min_size=6, max_size=6),
)
def test_the_first_trial_with_an_assignment_is_found_whatever_was_read_before(changes, presences):
    reader, space = ResultReader(), SearchSpace([Categorical(name="kind", choices=("a", "b", "c"))])
    trials = {index: a_trial(index, assignment={"kind": "a"}) for index in range(10)}

    for changed, absent in zip(changes, presences, strict=False):
        for index, reason, kind in changed:
            trials[index] = replace(trials[index], reason=reason, assignment={"kind": kind})
        study = a_snapshot(*[trial for index, trial in trials.items() if index not in absent])
        first: dict[object, str] = {}
        for trial in study.trials[: study.next_index]:
            if trial.reason is not TrialReason.CANCELLED:
                first.setdefault(space.key(trial.assignment), trial.name)
        assert reader.read(study, space) == first


def test_what_is_over_is_evaluated_and_what_is_open_is_pending():
    trials = [
        a_trial(0, reason=TrialReason.COMPLETED, value=0.5),
        a_trial(1, reason=TrialReason.RUNNING),
        a_trial(2, reason=TrialReason.CANCELLED),
        a_trial(3, reason=TrialReason.FAILED),
        a_trial(4),
    ]

    history = HistoryReader().read(a_snapshot(*trials))

    assert [seen.index for seen in history.evaluated] == [0, 3]
    assert [seen.index for seen in history.pending] == [1, 4]
    assert history.next_index == 5
