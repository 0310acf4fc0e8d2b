"""The kinds of parameters: which values each can take, and where they lie between 0 and 1.

A float maps linearly (or by its logarithm) to [0, 1]. A parameter with n discrete levels divides [0, 1] into n cells and is represented
by a cell's centre; the cells are equally wide except for an int on a log scale, whose cells are as wide as the logarithm makes them. A
constant is always 0.5.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "Categorical",
    "Condition",
    "Constant",
    "Float",
    "Int",
    "Ordinal",
    "Parameter",
    "Value",
    "describe",
    "is_same",
]

Value = bool | int | float | str

# A stepped range whose last step lies within this share of a step beyond `high` still includes it: 0.1 + 2 * 0.1 is not 0.3.
_STEP_SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A parameter is active only while *parent* is active and has one of *values*."""

    parent: str
    values: tuple[Value, ...]

    def holds(self, assignment: Mapping[str, Value]) -> bool:
        """Whether the condition is met by the parameters assigned so far."""
        return self.parent in assignment and any(is_same(assignment[self.parent], value) for value in self.values)


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
            if is_same(choice, value):
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
        return any(is_same(choice, value) for choice in self.choices)

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
        return is_same(value, self.value)

    def normalise(self, value: Value) -> Value:  # noqa: ARG002 - the same signature for every kind
        """Return the value."""
        return self.value


Parameter = Float | Int | Ordinal | Categorical | Constant


def is_same(a: Value, b: Value) -> bool:
    """Equality that keeps booleans, numbers and strings apart: True is not 1; 1 and 1.0 are the same number."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b


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
