"""From a study as its user writes it to the space, the settings and the algorithm that search it.

Specifications that were not validated may raise ``ValueError`` here; good messages are the validator's duty.
"""

from collections.abc import Sequence
from typing import get_args

from seatrial.api.algorithm import Algorithm as AlgorithmSpec
from seatrial.api.algorithm import AlgorithmName, PbtSettings
from seatrial.api.base import Wire
from seatrial.api.parameters import Parameter as WireParameter
from seatrial.api.parameters import ParameterType, Scale
from seatrial.api.study import StudySpec
from seatrial.search.algorithms import ALGORITHMS
from seatrial.search.base import Algorithm, Segment, Settings
from seatrial.search.parameters import Categorical, Condition, Constant, Float, Int, Ordinal, Parameter, Value
from seatrial.search.population.intervals import default_interval, generations
from seatrial.search.space import Assignment, SearchSpace

__all__ = ["build_algorithm", "build_settings", "build_space", "initial_assignments", "planned_trials"]


def build_space(parameters: Sequence[WireParameter]) -> SearchSpace:
    """Return the search space of a study.

    Raises:
        ValueError: If a parameter lacks what its type needs, a name is repeated, or conditions form a cycle.
    """
    return SearchSpace([_parameter(parameter) for parameter in parameters])


def build_settings(spec: StudySpec) -> Settings:
    """Return the settings of the study's algorithm, defaults filled in."""
    own = _member(spec.algorithm)
    given = own.model_dump() if own else {}
    resolutions = spec.algorithm.grid.resolutions if spec.algorithm.grid else []
    replay = spec.algorithm.replay
    return Settings(
        seed=spec.algorithm.seed,
        objectives=len(spec.objectives),
        max_trials=spec.budget.max_trials,
        max_step=spec.steps.max if spec.steps else None,
        numbers={name: float(value) for name, value in given.items() if isinstance(value, int | float)},
        resolutions={resolution.parameter: resolution.points for resolution in resolutions},
        words={name: str(value) for name, value in given.items() if isinstance(value, str)},
        mutable=frozenset(spec.algorithm.pbt.mutable) if spec.algorithm.pbt else frozenset(),
        initial=initial_assignments(spec),
        schedule=[
            Segment(until_step=segment.until_step, assignment=dict(segment.parameters))
            for segment in (replay.schedule if replay else [])
        ],
    )


def initial_assignments(spec: StudySpec) -> tuple[Assignment, ...]:
    """Return the points that come before the algorithm's: spec.initialTrials, else the defaults if the author gave any.

    A grid covers its own points in its own order and gets no default; neither does a schedule that is replayed.
    """
    given = any(parameter.default is not None for parameter in spec.parameters)
    if not spec.initial_trials and (not given or spec.algorithm.name in {AlgorithmName.GRID, AlgorithmName.REPLAY}):
        return ()
    space = build_space(spec.parameters)
    return tuple(space.complete(known) for known in spec.initial_trials) or (space.default(),)


def planned_trials(spec: StudySpec) -> int | None:
    """Return how many trials the study's algorithm makes by itself, None when that is for the budget to say.

    A population makes one trial a member and interval; a schedule one a segment. A steps.max that is missing is told elsewhere.
    """
    algorithm = spec.algorithm
    if algorithm.name is AlgorithmName.REPLAY and algorithm.replay:
        return len(algorithm.replay.schedule)
    if algorithm.name is not AlgorithmName.PBT or spec.steps is None:
        return None
    own = algorithm.pbt or PbtSettings()
    interval = own.ready_interval or default_interval(spec.steps.max)
    return own.population_size * generations(spec.steps.max, interval)


def build_algorithm(spec: StudySpec, space: SearchSpace) -> Algorithm:
    """Return the study's algorithm.

    Raises:
        ValueError: If the algorithm cannot search this space.
    """
    return ALGORITHMS[spec.algorithm.name.value](space, build_settings(spec))


def _member(algorithm: AlgorithmSpec) -> Wire | None:
    """Return the settings under the algorithm's name, with defaults when absent; None for an algorithm without settings."""
    name = algorithm.name.value
    field = AlgorithmSpec.model_fields.get(name)
    if field is None:
        return None
    member: Wire | None = getattr(algorithm, name)
    kind: type[Wire] = next(kind for kind in get_args(field.annotation) if kind is not type(None))
    if member is None and any(field.is_required() for field in kind.model_fields.values()):
        return None
    return member or kind()


def _parameter(wire: WireParameter) -> Parameter:
    when = Condition(parent=wire.when.parameter, values=tuple(wire.when.in_)) if wire.when else None
    match wire.type:
        case ParameterType.FLOAT:
            low, high = _bounds(wire)
            default = None if wire.default is None else float(wire.default)
            log = wire.scale is Scale.LOG
            return Float(name=wire.name, low=low, high=high, log=log, step=wire.step, default=default, when=when)
        case ParameterType.INT:
            low, high = (_whole(wire, bound) for bound in _bounds(wire))
            step = 1 if wire.step is None else _whole(wire, wire.step)
            whole = None if wire.default is None else _whole(wire, wire.default)
            log = wire.scale is Scale.LOG
            return Int(name=wire.name, low=low, high=high, log=log, step=step, default=whole, when=when)
        case ParameterType.ORDINAL:
            return Ordinal(name=wire.name, choices=_choices(wire), default=wire.default, when=when)
        case ParameterType.CATEGORICAL:
            return Categorical(name=wire.name, choices=_choices(wire), default=wire.default, when=when)
        case ParameterType.CONSTANT:
            if wire.value is None:
                raise ValueError(f"parameter {wire.name} is constant, but has no value")
            return Constant(name=wire.name, value=wire.value, when=when)


def _bounds(wire: WireParameter) -> tuple[float, float]:
    if wire.min is None or wire.max is None:
        raise ValueError(f"parameter {wire.name} is {wire.type}, but lacks min or max")
    if wire.min > wire.max or (wire.scale is Scale.LOG and wire.min <= 0):
        raise ValueError(f"parameter {wire.name} has no range: min {wire.min:g}, max {wire.max:g}")
    return wire.min, wire.max


def _whole(wire: WireParameter, value: Value) -> int:
    if isinstance(value, str) or value != int(value):
        raise ValueError(f"parameter {wire.name} is int, but {value} is not whole")
    return int(value)


def _choices(wire: WireParameter) -> tuple[Value, ...]:
    if not wire.choices:
        raise ValueError(f"parameter {wire.name} is {wire.type}, but has no choices")
    return tuple(wire.choices)
