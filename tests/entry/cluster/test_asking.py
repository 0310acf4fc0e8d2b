"""Algorithms in processes of their own: the same answers, and nobody suffers from another study's model."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from decide.builders import a_study, done
from seatrial.api.study import Study
from seatrial.decide.snapshot import Snapshotter, StudySnapshot
from seatrial.decide.suggest import Proposer
from seatrial.entry.cluster.asking import AskDesk, AskFailed, AskTimes, StillThinking, _build_question
from seatrial.entry.cluster.suggesting import StudySuggester
from seatrial.entry.cluster.thinking import STUDIES_KEPT, Thinker
from seatrial.errors import TransientError

# A study of this name makes the process behave so.
_ROUGH = """
import os, time
from seatrial.entry.cluster import thinking
answer = thinking.Thinker.answer
def rough(self, question):
    name = question.study
    if name.startswith("slow"): time.sleep(3600)
    if name == "dies": os._exit(9)
    if name == "fails": question = None
    if name == "wrong": return thinking.Answer(trouble="ValueError: not so")
    if name == "noisy": print("a library says something")
    return answer(self, question)
thinking.Thinker.answer = rough
thinking._PRELOADED = ()
thinking.run()
"""
_TIMES = AskTimes(deadline_seconds=60, patience_seconds=60, grow_after_seconds=0.05)


def a_snapshot(study: Study | None = None) -> StudySnapshot:
    found = study or a_study(algorithm={"name": "random", "seed": 5})
    now = datetime(2030, 1, 1, tzinfo=UTC)
    return Snapshotter().build(study=found, trials=[], attempts={}, curves={}, now=now)


def a_snapshot_with_an_end() -> StudySnapshot:
    return replace(a_snapshot(), trials=(done(0, 0.5),))


def desk(times: AskTimes = _TIMES, **given: object) -> AskDesk:
    return AskDesk(times=times, program=_ROUGH, **given)


def with_desk(body: Callable[[AskDesk], Awaitable[None]], times: AskTimes = _TIMES, **given: object) -> None:
    async def main() -> None:
        found = desk(times, **given)
        try:
            await body(found)
        finally:
            await found.close()

    asyncio.run(main())


def test_another_process_answers_as_this_one_does():
    snapshot = a_snapshot()
    expected = Proposer().propose(snapshot, 3)

    async def body(found: AskDesk) -> None:
        first = await found.ask("noisy", snapshot, 3)
        again = await found.ask("noisy", snapshot, 3)
        other = await found.ask("t", snapshot, 3)

        assert first.proposals == again.proposals == other.proposals == expected
        assert (await found.ask("noisy", snapshot, None)).recommended is None
        assert len(found.pids) == 1

    with_desk(body)


@pytest.mark.slow
def test_more_studies_than_a_process_keeps_are_answered_again_and_again_and_no_account_grows():
    snapshot = a_snapshot_with_an_end()

    async def body(found: AskDesk) -> None:
        first = [(await found.ask(f"s-{number}", snapshot, 1)).proposals for number in range(2 * STUDIES_KEPT)]
        # A failure takes nobody else's place.
        with pytest.raises(AskFailed):
            await found.ask("fails", snapshot, -1)
        latest = [(await found.ask(f"s-{number}", snapshot, 1)).proposals for number in (*range(STUDIES_KEPT), 1, 0)]

        assert first[0] is not None
        assert latest[:STUDIES_KEPT] == first[:STUDIES_KEPT]
        assert [len(seat.sent) for seat in found._seats] == [STUDIES_KEPT]

    with_desk(body)


def test_only_what_is_new_is_sent_and_nothing_of_it_is_lost():
    snapshot = a_snapshot()
    trials = tuple(done(i, 0.5) for i in range(4))
    before, after = replace(snapshot, trials=trials[:3]), replace(snapshot, trials=trials)
    thinker = Thinker()

    thinker.answer(_build_question(None, "s", before, 1))
    question = _build_question(before.trials, "s", after, 2)

    assert set(question.changed) == {3}
    assert thinker.answer(question).proposals == Proposer().propose(after, 2)
    # Trials that were taken away are taken away there, too.
    shorter = _build_question(after.trials, "s", before, 2)
    assert thinker.answer(shorter).proposals == Proposer().propose(before, 2)


def test_a_process_that_lacks_what_a_question_builds_on_says_so():
    question = replace(_build_question(None, "s", a_snapshot(), 1), length=2)

    assert "0 of 2 trials are known" in Thinker().answer(question).trouble


def test_a_slow_study_holds_up_no_other():
    async def body(found: AskDesk) -> None:
        slow = asyncio.ensure_future(found.ask("slow", a_snapshot(), 1))
        # It has to be the first: the other one waits for its process only so long.
        await asyncio.sleep(0)

        answer = await found.ask("t", a_snapshot(), 1)

        assert answer.proposals is not None
        assert not slow.done()
        assert len(found.pids) == 2
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        # Its process was in the middle of it and is no use any more.
        assert len(found.pids) == 1

    with_desk(body)


@pytest.mark.slow
def test_a_question_that_takes_too_long_ends_with_its_process_and_the_next_one_is_answered():
    restarts: list[int] = []
    desks: list[AskDesk] = []
    begun: list[str] = []

    @contextlib.contextmanager
    def busy(name: str, _: float) -> Iterator[None]:
        begun.append(name)
        # Whoever waits is served in turn: the third one is that which is to be answered, for which a process has to start.
        if len(begun) == 3:
            desks[0].times = _TIMES
        yield

    async def body(found: AskDesk) -> None:
        desks.append(found)
        # Two slow ones take all processes.
        results = await asyncio.gather(
            found.ask("slow-1", a_snapshot(), 1),
            found.ask("slow-2", a_snapshot(), 1),
            found.ask("t", a_snapshot(), 1),
            return_exceptions=True,
        )
        assert [getattr(result, "reason", "answered") for result in results] == [
            "AskTimedOut",
            "AskTimedOut",
            "answered",
        ]
        # The second one may end when other times hold already, which its words then tell.
        assert "within 1 s" in str(results[0])
        assert len(restarts) == 2

    with_desk(body, replace(_TIMES, deadline_seconds=1), on_restart=lambda: restarts.append(1), busy=busy)


def test_a_process_that_dies_is_replaced():
    async def body(found: AskDesk) -> None:
        with pytest.raises(AskFailed, match="died") as caught:
            await found.ask("dies", a_snapshot(), 1)
        assert caught.value.reason == "AskProcessDied"
        assert (await found.ask("t", a_snapshot(), 1)).proposals is not None
        (pid,) = found.pids
        os.kill(pid, 9)
        # It may be noticed before the question, which then goes to a new one.
        with contextlib.suppress(AskFailed):
            await found.ask("t", a_snapshot(), 1)
        assert (await found.ask("t", a_snapshot(), 1)).proposals is not None

    with_desk(body)


@pytest.mark.slow
def test_a_further_process_leaves_when_it_has_nothing_to_do():
    async def body(found: AskDesk) -> None:
        slow = asyncio.ensure_future(found.ask("slow", a_snapshot(), 1))
        # It has to be the first: the first process stays.
        await asyncio.sleep(0)
        await found.ask("t", a_snapshot(), 1)
        assert len(found.pids) == 2
        while len(found.pids) == 2:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)

    with_desk(body, replace(_TIMES, idle_seconds=0.05))


def test_no_process_outlives_the_desk():
    seen: list[int] = []

    async def body(found: AskDesk) -> None:
        await found.warm()
        seen.extend(found.pids)

    with_desk(body)

    assert len(seen) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


class Scripted:
    """A desk that answers when it is told to."""

    def __init__(self, times: AskTimes) -> None:
        self.times, self.asked = times, 0
        self.ready = asyncio.Event()
        self.failure: AskFailed | None = None
        self._thinker = Thinker()

    async def ask(self, study: str, snapshot: StudySnapshot, count: int | None):
        self.asked += 1
        await self.ready.wait()
        if self.failure is not None:
            raise self.failure
        return self._thinker.answer(_build_question(None, study, snapshot, count))


def test_a_pass_goes_on_without_an_answer_and_is_woken_by_it():
    async def main() -> None:
        found, woken = Scripted(AskTimes(patience_seconds=0)), asyncio.Event()
        suggester = StudySuggester("s", found, wake=woken.set)
        with pytest.raises(StillThinking):
            await suggester.propose(a_snapshot(), 3)
        with pytest.raises(StillThinking):
            await suggester.propose(a_snapshot(), 2)
        found.ready.set()
        await woken.wait()

        proposals = (await suggester.propose(a_snapshot(), 2)).proposals

        # It was asked for three and never asked again; by now two are wanted.
        assert (found.asked, [proposal.index for proposal in proposals]) == (1, [0, 1])
        assert suggester.trouble is None

    asyncio.run(main())


def test_an_edited_study_does_not_get_an_answer_to_what_it_was():
    async def main() -> None:
        found = Scripted(AskTimes(patience_seconds=0))
        suggester = StudySuggester("s", found, wake=lambda: None)
        with pytest.raises(StillThinking):
            await suggester.propose(a_snapshot(), 1)
        edited = a_snapshot(a_study(algorithm={"name": "random", "seed": 6}))
        with pytest.raises(StillThinking):
            await suggester.propose(edited, 1)
        found.ready.set()

        while True:
            try:
                answer = await suggester.propose(edited, 1)
                break
            except StillThinking:
                await asyncio.sleep(0)

        expected = Proposer().propose(edited, 1)
        assert (found.asked, answer) == (2, expected)

    asyncio.run(main())


def test_a_study_whose_algorithm_fails_is_told_and_tried_again_ever_later():
    async def main() -> None:
        found = Scripted(AskTimes())
        found.ready.set()
        found.failure = AskFailed("AskTimedOut", "too slow")
        suggester = StudySuggester("s", found, wake=lambda: None)
        with pytest.raises(TransientError, match="too slow") as first:
            await suggester.propose(a_snapshot(), 1)
        assert first.value.retry_after_seconds == 5
        assert suggester.trouble is not None
        assert (suggester.trouble.status, suggester.trouble.reason) == ("False", "AskTimedOut")
        with pytest.raises(TransientError, match="after a pause"):
            await suggester.propose(a_snapshot(), 1)
        assert found.asked == 1

        suggester._again_at = 0.0
        with pytest.raises(TransientError) as second:
            await suggester.propose(a_snapshot(), 1)
        assert second.value.retry_after_seconds == 10

        suggester._again_at, found.failure = 0.0, None
        assert len((await suggester.propose(a_snapshot(), 1)).proposals) == 1
        assert suggester.trouble is None

    asyncio.run(main())


def test_a_study_at_its_end_does_not_depend_on_its_algorithm():
    async def main() -> None:
        found = Scripted(AskTimes())
        found.ready.set()
        found.failure = AskFailed("AlgorithmFailed", "gp failed")
        suggester = StudySuggester("s", found, wake=lambda: None)

        assert await suggester.recommend(a_snapshot()) is None
        assert suggester.trouble is not None
        assert "best value" in suggester.trouble.message

    asyncio.run(main())


def test_a_question_is_watched_while_it_is_asked():
    seen: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def busy(name: str, seconds: float) -> Iterator[None]:
        seen.append((name, seconds))
        yield
        seen.append((name, 0))

    async def body(found: AskDesk) -> None:
        await found.ask("t", a_snapshot(), 1)

    with_desk(body, busy=busy)

    assert seen == [("ask process 0", 120), ("ask process 0", 0)]
