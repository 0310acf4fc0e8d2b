"""Which plans are carried out: every write of every study under every fault, or a sample of them by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from faults.plans import LASTING, LONG_SECONDS, SHORT_SECONDS, Mode, Plan

__all__ = ["KILLS_A_RUN", "every_write", "long_outages", "sample", "storms"]

KILLS_A_RUN = 10


def every_write(case: str, writes: int, mode: Mode, *, seed: int = 0) -> Iterator[Plan]:
    """Yield a plan for each write of a study."""
    for at in range(1, writes + 1):
        yield Plan(case=case, mode=mode, at=at, seconds=SHORT_SECONDS if mode in LASTING else 0, seed=seed + at)


def sample(case: str, writes: int, mode: Mode, number: int, *, seed: int = 0) -> Iterator[Plan]:
    """Yield some of those plans, spread over the life of the study."""
    chance = random.Random(f"{seed} {case} {mode}")  # noqa: S311 - no secret
    for part in range(number):
        low, high = 1 + part * writes // number, (part + 1) * writes // number
        at = chance.randint(low, max(low, high))
        yield Plan(case=case, mode=mode, at=at, seconds=SHORT_SECONDS if mode in LASTING else 0, seed=seed + at)


def long_outages(case: str, writes: int, mode: Mode, number: int, *, seed: int = 0) -> Iterator[Plan]:
    """Yield plans of faults that last ten minutes."""
    chance = random.Random(f"{seed} {case} {mode} long")  # noqa: S311 - no secret
    for _ in range(number):
        yield Plan(
            case=case, mode=mode, at=chance.randint(1, writes), seconds=LONG_SECONDS, seed=chance.randrange(1000)
        )


def storms(case: str, number: int, *, seed: int = 0) -> Iterator[Plan]:
    """Yield runs in which the operator is killed again and again."""
    for one in range(number):
        yield Plan(case=case, mode=Mode.KILLED, at=KILLS_A_RUN, seed=seed + one)
