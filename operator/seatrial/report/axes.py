"""Where a parameter's value lies in a plot: on its own scale, and on a common one from 0 to 1."""

import math
from dataclasses import dataclass

from seatrial.report.words import format_number, format_value
from seatrial.search.parameters import Categorical, Constant, Float, Int, Ordinal, Parameter, Value, describe
from seatrial.search.space import SearchSpace

__all__ = ["Axis", "Tick", "build_axes", "round_places"]

_MOST_TICKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis.

    Attributes:
        place: On the axis' own scale: the number itself, or the level of a choice.
        unit: On the common scale, from 0 to 1.
    """

    place: float
    unit: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One parameter as a plot shows it.

    Attributes:
        parameter: What the search space knows of it.
        condition: When it exists at all, in words: ``only when optimizer is sgd``. Empty for always.
        ticks: For a choice one for each level, thinned where there are many.
    """

    parameter: Parameter
    condition: str
    ticks: tuple[Tick, ...]

    @property
    def name(self) -> str:
        """Name of the parameter."""
        return self.parameter.name

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers on a range."""
        return isinstance(self.parameter, Float | Int)

    @property
    def log(self) -> bool:
        """Whether its scale is logarithmic."""
        return isinstance(self.parameter, Float | Int) and self.parameter.log

    @property
    def varies(self) -> bool:
        """Whether it has more than one value."""
        return self.parameter.levels is None or self.parameter.levels > 1

    @property
    def words(self) -> str:
        """Which values it can take, in words."""
        scale = ", log scale" if self.log else ""
        return f"{describe(self.parameter)}{scale}" + (f", {self.condition}" if self.condition else "")

    def place(self, value: Value | None) -> float | None:
        """Return where *value* lies on the axis' own scale, None when it is absent or not one of the parameter's values."""
        if value is None or not self.parameter.contains(value):
            return None
        if isinstance(self.parameter, Ordinal | Categorical):
            return float(self.parameter.index(value))
        return 0.0 if isinstance(self.parameter, Constant) else float(value)

    def unit(self, value: Value | None) -> float | None:
        """Return where *value* lies from 0 to 1, None when it is absent or not one of the parameter's values."""
        if value is None or not self.parameter.contains(value):
            return None
        return float(self.parameter.encode(value))

    def range(self) -> tuple[float, float]:
        """Return both ends of the axis' own scale."""
        match self.parameter:
            case Float() | Int():
                return float(self.parameter.low), float(self.parameter.high)
            case _:
                return -0.5, self.parameter.levels - 0.5


def build_axes(space: SearchSpace) -> tuple[Axis, ...]:
    """Return an axis for each parameter, in the order of the specification."""
    return tuple(
        Axis(parameter=parameter, condition=_condition(parameter), ticks=_ticks(parameter))
        for parameter in space.declared
    )


def _condition(parameter: Parameter) -> str:
    when = parameter.when
    if when is None:
        return ""
    return f"only when {when.parent} is " + " or ".join(format_value(value) for value in when.values)


def _ticks(parameter: Parameter) -> tuple[Tick, ...]:
    match parameter:
        case Constant():
            return (Tick(place=0.0, unit=0.5, label=format_value(parameter.value)),)
        case Ordinal() | Categorical():
            every = math.ceil(parameter.levels / 24)
            return tuple(
                Tick(place=float(level), unit=parameter.encode(choice), label=_short(format_value(choice)))
                for level, choice in enumerate(parameter.choices)
                if level % every == 0
            )
        case Float() | Int():
            places = _log_places(parameter) if parameter.log else _linear_places(parameter)
            return tuple(
                Tick(place=place, unit=_unit(parameter, place), label=format_number(place, digits=3))
                for place in places
            )


def _unit(parameter: Float | Int, place: float) -> float:
    return float(parameter.encode(place))


def round_places(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return about five round numbers from *low* to *high*, evenly spaced.

    Args:
        low: Below *high*.
        high: Above *low*.
        whole: Whether only whole numbers will do.
    """
    width = _round_width(low, high, whole=whole)
    first, last = math.ceil(low / width - 1e-9), math.floor(high / width + 1e-9)
    return [round(i * width, 12) for i in range(first, last + 1)]


def _round_width(low: float, high: float, *, whole: bool) -> float:
    rough = (high - low) / (_MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    width = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    return max(1.0, math.ceil(width)) if whole else width


def _linear_places(parameter: Float | Int) -> list[float]:
    low, high = float(parameter.low), float(parameter.high)
    if low == high:
        return [low]
    whole = isinstance(parameter, Int)
    width = _round_width(low, high, whole=whole)
    return _with_ends(round_places(low, high, whole=whole), low, high, width)


def _with_ends(inner: list[float], low: float, high: float, width: float) -> list[float]:
    """Return the ticks with both ends of the range, without those that would touch an end's label."""
    kept = [place for place in inner if place - low > 0.4 * width and high - place > 0.4 * width]
    return [low, *kept, high]


def _log_places(parameter: Float | Int) -> list[float]:
    low, high = float(parameter.low), float(parameter.high)
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / _MOST_TICKS))
    tens = [10.0**power for power in range(first, last + 1, every)]
    gap = (high / low) ** 0.08
    return [low, *(place for place in tens if place > low * gap and place * gap < high), high]


def _short(label: str, limit: int = 18) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"
