"""Hypothesis strategies for search spaces and histories, and brute-force enumeration to compare with."""

from collections.abc import Iterator, Mapping

import numpy as np
from hypothesis import strategies as st

from seatrial.search.base import Evaluated, History, Pending
from seatrial.search.parameters import Categorical, Condition, Constant, Float, Int, Ordinal, Parameter, Value
from seatrial.search.space import Assignment, SearchSpace

__all__ = ["brute_force", "histories", "parameters", "spaces", "units", "values"]

_CHOICES = st.one_of(
    st.booleans(), st.integers(-3, 3), st.floats(-2, 2).map(lambda x: round(x, 2)), st.sampled_from("abcd")
)


def _typed(value: Value) -> tuple[str, Value]:
    return ("b" if isinstance(value, bool) else "s" if isinstance(value, str) else "n", value)


@st.composite
def parameters(draw: st.DrawFn, name: str = "x", when: Condition | None = None, *, finite: bool = False) -> Parameter:
    """Any kind of parameter; with *finite* one of few levels."""
    kinds = ["int", "ordinal", "categorical", "constant", "stepped"] + (
        [] if finite else ["float", "log float", "log int"]
    )
    match draw(st.sampled_from(kinds)):
        case "int":
            low, step = draw(st.integers(-5, 5)), draw(st.integers(1, 3))
            return Int(name=name, low=low, high=low + draw(st.integers(0, 6 if finite else 1000)), step=step, when=when)
        case "log int":
            low = draw(st.integers(1, 50))
            return Int(name=name, low=low, high=low + draw(st.integers(0, 5000)), log=True, when=when)
        case "float":
            low = draw(st.floats(-1e3, 1e3))
            return Float(name=name, low=low, high=low + draw(st.floats(1e-3, 1e4)), when=when)
        case "log float":
            low = draw(st.floats(1e-8, 1e2))
            return Float(name=name, low=low, high=low * draw(st.floats(1.5, 1e6)), log=True, when=when)
        case "stepped":
            step, low = draw(st.sampled_from([0.1, 0.25, 0.5, 1.0, 3.0])), draw(st.sampled_from([-1.0, 0.0, 0.1, 2.0]))
            return Float(name=name, low=low, high=low + step * draw(st.integers(0, 4)), step=step, when=when)
        case "constant":
            return Constant(name=name, value=draw(_CHOICES), when=when)
        case kind:
            choices = tuple(draw(st.lists(_CHOICES, min_size=1, max_size=4, unique_by=_typed)))
            make = Ordinal if kind == "ordinal" else Categorical
            return make(name=name, choices=choices, when=when)


@st.composite
def spaces(draw: st.DrawFn, *, finite: bool = False, max_parameters: int = 6) -> SearchSpace:
    """Search spaces with conditions nested to any depth."""
    found: list[Parameter] = []
    for i in range(draw(st.integers(1, max_parameters))):
        when = None
        parents = [p for p in found if p.levels is not None and p.levels <= 8]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            levels = draw(st.sets(st.integers(0, (parent.levels or 1) - 1), min_size=1, max_size=3))
            when = Condition(parent=parent.name, values=tuple(parent.at(level) for level in sorted(levels)))
        found.append(draw(parameters(f"p{i}", when, finite=finite)))
    return SearchSpace(draw(st.permutations(found)))


def units(space: SearchSpace) -> st.SearchStrategy[list[float]]:
    """Points of the unit cube of *space*."""
    return st.lists(st.floats(0, 1), min_size=len(space), max_size=len(space))


def values(objectives: int = 1) -> st.SearchStrategy[tuple[float, ...]]:
    """Objective values, sometimes huge, often tied."""
    number = st.one_of(st.floats(-10, 10), st.integers(-2, 2).map(float), st.sampled_from([1e300, -1e300, 1e-300]))
    return st.tuples(*[number] * objectives)


@st.composite
def histories(
    draw: st.DrawFn, space: SearchSpace, *, objectives: int = 1, constraints: int = 0, max_trials: int = 25
) -> History:
    """Histories of distinct assignments in *space*, with gaps between the indices, stopped, failed and pending trials."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    evaluated: list[Evaluated] = []
    pending: list[Pending] = []
    seen = set()
    index = 0
    for _ in range(draw(st.integers(0, max_trials))):
        assignment = space.sample(rng)
        if space.key(assignment) in seen:
            continue
        seen.add(space.key(assignment))
        state = draw(st.sampled_from(["full", "full", "full", "stopped", "failed", "pending"]))
        if state == "pending":
            pending.append(Pending(index=index, assignment=assignment))
        else:
            failed = state == "failed"
            result = (float("inf"),) * objectives if failed else draw(values(objectives))
            broken = () if failed else draw(st.tuples(*[st.floats(-1, 1)] * constraints))
            step = draw(st.integers(1, 27)) if state == "stopped" else 27
            evaluated.append(
                Evaluated(
                    index=index,
                    assignment=assignment,
                    values=result,
                    violations=broken,
                    step=step,
                    stopped=state == "stopped",
                    failed=failed,
                )
            )
        index += draw(st.integers(1, 2))
    return History(evaluated=tuple(evaluated), pending=tuple(pending), next_index=index)


def brute_force(space: SearchSpace) -> Iterator[Assignment]:
    """Every assignment of a finite space, by plain recursion."""

    def extend(i: int, active: Mapping[str, Value]) -> Iterator[Assignment]:
        if i == len(space.parameters):
            yield dict(active)
            return
        parameter = space.parameters[i]
        if parameter.when is not None and not parameter.when.holds(active):
            yield from extend(i + 1, active)
            return
        for level in range(parameter.levels or 0):
            yield from extend(i + 1, {**active, parameter.name: parameter.at(level)})

    return extend(0, {})
