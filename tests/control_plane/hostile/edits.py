"""Walks over the specification of live studies: one field is changed, then changed back, and each time the study must say where it stands."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from api.strategies import Tree
from control_plane.client import STUDIES, Answer, Client
from control_plane.hostile.gauntlet import Outcome
from control_plane.hostile.judging import REFUSED, Ending, find_fault, judge
from control_plane.hostile.watching import Operated

__all__ = ["Edit", "Walks", "choose_edit"]

_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.2
_STEPS = 12

Path = tuple[str | int, ...]
Operation = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change and the way back, as operations of a JSON patch.

    Attributes:
        what: Its kind: raise, lower, remove, add, replace.
        path: Where.
    """

    what: str
    path: Path
    there: Operation
    back: Operation


def _pointer(path: Path) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in ("spec", *path))


_LIKELY: list[tuple[Path, Any]] = [
    (("budget", "maxTrials"), [1, 2, 5, 60, 100_000, 0]),
    (("budget", "parallelTrials"), [1, 2, 3, 5, 0, 10_001]),
    (("budget", "maxFailedTrials"), [0, 1, 100]),
    (("budget", "maxDuration"), ["1s", "1m", "10d", "0s", "99999d"]),
    (("budget", "maxGPUHours"), [1e-9, 5.0, 0]),
    (("budget",), [{}, {"parallelTrials": 1}]),
    (("suspend",), [True, False]),
    (("stopping",), [{"rule": "median"}, {"rule": "asha", "asha": {"eta": 2}}, {"rule": "patience"}, {"rule": "none"}]),
    (("steps",), [{"max": 3}, {"max": 100, "unit": "epoch"}, {"max": 0}]),
    (("trial", "timeout"), ["1s", "1h", "0s"]),
    (("trial", "retries"), [0, 3, 30, 31]),
    (("trial", "retryPolicy"), [{"rules": [{"action": "retry", "onMessage": ["*"]}]}, {"rules": []}]),
    (("trial", "container"), ["trainer", "none", ""]),
    (("trial", "template", "spec", "containers", 0, "image"), ["other:1", "", 7]),
    (("trial", "template", "spec", "containers", 0, "resources"), [{"limits": {"nvidia.com/gpu": 1}}, {"limits": 1}]),
    (("trial", "template", "spec", "nodeSelector"), [{"a": "b"}, "x"]),
    (("trial", "template", "spec", "hostNetwork"), [True, False]),
    (("trial", "template", "metadata"), [{"labels": {"a": "b"}}, {"labels": {"seatrial.dev/trial": "x"}}]),
    (("trial", "template"), [{}, {"spec": {"containers": []}}]),
    (("metrics",), [{"source": "logs"}, {"source": "scrape"}, {"source": "prometheus", "prometheus": {"url": "x"}}]),
    (("constraints",), [[{"metric": "mb", "max": 0.5}], [{"metric": "mb"}], []]),
    (("initialTrials",), [[{}], [{"nope": 1}], []]),
    (("algorithm",), [{"name": "random", "seed": 3}, {"name": "tpe"}, {"name": "none"}]),
    (("objectives",), [[], [{"metric": "loss", "goal": "minimize"}]]),
    (("parameters",), [[]]),
]
_JUNK: list[Any] = [None, True, 0, -1, 1.5, 1e308, "", "x", "1s", "a" * 3000, [], {}, [[]], {"a": {}}, "\u2028😀"]


def choose_edit(spec: Tree, chance: random.Random) -> Edit:
    """Choose one field and what it becomes."""
    if chance.random() < 0.65:
        path, values = chance.choice(_LIKELY)
        value = chance.choice(values)
    else:
        path = chance.choice(list(_places(spec)))
        value = chance.choice(_JUNK)
    return _build(spec, path, value, chance)


def _build(spec: Tree, path: Path, value: Any, chance: random.Random) -> Edit:
    owner: Any = spec
    for depth, part in enumerate(path[:-1]):
        within = owner[part] if isinstance(owner, dict) and part in owner else None
        if isinstance(owner, list) and isinstance(part, int) and part < len(owner):
            within = owner[part]
        if not isinstance(within, dict | list):
            # Its parent is not there: then that is what is added.
            return _build(spec, path[: depth + 1], {}, chance)
        owner = within
    last, pointer = path[-1], _pointer(path)
    known = (isinstance(owner, dict) and last in owner) or (isinstance(owner, list) and isinstance(last, int))
    old = copy.deepcopy(owner[last]) if known else None
    put = "replace" if isinstance(owner, list) else "add"
    restore: Operation = {"op": put, "path": pointer, "value": old}
    if known and chance.random() < 0.2:
        back = {**restore, "op": "add"}
        return Edit(what="remove", path=path, there={"op": "remove", "path": pointer}, back=back)
    if known and isinstance(old, int | float) and not isinstance(old, bool) and chance.random() < 0.5:
        what, value = chance.choice(
            [("raise", old + 1), ("raise", old * 2 + 1), ("lower", old - 1), ("lower", old // 2)]
        )
        return Edit(what=what, path=path, there={"op": put, "path": pointer, "value": value}, back=restore)
    there = {"op": put, "path": pointer, "value": copy.deepcopy(value)}
    if known:
        return Edit(what="replace", path=path, there=there, back=restore)
    return Edit(what="add", path=path, there=there, back={"op": "remove", "path": pointer})


def _places(value: Any, path: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield (*path, key)
        yield from _places(child, (*path, key))


@dataclass(slots=True, kw_only=True)
class _Walk:
    tree: Tree
    since: float
    steps: int = 0
    edit: Edit | None = None
    on_the_way_back: bool = False
    leaving: bool = False


class Walks:
    """Sends walks through one namespace.

    Args:
        api: The admin's connection.
        namespace: Where, and nobody else's.
        operated: The operator that works there.
        seed: Of the choices.
        wide: Studies at the same time.
    """

    def __init__(
        self,
        api: Client,
        namespace: str,
        operated: Operated,
        *,
        seed: int,
        wide: int = 16,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._api, self._path, self._operated = api, STUDIES.format(namespace=namespace), operated
        self._chance, self._wide, self._tell = random.Random(seed), wide, tell  # noqa: S311 - no secret
        self._walks: dict[str, _Walk] = {}
        self.outcome = Outcome()

    def run(self, studies: Iterator[Tree], edits: int) -> Outcome:
        """Walk over *studies* until there were so many edits."""
        began, sampled = time.monotonic(), 0.0
        while self.outcome.total < edits or self._walks:
            while self.outcome.total < edits and len(self._walks) < self._wide:
                self._begin(next(studies))
            there = {each["metadata"]["name"]: each for each in self._api.get(self._path).body["items"]}
            for name, walk in list(self._walks.items()):
                self._advance(name, walk, there.get(name), last=self.outcome.total >= edits)
            if time.monotonic() - sampled > 10:
                sampled = time.monotonic()
                self.outcome.samples.append(self._operated.sample())
                self._tell(f"{self.outcome.total} edits, {len(self._walks)} live, {self.outcome.samples[-1]}")
            time.sleep(_POLL_SECONDS)
        self.outcome.samples.append(self._operated.sample())
        self.outcome.faults += [f"operator's log: {line[:600]}" for line in self._operated.bugs()]
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _begin(self, tree: Tree) -> None:
        answer = self._api.create(self._path, tree)
        if not answer.is_accepted:
            raise AssertionError(f"a valid study is refused: {answer.message}")
        self._walks[answer.body["metadata"]["name"]] = _Walk(tree=tree, since=time.monotonic())

    def _advance(self, name: str, walk: _Walk, study: dict[str, Any] | None, *, last: bool) -> None:
        if study is None:
            del self._walks[name]
            if not walk.leaving:
                self._fault(walk, "it vanished")
            return
        if walk.leaving:
            return
        ending, words = judge(study)
        age = time.monotonic() - walk.since
        if ending is None:
            if age > _PATIENCE_SECONDS:
                self._fault(
                    walk, f"nothing was said for {age:.0f} s about generation {study['metadata']['generation']}"
                )
                self._leave(name, walk)
            return
        if not words.strip():
            self._fault(walk, f"{ending} without a word")
        if walk.edit is not None and not walk.on_the_way_back:
            self._count(walk.edit.what, ending, words)
            self._go_back(name, walk, study)
        else:
            if walk.edit is not None:
                self._count("back", ending, words)
                walk.edit = None
            if ending in REFUSED:
                self._fault(walk, f"after the way back it is {ending}: {words}")
                self._leave(name, walk)
            elif walk.steps >= _STEPS or last:
                self._end(name, walk, ending, words)
            else:
                self._go(name, walk, study)

    def _end(self, name: str, walk: _Walk, ending: Ending, words: str) -> None:
        """Let a study go when trials of it have ended after all that was done to it."""
        if ending is Ending.RUNNING and time.monotonic() - walk.since < _PATIENCE_SECONDS:
            return
        if ending is Ending.RUNNING:
            self._fault(walk, f"after the walk no trial ended within {_PATIENCE_SECONDS:.0f} s: {words}")
        self._leave(name, walk)

    def _go(self, name: str, walk: _Walk, study: dict[str, Any]) -> None:
        walk.edit, walk.on_the_way_back = choose_edit(study["spec"], self._chance), False
        walk.steps += 1
        answer = self._patch(name, walk.edit.there)
        if answer.is_accepted:
            walk.since = time.monotonic()
            return
        fault = find_fault(answer)
        if fault:
            self._fault(walk, fault)
        self._count(walk.edit.what, Ending.REFUSED_BY_SERVER, answer.message)
        walk.edit = None

    def _go_back(self, name: str, walk: _Walk, study: dict[str, Any]) -> None:
        assert walk.edit is not None
        answer = self._patch(name, walk.edit.back)
        if not answer.is_accepted and walk.edit.back["op"] == "remove" and "does not exist" in answer.message:
            # It was one that means nothing, and was left out.
            answer = self._patch(name, {"op": "test", "path": "/kind", "value": "Study"})
        if not answer.is_accepted:
            self._fault(walk, f"the way back is refused: {answer.code} {answer.message[:300]}; now {study['spec']}")
            self._leave(name, walk)
            return
        walk.on_the_way_back, walk.since = True, time.monotonic()

    def _patch(self, name: str, operation: Operation) -> Answer:
        return self._api.request(
            "PATCH",
            f"{self._path}/{name}",
            [operation],
            kind="application/json-patch+json",
            fieldValidation="Strict",
        )

    def _leave(self, name: str, walk: _Walk) -> None:
        walk.leaving = True
        self._api.delete(f"{self._path}/{name}")

    def _count(self, what: str, ending: Ending, words: str) -> None:
        self.outcome.tried[what, ending.value] += 1
        known = self.outcome.words.setdefault((what, ending.value), [])
        if len(known) < 20:
            known.append(words[:500])

    def _fault(self, walk: _Walk, words: str) -> None:
        edit = json.dumps([walk.edit.there, walk.edit.back], default=str)[:1500] if walk.edit else "no edit"
        self.outcome.faults.append(f"{words[:1500]}: after {edit}: {json.dumps(walk.tree)[:3000]}")
        self._tell(f"FAULT {self.outcome.faults[-1]}")
