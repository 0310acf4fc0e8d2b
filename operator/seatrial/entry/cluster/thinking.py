"""The process that thinks: reads questions from its standard input, writes answers to its standard output, one at a time.

It is started by :mod:`seatrial.entry.cluster.asking`, belongs to nobody else, and ends when its input does. Algorithms and what
they need (SciPy, Optuna) are loaded only here. Nothing is kept but to be faster: of each study the trials that were sent before.
"""

import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import BinaryIO

from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot
from seatrial.decide.suggest import Proposals, Proposer

__all__ = ["HEADER", "STUDIES_KEPT", "Answer", "Question", "Thinker", "main", "run"]

HEADER = struct.Struct(">Q")
"""Before each message: its length in bytes."""

STUDIES_KEPT = 32
"""Of so many studies a process keeps what it was sent, those asked about last; who asks keeps account of the same ones."""

_PRELOADED = tuple(f"seatrial.search.algorithms.{name}" for name in ("auto", "sobol", "gp", "tpe"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question to the algorithm of a study.

    Attributes:
        study: Identity of the study.
        snapshot: The study, without its trials.
        length: How many trials there are.
        fresh: Whether what was sent before is to be forgotten.
        changed: Trials that are not as they were sent before, by place.
        count: Trials wanted; None asks which one is the winner.
    """

    study: str
    snapshot: StudySnapshot
    length: int
    fresh: bool
    changed: Mapping[int, TrialSnapshot]
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an algorithm says.

    Attributes:
        trouble: The exception in words when there was one, empty otherwise.
    """

    proposals: Proposals | None = None
    recommended: int | None = None
    trouble: str = ""


@dataclass(slots=True)
class _Known:
    """What is kept of a study."""

    trials: list[TrialSnapshot]
    proposer: Proposer = field(default_factory=Proposer)


class Thinker:
    """Answers questions."""

    def __init__(self) -> None:
        self._studies: OrderedDict[str, _Known] = OrderedDict()

    def answer(self, question: Question) -> Answer:
        """Answer one question; what goes wrong is an answer, too."""
        try:
            answer = self._answer(question)
        except Exception as error:  # noqa: BLE001 - one study's bug must not take the others' process
            # Both ends of the pipe keep the same studies.
            self._studies.pop(question.study, None)
            return Answer(trouble=f"{type(error).__name__}: {error}")
        if len(self._studies) > STUDIES_KEPT:
            self._studies.popitem(last=False)
        return answer

    def _answer(self, question: Question) -> Answer:
        known = self._recall(question)
        snapshot = replace(question.snapshot, trials=tuple(known.trials))
        if question.count is None:
            return Answer(recommended=known.proposer.recommend(snapshot))
        return Answer(proposals=known.proposer.propose(snapshot, question.count))

    def _recall(self, question: Question) -> _Known:
        known = self._studies.pop(question.study, None)
        if known is None or question.fresh:
            known = _Known(trials=[])
        self._studies[question.study] = known
        trials = known.trials
        del trials[question.length :]
        for place, trial in sorted(question.changed.items()):
            if place < len(trials):
                trials[place] = trial
            else:
                trials.append(trial)
        if len(trials) != question.length:
            raise ValueError(f"{len(trials)} of {question.length} trials are known")
        return known


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer until there is nothing more to read."""
    thinker = Thinker()
    while len(header := source.read(HEADER.size)) == HEADER.size:
        (length,) = HEADER.unpack(header)
        # Only the operator itself writes into this pipe.
        answer = thinker.answer(pickle.loads(source.read(length)))  # noqa: S301
        written = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        sink.write(HEADER.pack(len(written)) + written)
        sink.flush()


def run() -> None:
    """Be the process."""
    output = sys.stdout.buffer
    # What a library prints must not get between the answers.
    sys.stdout = sys.stderr
    # The first question must not wait for libraries that can be loaded before it comes.
    for name in _PRELOADED:
        import_module(name)
    main(sys.stdin.buffer, output)
