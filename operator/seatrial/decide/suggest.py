"""The next trials of a study: known-good points first, then the algorithm; a repeated assignment is marked, never run twice."""

from dataclasses import dataclass

import numpy as np

from seatrial.api.algorithm import AlgorithmName
from seatrial.api.conditions import TrialReason
from seatrial.api.study import StudySpec
from seatrial.decide.snapshot import StudySnapshot
from seatrial.search.base import Algorithm, Exhausted, History
from seatrial.search.space import Assignment, Key, SearchSpace

__all__ = ["Proposal", "Proposals", "initial_assignments", "propose", "trial_seed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A trial to create."""

    index: int
    assignment: Assignment
    seed: int
    algorithm: str
    detail: str
    reuse_of: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Trials to create, and whether there will be more."""

    proposals: tuple[Proposal, ...]
    exhausted: Exhausted | None


def trial_seed(study_seed: int, index: int) -> int:
    """Return the seed that a trial trains with: 31 bits, the same whenever it is computed."""
    return int(np.random.SeedSequence([study_seed, index]).generate_state(1)[0] & 0x7FFFFFFF)


def initial_assignments(spec: StudySpec, space: SearchSpace) -> tuple[Assignment, ...]:
    """Return the points that come before the algorithm: spec.initialTrials, else the defaults if the author gave any.

    A grid covers its own points in its own order and gets no default.
    """
    if spec.initial_trials:
        return tuple(space.complete(given) for given in spec.initial_trials)
    given = any(parameter.default is not None for parameter in spec.parameters)
    return (space.default(),) if given and spec.algorithm.name is not AlgorithmName.GRID else ()


def propose(study: StudySnapshot, *, space: SearchSpace, algorithm: Algorithm, count: int) -> Proposals:
    """Return up to *count* trials to create next.

    Fewer come back where a lost record left a gap between the indices: it is filled first.
    """
    history = study.history()
    room = study.free_indices
    count = count if room is None else min(count, room)
    known: dict[Key, str] = {}
    for trial in study.trials:
        # A cancelled trial has no result to take over.
        if trial.reason is not TrialReason.CANCELLED and trial.index < history.next_index:
            known.setdefault(space.key(trial.assignment), trial.name)
    initial = initial_assignments(study.spec, space)
    found: list[Proposal] = []
    exhausted: Exhausted | None = None
    for assignment in initial[history.next_index : history.next_index + count]:
        found.append(_proposal(study, space, history, assignment, known, "initial", ""))
        history = history.with_pending(assignment) if found[-1].reuse_of is None else _skip_index(history)
    if len(found) < count:
        ask = algorithm.ask(history, count - len(found))
        exhausted = ask.exhausted
        for suggestion in ask.suggestions:
            found.append(
                _proposal(study, space, history, suggestion.assignment, known, suggestion.algorithm, suggestion.detail)
            )
            history = _skip_index(history)
    return Proposals(proposals=tuple(found), exhausted=exhausted)


def _skip_index(history: History) -> History:
    return History(evaluated=history.evaluated, pending=history.pending, next_index=history.next_index + 1)


def _proposal(
    study: StudySnapshot,
    space: SearchSpace,
    history: History,
    assignment: Assignment,
    known: dict[Key, str],
    algorithm: str,
    detail: str,
) -> Proposal:
    index = history.next_index
    key = space.key(assignment)
    reuse_of = known.get(key)
    known.setdefault(key, f"{study.name}-{index}")
    seed = trial_seed(study.spec.algorithm.seed, index)
    return Proposal(
        index=index, assignment=assignment, seed=seed, algorithm=algorithm, detail=detail, reuse_of=reuse_of
    )
