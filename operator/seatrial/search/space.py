"""The search space: conditional parameters, parents before children, and their encoding in the unit cube.

Notation:
    d: number of parameters, constants included.
    u: a point of the unit cube, shape (d,), one coordinate for each parameter in topological order (parents first).
    assignment: parameter name -> value, active parameters only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seatrial.search.parameters import Parameter, Value, describe, is_same

__all__ = ["Assignment", "Key", "SearchSpace"]

_KEYS_KEPT = 16_384

Assignment = dict[str, Value]
Key = tuple[tuple[str, str, Value], ...]
"""Identity of an assignment: (name, type, value) of its active parameters; True, 1 and 1.0 stay apart."""


class SearchSpace:
    """An ordered set of parameters, parents before children."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        """Order the parameters so that each one comes after its parent.

        Args:
            parameters: In the user's order; names are distinct, parents exist and there is no cycle.

        Raises:
            ValueError: If a name is repeated, a parent is missing or conditions form a cycle.
        """
        self.declared = tuple(parameters)
        self.parameters = _parents_first(self.declared)
        self.by_name: dict[str, Parameter] = {parameter.name: parameter for parameter in self.parameters}
        self._keys: dict[int, tuple[Assignment, Key]] = {}
        self.position: dict[str, int] = {parameter.name: i for i, parameter in enumerate(self.parameters)}

    def __len__(self) -> int:
        return len(self.parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    @cached_property
    def conditional(self) -> bool:
        """Whether any parameter depends on another one."""
        return any(parameter.when for parameter in self.parameters)

    @cached_property
    def children(self) -> Mapping[str, tuple[Parameter, ...]]:
        """Parameters that depend directly on the named one."""
        found: dict[str, list[Parameter]] = {parameter.name: [] for parameter in self.parameters}
        for parameter in self.parameters:
            if parameter.when:
                found[parameter.when.parent].append(parameter)
        return {name: tuple(children) for name, children in found.items()}

    # ---- assignments -------------------------------------------------------------------------------------------------

    def prune(self, values: Mapping[str, Value]) -> Assignment:
        """Return the active parameters among *values*, normalised, in the space's order.

        Args:
            values: A value for at least every parameter that turns out to be active.
        """
        active: Assignment = {}
        for parameter in self.parameters:
            if parameter.when is None or parameter.when.holds(active):
                active[parameter.name] = parameter.normalise(values[parameter.name])
        return active

    def complete(self, values: Mapping[str, Value]) -> Assignment:
        """Return *values* with every active parameter that is missing set to its default or the middle of its range."""
        return self.prune({**self._defaults, **values})

    @cached_property
    def _defaults(self) -> Assignment:
        return {p.name: p.normalise(p.default) if p.default is not None else p.decode(0.5) for p in self.parameters}

    def default(self) -> Assignment:
        """Return the assignment of all defaults, the middle of the range where none is given."""
        return self.complete({})

    def problems(self, assignment: Mapping[str, Value]) -> list[tuple[str, str]]:
        """Return (parameter, complaint) for everything that keeps *assignment* out of the space; missing parameters are none."""
        found: list[tuple[str, str]] = []
        active: Assignment = {}
        for parameter in self.parameters:
            given = parameter.name in assignment
            on = parameter.when is None or parameter.when.holds(active)
            if given and not parameter.contains(assignment[parameter.name]):
                found.append((parameter.name, f"is {assignment[parameter.name]!r}, but must be {describe(parameter)}"))
            elif given and not on and parameter.when is not None:
                values = ", ".join(str(value) for value in parameter.when.values)
                found.append(
                    (parameter.name, f"is set, but exists only when {parameter.when.parent} is one of: {values}")
                )
            if on:
                usable = given and parameter.contains(assignment[parameter.name])
                active[parameter.name] = (
                    parameter.normalise(assignment[parameter.name]) if usable else self._defaults[parameter.name]
                )
        known = set(self.by_name)
        found += [(name, "is no parameter of this study") for name in assignment if name not in known]
        return found

    def key(self, assignment: Mapping[str, Value]) -> Key:
        """Return the identity of an assignment: two assignments are the same trial exactly if their keys are equal."""
        return tuple(
            (name, "b" if isinstance(value, bool) else "s" if isinstance(value, str) else "n", value)
            for name, value in self.prune({**self._defaults, **assignment}).items()
        )

    def keys_of_trials(self, assignments: Iterable[Assignment]) -> Iterator[Key]:
        """Return the same for assignments that nobody changes any more; remembered, for a question has those of ten thousand trials."""
        keys = self._keys
        for assignment in assignments:
            known = keys.get(id(assignment))
            if known is None or known[0] is not assignment:
                if len(keys) >= _KEYS_KEPT:
                    keys.clear()
                # The assignment is held as well: its id is no other one's meanwhile.
                known = keys[id(assignment)] = assignment, self.key(assignment)
            yield known[1]

    # ---- unit cube ---------------------------------------------------------------------------------------------------

    def from_unit(self, u: Sequence[float] | NDArray[np.float64]) -> Assignment:
        """Decode a point of the unit cube, shape (d,)."""
        return self.prune({p.name: p.decode(float(x)) for p, x in zip(self.parameters, u, strict=True)})

    def to_unit(self, assignment: Mapping[str, Value], *, fill: float = 0.5) -> NDArray[np.float64]:
        """Encode an assignment, shape (d,); inactive parameters become *fill*."""
        return np.array([p.encode(assignment[p.name]) if p.name in assignment else fill for p in self.parameters])

    def sample(self, rng: np.random.Generator) -> Assignment:
        """Draw an assignment uniformly from the unit cube."""
        return self.from_unit(rng.random(len(self.parameters)))

    # ---- size --------------------------------------------------------------------------------------------------------

    @cached_property
    def size(self) -> int | None:
        """Exact number of distinct assignments, conditional branches counted once each; None when a float makes it infinite."""
        below: dict[str, int | None] = {}
        # Children before parents, each once: along a chain of conditions there are more ways than can be walked.
        for parameter in reversed(self.parameters):
            below[parameter.name] = self._size_below(parameter, below)
        return _product(below[parameter.name] for parameter in self.parameters if parameter.when is None)

    def _size_below(self, parameter: Parameter, below: Mapping[str, int | None]) -> int | None:
        """Number of assignments of *parameter* and everything that depends on it, from the numbers *below* of its children."""
        levels = parameter.levels
        children = self.children[parameter.name]
        if levels is None or not children:
            return levels
        named: list[Value] = []
        for child in children:
            for value in child.when.values if child.when else ():
                if parameter.contains(value) and not any(is_same(value, other) for other in named):
                    named.append(value)
        total = levels - len(named)
        for value in named:
            active = (child for child in children if child.when and child.when.holds({parameter.name: value}))
            branch = _product(below[child.name] for child in active)
            if branch is None:
                return None
            total += branch
        return total


def _product(sizes: Iterable[int | None]) -> int | None:
    """Return the product, None when one of them has no end."""
    total = 1
    for size in sizes:
        if size is None:
            return None
        total *= size
    return total


def _parents_first(parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """Return *parameters* in their order, each moved behind its parent.

    Raises:
        ValueError: If a name is repeated, a parent is missing or conditions form a cycle.
    """
    names = [parameter.name for parameter in parameters]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"parameter names must be distinct, but {sorted(repeated)} are repeated")
    placed: dict[str, Parameter] = {}
    waiting = list(parameters)
    while waiting:
        ready = [p for p in waiting if p.when is None or p.when.parent in placed]
        if not ready:
            stuck = ", ".join(p.name for p in waiting)
            raise ValueError(f"conditions of {stuck} name a parameter that does not exist, or form a cycle")
        first = ready[0]
        placed[first.name] = first
        waiting.remove(first)
    return tuple(placed.values())
