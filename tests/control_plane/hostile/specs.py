"""Studies that mean harm or make no sense, by the thousand: valid ones, broken ones, and valid ones with one thing that a villain wants.

Everything is drawn from one seed. Most budgets are made small, so that a study that runs is soon at its end.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from api.strategies import Tree, changed_studies, studies

__all__ = ["FOREIGN_FINALIZER", "HARM", "SHELL", "draw_specs", "draw_trees"]

_CHUNK = 200

FOREIGN_FINALIZER = "example.com/hold"
"""A finalizer that a template brings, and that nobody but its author takes away."""

SHELL = (
    "$(reboot)",
    "`reboot`",
    "; reboot #",
    "| tee /etc/passwd",
    "$HP_x ${HP_x} $$(HP_x)",
    "a' OR '1'='1",
    '"; import os; os.abort() #',
    "%n%s%x",
    "--option=-rf /",
    "\u202eevil\u202c",
    "\x1b[2J\x1b]0;title\x07",
    "line\nanother: {yaml: [1",
    "{{ .Values.x }} <script>alert(1)</script>",
    "😀" * 50,
)
"""Texts that hurt whoever puts them into a shell, a template, a page or a terminal."""


def draw_trees(strategy: st.SearchStrategy[Tree], *, number: int, start: int) -> list[Tree]:
    """Draw examples of a strategy; the same *start* gives the same ones."""
    found: list[Tree] = []
    for chunk in itertools.count(start):
        size = min(_CHUNK, number - len(found))
        if size <= 0:
            return found

        @seed(chunk)
        @settings(
            max_examples=size,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def collect(tree: Tree) -> None:
            found.append(copy.deepcopy(tree))

        collect()
    raise AssertionError


def draw_specs(number: int, *, seed: int) -> Iterator[tuple[str, Tree]]:
    """Yield studies with unique names and what kind each is: valid, broken, or the name of the harm.

    A third of each kind. Broken ones had one to four places replaced, removed, renamed or repeated.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    third = number // 3
    sane = draw_trees(studies(), number=number - third, start=1000 * seed)
    broken = draw_trees(changed_studies(), number=third, start=1000 * seed + 500)
    harms = sorted(HARM)
    for place in range(number):
        if place % 3 == 1 and broken:
            kind, tree = "broken", broken.pop()
        elif place % 3 == 2 and sane:
            kind, tree = chance.choice(harms), sane.pop()
            _make_small(tree, chance)
            _name(tree, f"h-{place}")
            HARM[kind](tree, chance)
        else:
            kind, tree = "valid", (sane or broken).pop()
        if kind in {"valid", "broken"}:
            _make_small(tree, chance)
            _name(tree, f"h-{place}")
        yield kind, tree


def _name(tree: Tree, name: str) -> None:
    """Give a name that no other one has, where the old one is none of the study's mistakes."""
    metadata = tree.get("metadata")
    if isinstance(metadata, dict) and metadata.get("name") == "s-1":
        metadata["name"] = name


def _make_small(tree: Tree, chance: random.Random) -> None:
    spec = tree.get("spec")
    budget = spec.get("budget") if isinstance(spec, dict) else None
    # A tenth stays large: then one trial's end is enough to see that it works.
    if isinstance(budget, dict) and isinstance(budget.get("maxTrials"), int) and chance.random() < 0.9:
        budget["maxTrials"] = min(budget["maxTrials"], 2)
    if isinstance(budget, dict) and isinstance(budget.get("parallelTrials"), int):
        budget["parallelTrials"] = min(budget["parallelTrials"], 3)


# ---- harm -----------------------------------------------------------------------------------------------------------


def _template(tree: Tree) -> Tree:
    found: Tree = tree["spec"]["trial"]["template"]
    return found


def _container(tree: Tree) -> Tree:
    found: Tree = _template(tree)["spec"]["containers"][0]
    return found


def _in_pod(**fields: Any) -> Callable[[Tree, random.Random], None]:
    def change(tree: Tree, _: random.Random) -> None:
        _template(tree)["spec"] |= copy.deepcopy(fields)

    return change


def _in_container(**fields: Any) -> Callable[[Tree, random.Random], None]:
    def change(tree: Tree, _: random.Random) -> None:
        _container(tree).update(copy.deepcopy(fields))

    return change


def _in_metadata(**fields: Any) -> Callable[[Tree, random.Random], None]:
    def change(tree: Tree, _: random.Random) -> None:
        _template(tree)["metadata"] = copy.deepcopy(fields)

    return change


def _in_spec(**fields: Any) -> Callable[[Tree, random.Random], None]:
    def change(tree: Tree, _: random.Random) -> None:
        tree["spec"] |= copy.deepcopy(fields)

    return change


def _shell(tree: Tree, chance: random.Random) -> None:
    text = chance.choice(SHELL)
    tree["spec"]["parameters"] = [
        {"name": "x", "type": "categorical", "choices": [text, "plain"]},
        {"name": "y", "type": "constant", "value": chance.choice(SHELL)},
    ]
    tree["spec"]["algorithm"] = {"name": "random", "seed": 1}
    tree["spec"].pop("initialTrials", None)
    _container(tree)["args"] = ["$(HP_x)", "$(HP_y)"]


def _huge_choices(tree: Tree, chance: random.Random) -> None:
    number, length = chance.choice([(1000, 900), (1001, 1), (1024, 1024), (10_000, 10), (2, 100_000)])
    choices = [f"{place}-" + "x" * length for place in range(number)]
    tree["spec"]["parameters"] = [{"name": "x", "type": "categorical", "choices": choices}]
    tree["spec"]["algorithm"] = {"name": chance.choice(["auto", "random", "grid", "tpe"])}
    tree["spec"].pop("initialTrials", None)


def _many_parameters(tree: Tree, chance: random.Random) -> None:
    number = chance.choice([63, 64, 65, 1000])
    length = chance.choice([1, 50, 63, 64])
    tree["spec"]["parameters"] = [
        {"name": f"p{place}".ljust(length, "_"), "type": "float", "min": 0, "max": 1} for place in range(number)
    ]
    tree["spec"]["algorithm"] = {"name": chance.choice(["auto", "random", "grid", "sobol", "gp", "cmaes"])}
    tree["spec"].pop("initialTrials", None)


def _chain(tree: Tree, chance: random.Random) -> None:
    number = chance.choice([2, 64])
    first = {"name": "p0", "type": "categorical", "choices": ["a", "b"]}
    rest = [
        {**first, "name": f"p{place}", "when": {"parameter": f"p{place - 1}", "in": ["a"]}}
        for place in range(1, number)
    ]
    if chance.random() < 0.3:
        first["when"] = {"parameter": f"p{number - 1}", "in": ["a"]}
    tree["spec"]["parameters"] = [first, *rest]
    tree["spec"]["algorithm"] = {"name": chance.choice(["auto", "random", "grid"])}
    tree["spec"].pop("initialTrials", None)


def _numbers(tree: Tree, chance: random.Random) -> None:
    low, high = chance.choice([(-1e308, 1e308), (0, 5e-324), (-(2**63), 2**63), (1, 2**53 + 1), (1e-300, 1e300)])
    kind = chance.choice(["int", "float"])
    parameter: Tree = {"name": "x", "type": kind, "min": low, "max": high}
    if chance.random() < 0.5:
        parameter["scale"] = "log"
    if chance.random() < 0.3:
        parameter["step"] = chance.choice([1e-320, 1e300, 1, 0.1])
    tree["spec"]["parameters"] = [parameter]
    tree["spec"]["algorithm"] = {"name": chance.choice(["auto", "random", "gp", "tpe", "sobol", "cmaes"])}
    tree["spec"].pop("initialTrials", None)


def _grid_bomb(tree: Tree, _: random.Random) -> None:
    tree["spec"]["parameters"] = [{"name": f"p{place}", "type": "float", "min": 0, "max": 1} for place in range(64)]
    tree["spec"]["algorithm"] = {"name": "grid", "grid": {"points": 1000}}
    tree["spec"].pop("initialTrials", None)


def _initial_bomb(tree: Tree, chance: random.Random) -> None:
    parameters = [{"name": f"p{place}", "type": "float", "min": 0, "max": 1} for place in range(64)]
    tree["spec"]["parameters"] = parameters
    tree["spec"]["algorithm"] = {"name": "random"}
    number = chance.choice([1000, 1001])
    tree["spec"]["initialTrials"] = [{each["name"]: place / 2000 for each in parameters} for place in range(number)]


def _large(tree: Tree, chance: random.Random) -> None:
    number = chance.choice([250, 1000, 1400, 1600])
    _container(tree)["env"] = [{"name": f"FILL_{place}", "value": "x" * 1000} for place in range(number)]


def _named(tree: Tree, chance: random.Random) -> None:
    stem = str(tree["metadata"]["name"])
    tree["metadata"]["name"] = chance.choice(
        [
            stem.ljust(52, "a"),
            stem.ljust(53, "a"),
            stem.ljust(63, "a"),
            stem.ljust(254, "a"),
            f"{stem}-0",
            f"{stem}-0-0",
            f"{stem}.x",
            f"{stem}-",
            stem.upper(),
            f"{stem}/../x",
            f"{stem}é",
            "",
            f"9{stem}",
        ]
    )


def _url(tree: Tree, chance: random.Random) -> None:
    url = chance.choice(
        [
            "file:///etc/passwd",
            "http://[::1",
            "http://user:secret@127.0.0.1:1/",
            "https://127.0.0.1:1",
            "http://\n",
            "http://a b",
            "http://127.0.0.1:1/?x=#y",
            "http://" + "a" * 2000,
            "gopher://x",
            "http://127.0.0.1:99999",
            "http://%00",
            "http://.",
        ]
    )
    tree["spec"]["metrics"] = {"source": "prometheus", "prometheus": {"url": url}}
    tree["spec"].pop("stopping", None)


def _query(tree: Tree, chance: random.Random) -> None:
    query = chance.choice(["}) or vector(1", "x" * 4096, "x" * 4097, "\x00", "sum(", "1" * 4000, "${study}"])
    queries = [{"metric": "loss", "query": query}] * chance.choice([1, 16, 17])
    tree["spec"]["metrics"] = {
        "source": "prometheus",
        "prometheus": {"url": "http://127.0.0.1:1", "queries": queries, "stepQuery": query},
    }


def _labels(tree: Tree, chance: random.Random) -> None:
    tree["metadata"]["annotations"] = {"a": "x" * chance.choice([1000, 250_000, 300_000])}
    tree["metadata"]["labels"] = chance.choice(
        [{"a": "b" * 64}, {"seatrial.dev/study": "other"}, {"ä": "b"}, {"a": "b"}]
    )


def _quantities(tree: Tree, chance: random.Random) -> None:
    wanted = chance.choice(["1e400", "-1Gi", "0.5", "NaN", "", "9" * 400, "1", 1, 0.3, True, None, {}])
    name = chance.choice(["cpu", "memory", "nvidia.com/gpu", "a/b/c", ""])
    _container(tree)["resources"] = {"limits": {name: wanted}}


def _policy(tree: Tree, chance: random.Random) -> None:
    pattern = chance.choice(["*" * 200, "(a+)+$", "a*" * 100, "", "x" * 5000])
    rule = chance.choice(
        [
            {"action": "retry", "onMessage": [pattern]},
            {"action": "excludeNode", "onExitCodes": {"values": list(range(1, 300))}},
            {"action": "fail"},
            {"action": "retry", "onExitCodes": {"values": [0]}},
        ]
    )
    tree["spec"]["trial"]["retryPolicy"] = {"rules": [rule] * chance.choice([1, 16, 17])}


def _budget(tree: Tree, chance: random.Random) -> None:
    name, value = chance.choice(
        [
            ("maxTrials", 0),
            ("maxTrials", 100001),
            ("maxTrials", 1.5),
            ("maxGPUHours", 1e-300),
            ("maxFailedTrials", 0),
            ("maxDuration", "99999999999999999d"),
            ("maxDuration", "0s"),
            ("maxDuration", "1s"),
            ("maxTrials", None),
        ]
    )
    tree["spec"]["budget"] = {"parallelTrials": 2, "maxTrials": 2, name: value}


def _deep(tree: Tree, chance: random.Random) -> None:
    nest: Any = "x"
    for _ in range(chance.choice([50, 200, 300])):
        nest = {"a": nest}
    _template(tree)["spec"]["nodeSelector"] = nest


def _doubled_containers(tree: Tree, chance: random.Random) -> None:
    container = _container(tree)
    _template(tree)["spec"]["containers"] = [container] * chance.choice([0, 2, 300])


HARM: dict[str, Callable[[Tree, random.Random], None]] = {
    "hostPath": _in_pod(volumes=[{"name": "root", "hostPath": {"path": "/"}}]),
    "privileged": _in_container(securityContext={"privileged": True}),
    "root": _in_container(securityContext={"runAsUser": 0, "runAsNonRoot": False}),
    "host network": _in_pod(hostNetwork=True),
    "host processes": _in_pod(hostPID=True, hostIPC=True),
    "another namespace": _in_metadata(namespace="kube-system", name="etcd-0", uid="x", generateName="x-"),
    "another account": _in_pod(serviceAccountName="admin", automountServiceAccountToken=True),
    "a token by a volume": _in_pod(
        volumes=[{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]
    ),
    "reserved labels": _in_metadata(labels={"seatrial.dev/trial": "other-1", "seatrial.dev/study": "other"}),
    "reserved annotations": _in_metadata(annotations={"seatrial.dev/x": "y"}),
    "reserved variables": _in_container(env=[{"name": "SEATRIAL_PARAMETERS", "value": "{}"}, {"name": "HP_x"}]),
    "owners and finalizers": _in_metadata(
        ownerReferences=[{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}], finalizers=[FOREIGN_FINALIZER]
    ),
    "wrong finalizers": _in_metadata(finalizers=["no domain", ""]),
    "a node by name": _in_pod(nodeName="control-plane"),
    "always again": _in_pod(restartPolicy="Always"),
    "negative deadline": _in_pod(activeDeadlineSeconds=-1, terminationGracePeriodSeconds=-1),
    "no such class": _in_pod(priorityClassName="no-such-class", runtimeClassName="no-such-class"),
    "ephemeral containers": _in_pod(ephemeralContainers=[{"name": "e", "image": "x"}]),
    "gates": _in_pod(schedulingGates=[{"name": "example.com/never"}]),
    "unknown fields": _in_pod(containerz=[], hostPid=True),
    "init containers": _in_pod(initContainers=[{"name": "trainer", "image": "x"}, {"name": "i"}]),
    "message of a file": _in_container(terminationMessagePath="/etc/passwd", terminationMessagePolicy="Never"),
    "wrong types": _in_container(command="rm -rf /", args={"a": 1}, ports="80", env={"A": "b"}),
    "another container": _in_spec(trial={"container": "none", "template": {"spec": {"containers": [{"name": "a"}]}}}),
    "no containers": _doubled_containers,
    "a shell's characters": _shell,
    "huge choices": _huge_choices,
    "many parameters": _many_parameters,
    "a chain of conditions": _chain,
    "extreme numbers": _numbers,
    "a grid without end": _grid_bomb,
    "huge initial trials": _initial_bomb,
    "a large object": _large,
    "a deep object": _deep,
    "a name": _named,
    "an address": _url,
    "an expression": _query,
    "labels": _labels,
    "quantities": _quantities,
    "a retry policy": _policy,
    "a budget": _budget,
    "a status": lambda tree, _: tree.update(status={"state": "Complete", "conditions": [], "trials": {"total": 7}}),
}
"""What a villain does to a valid study, by name."""
