"""Who asks the algorithm of a laptop's study, and where."""

from __future__ import annotations

import asyncio
import threading

import pytest

from decide.builders import a_snapshot, a_study, done
from seatrial.decide.snapshot import StudySnapshot
from seatrial.decide.suggest import Proposals, Proposer
from seatrial.entry import asking
from seatrial.entry.asking import NearSuggester


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each answer was found in the thread in which passes are made, in their order."""
    found: list[bool] = []
    propose = Proposer.propose

    def noted(self: Proposer, snapshot: StudySnapshot, count: int) -> Proposals:
        found.append(threading.current_thread() is threading.main_thread())
        return propose(self, snapshot, count)

    monkeypatch.setattr(Proposer, "propose", noted)
    # A busy machine is no slow algorithm.
    monkeypatch.setattr(asking, "_AT_ONCE_SECONDS", 60.0)
    return found


def ask_thrice(algorithm: str) -> list[Proposals]:
    suggester, study = NearSuggester(), a_study(algorithm={"name": algorithm, "seed": 5})

    async def ask() -> list[Proposals]:
        return [await suggester.propose(a_snapshot(done(0, 1.0), study=study), 2) for _ in range(3)]

    return asyncio.run(ask())


@pytest.mark.parametrize("algorithm", ["random", "sobol"])
def test_what_learns_nothing_is_asked_at_once_after_its_first_answer(asked: list[bool], algorithm: str):
    answers = ask_thrice(algorithm)

    assert asked == [False, True, True]
    assert answers[0] == answers[1] == answers[2]


def test_what_learns_is_asked_in_a_thread(asked: list[bool]):
    ask_thrice("evolution")

    assert asked == [False, False, False]


def test_who_took_long_is_asked_in_a_thread(asked: list[bool], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asking, "_AT_ONCE_SECONDS", 0.0)

    ask_thrice("random")

    assert asked == [False, False, False]


def test_the_answers_are_those_of_the_algorithm():
    study = a_study(algorithm={"name": "random", "seed": 5})
    snapshot = a_snapshot(done(0, 1.0), study=study)

    assert ask_thrice("random")[2] == Proposer().propose(snapshot, 2)
    assert asyncio.run(NearSuggester().recommend(snapshot)) == Proposer().recommend(snapshot)
