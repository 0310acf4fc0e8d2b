"""Churn on a real API server for twenty minutes: studies come, are edited and go, the way to the server breaks; nothing of the operator may grow.

    make soak
    make soak ARGUMENTS="--minutes 3 --seed 5"

Exits with 1 where memory, files, sockets, threads, tasks or the queue grew, the operator ended, its log tells of a bug, or something was left over.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from adapters.kubernetes.contract import a_study_object
from control_plane.client import STUDIES, TRIALS, Answer, Client
from control_plane.cluster import run_control_plane, wait_until
from control_plane.hostile.nodes import Nodes
from control_plane.hostile.run import open_namespace
from control_plane.hostile.watching import Operated, Sample, operate, slope_per_hour
from faults.plans import Mode, Plan
from faults.proxy import FaultyProxy, run_proxy

__all__ = ["Soak", "find_growth", "main"]

# Nothing is judged before caches, pools and the first garbage collections have their size.
_SETTLING = 0.35
_MOST_MB_AN_HOUR = 30.0
_LIVE = 12
_OUTAGE_EVERY_SECONDS = 45.0
# Shorter than the lease's deadline: after a longer one an operator ends as it should, and another process begins at nothing. So it is
# the way to the server that is cut: a server that starts again takes as long as the machine likes.
_OUTAGE_SECONDS = (1, 4)
# Not one of them ends a process: to a watch that is answered by status 410 Kopf's answer is to end, and begin anew.
_OUTAGES = (
    Mode.REFUSED,
    Mode.HANGING,
    Mode.UNAVAILABLE,
    Mode.THROTTLED,
    Mode.STALE_LIST,
    Mode.CUT_REPLY,
    Mode.LATE_EVENTS,
    Mode.REPLAYED,
)
# Kopf's word for a call that it makes again.
_RETRIED = '"message":"Request attempt #'
_LOST, _AGAIN = '"error":"the lease ', '"message":"Operator has to start again"'
_LEAST_SAMPLES = 40
_TRIES = 5
_ALGORITHMS = ("random", "auto", "tpe", "sobol", "grid")


@dataclass(slots=True)
class Soak:
    """One soak.

    Attributes:
        done: What was done, by kind.
        begin: Starts an operator.
        lives: Operators that there were. On a machine with too much to do one may lose its lease, and ends as it should.
        samples: Each of them over time.
        faults: What was wrong.
    """

    proxy: FaultyProxy
    api: Client
    namespace: str
    begin: Callable[[], Operated]
    seed: int
    tell: Callable[[str], None] = lambda _: None
    done: dict[str, int] = field(default_factory=dict)
    lives: list[Operated] = field(default_factory=list)
    samples: list[list[Sample]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    outages: list[str] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """Let it live so long, then clear everything away."""
        chance = random.Random(self.seed)  # noqa: S311 - no secret
        self._begin()
        began = time.monotonic()
        next_sample, next_outage = 0.0, _OUTAGE_EVERY_SECONDS
        while (now := time.monotonic() - began) < seconds:
            if now >= next_sample:
                next_sample = now + max(2.0, seconds / 120)
                self._look()
                self.tell(f"{now:.0f} s: {self.done} {self.samples[-1][-1:]}")
            if now >= next_outage and now < seconds - 60:
                next_outage = now + _OUTAGE_EVERY_SECONDS
                self._cut_the_way(chance)
            self._churn(chance)
            time.sleep(chance.uniform(0.2, 1.0))
        self._clear()

    @property
    def longest(self) -> list[Sample]:
        """The longest life."""
        return max(self.samples, key=len)

    def _begin(self) -> None:
        """Begin an operator; on a machine with too much to do the first one may not lead in time."""
        for left in reversed(range(_TRIES)):
            try:
                self.lives.append(self.begin())
                break
            except TimeoutError:
                if not left:
                    raise
        self.samples.append([])

    def _look(self) -> None:
        """Look at the operator; begin another one where it has ended."""
        operator = self.lives[-1].operator
        try:
            self.samples[-1].append(self.lives[-1].sample())
        except (RuntimeError, OSError) as error:
            try:
                operator.popen.wait(30)
            except subprocess.TimeoutExpired:
                self.faults.append(f"the operator does not answer: {error}")
            if _LOST not in operator.text():
                self.faults.append(f"the operator ended by itself: {operator.text()[-2000:]}")
            self._begin()

    def _churn(self, chance: random.Random) -> None:
        path = STUDIES.format(namespace=self.namespace)
        # As many live studies all the time: what an operator must know grows with them, and that is no leak.
        kind = "create" if len(self._names) < _LIVE else chance.choice(["delete", "edit", "edit", "suspend"])
        if kind == "create":
            name = f"s-{self.done.get('create', 0)}"
            budget = {"maxTrials": chance.randint(2, 60), "parallelTrials": chance.randint(1, 4)}
            algorithm = {"name": chance.choice(_ALGORITHMS), "seed": 1}
            if algorithm["name"] == "grid":
                algorithm["grid"] = {"points": 5}
            body = a_study_object(name, budget=budget, algorithm=algorithm, metrics={"source": "termination-message"})
            if self._did(kind, self.api.create(path, body)):
                self._names.append(name)
            return
        name = chance.choice(self._names)
        if kind == "delete":
            if self._did(kind, self.api.delete(f"{path}/{name}")):
                self._names.remove(name)
        elif kind == "suspend":
            self._did(kind, self.api.merge(f"{path}/{name}", {"spec": {"suspend": chance.random() < 0.5}}))
        else:
            budget = {"maxTrials": chance.randint(1, 80), "parallelTrials": chance.randint(1, 6)}
            self._did(kind, self.api.merge(f"{path}/{name}", {"spec": {"budget": budget}}))

    def _did(self, kind: str, answer: Answer) -> bool:
        self.done[kind] = self.done.get(kind, 0) + 1
        if not answer.is_accepted and answer.code < 500:
            self.faults.append(f"{kind} was refused: {answer.message[:300]}")
        return answer.is_accepted

    def _cut_the_way(self, chance: random.Random) -> None:
        """Let something be wrong between operator and server, from the operator's next write on."""
        mode = _OUTAGES[len(self.outages) % len(_OUTAGES)]
        plan = Plan(case="soak", mode=mode, at=1, seconds=chance.randint(*_OUTAGE_SECONDS), seed=self.seed)
        self.proxy.arm(plan)
        self.outages.append(str(plan))

    def _clear(self) -> None:
        self.proxy.arm(None)
        path = STUDIES.format(namespace=self.namespace)
        for name in self._names:
            self.api.delete(f"{path}/{name}")
        others = (TRIALS.format(namespace=self.namespace), f"/api/v1/namespaces/{self.namespace}/pods")
        try:
            wait_until(
                lambda: not any(self.api.get(each).body["items"] for each in (path, *others)),
                what="everything to go",
                seconds=240,
            )
            wait_until(lambda: self.lives[-1].sample().queue == 0, what="the queue to drain", seconds=60)
        except (TimeoutError, RuntimeError) as error:
            self.faults.append(str(error))
        self._look()
        lines = [line for life in self.lives for line in life.bugs()]
        own = [line for line in lines if not any(words in line for words in (_RETRIED, _LOST, _AGAIN))]
        self.faults += [f"the operator's log: {line[:400]}" for line in own]
        if len(self.longest) < _LEAST_SAMPLES:
            self.faults.append(f"no operator lived for {_LEAST_SAMPLES} samples, so that nothing can be said of growth")
        self.faults += find_growth(self.longest)


def find_growth(samples: list[Sample]) -> list[str]:
    """Return what grew over the later samples, in words.

    A growth of files, sockets, threads or tasks is one of the median of the later half over that of the earlier by more than two and a tenth.
    """
    settled = samples[int(len(samples) * _SETTLING) :]
    found = []
    slope = slope_per_hour(settled, skip=0.0)
    if slope > _MOST_MB_AN_HOUR:
        found.append(f"memory grows by {slope:.1f} MB an hour")
    half = len(settled) // 2
    for name in ("files", "sockets", "threads", "tasks"):
        early, late = (median(getattr(one, name) for one in part) for part in (settled[:half], settled[half:]))
        if late > 1.1 * early + 2:
            found.append(f"{name} grew from {early:g} to {late:g}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Soak; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="file for everything, as JSON")
    given = parser.parse_args(arguments)
    _say(f"seed {given.seed}")
    with (
        tempfile.TemporaryDirectory(prefix="seatrial-soak-") as folder,
        run_control_plane(Path(folder)) as plane,
        plane.client() as api,
        run_proxy(plane.admin) as proxy,
    ):
        space = open_namespace(api, "soak")
        chance = random.Random(given.seed)  # noqa: S311 - no secret
        with (
            ExitStack() as lives,
            Nodes(plane.admin, space, seconds=lambda _: chance.uniform(1.0, 4.0), seed=given.seed),
        ):
            access = proxy.write_kubeconfig(Path(folder) / "proxy.kubeconfig")

            def begin() -> Operated:
                return lives.enter_context(operate(access, Path(folder), space))

            soak = Soak(proxy, api, space, begin, given.seed, tell=_say)
            soak.run(60 * given.minutes)
            calls = soak.lives[-1].read("seatrial_api_requests_total")
            passes = soak.lives[-1].read("seatrial_reconcile_duration_seconds_count")
    settled = soak.longest[int(len(soak.longest) * _SETTLING) :]
    _say(f"\ndone: {soak.done}; {len(soak.outages)} outages, {len(soak.lives)} operators")
    _say(f"the last one: {passes:.0f} passes, {calls:.0f} calls")
    _say(f"memory: {slope_per_hour(settled, skip=0.0):+.1f} MB an hour over {len(settled)} samples")
    for name in ("rss_mb", "thinking_mb", "files", "sockets", "threads", "tasks", "queue"):
        values = [getattr(one, name) for one in settled]
        _say(f"{name}: {min(values):.0f} to {max(values):.0f}, median {median(values):.0f}, last {values[-1]:.0f}")
    for fault in soak.faults:
        _say(f"FAULT {fault}")
    if given.report:
        report = {"done": soak.done, "faults": soak.faults, "passes": passes, "calls": calls, "outages": soak.outages}
        given.report.write_text(json.dumps(report | {"samples": [asdict(one) for one in soak.longest]}, indent=1))
    return 1 if soak.faults else 0


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
