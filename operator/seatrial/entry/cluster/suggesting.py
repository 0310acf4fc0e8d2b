"""Suggests the trials of one study, by a desk that answers when it can: a study never waits long, and asks again after a failure."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from seatrial.api.study import StudySpec
from seatrial.decide.snapshot import StudySnapshot
from seatrial.decide.status import Remark
from seatrial.decide.suggest import Proposals
from seatrial.entry.cluster.asking import AskDesk, AskFailed, StillThinking
from seatrial.entry.cluster.thinking import Answer
from seatrial.errors import TransientError

__all__ = ["StudySuggester"]

logger = logging.getLogger(__name__)

CONDITION = "SuggestionsAvailable"

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 300.0


@dataclass(slots=True, kw_only=True)
class _Asked:
    """A question that was handed in."""

    spec: StudySpec
    index: int
    final: bool
    task: asyncio.Task[Answer]

    def fits(self, snapshot: StudySnapshot, *, final: bool) -> bool:
        """Whether its answer is one to what would be asked now: what has ended meanwhile comes into the next one."""
        same = self.spec is snapshot.spec or self.spec == snapshot.spec
        return same and self.final == final and self.index == snapshot.next_index


class StudySuggester:
    """A :class:`~seatrial.ports.Suggester` of one study over the desk.

    Args:
        study: Identity of the study.
        desk: Answers.
        wake: Called when an answer is there that nobody waited for any more.
        observer: Told name of the algorithm and seconds of each answer.
    """

    def __init__(
        self,
        study: str,
        desk: AskDesk,
        *,
        wake: Callable[[], None],
        observer: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self._study, self._desk, self._wake, self._observer = study, desk, wake, observer
        self._asked: _Asked | None = None
        self._failures = 0
        self._again_at = 0.0
        self.trouble: Remark | None = None
        """What was wrong with the last answer, None when nothing was."""

    async def propose(self, snapshot: StudySnapshot, count: int) -> Proposals:
        """Return up to *count* trials to create next.

        Raises:
            StillThinking: If there is no answer yet.
            TransientError: If the algorithm failed; it is asked again after a pause.
        """
        left = self._again_at - _now()
        if left > 0:
            raise TransientError("the algorithm failed and is asked again after a pause", retry_after_seconds=left)
        try:
            answer = await self._answer(snapshot, count)
        except AskFailed as error:
            pause = min(_FIRST_PAUSE_SECONDS * 2.0**self._failures, _LONGEST_PAUSE_SECONDS)
            self._failures, self._again_at = min(self._failures + 1, 16), _now() + pause
            words = f"{error}; running trials go on, no new ones are created, and it is asked again in {pause:g} s"
            self._complain(error, words)
            raise TransientError(words, retry_after_seconds=pause) from error
        self._failures, self._again_at, self.trouble = 0, 0.0, None
        found = answer.proposals
        assert found is not None  # noqa: S101 - it was asked for
        if len(found.proposals) <= count:
            return found
        return Proposals(proposals=found.proposals[:count], exhausted=None)

    async def recommend(self, snapshot: StudySnapshot) -> int | None:
        """Return the index of the algorithm's choice of the winner, None when it does not say: then the best value wins.

        Raises:
            StillThinking: If there is no answer yet.
        """
        try:
            return (await self._answer(snapshot, None)).recommended
        except AskFailed as error:
            self._complain(error, f"{error}; the winner is the trial with the best value")
            return None

    def close(self) -> None:
        """Give up what was asked."""
        if self._asked is not None:
            self._asked.task.cancel()
            self._asked = None

    async def _answer(self, snapshot: StudySnapshot, count: int | None) -> Answer:
        asked = self._asked
        if asked is None or not asked.fits(snapshot, final=count is None):
            self.close()
            asked = self._asked = self._begin(snapshot, count)
        done, _ = await asyncio.wait({asked.task}, timeout=self._desk.times.patience_seconds)
        if not done:
            asked.task.add_done_callback(lambda _: self._wake())
            raise StillThinking("the algorithm still thinks", retry_after_seconds=self._desk.times.patience_seconds)
        self._asked = None
        return asked.task.result()

    def _begin(self, snapshot: StudySnapshot, count: int | None) -> _Asked:
        async def ask() -> Answer:
            began = _now()
            answer = await self._desk.ask(self._study, snapshot, count)
            self._observer(snapshot.spec.algorithm.name.value, _now() - began)
            return answer

        return _Asked(
            spec=snapshot.spec, index=snapshot.next_index, final=count is None, task=asyncio.ensure_future(ask())
        )

    def _complain(self, error: AskFailed, words: str) -> None:
        self.trouble = Remark(type=CONDITION, status="False", reason=error.reason, message=words)
        logger.warning("No suggestion", extra={"study": self._study, "reason": error.reason, "error": str(error)})


def _now() -> float:
    return asyncio.get_running_loop().time()
