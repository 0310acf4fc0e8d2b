"""The next trials of a study: known-good points first, then the algorithm; a repeated assignment is marked, never run twice."""

from collections import ChainMap
from collections.abc import MutableMapping
from dataclasses import dataclass

import numpy as np

from seatrial.api.study import StudySpec
from seatrial.decide.history import HistoryReader, ResultReader
from seatrial.decide.snapshot import StudySnapshot
from seatrial.search.algorithms import TRAITS
from seatrial.search.base import Algorithm, Exhausted, History, Membership, Source, Suggestion
from seatrial.search.build import build_algorithm, build_space, initial_assignments
from seatrial.search.space import Assignment, Key, SearchSpace

__all__ = ["Proposal", "Proposals", "Proposer", "trial_seed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A trial to create: a suggestion with a number and a seed."""

    index: int
    assignment: Assignment
    seed: int
    algorithm: str
    detail: str
    reuse_of: str | None
    until_step: int | None = None
    source: Source | None = None
    membership: Membership | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Trials to create, and whether there will be more."""

    proposals: tuple[Proposal, ...]
    exhausted: Exhausted | None


def trial_seed(study_seed: int, index: int) -> int:
    """Return the seed that a trial trains with: 31 bits, the same whenever it is computed."""
    return int(np.random.SeedSequence([study_seed, index]).generate_state(1)[0] & 0x7FFFFFFF)


class Proposer:
    """Asks the algorithm of one study; keeps what was built until the study is edited: an algorithm may remember what it computed."""

    def __init__(self) -> None:
        self._spec: StudySpec | None = None
        self._built: tuple[SearchSpace, Algorithm] | None = None
        self._reader = HistoryReader()
        self._results = ResultReader()

    def propose(self, snapshot: StudySnapshot, count: int) -> Proposals:
        """Return up to *count* trials to create next."""
        space, algorithm = self._build(snapshot.spec)
        history = self._reader.read(snapshot)
        known = self._results.read(snapshot, space)
        return _propose(snapshot, history, known, space=space, algorithm=algorithm, count=count)

    def recommend(self, snapshot: StudySnapshot) -> int | None:
        """Return the index of the algorithm's choice of the winner."""
        return self._build(snapshot.spec)[1].recommend(self._reader.read(snapshot))

    def _build(self, spec: StudySpec) -> tuple[SearchSpace, Algorithm]:
        if self._built is None or (self._spec is not spec and self._spec != spec):
            space = build_space(spec.parameters)
            self._built = space, build_algorithm(spec, space)
            self._results = ResultReader()
        self._spec = spec
        return self._built


def _propose(
    study: StudySnapshot,
    history: History,
    results: dict[Key, str],
    *,
    space: SearchSpace,
    algorithm: Algorithm,
    count: int,
) -> Proposals:
    """Return up to *count* trials to create next.

    Fewer come back where a lost record left a gap between the indices: it is filled first.
    """
    room = study.free_indices
    count = count if room is None else min(count, room)
    # What is proposed here is not yet a trial.
    known: MutableMapping[Key, str] = ChainMap({}, results)
    # A population gives its first members to the known-good points itself.
    initial = () if TRAITS[study.spec.algorithm.name.value].continues else initial_assignments(study.spec)
    found: list[Proposal] = []
    exhausted: Exhausted | None = None
    for assignment in initial[history.next_index : history.next_index + count]:
        found.append(_proposal(study, space, history, Suggestion(assignment=assignment, algorithm="initial"), known))
        history = history.with_pending(assignment) if found[-1].reuse_of is None else _skip_index(history)
    if len(found) < count:
        ask = algorithm.ask(history, count - len(found))
        exhausted = ask.exhausted
        for suggestion in ask.suggestions:
            found.append(_proposal(study, space, history, suggestion, known))
            history = _skip_index(history)
    return Proposals(proposals=tuple(found), exhausted=exhausted)


def _skip_index(history: History) -> History:
    return History(evaluated=history.evaluated, pending=history.pending, next_index=history.next_index + 1)


def _proposal(
    study: StudySnapshot, space: SearchSpace, history: History, suggestion: Suggestion, known: MutableMapping[Key, str]
) -> Proposal:
    index, reuse_of = history.next_index, None
    if suggestion.until_step is None and suggestion.source is None:
        # Two parts of a training are never the same, however equal their assignments are.
        key = space.key(suggestion.assignment)
        reuse_of = known.get(key)
        known.setdefault(key, f"{study.name}-{index}")
    return Proposal(
        index=index,
        assignment=suggestion.assignment,
        seed=trial_seed(study.spec.algorithm.seed, index),
        algorithm=suggestion.algorithm,
        detail=suggestion.detail,
        reuse_of=reuse_of,
        until_step=suggestion.until_step,
        source=suggestion.source,
        membership=suggestion.membership,
    )
