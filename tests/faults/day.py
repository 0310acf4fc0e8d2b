"""Hours of an operator's life on a clock that does not wait: studies come, are edited and go, and the API server is away now and then.

    PYTHONPATH=tests python -m faults.day --hours 24 --seed 1

Prints what happened and what was wrong; the exit code is 1 when anything was.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faults.cases import CASES
from faults.oracles import Witness
from faults.plans import Mode, Plan
from faults.simulated import Stage
from faults.virtual_time import VirtualLoop
from seatrial.adapters.kubernetes import names
from seatrial.adapters.kubernetes.port import PODS, STUDIES, TRIALS, PatchKind
from seatrial.adapters.local.simulated import Script
from seatrial.api.study import Study
from seatrial.api.trial import Trial

__all__ = ["Day", "Told", "run_day"]

_PAUSE_SECONDS = 240.0
_OUTAGE_EVERY_SECONDS = 1800.0
_MOST_STUDIES = 12
_REST_SECONDS = 3600.0
# A list that is read anew finds what no watch told of.
_SETTLE_SECONDS = 1800.0
_OUTAGES = (Mode.THROTTLED, Mode.UNAVAILABLE, Mode.UNAUTHORIZED, Mode.REFUSED, Mode.HANGING, Mode.EXPIRED)
_OVER = frozenset({"True", "False"})


@dataclass(slots=True)
class Told:
    """What became of the hours.

    Attributes:
        done: How often what was done.
        trials: Trials that came to an end in studies that are still there.
        lives: Operator processes that there were: one whose lease runs out in an outage ends, and another one begins.
        wrong: What must not be and was.
        mark: Of all writes and their times; the same seed has the same one.
    """

    done: Counter[str] = field(default_factory=Counter)
    trials: int = 0
    lives: int = 0
    wrong: list[str] = field(default_factory=list)
    mark: str = ""


class Day(Stage):
    """A cluster for some hours.

    Args:
        loop: Its time.
        hours: How long something is done; then all that is left may end.
        seed: Chooses what is done, when, and to which study.
    """

    def __init__(self, loop: VirtualLoop, *, hours: float, seed: int) -> None:
        super().__init__(CASES["random"], None, loop)
        # No fault here needs earlier versions, and a day has too many of them.
        self.server.listeners.remove(self.past._remember)
        self.seconds, self.told = hours * 3600.0, Told()
        self.seed, self._dice = seed, random.Random(seed)  # noqa: S311 - no secret
        self._studies: dict[str, Study] = {}
        self._witnesses: dict[str, Witness] = {}
        self._tasks_at_rest: int | None = None
        self._writes = hashlib.sha256()

    async def run_hours(self) -> Told:
        """Let the hours pass, then hold everything to what must be."""
        task = asyncio.current_task()
        assert task is not None
        self._own.add(task)
        self._keep(self._play_node())
        operate = self._keep(self._operate())
        await asyncio.sleep(60.0)
        self._tasks_at_rest = self._count_tasks()
        outages = self._keep(self._fail())
        try:
            while self.loop.time() < self.seconds:
                await asyncio.sleep(self._dice.expovariate(1.0 / _PAUSE_SECONDS))
                self._act()
                if operate.done():
                    operate.result()
            outages.cancel()
            self._resume()
            await self._rest()
            self._judge()
        finally:
            await self._clear()
        self.told.lives, self.told.mark = self.lives, self._writes.hexdigest()[:12]
        return self.told

    # ---- what users and servers do ----------------------------------------------------------------------------------------------

    def _act(self) -> None:
        there = sorted(study["metadata"]["name"] for study in self.server.peek(STUDIES))
        acts: list[tuple[int, Callable[[str], None]]] = [
            (1, self._suspend),
            (2, self._wake),
            (2, self._extend),
            (1, self._delete),
        ]
        if len(there) >= _MOST_STUDIES:
            self._delete(self._dice.choice(there))
        elif not there or self._dice.random() < 0.6:
            self._create()
        else:
            (act,) = self._dice.choices([act for _, act in acts], [weight for weight, _ in acts])
            act(self._dice.choice(there))

    def _create(self) -> None:
        case = CASES[self._dice.choice(sorted(CASES))]
        study = case.build(f"{case.name}-{self.told.done['created']}")
        name = study.metadata.name
        self._studies[name] = study
        self._witnesses[name] = Witness(study.spec.budget.parallel_trials)
        self.server.create(STUDIES, "default", {"metadata": {"name": name}, "spec": study.spec.to_wire()})
        self.told.done["created"] += 1

    def _suspend(self, name: str) -> None:
        self._edit("suspended", name, {"suspend": True})

    def _wake(self, name: str) -> None:
        self._edit("resumed", name, {"suspend": False})

    def _extend(self, name: str) -> None:
        # The others end by their own grid, population or order of trials.
        if name.startswith("random-"):
            known = self.server.get(STUDIES, "default", name)["spec"]["budget"]["maxTrials"]
            self._edit("extended", name, {"budget": {"maxTrials": known + 2}})

    def _edit(self, word: str, name: str, spec: dict[str, Any]) -> None:
        self.server.patch(STUDIES, "default", name, {"spec": spec}, kind=PatchKind.MERGE)
        self.told.done[word] += 1

    def _delete(self, name: str) -> None:
        self.server.delete(STUDIES, "default", name)
        self.told.done["deleted"] += 1

    def _resume(self) -> None:
        for study in self.server.peek(STUDIES):
            self.server.patch(
                STUDIES, "default", study["metadata"]["name"], {"spec": {"suspend": False}}, kind=PatchKind.MERGE
            )

    async def _fail(self) -> None:
        """Let the API server be away: mostly for moments, sometimes for longer than the lease, seldom for ten minutes."""
        while True:
            await asyncio.sleep(self._dice.expovariate(1.0 / _OUTAGE_EVERY_SECONDS))
            seconds = self._dice.choice([2, 5, 8, 8, 30, 30, 90, 600])
            mode = self._dice.choice(_OUTAGES)
            self.injector.plan = Plan(case="random", mode=mode, at=self.injector.writes + 1, seconds=seconds)
            self.injector.began = None
            self.told.done[f"outage: {mode}"] += 1
            await asyncio.sleep(seconds + 60.0)

    # ---- what is seen ------------------------------------------------------------------------------------------------------------

    def _script(self, trial: Trial, number: int) -> Script:
        name = trial.spec.study
        return CASES[name.rpartition("-")[0]].story(self._studies[name], trial, number)

    def _see(self) -> None:
        self._writes.update(f"{self.loop.time()} {self.server.log}\n".encode())
        self.server.log.clear()
        pods: dict[str, list[Any]] = {}
        for pod in self.server.peek(PODS):
            pods.setdefault(pod["metadata"]["labels"][names.LABEL_STUDY], []).append(pod)
        for name, found in pods.items():
            self._witnesses[name].see_pods(found)

    def _count_tasks(self) -> int:
        return len([task for task in asyncio.all_tasks() if task not in self._own])

    async def _rest(self) -> None:
        """Return when every study is over and its Pods are gone, or when that takes too long."""
        end = self.loop.time() + _REST_SECONDS
        while self.loop.time() < end and (  # noqa: ASYNC110 - in time that does not wait
            self.server.peek(PODS) or any(map(_goes_on, self.server.peek(STUDIES)))
        ):
            await asyncio.sleep(10.0)
        await asyncio.sleep(_SETTLE_SECONDS)

    def _judge(self) -> None:
        wrong = self.told.wrong
        there = {study["metadata"]["name"]: study for study in self.server.peek(STUDIES)}
        indices: dict[str, list[int]] = {name: [] for name in there}
        for trial in self.server.peek(TRIALS):
            name = trial["spec"]["study"]
            if name not in there:
                wrong.append(f"{trial['metadata']['name']} is there, its study is not")
                continue
            indices[name].append(trial["spec"]["index"])
            if _goes_on(trial):
                wrong.append(f"{trial['metadata']['name']} has not ended")
        for name, study in there.items():
            if _goes_on(study):
                wrong.append(f"{name} has not ended: {study.get('status')}")
            if sorted(indices[name]) != [*range(len(indices[name]))]:
                wrong.append(f"indices of {name} are {sorted(indices[name])}")
        self.told.trials = sum(map(len, indices.values()))
        wrong += [f"{pod['metadata']['name']} is left" for pod in self.server.peek(PODS)]
        wrong += [f"{name}: {words}" for name, witness in self._witnesses.items() for words in witness.violations]
        self._judge_operator({*there})

    def _judge_operator(self, there: set[str]) -> None:
        operator, wrong = self.operator, self.told.wrong
        assert operator is not None
        queue = operator.queue
        kept = {key.name for key in (*operator._worker._benches, *queue._due, *queue._failures)}
        if kept - there:
            wrong.append(f"the operator still thinks of {sorted(kept - there)}")
        if len(queue):
            wrong.append(f"{len(queue)} studies wait in the queue")
        wrong += operator.troubles()
        if self._count_tasks() != self._tasks_at_rest:
            wrong.append(f"{self._count_tasks()} tasks, and there were {self._tasks_at_rest} at the beginning")


def _goes_on(record: dict[str, Any]) -> bool:
    conditions = (record.get("status") or {}).get("conditions", ())
    return not any(held["type"] == "Succeeded" and held["status"] in _OVER for held in conditions)


def run_day(*, hours: float, seed: int) -> Told:
    """Let hours pass."""

    async def main() -> Told:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return await Day(loop, hours=hours, seed=seed).run_hours()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def main() -> int:
    """Carry out what the command line says; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # Of what an operator says of outages a day is full.
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    told = run_day(hours=options.hours, seed=options.seed)
    did = ", ".join(f"{count} {word}" for word, count in sorted(told.done.items()))
    lines = [
        f"{options.hours:g} hours in {time.monotonic() - began:.0f} s, seed {options.seed}, {told.lives} lives of the operator; mark {told.mark}",
        f"{did}; {told.trials} trials in studies that are there",
        *(f"WRONG: {words}" for words in told.wrong),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if told.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
