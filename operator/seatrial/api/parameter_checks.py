"""Rules over one parameter, and over the parameters among each other.

Charter: pure; nothing here builds a search space. Each rule is a small function; the tables are at the end.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from seatrial.api.base import Value
from seatrial.api.parameters import Parameter, ParameterType, Scale
from seatrial.api.rules import Check, ParameterCheck, problem
from seatrial.api.study import Study
from seatrial.api.wording import is_number_like, list_words, show, suggest
from seatrial.errors import Problem

__all__ = ["PARAMETER_CHECKS", "PARAMETER_WARNINGS", "SPACE_CHECKS", "SPACE_WARNINGS", "admits", "domain", "same_value"]

_NUMBERS = frozenset({ParameterType.FLOAT, ParameterType.INT})
_LISTS = frozenset({ParameterType.ORDINAL, ParameterType.CATEGORICAL})
_EXACT = 2**53
"""Whole numbers are exact in a float up to here."""
_MOST_LEVELS = 10**9
_LONGEST_TEXT = 1024
"""64 parameters of this length stay below the 128 KiB that Linux gives a single variable."""
_DIGITS = 1e11
"""A step below this share of the range's ends would vanish in the twelve digits that values are written with."""


def same_value(a: Value, b: Value) -> bool:
    """Equality that keeps booleans, numbers and texts apart: true is not 1; 1 and 1.0 are the same number."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b


def admits(parameter: Parameter, value: Value) -> bool:
    """Whether a parameter that is sound by itself can take *value*."""
    if parameter.type is ParameterType.CONSTANT:
        return parameter.value is not None and same_value(parameter.value, value)
    if parameter.type in _LISTS:
        return any(same_value(choice, value) for choice in parameter.choices or ())
    if isinstance(value, bool | str) or parameter.min is None or parameter.max is None:
        return False
    if not parameter.min <= value <= parameter.max or (parameter.type is ParameterType.INT and value != int(value)):
        return False
    if parameter.step is None:
        return True
    level = round((value - parameter.min) / parameter.step)
    return math.isclose(value, parameter.min + level * parameter.step, rel_tol=1e-9, abs_tol=1e-12)


def domain(parameter: Parameter) -> str:
    """Say in words which values a parameter can take."""
    if parameter.type is ParameterType.CONSTANT:
        return f"the constant {show(parameter.value)}"
    if parameter.type in _LISTS:
        return "one of: " + list_words(show(choice) for choice in parameter.choices or ())
    kind = "a whole number" if parameter.type is ParameterType.INT else "a number"
    step = f" in steps of {show(parameter.step)}" if parameter.step is not None else ""
    return f"{kind} from {show(parameter.min)} to {show(parameter.max)}{step}"


# ---- one parameter -----------------------------------------------------------------------------------------------------


def needed_fields(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """A range needs min and max, a list its choices, a constant its value."""
    kind = parameter.type
    if kind in _NUMBERS:
        for field in ("min", "max"):
            if getattr(parameter, field) is None:
                yield field, f"is missing, but type: {kind} needs min and max; add {field}"
    if kind in _LISTS and parameter.choices is None:
        yield "choices", f"is missing, but type: {kind} needs them; add choices: [a, b, c]"
    if kind is ParameterType.CONSTANT and parameter.value is None:
        yield "value", "is missing, but type: constant needs it; add value"


def foreign_fields(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """A field of another kind of parameter is a misunderstanding, never ignored."""
    kind = parameter.type
    steps = {
        "min": (_NUMBERS, "float or int"),
        "max": (_NUMBERS, "float or int"),
        "scale": (_NUMBERS, "float or int"),
        "step": (_NUMBERS, "float or int"),
        "choices": (_LISTS, "ordinal or categorical"),
        "value": ({ParameterType.CONSTANT}, "constant"),
        "default": (_NUMBERS | _LISTS, "float, int, ordinal or categorical"),
    }
    for field, (kinds, words) in steps.items():
        if getattr(parameter, field) is not None and kind not in kinds:
            yield field, f"is set, but type: {kind} has none; remove it or use type: {words}"


def ordered_range(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """Min lies below max, or equals it: a range of one value is a constant on its way."""
    low, high = parameter.min, parameter.max
    if parameter.type not in _NUMBERS or low is None or high is None:
        return
    if low > high:
        yield "min", f"is {show(low)}, but max is {show(high)} and min must not be above it; swap them"
    elif not math.isfinite(high - low):
        yield "max", f"is {show(high)}, but max - min overflows; use a smaller range"


def positive_log(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """The logarithm of 0 does not exist."""
    if parameter.type not in _NUMBERS or parameter.scale is not Scale.LOG:
        return
    if parameter.min is not None and parameter.min <= 0:
        yield "min", f"is {show(parameter.min)}, but scale: log needs min > 0; raise min or use scale: linear"
    if parameter.step is not None:
        yield "step", f"is {show(parameter.step)}, but scale: log has no even steps; remove step or use scale: linear"


def whole_numbers(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """The range of an int is made of whole numbers that a float holds exactly."""
    if parameter.type is not ParameterType.INT:
        return
    for field in ("min", "max", "step"):
        number = getattr(parameter, field)
        if number is None:
            continue
        if number != math.floor(number):
            yield field, f"is {show(number)}, but type: int needs whole numbers; round it or use type: float"
        elif abs(number) > _EXACT:
            yield field, f"is {show(number)}, but whole numbers are exact only up to 2^53; use type: float"


def usable_step(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """A step lies inside the range and its values can be told apart."""
    low, high, step = parameter.min, parameter.max, parameter.step
    if parameter.type not in _NUMBERS or low is None or high is None or step is None or not low < high:
        return
    width = high - low
    if step > width:
        yield "step", f"is {show(step)}, but max - min is only {show(width)}; lower step"
    elif parameter.type is ParameterType.FLOAT and (
        width / step > _MOST_LEVELS or max(abs(low), abs(high)) / step > _DIGITS
    ):
        yield "step", f"is {show(step)}, which is too fine for the range; raise it, or remove it for a continuous range"


def distinct_choices(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """Two equal choices would be one twice as likely."""
    choices = parameter.choices or []
    for position, choice in enumerate(choices):
        first = next(i for i, other in enumerate(choices) if same_value(other, choice))
        if first < position:
            yield f"choices[{position}]", f"is {show(choice)}, the same as choices[{first}]; remove one"


def short_texts(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """A text fits into an environment variable beside all the others."""
    texts = [(f"choices[{position}]", choice) for position, choice in enumerate(parameter.choices or [])]
    for field, text in [*texts, ("value", parameter.value)]:
        if isinstance(text, str) and len(text) > _LONGEST_TEXT:
            message = f"is {show(text)} with {len(text)} characters, but at most {_LONGEST_TEXT} are allowed; give a short name and look the text up in the trial"
            yield field, message


def default_in_range(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """The default is a value that the parameter can take."""
    kind, default = parameter.type, parameter.default
    if default is None or kind is ParameterType.CONSTANT:
        return
    # Only over a sound range or list: its own mistakes are told by the rules above.
    if kind in _NUMBERS and (parameter.min is None or parameter.max is None or parameter.min > parameter.max):
        return
    if kind in _LISTS and parameter.choices is None:
        return
    if not admits(parameter, default):
        yield (
            "default",
            f"is {show(default)}, but must be {domain(parameter)}; change it or the {'range' if kind in _NUMBERS else 'choices'}",
        )


def looks_like_a_number(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """Warn of a text in an ordinal, or among numbers, that reads as a number."""
    choices = parameter.choices or []
    mixed = any(not isinstance(choice, bool | str) for choice in choices)
    if parameter.type is ParameterType.ORDINAL or mixed:
        for position, choice in enumerate(choices):
            if isinstance(choice, str) and is_number_like(choice):
                yield f"choices[{position}]", f"is the text {show(choice)}; remove the quotes if a number is meant"


def unsorted_ordinal(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """Warn of numbers of an ordinal in no order: neighbours in the list are taken to be alike."""
    numbers = [choice for choice in parameter.choices or [] if not isinstance(choice, bool | str)]
    if parameter.type is not ParameterType.ORDINAL or len(numbers) != len(parameter.choices or []):
        return
    if numbers not in (sorted(numbers), sorted(numbers, reverse=True)):
        yield (
            "choices",
            "are numbers in no order, but an ordinal takes neighbours to be alike; sort them if that was not meant",
        )


def unreached_max(parameter: Parameter) -> Iterator[tuple[str, str]]:
    """Warn of a max that no step arrives at."""
    low, high, step = parameter.min, parameter.max, parameter.step
    if parameter.type not in _NUMBERS or low is None or high is None or step is None:
        return
    last = low + math.floor((high - low) / step + 1e-9) * step
    if not math.isclose(last, high, rel_tol=1e-9, abs_tol=1e-12):
        yield "max", f"is {show(high)}, but the last value in steps of {show(step)} is {last:.12g}"


# ---- parameters among each other -----------------------------------------------------------------------------------------


def distinct_names(study: Study) -> Iterator[Problem]:
    """Two parameters of one name would be one environment variable."""
    first: dict[str, int] = {}
    for position, parameter in enumerate(study.spec.parameters):
        if parameter.name in first:
            message = f"is {show(parameter.name)}, which parameters[{first[parameter.name]}] already has; rename one"
            yield problem(f"parameters[{position}].name", message)
        first.setdefault(parameter.name, position)


def known_parents(study: Study) -> Iterator[Problem]:
    """A condition names another parameter whose values can be listed."""
    by_name = {parameter.name: parameter for parameter in study.spec.parameters}
    for position, parameter in enumerate(study.spec.parameters):
        if parameter.when is None:
            continue
        name, path = parameter.when.parameter, f"parameters[{position}].when.parameter"
        if name == parameter.name:
            yield problem(path, f"is {show(name)}, the parameter itself; name another parameter")
        elif name not in by_name:
            others = [other for other in by_name if other != parameter.name]
            yield problem(path, f"is {show(name)}, but there is no such parameter; {suggest(name, others)}")
        elif by_name[name].type is ParameterType.FLOAT:
            message = f"is {show(name)}, a float, but a condition needs a parent whose values can be listed; name an int, ordinal or categorical"
            yield problem(path, message)


def possible_conditions(study: Study) -> Iterator[Problem]:
    """A condition asks for values that the parent can take."""
    by_name = {parameter.name: parameter for parameter in study.spec.parameters}
    for position, parameter in enumerate(study.spec.parameters):
        parent = by_name.get(parameter.when.parameter) if parameter.when else None
        if parameter.when is None or parent is None or parent is parameter or parent.type is ParameterType.FLOAT:
            continue
        for place, value in enumerate(parameter.when.in_):
            if not admits(parent, value):
                message = f"is {show(value)}, but {parent.name} is {domain(parent)}; use a value that it can take"
                yield problem(f"parameters[{position}].when.in[{place}]", message)


def no_cycles(study: Study) -> Iterator[Problem]:
    """Conditions form a forest; each cycle is told once, at its first parameter."""
    parents = {p.name: p.when.parameter for p in study.spec.parameters if p.when and p.when.parameter != p.name}
    positions = {parameter.name: position for position, parameter in enumerate(study.spec.parameters)}
    told: set[str] = set()
    for name in positions:
        cycle = _cycle_from(name, parents)
        if cycle and name == cycle[0] and not told & set(cycle):
            told |= set(cycle)
            way = " -> ".join([*cycle, cycle[0]])
            message = f"forms a cycle ({_shortened(way)}), so that none of them could ever exist; remove one condition"
            yield problem(f"parameters[{positions[name]}].when", message)


def _cycle_from(name: str, parents: Mapping[str, str]) -> Sequence[str]:
    """Return the names on the cycle that starts and ends at *name*, empty when there is none."""
    way = [name]
    while (parent := parents.get(way[-1])) is not None:
        if parent == name:
            return way
        if parent in way:
            return ()
        way.append(parent)
    return ()


def _shortened(way: str) -> str:
    return way if len(way) <= 200 else way[:199] + "…"


def names_apart_by_case(study: Study) -> Iterator[Problem]:
    """Warn of names that differ by case alone."""
    first: dict[str, str] = {}
    for position, parameter in enumerate(study.spec.parameters):
        lower = parameter.name.lower()
        if lower in first and first[lower] != parameter.name:
            message = f"is {show(parameter.name)}, which differs from {show(first[lower])} only by case; rename one to be safe"
            yield problem(f"parameters[{position}].name", message)
        first.setdefault(lower, parameter.name)


PARAMETER_CHECKS: tuple[ParameterCheck, ...] = (
    needed_fields,
    foreign_fields,
    ordered_range,
    positive_log,
    whole_numbers,
    usable_step,
    distinct_choices,
    short_texts,
    default_in_range,
)
PARAMETER_WARNINGS: tuple[ParameterCheck, ...] = (looks_like_a_number, unsorted_ordinal, unreached_max)

_PARAMETERS = frozenset({"parameters"})
SPACE_CHECKS: tuple[Check, ...] = (
    Check(reads=_PARAMETERS, find=distinct_names),
    Check(reads=_PARAMETERS, find=known_parents),
    Check(reads=_PARAMETERS, find=possible_conditions),
    Check(reads=_PARAMETERS, find=no_cycles),
)
SPACE_WARNINGS: tuple[Check, ...] = (Check(reads=_PARAMETERS, find=names_apart_by_case),)
