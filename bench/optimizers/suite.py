"""The tasks of a benchmark suite: a directory with ``space.py``, ``tasks.py`` and ``data/``.

The suite gives tasks by name and seed, each with a space, a true value and a noisy observation for each assignment; noise depends
on (task, seed, number of the evaluation) alone, so that all optimisers see the same. ``data/reference.json`` holds (median best of
random search at 100, best known) by task; ``data/peers.jsonl.gz`` the published traces of other optimisers.
"""

import gzip
import importlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from seatrial.search.parameters import Categorical, Condition, Float, Int, Parameter
from seatrial.search.space import SearchSpace

__all__ = ["CHECKPOINTS", "Run", "Suite", "default_suite", "search_space"]

CHECKPOINTS = (25, 50, 100)
"""Numbers of evaluations at which regret is looked at."""


def default_suite() -> Path | None:
    """Return the suite named by SEATRIAL_BENCH_SUITE, else the one beside this checkout, else None."""
    named = os.environ.get("SEATRIAL_BENCH_SUITE")
    beside = Path(__file__).resolve().parents[3] / "shared" / "bench"
    return Path(named) if named else beside if beside.is_dir() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One optimisation: what was evaluated in which order.

    Attributes:
        engine: Name of the optimiser.
        task: Name of the task.
        batch: Evaluations asked for at once.
        seed: Of the task and the optimiser.
        budget: Evaluations wanted.
        true: True value of each evaluation.
        observed: What the optimiser was told.
        seconds: Spent by the optimiser in all.
        chosen: True value of the trial that the optimiser recommends at 25, 50 and 100 evaluations, if it recommends any.
    """

    engine: str
    task: str
    batch: int
    seed: int
    budget: int
    true: tuple[float, ...]
    observed: tuple[float, ...]
    seconds: float
    chosen: tuple[float, ...] = ()

    @property
    def identity(self) -> tuple[str, str, int, int, int]:
        """What makes it a repetition of another run."""
        return (self.engine, self.task, self.batch, self.seed, self.budget)


class Suite:
    """Tasks, the normalisation of their values, and published traces."""

    def __init__(self, root: Path) -> None:
        """Load the suite's modules.

        Raises:
            FileNotFoundError: If *root* is no suite.
        """
        if not (root / "tasks.py").is_file():
            raise FileNotFoundError(f"{root} has no tasks.py: name a suite with --suite or SEATRIAL_BENCH_SUITE")
        self.root = root
        sys.path.insert(0, str(root))
        self._tasks = importlib.import_module("tasks")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All tasks."""
        return tuple(self._tasks.ALL)

    def task(self, name: str, seed: int):
        """Return a task of the suite."""
        return self._tasks.get(name, seed)

    @cached_property
    def _reference(self) -> dict[str, tuple[float, float]]:
        return json.loads((self.root / "data" / "reference.json").read_text())

    def scale(self, task: str, seed: int) -> tuple[float, float] | None:
        """Return the values that count as regret 1 and 0, None where the suite does not say."""
        key = task if task.startswith("real") else f"{task}#{seed % 5}"
        found = self._reference.get(key)
        return None if found is None else (found[0], found[1])

    def peers(self) -> Iterator[Run]:
        """Return the published traces."""
        path = self.root / "data" / "peers.jsonl.gz"
        if not path.is_file():
            return
        with gzip.open(path, "rt") as lines:
            for line in lines:
                raw = json.loads(line)
                yield Run(
                    engine=raw["adapter"],
                    task=raw["task"],
                    batch=raw["batch"],
                    seed=raw["seed"],
                    budget=raw["budget"],
                    true=tuple(raw["true"]),
                    observed=tuple(raw["obs"] or raw["true"]),
                    seconds=float(raw.get("total") or 0.0),
                )


def search_space(space) -> SearchSpace:
    """Translate a space of the suite."""
    return SearchSpace([_parameter(p) for p in space.params])


def _parameter(p) -> Parameter:
    when = Condition(parent=p.parent, values=tuple(p.parent_values)) if p.parent else None
    if p.kind == "cat":
        return Categorical(name=p.name, choices=tuple(p.choices), when=when)
    if p.kind == "int":
        return Int(name=p.name, low=int(p.low), high=int(p.high), log=p.log, when=when)
    return Float(name=p.name, low=float(p.low), high=float(p.high), log=p.log, when=when)
