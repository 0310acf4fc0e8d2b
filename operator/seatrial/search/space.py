"""The search space: typed, conditional parameters, and their encoding in the unit cube.

Notation:
    d: number of parameters, constants included.
    u: a point of the unit cube, shape (d,), one coordinate for each parameter in topological order (parents first).
    assignment: parameter name -> value, active parameters only.

Encoding: a float maps linearly (or by its logarithm) to [0, 1]. A parameter with n discrete levels divides [0, 1] into n cells and
is represented by a cell's centre; the cells are equally wide except for an int on a log scale, whose cells are as wide as the
logarithm makes them. A constant is always 0.5.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Assignment",
    "Categorical",
    "Condition",
    "Constant",
    "Float",
    "Int",
    "Key",
    "Ordinal",
    "Parameter",
    "SearchSpace",
    "Value",
]

Value = bool | int | float | str
Assignment = dict[str, Value]
Key = tuple[tuple[str, str, Value], ...]
"""Identity of an assignment: (name, type, value) of its active parameters; True, 1 and 1.0 stay apart."""

# A stepped range whose last step lies within this share of a step beyond `high` still includes it: 0.1 + 2 * 0.1 is not 0.3.
_STEP_SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A parameter is active only while *parent* is active and has one of *values*."""

    parent: str
    values: tuple[Value, ...]

    def holds(self, assignment: Mapping[str, Value]) -> bool:
        """Whether the condition is met by the parameters assigned so far."""
        return self.parent in assignment and any(_same(assignment[self.parent], value) for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Float:
    """A real number from *low* to *high*, both included."""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    default: float | None = None
    when: Condition | None = None

    @property
    def levels(self) -> int | None:
        """Number of distinct values; None for a continuum."""
        if self.low == self.high:
            return 1
        return None if self.step is None else int((self.high - self.low) / self.step + _STEP_SLACK) + 1

    def at(self, level: int) -> float:
        """Return the value of a level of a stepped range."""
        if self.step is None or level == 0:
            return float(self.low)  # unrounded: a low of more than twelve digits must not fall below itself
        value = self.low + level * self.step
        # Twelve digits hide the rounding of low + k * step without merging neighbours: 0.1 + 2 * 0.1 reads 0.3.
        return min(float(f"{value:.12g}"), self.high)

    def decode(self, u: float) -> float:
        """Return the value at *u* in [0, 1]."""
        u = min(max(float(u), 0.0), 1.0)
        if (levels := self.levels) is not None:
            return self.at(min(int(u * levels), levels - 1))
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return min(max(math.exp(low + u * (high - low)), self.low), self.high)
        return min(max(self.low + u * (self.high - self.low), self.low), self.high)

    def encode(self, value: Value) -> float:
        """Return the place of *value* in [0, 1]."""
        number = float(value)
        if (levels := self.levels) is not None:
            level = 0 if self.step is None else round((number - self.low) / self.step)
            return (min(max(level, 0), levels - 1) + 0.5) / levels
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return min(max((math.log(number) - low) / (high - low), 0.0), 1.0)
        return min(max((number - self.low) / (self.high - self.low), 0.0), 1.0)

    def contains(self, value: Value) -> bool:
        """Whether *value* can be taken."""
        if isinstance(value, bool | str) or not math.isfinite(value) or not self.low <= value <= self.high:
            return False
        if self.step is None:
            return True
        level = round((value - self.low) / self.step)
        return math.isclose(value, self.at(level), rel_tol=1e-9, abs_tol=1e-12)

    def normalise(self, value: Value) -> float:
        """Return *value* as this kind of parameter writes it: an int given for a float becomes a float, a step is snapped."""
        if self.step is None:
            return float(value)
        return self.at(round((float(value) - self.low) / self.step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Int:
    """A whole number from *low* to *high*, both included."""

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1
    default: int | None = None
    when: Condition | None = None

    @property
    def levels(self) -> int:
        """Number of distinct values."""
        return (self.high - self.low) // self.step + 1

    def at(self, level: int) -> int:
        """Return the value of a level."""
        return self.low + level * self.step

    def decode(self, u: float) -> int:
        """Return the value at *u* in [0, 1]."""
        u = min(max(float(u), 0.0), 1.0)
        if not self.log:
            return self.at(min(int(u * self.levels), self.levels - 1))
        # Half a cell of margin at both ends, so that the first and the last value are as likely as their neighbours.
        low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
        return min(max(round(math.exp(low + u * (high - low))), self.low), self.high)

    def encode(self, value: Value) -> float:
        """Return the place of *value* in [0, 1]."""
        number = min(max(float(value), self.low), self.high)
        if not self.log:
            return ((number - self.low) // self.step + 0.5) / self.levels
        low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
        return (math.log(number) - low) / (high - low)

    def contains(self, value: Value) -> bool:
        """Whether *value* can be taken; 3.0 counts as 3, since JSON does not tell them apart."""
        if isinstance(value, bool | str) or not math.isfinite(value) or value != int(value):
            return False
        return self.low <= value <= self.high and (int(value) - self.low) % self.step == 0

    def normalise(self, value: Value) -> int:
        """Return *value* as an int."""
        return int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choices:
    """What ordinal and categorical parameters share: a finite list of values."""

    name: str
    choices: tuple[Value, ...]
    default: Value | None = None
    when: Condition | None = None

    @property
    def levels(self) -> int:
        """Number of distinct values."""
        return len(self.choices)

    def at(self, level: int) -> Value:
        """Return the value of a level."""
        return self.choices[level]

    def index(self, value: Value) -> int:
        """Return the level of *value*.

        Raises:
            ValueError: If it is none of the choices.
        """
        for level, choice in enumerate(self.choices):
            if _same(choice, value):
                return level
        raise ValueError(f"{self.name} is {value!r}, but must be one of {list(self.choices)}")

    def decode(self, u: float) -> Value:
        """Return the value at *u* in [0, 1]."""
        return self.choices[min(int(min(max(float(u), 0.0), 1.0) * self.levels), self.levels - 1)]

    def encode(self, value: Value) -> float:
        """Return the place of *value* in [0, 1]."""
        return (self.index(value) + 0.5) / self.levels

    def contains(self, value: Value) -> bool:
        """Whether *value* can be taken."""
        return any(_same(choice, value) for choice in self.choices)

    def normalise(self, value: Value) -> Value:
        """Return the choice that equals *value*."""
        return self.choices[self.index(value)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordinal(_Choices):
    """Ordered choices: neighbours are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Categorical(_Choices):
    """Unordered choices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """One value, the same in every trial in which it is active."""

    name: str
    value: Value
    when: Condition | None = None

    @property
    def default(self) -> Value:
        """The value."""
        return self.value

    @property
    def levels(self) -> int:
        """One."""
        return 1

    def at(self, level: int) -> Value:  # noqa: ARG002 - the same signature for every kind
        """Return the value."""
        return self.value

    def decode(self, u: float) -> Value:  # noqa: ARG002 - the same signature for every kind
        """Return the value."""
        return self.value

    def encode(self, value: Value) -> float:  # noqa: ARG002 - the same signature for every kind
        """Return 0.5."""
        return 0.5

    def contains(self, value: Value) -> bool:
        """Whether *value* is the constant."""
        return _same(value, self.value)

    def normalise(self, value: Value) -> Value:  # noqa: ARG002 - the same signature for every kind
        """Return the value."""
        return self.value


Parameter = Float | Int | Ordinal | Categorical | Constant


def _same(a: Value, b: Value) -> bool:
    """Equality that keeps booleans, numbers and strings apart: True is not 1; 1 and 1.0 are the same number."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b


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
        total = 1
        for parameter in self.parameters:
            if parameter.when is None:
                below = self._size_below(parameter)
                if below is None:
                    return None
                total *= below
        return total

    def _size_below(self, parameter: Parameter) -> int | None:
        """Number of assignments of *parameter* and everything that depends on it."""
        levels = parameter.levels
        children = self.children[parameter.name]
        if levels is None:
            return None
        if not children:
            return levels
        named: list[Value] = []
        for child in children:
            for value in child.when.values if child.when else ():
                if parameter.contains(value) and not any(_same(value, other) for other in named):
                    named.append(value)
        total = levels - len(named)
        for value in named:
            branch = 1
            for child in children:
                if child.when and child.when.holds({parameter.name: value}):
                    below = self._size_below(child)
                    if below is None:
                        return None
                    branch *= below
            total += branch
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


def describe(parameter: Parameter) -> str:
    """Say in words which values a parameter can take."""
    match parameter:
        case Float() | Int():
            kind = "a number" if isinstance(parameter, Float) else "a whole number"
            step = f" in steps of {parameter.step}" if parameter.step not in {None, 1} else ""
            return f"{kind} from {parameter.low:g} to {parameter.high:g}{step}"
        case Ordinal() | Categorical():
            return "one of: " + ", ".join(str(choice) for choice in parameter.choices)
        case Constant():
            return f"the constant {parameter.value!r}"
