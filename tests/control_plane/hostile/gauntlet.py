"""Thousands of hostile studies through a real API server and a real operator process: each is refused in words, or works."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from api.strategies import Tree
from control_plane.client import STUDIES, TRIALS, Client
from control_plane.hostile.judging import Ending, find_fault, judge
from control_plane.hostile.specs import FOREIGN_FINALIZER
from control_plane.hostile.watching import Operated, Sample

__all__ = ["Gauntlet", "Outcome"]

# As long may a study that nothing stands in the way of take to its first result, on a machine with other things to do.
_PATIENCE_SECONDS = 90.0
# A study that only waits is left to wait so long, in case that it goes on by itself after all.
_WAITING_SECONDS = 12.0
_POLL_SECONDS = 0.25
_CLEARED_SECONDS = 180.0
_WORDS_KEPT = 20


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a run found.

    Attributes:
        tried: Numbers of studies or edits by (kind, ending).
        words: Some of what was said, by (kind, ending).
        faults: Whatever broke a rule, with what is needed to try it again.
        places: Numbers of the studies that did so.
        samples: The operator over time.
        seconds: How long it took.
    """

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    words: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Number of studies or edits."""
        return sum(self.tried.values())


@dataclass(slots=True, kw_only=True)
class _Live:
    place: int
    kind: str
    tree: Tree
    since: float
    leaving: bool = False


class Gauntlet:
    """Sends studies into one namespace.

    Args:
        api: The admin's connection.
        namespace: Where, and nobody else's.
        operated: The operator that works there.
        wide: Studies at the same time.
    """

    def __init__(
        self,
        api: Client,
        namespace: str,
        operated: Operated,
        *,
        wide: int = 40,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._api, self._path, self._operated, self._wide, self._tell = (
            api,
            STUDIES.format(namespace=namespace),
            operated,
            wide,
            tell,
        )
        self._others = (TRIALS.format(namespace=namespace), f"/api/v1/namespaces/{namespace}/pods")
        self._live: dict[str, _Live] = {}
        self.outcome = Outcome()

    def run(self, specs: Iterable[tuple[int, tuple[str, Tree]]]) -> Outcome:
        """Send all of them, each with its number; return what became of them when nothing is left of any."""
        began, sampled = time.monotonic(), 0.0
        # Drawing takes minutes, in which the server closes a connection that says nothing.
        self._api.close()
        for place, (kind, tree) in specs:
            while len(self._live) >= self._wide:
                self._look()
                time.sleep(_POLL_SECONDS)
            self._send(place, kind, tree)
            if time.monotonic() - sampled > 10:
                sampled = time.monotonic()
                self.outcome.samples.append(self._operated.sample())
                self._tell(f"{self.outcome.total} done, {len(self._live)} live, {self.outcome.samples[-1]}")
        while self._live:
            self._look()
            time.sleep(_POLL_SECONDS)
        self._clear()
        self.outcome.samples.append(self._operated.sample())
        self.outcome.faults += [f"operator's log: {line[:600]}" for line in self._operated.bugs()]
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _send(self, place: int, kind: str, tree: Tree) -> None:
        try:
            answer = self._api.create(self._path, tree)
        except OSError as error:
            self._api.close()
            self._fault(place, kind, tree, f"the API server hung up: {error!r}")
            return
        if answer.is_accepted:
            self._live[answer.body["metadata"]["name"]] = _Live(
                place=place, kind=kind, tree=tree, since=time.monotonic()
            )
            return
        fault = find_fault(answer)
        if fault:
            self._fault(place, kind, tree, fault)
        self._count(kind, Ending.REFUSED_BY_SERVER, answer.message)

    def _look(self) -> None:
        there = {each["metadata"]["name"]: each for each in self._api.get(self._path).body["items"]}
        for name, live in list(self._live.items()):
            study = there.get(name)
            if study is None:
                del self._live[name]
                if not live.leaving:
                    self._fault(live.place, live.kind, live.tree, "it vanished")
                continue
            if not live.leaving:
                self._weigh(name, live, study)

    def _weigh(self, name: str, live: _Live, study: dict[str, Any]) -> None:
        ending, words = judge(study)
        age = time.monotonic() - live.since
        settled = ending not in {None, Ending.RUNNING} and (ending is not Ending.WAITING or age > _WAITING_SECONDS)
        if not settled and age < _PATIENCE_SECONDS:
            return
        if ending in {None, Ending.RUNNING}:
            self._fault(live.place, live.kind, live.tree, f"nothing came of it within {age:.0f} s: {ending}: {words}")
        if not words.strip():
            self._fault(live.place, live.kind, live.tree, f"{ending} without a word")
        self._count(live.kind, ending or Ending.RUNNING, words)
        live.leaving = True
        self._api.delete(f"{self._path}/{name}")

    def _clear(self) -> None:
        """Wait until the garbage collector and the operator have left nothing."""
        end = time.monotonic() + _CLEARED_SECONDS
        while left := {path: len(self._api.get(path, limit="500").body["items"]) for path in self._others}:
            if not any(left.values()):
                break
            self._free_pods()
            if time.monotonic() > end:
                self.outcome.faults.append(f"left over after {_CLEARED_SECONDS:.0f} s: {left}")
                break
            time.sleep(1)
        while self._operated.sample().queue and time.monotonic() < end:
            time.sleep(1)
        if self._operated.sample().queue:
            self.outcome.faults.append("the queue does not drain")

    def _free_pods(self) -> None:
        """Take away the finalizers that templates brought, as whoever brought them has to."""
        path = self._others[1]
        for pod in self._api.get(path, limit="500").body["items"]:
            metadata = pod["metadata"]
            if metadata.get("deletionTimestamp") and metadata.get("finalizers") == [FOREIGN_FINALIZER]:
                self._api.merge(f"{path}/{metadata['name']}", {"metadata": {"finalizers": None}})

    def _count(self, kind: str, ending: Ending, words: str) -> None:
        self.outcome.tried[kind, ending.value] += 1
        known = self.outcome.words.setdefault((kind, ending.value), [])
        if len(known) < _WORDS_KEPT:
            known.append(words[:500])

    def _fault(self, place: int, kind: str, tree: Tree, words: str) -> None:
        self.outcome.places.append(place)
        self.outcome.faults.append(f"study {place}, {kind}: {words}: {json.dumps(tree, default=str)[:1500]}")
        self._tell(f"FAULT {self.outcome.faults[-1]}")
