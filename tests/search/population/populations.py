"""A population in miniature: an algorithm, a training without weights, and workers that finish in any order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from seatrial.search.algorithms import ALGORITHMS
from seatrial.search.base import Algorithm, Ask, Evaluated, History, Pending, Saved, Settings
from seatrial.search.parameters import Float
from seatrial.search.space import SearchSpace

SPACE = SearchSpace([Float(name="lr", low=0.001, high=1.0, log=True)])

Train = Callable[[Pending, Evaluated | None], float | None]
"""Value of a trial given its source; None fails it."""


def a_pbt(
    space: SearchSpace = SPACE, *, seed: int = 1, max_step: int = 9, initial=(), mutable=(), **settings
) -> Algorithm:
    """Make the algorithm with 4 members that are judged every 3 steps; words and numbers by snake_case name."""
    given = {"population_size": 4, "ready_interval": 3, **settings}
    return ALGORITHMS["pbt"](
        space,
        Settings(
            seed=seed,
            max_step=max_step,
            numbers={name: float(value) for name, value in given.items() if not isinstance(value, str)},
            words={name: value for name, value in given.items() if isinstance(value, str)},
            initial=initial,
            mutable=frozenset(mutable),
        ),
    )


def falling(trial: Pending, source: Evaluated | None) -> float:
    """A loss that falls faster the closer lr is to 0.1, from where the source stood."""
    before = source.values[0] if source else 10.0
    steps = (trial.until_step or 0) - (trial.source.step if trial.source else 0)
    return before - steps / (1.0 + abs(math.log10(float(trial.assignment["lr"])) + 1.0))


@dataclass
class Rehearsal:
    """A study that only knows its algorithm."""

    algorithm: Algorithm
    train: Train = falling
    parallel: int = 4
    order: int = 0
    saves: bool = True
    history: History = field(default_factory=History)
    answer: Ask = field(default_factory=Ask)

    def run(self, *, trials: int = 1000) -> Rehearsal:
        """Go on until the algorithm is exhausted."""
        rng = np.random.default_rng(self.order)
        while True:
            self.answer = Ask()
            while len(self.history.pending) < self.parallel and self.history.next_index < trials:
                self.answer = self.algorithm.ask(self.history, 1)
                if not self.answer.suggestions:
                    break
                self.history = self.history.with_suggestion(self.answer.suggestions[0])
            if not self.history.pending:
                return self
            self.finish(self.history.pending[int(rng.integers(len(self.history.pending)))])

    def finish(self, done: Pending) -> None:
        """End one trial."""
        by_index = {trial.index: trial for trial in self.history.evaluated}
        value = self.train(done, by_index.get(done.source.trial) if done.source else None)
        failed = value is None
        ended = Evaluated(
            index=done.index,
            assignment=done.assignment,
            values=(math.inf if value is None else value,),
            failed=failed,
            step=done.until_step,
            until_step=done.until_step,
            saved=Saved(step=done.until_step or 0, digest=f"sha256:{done.index}")
            if self.saves and not failed
            else None,
            source=done.source,
            membership=done.membership,
        )
        self.history = History(
            evaluated=tuple(sorted([*self.history.evaluated, ended], key=lambda trial: trial.index)),
            pending=tuple(trial for trial in self.history.pending if trial is not done),
            next_index=self.history.next_index,
        )

    @property
    def trials(self) -> tuple[Evaluated, ...]:
        """What ended, by index."""
        return self.history.evaluated

    def moves(self) -> list[str]:
        """Return ``move<source`` of each trial by index."""
        return [f"{t.membership.move}<{t.source.trial if t.source else '-'}" for t in self.trials]
