"""Asks the algorithm of a study that runs on this machine."""

import asyncio
import time

from seatrial.decide.snapshot import StudySnapshot
from seatrial.decide.suggest import Proposals
from seatrial.reconcile import ThreadSuggester
from seatrial.search.algorithms import TRAITS

__all__ = ["NearSuggester"]

# So long may a pass be held up by an answer. To ask in a thread costs a tenth of a millisecond, but who models may think for a second.
_AT_ONCE_SECONDS = 0.005


class NearSuggester(ThreadSuggester):
    """Asks at once where the algorithm has nothing to think about and the last answer came at once; in a thread otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self._took_seconds: float | None = None

    async def propose(self, snapshot: StudySnapshot, count: int) -> Proposals:
        """Return up to *count* trials to create next."""
        # The first answer may take long: what is asked is loaded for it.
        known = self._took_seconds is not None and self._took_seconds < _AT_ONCE_SECONDS
        if known and not TRAITS[snapshot.spec.algorithm.name.value].learns:
            return self._ask(snapshot, count)
        return await asyncio.to_thread(self._ask, snapshot, count)

    def _ask(self, snapshot: StudySnapshot, count: int) -> Proposals:
        begun = time.thread_time()
        found = self._proposer.propose(snapshot, count)
        self._took_seconds = time.thread_time() - begun
        return found
