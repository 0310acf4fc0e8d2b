"""Hypothesis strategies for studies as plain values: valid ones, and valid ones with a few places changed."""

import copy
from typing import Any

import yaml
from hypothesis import strategies as st

from seatrial.search.algorithms import TRAITS

__all__ = ["changed_studies", "studies", "texts", "to_yaml"]

Tree = dict[str, Any]

_NAMES = ["lr", "hidden", "_x", "batchSize", "optimizer", "momentum", "drop_out", "Layers2"]
_SCALARS = st.one_of(
    st.booleans(),
    st.integers(-5, 300),
    st.floats(-1e3, 1e3).map(lambda x: round(x, 3)),
    st.sampled_from(["sgd", "adamw", "", "1e-5", "yes", "ä", "a b", "~"]),
)
_DURATIONS = st.sampled_from(["45s", "30m", "2h", "1h30m", "1d"])


class _Quoting(yaml.SafeDumper):
    """Texts in quotes: PyYAML itself would write the text 1e-5 without them, which kubectl reads as a number."""


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def to_yaml(tree: Tree) -> bytes:
    """Return *tree* as YAML that kubectl reads back as the same."""
    return yaml.dump(tree, Dumper=_Quoting, allow_unicode=True).encode()


def _kind(value: Any) -> tuple[str, Any]:
    # 1 and 1.0 are one number, true is none.
    return ("b" if isinstance(value, bool) else "s" if isinstance(value, str) else "n", value)


@st.composite
def _ranges(draw: st.DrawFn) -> Tree:
    log = draw(st.booleans())
    if draw(st.booleans()):
        low = draw(st.integers(1 if log else -100, 1000))
        found: Tree = {"type": "int", "min": low, "max": low + draw(st.integers(0, 10**6))}
    else:
        low = draw(st.floats(1e-12, 1e3) if log else st.floats(-1e6, 1e6))
        found = {"type": "float", "min": low, "max": low + draw(st.floats(0, 1e6))}
    if log:
        found["scale"] = "log"
    elif found["max"] - found["min"] >= 1 and draw(st.booleans()):
        found["step"] = draw(st.sampled_from([1, 0.5, 0.1])) if found["type"] == "float" else 1
    if draw(st.booleans()):
        found["default"] = found["min"]
    return found


@st.composite
def _lists(draw: st.DrawFn) -> Tree:
    choices = draw(st.lists(_SCALARS, min_size=1, max_size=6, unique_by=_kind))
    found: Tree = {"type": draw(st.sampled_from(["ordinal", "categorical"])), "choices": choices}
    if draw(st.booleans()):
        found["default"] = draw(st.sampled_from(choices))
    return found


def _parent_values(parameter: Tree) -> list[Any]:
    """Return values that *parameter* can take, none for a float."""
    match parameter["type"]:
        case "int":
            return [parameter["min"], parameter["max"]] if "step" not in parameter else [parameter["min"]]
        case "constant":
            return [parameter["value"]]
        case "float":
            return []
        case _:
            return list(parameter["choices"])


@st.composite
def _parameters(draw: st.DrawFn) -> list[Tree]:
    found: list[Tree] = []
    names = draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=6, unique=True))
    for name in names:
        parameter = {"name": name} | draw(
            st.one_of(_ranges(), _lists(), _SCALARS.map(lambda value: {"type": "constant", "value": value}))
        )
        parents = [other for other in found if _parent_values(other)]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            values = draw(st.lists(st.sampled_from(_parent_values(parent)), min_size=1, max_size=2, unique_by=_kind))
            parameter["when"] = {"parameter": parent["name"], "in": values}
        found.append(parameter)
    return draw(st.permutations(found))


def _some_range(parameters: list[Tree]) -> bool:
    return any(p.get("min") != p.get("max") or len(p.get("choices", [])) > 1 for p in parameters)


@st.composite
def studies(draw: st.DrawFn) -> Tree:
    """Valid studies with every section in use now and then."""
    several = draw(st.integers(1, 3))
    able = [name for name, traits in TRAITS.items() if several <= (traits.max_objectives or several)]
    objectives: list[Tree] = [
        {"metric": metric, "goal": draw(st.sampled_from(["minimize", "maximize"]))}
        for metric in ["loss", "val/acc", "ms"][:several]
    ]
    algorithm: Tree = {"name": draw(st.sampled_from(able)), "seed": draw(st.integers(0, 2**31 - 1))}
    if algorithm["name"] == "grid":
        algorithm["grid"] = {"points": draw(st.integers(1, 5))}
    needed: Tree = {}
    unwanted: set[str] = set()
    if TRAITS[algorithm["name"]].continues:
        unwanted = {"stopping", "steps"}
        needed = {"steps": {"unit": "epoch", "max": draw(st.integers(12, 100))}}
    if algorithm["name"] == "pbt":
        algorithm["pbt"] = draw(
            st.sampled_from(
                [
                    {"populationSize": 4, "readyInterval": 3},
                    {"quantile": 0.5, "explore": "pb2", "mode": "asynchronous"},
                    {"selection": "tournament", "quantile": 0.01, "stragglerFactor": 2.5},
                ]
            )
        )
    if algorithm["name"] == "replay":
        algorithm["replay"] = {"schedule": [{"untilStep": 3, "parameters": {}}, {"untilStep": 12, "parameters": {}}]}
    container: Tree = {"name": "trainer", "image": "t", "command": ["python", "t.py"], "args": ["$(HP_lr)", "x: y"]}
    spec: Tree = {
        "objectives": objectives,
        "parameters": draw(_parameters() if algorithm["name"] != "pbt" else _parameters().filter(_some_range)),
        "algorithm": algorithm,
        "budget": {"maxTrials": draw(st.integers(1, 200)), "parallelTrials": draw(st.integers(1, 8))},
        "trial": {"template": {"spec": {"containers": [container]}}},
    }
    optional: Tree = {
        "constraints": [{"metric": "mb", "max": draw(st.floats(0, 10))}],
        "stopping": draw(
            st.sampled_from([{"rule": "median"}, {"rule": "asha", "asha": {"eta": 2}}, {"rule": "patience"}])
        ),
        "steps": {"unit": "epoch", "max": draw(st.integers(1, 100))},
        "suspend": draw(st.booleans()),
        "metrics": {"source": draw(st.sampled_from(["scrape", "logs"]))},
        "initialTrials": [{}],
    }
    for name in draw(st.lists(st.sampled_from(sorted(optional)), unique=True)):
        spec |= {} if name in unwanted else {name: optional[name]}
    spec |= needed
    if draw(st.booleans()):
        spec["trial"] |= {"timeout": draw(_DURATIONS), "retries": 2}
    return {"apiVersion": "seatrial.dev/v1alpha1", "kind": "Study", "metadata": {"name": "s-1"}, "spec": spec}


_JUNK = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            -1,
            1,
            0.5,
            2.5,
            1e308,
            -1e308,
            1e-320,
            2**63 - 1,
            "",
            "x",
            "1e-5",
            "0s",
            "lr",
            "a" * 3000,
            "\n",
            "\ud7ff",
            "=",
            "<<",
        ]
    ),
    st.sampled_from([[], {}, [[]], {"a": {}}, ["x", 1], {"name": "lr"}, [{"name": "lr", "type": "int"}]]),
    _SCALARS,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, child in items for place in [(*path, key), *_places(child, (*path, key))]]


@st.composite
def changed_studies(draw: st.DrawFn) -> Tree:
    """Valid studies with one to four places replaced, removed, renamed, repeated or moved."""
    tree = copy.deepcopy(draw(studies()))
    for _ in range(draw(st.integers(1, 4))):
        places = [*_places(tree["spec"], ("spec",)), *_places(tree["metadata"], ("metadata",))]
        if not places:
            break
        *up, last = draw(st.sampled_from(places))
        owner: Any = tree
        for part in up:
            owner = owner[part]
        _change(draw, owner, last)
    return tree


def _change(draw: st.DrawFn, owner: Any, last: Any) -> None:
    match draw(st.sampled_from(["replace", "replace", "remove", "rename", "repeat"])):
        case "replace":
            owner[last] = copy.deepcopy(draw(_JUNK))
        case "remove":
            del owner[last]
        case "rename" if isinstance(owner, dict):
            owner[draw(st.sampled_from([f"{last}s", str(last)[:-1], str(last).lower(), "min", "", "a.b/c"]))] = (
                owner.pop(last)
            )
        case _ if isinstance(owner, list):
            owner.append(copy.deepcopy(owner[last]))
        case _:
            owner[last] = [owner[last]]


def texts() -> st.SearchStrategy[bytes]:
    """Bytes that may be YAML: pieces of its syntax in any order, and anything at all."""
    pieces = st.sampled_from(
        [
            "a",
            ": ",
            "- ",
            "\n",
            "  ",
            "{",
            "}",
            "[",
            "]",
            "'",
            '"',
            "&x ",
            "*x",
            "!!int ",
            "!t ",
            "|",
            "? ",
            "<<: ",
            "#",
            "\t",
            "---\n",
            "...",
            "%YAML",
            "1e-5",
            "yes",
            "kind: Study",
            "\u2028",
            "\\",
            ",",
            "@",
        ]
    )
    return st.one_of(st.lists(pieces, max_size=30).map(lambda found: "".join(found).encode()), st.binary(max_size=200))
