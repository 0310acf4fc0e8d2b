"""Asks algorithms in other processes, with a deadline.

A model that thinks too long, or takes its process down, costs its study a pause and the others at most a little time. There is one
process while questions are short; another one joins when a question takes long, and leaves when it has nothing to do. They keep
nothing that matters: the same history gets the same answer from any of them.
"""

import asyncio
import contextlib
import logging
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from seatrial.decide.changes import changed_places
from seatrial.decide.curves import Curve
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot
from seatrial.entry.cluster.thinking import HEADER, STUDIES_KEPT, Answer, Question
from seatrial.entry.threads import limit_threads
from seatrial.errors import TransientError

__all__ = ["AskDesk", "AskFailed", "AskTimes", "StillThinking"]

logger = logging.getLogger(__name__)

_PROGRAM = "from seatrial.entry.cluster.thinking import run; run()"
# Also a process that is killed takes a moment to go.
_KILL_SECONDS = 60.0


class StillThinking(TransientError):  # noqa: N818 - what it says reads as a word of the sentence
    """There is no answer yet; whoever asked is woken when there is."""


class AskFailed(Exception):  # noqa: N818
    """There will be no answer to a question.

    Attributes:
        reason: CamelCase: AskTimedOut, AskProcessDied or AlgorithmFailed.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AskTimes:
    """How long things take.

    Attributes:
        deadline_seconds: How long one question may take.
        patience_seconds: How long a pass waits for an answer before it goes on without.
        grow_after_seconds: How long a question waits for a process before another one is started.
        idle_seconds: How long a further process without questions stays.
    """

    deadline_seconds: float = 60.0
    patience_seconds: float = 1.0
    grow_after_seconds: float = 1.0
    idle_seconds: float = 300.0


@dataclass(slots=True, eq=False)
class _Seat:
    """A place for a process; it is empty until it is needed, and after its process was killed.

    Attributes:
        sent: What the process knows of each study: trials by place.
    """

    process: asyncio.subprocess.Process | None = None
    sent: dict[str, Sequence[TrialSnapshot]] = field(default_factory=dict)
    retirement: asyncio.TimerHandle | None = None


class AskDesk:
    """Where questions are handed in. Belongs to one event loop.

    Args:
        times: How long things take.
        most_processes: Most processes.
        program: Python that the process runs.
        on_restart: Told when a process is lost.
        busy: Watches that what is done inside is over within so many seconds.
    """

    def __init__(
        self,
        *,
        times: AskTimes | None = None,
        most_processes: int = 2,
        program: str = _PROGRAM,
        on_restart: Callable[[], None] = lambda: None,
        busy: Callable[[str, float], AbstractContextManager[None]] = lambda *_: contextlib.nullcontext(),
    ) -> None:
        self.times = times or AskTimes()
        self._most, self._program, self._on_restart = most_processes, program, on_restart
        self._busy = busy
        self._seats: list[_Seat] = []
        # The one used last comes first, so that the others may become idle and leave.
        self._free: asyncio.LifoQueue[_Seat] = asyncio.LifoQueue()
        self._leaving: set[asyncio.Task[None]] = set()
        self._grow()

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes that live."""
        return tuple(seat.process.pid for seat in self._seats if seat.process is not None)

    async def ask(self, study: str, snapshot: StudySnapshot, count: int | None) -> Answer:
        """Ask a question.

        Args:
            study: Identity of the study.
            snapshot: What the algorithm may know.
            count: Trials wanted; None asks which one is the winner.

        Raises:
            AskFailed: If there is no answer within the deadline, or the process or the algorithm failed.
        """
        seat = await self._take()
        with self._busy(f"ask process {self._seats.index(seat)}", self.times.deadline_seconds + _KILL_SECONDS):
            answer = await self._ask(seat, study, snapshot, count)
        if answer.trouble:
            raise AskFailed("AlgorithmFailed", f"{snapshot.spec.algorithm.name.value} failed: {answer.trouble}")
        return answer

    async def _ask(self, seat: _Seat, study: str, snapshot: StudySnapshot, count: int | None) -> Answer:
        try:
            async with asyncio.timeout(self.times.deadline_seconds):
                return await self._exchange(seat, study, snapshot, count)
        except BaseException as error:
            # Whatever it was, the process is in the middle of something.
            await self._kill(seat)
            self._on_restart()
            raise self._describe(error) from error
        finally:
            self._give_back(seat)

    async def warm(self) -> None:
        """Start the first process, so that the first question of all need not wait for it."""
        seat = self._seats[0]
        if seat.process is None:
            seat.process = await self._start()

    async def close(self) -> None:
        """End all processes."""
        for seat in self._seats:
            if seat.retirement is not None:
                seat.retirement.cancel()
            await self._kill(seat)
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def _describe(self, error: BaseException) -> BaseException:
        if isinstance(error, TimeoutError):
            words = f"the algorithm did not answer within {self.times.deadline_seconds:g} s; its process was ended"
            return AskFailed("AskTimedOut", words)
        if isinstance(error, OSError | EOFError | asyncio.IncompleteReadError | pickle.UnpicklingError):
            return AskFailed("AskProcessDied", "the process that asks the algorithm died; was it out of memory?")
        return error

    # ---- seats -------------------------------------------------------------------------------------------------------

    async def _take(self) -> _Seat:
        if len(self._seats) < self._most:
            try:
                async with asyncio.timeout(self.times.grow_after_seconds):
                    return await self._free.get()
            except TimeoutError:
                if len(self._seats) < self._most:
                    self._grow()
        return await self._free.get()

    def _grow(self) -> None:
        seat = _Seat()
        self._seats.append(seat)
        self._free.put_nowait(seat)

    def _give_back(self, seat: _Seat) -> None:
        if seat is not self._seats[0]:
            loop = asyncio.get_running_loop()
            seat.retirement = loop.call_later(self.times.idle_seconds, self._retire, seat)
        self._free.put_nowait(seat)

    def _retire(self, seat: _Seat) -> None:
        """Let an idle process go: it leaves when there is nothing more to read."""
        process, seat.process, seat.retirement = seat.process, None, None
        seat.sent.clear()
        if process is not None:
            task = asyncio.ensure_future(_see_off(process))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _kill(self, seat: _Seat) -> None:
        process, seat.process = seat.process, None
        seat.sent.clear()
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await _see_off(process)

    # ---- talking -----------------------------------------------------------------------------------------------------

    async def _exchange(self, seat: _Seat, study: str, snapshot: StudySnapshot, count: int | None) -> Answer:
        if seat.retirement is not None:
            seat.retirement.cancel()
            seat.retirement = None
        if seat.process is None or seat.process.returncode is not None:
            seat.sent.clear()
            seat.process = await self._start()
        process = seat.process
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - made with pipes
        question = _build_question(seat.sent.pop(study, None), study, snapshot, count)
        written = pickle.dumps(question, pickle.HIGHEST_PROTOCOL)
        process.stdin.write(HEADER.pack(len(written)) + written)
        await process.stdin.drain()
        (length,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
        # Only our own process writes into this pipe.
        answer: Answer = pickle.loads(await process.stdout.readexactly(length))  # noqa: S301
        if not answer.trouble:
            seat.sent[study] = snapshot.trials
            if len(seat.sent) > STUDIES_KEPT:
                # The process has just forgotten the same one: both let go of the study asked about least recently.
                del seat.sent[next(iter(seat.sent))]
        return answer

    async def _start(self) -> asyncio.subprocess.Process:
        limit_threads()
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=dict(os.environ),
        )


async def _see_off(process: asyncio.subprocess.Process) -> None:
    """Close its input, by which a process ends that is not killed; wait until it is gone and its pipes are closed."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(OSError):
        await process.communicate()


def _build_question(
    sent: Sequence[TrialSnapshot] | None, study: str, snapshot: StudySnapshot, count: int | None
) -> Question:
    """Return a question with only what is new: two thousand finished trials are not sent again."""
    trials = snapshot.trials
    changed = {place: _slim(trials[place]) for place in changed_places(sent or (), trials)}
    return Question(
        study=study,
        snapshot=replace(snapshot, trials=()),
        length=len(trials),
        fresh=sent is None,
        changed=changed,
        count=count,
    )


def _slim(trial: TrialSnapshot) -> TrialSnapshot:
    """Return the trial without what no algorithm looks at."""
    return replace(trial, curve=Curve(), live=None, message="", stop_message="")
