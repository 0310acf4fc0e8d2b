"""The rules that need the search space or the algorithms, and the functions that run all rules there are.

Charter: pure, over models that are sound field by field. A message of :meth:`SearchSpace.problems` or of an algorithm is passed
on with its path and a next step.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from seatrial.api.algorithm import AlgorithmName
from seatrial.api.base import Value
from seatrial.api.checks import PARAMETER_CHECKS, STUDY_CHECKS, STUDY_WARNINGS
from seatrial.api.load import Parsed, parse_object, parse_study
from seatrial.api.nodes import Json
from seatrial.api.parameter_checks import admits, domain
from seatrial.api.parameters import Parameter
from seatrial.api.rules import Check, find_problems, problem
from seatrial.api.study import Study
from seatrial.api.wording import list_words, show, suggest
from seatrial.errors import Problem
from seatrial.search import population_checks
from seatrial.search.algorithms import TRAITS
from seatrial.search.algorithms.grid import grid_size
from seatrial.search.build import build_settings, build_space
from seatrial.search.parameters import Float
from seatrial.search.space import SearchSpace

__all__ = ["ALL_CHECKS", "ALL_WARNINGS", "check_study", "load_object", "load_study"]

_HUGE_GRID = 10_000_000


def load_study(text: bytes, *, source: str) -> Parsed:
    """Return the study in a YAML or JSON text, checked by every rule there is.

    Args:
        text: The file's bytes.
        source: Name of the file, for messages about the file as a whole.

    Raises:
        SpecError: With every problem found.
    """
    return parse_study(text, source=source, checks=ALL_CHECKS, warnings=ALL_WARNINGS)


def load_object(value: Mapping[str, Json]) -> Parsed:
    """Return the study in an object from the API server, checked by every rule there is.

    Raises:
        SpecError: With every problem found.
    """
    return parse_object(value, checks=ALL_CHECKS, warnings=ALL_WARNINGS)


def check_study(study: Study) -> list[Problem]:
    """Return what every rule says against a study that was made otherwise than from a file; empty when it can be run."""
    return find_problems(study, checks=ALL_CHECKS, parameter_checks=PARAMETER_CHECKS)


# ---- rules -----------------------------------------------------------------------------------------------------------------


def enough_objectives(study: Study) -> Iterator[Problem]:
    """An algorithm is given as many objectives as it can compare."""
    name, count = study.spec.algorithm.name.value, len(study.spec.objectives)
    traits = TRAITS.get(name)
    if traits is not None and traits.max_objectives is not None and count > traits.max_objectives:
        able = [other for other, its in TRAITS.items() if its.max_objectives is None or its.max_objectives >= count]
        message = f"is {name}, but {name} takes one objective and there are {count}; use one of: {list_words(able)}"
        yield problem("algorithm.name", message)


def initial_trials_in_space(study: Study) -> Iterator[Problem]:
    """A known-good assignment lies in the space."""
    space = build_space(study.spec.parameters)
    by_name = {parameter.name: parameter for parameter in study.spec.parameters}
    for position, assignment in enumerate(study.spec.initial_trials):
        for name, complaint in space.problems(assignment):
            message = _outside(by_name.get(name), name, assignment[name], list(by_name)) or complaint
            yield problem(f"initialTrials[{position}].{name}", message)


def _outside(parameter: Parameter | None, name: str, value: Value, known: Sequence[str]) -> str | None:
    """Return why an assignment cannot give *value* to *name*, None when only the space knows."""
    if parameter is None:
        return f"is no parameter of this study; {suggest(name, known)}"
    if not admits(parameter, value):
        return f"is {show(value)}, but must be {domain(parameter)}; change it or remove it"
    if parameter.when is None:
        return None
    values = list_words(show(value) for value in parameter.when.in_)
    return f"is set, but exists only when {parameter.when.parameter} is one of: {values}; change that or remove this"


def finite_grid(study: Study) -> Iterator[Problem]:
    """A grid has finitely many points, and no more than a study can ever run."""
    if study.spec.algorithm.name is not AlgorithmName.GRID:
        return
    space, settings = build_space(study.spec.parameters), build_settings(study.spec)
    try:
        size = grid_size(space, settings)
    except ValueError as err:
        yield problem("algorithm.name", f"is grid, which {str(err).removeprefix('grid ')}")
        return
    if size > _HUGE_GRID and study.spec.budget.max_trials is None and not _other_limit(study):
        message = f"is missing, but the grid has {size:,} points; set budget.maxTrials, lower algorithm.grid.points or use another algorithm"
        yield problem("budget.maxTrials", message)


def some_limit(study: Study) -> Iterator[Problem]:
    """A study that could go on for ever is told when to end."""
    if study.spec.budget.max_trials is not None or _other_limit(study):
        return
    if study.spec.algorithm.name in {AlgorithmName.GRID, AlgorithmName.PBT, AlgorithmName.REPLAY}:
        return  # they end by themselves or are refused
    space = build_space(study.spec.parameters)
    if space.size is None:
        endless = _first_endless(space)
        message = (
            f"is missing, but {endless} has infinitely many values, so that the study would never end; "
            "add budget.maxTrials, budget.maxDuration, budget.maxGPUHours or a target"
        )
        yield problem("budget.maxTrials", message)
    elif space.size > _HUGE_GRID:
        message = f"is missing, but the search space has {_short(space.size)} assignments; add budget.maxTrials, budget.maxDuration or a target"
        yield problem("budget.maxTrials", message)


def more_trials_than_points(study: Study) -> Iterator[Problem]:
    """Warn of a budget that the space cannot use up."""
    size = build_space(study.spec.parameters).size
    most = study.spec.budget.max_trials
    if TRAITS[study.spec.algorithm.name.value].continues:
        return  # an assignment is trained more than once
    if size is not None and most is not None and most > size:
        yield problem(
            "budget.maxTrials", f"is {most}, but the search space has only {size} assignments: the study ends earlier"
        )


def repeated_initial_trials(study: Study) -> Iterator[Problem]:
    """Warn of a known-good assignment that is given twice: it is run once."""
    if TRAITS[study.spec.algorithm.name.value].continues:
        return  # two members may begin alike
    space = build_space(study.spec.parameters)
    seen: dict[object, int] = {}
    for position, assignment in enumerate(study.spec.initial_trials):
        key = space.key(assignment)
        if key in seen:
            yield problem(
                f"initialTrials[{position}]", f"is the same assignment as initialTrials[{seen[key]}]: it is run once"
            )
        seen.setdefault(key, position)


def _other_limit(study: Study) -> bool:
    budget = study.spec.budget
    target = any(objective.target is not None for objective in study.spec.objectives)
    return budget.max_duration is not None or budget.max_gpu_hours is not None or target


def _first_endless(space: SearchSpace) -> str:
    return next((p.name for p in space.declared if isinstance(p, Float) and p.levels is None), "a parameter")


def _short(size: int) -> str:
    return f"{size:,}" if size < 10**15 else f"10^{len(str(size)) - 1}"


# ---- tables ------------------------------------------------------------------------------------------------------------------


def _check(find: Callable[[Study], Iterator[Problem]], *reads: str) -> Check:
    return Check(reads=frozenset(reads), find=find)


ALL_CHECKS: tuple[Check, ...] = (
    *STUDY_CHECKS,
    _check(enough_objectives, "objectives", "algorithm"),
    _check(initial_trials_in_space, "parameters", "initialTrials"),
    _check(finite_grid, "parameters", "algorithm", "budget", "objectives"),
    _check(some_limit, "parameters", "algorithm", "budget", "objectives"),
    _check(population_checks.population_has_steps, "algorithm", "steps"),
    _check(population_checks.somebody_is_selected, "algorithm"),
    _check(population_checks.mutable_parameters, "algorithm", "parameters"),
    _check(population_checks.something_may_change, "algorithm", "parameters"),
    _check(population_checks.no_other_stopping, "algorithm", "stopping"),
    _check(population_checks.schedule_fits, "algorithm", "parameters", "steps"),
)
ALL_WARNINGS: tuple[Check, ...] = (
    *STUDY_WARNINGS,
    _check(more_trials_than_points, "parameters", "budget", "algorithm"),
    _check(repeated_initial_trials, "parameters", "initialTrials", "algorithm"),
    _check(population_checks.few_trials, "algorithm", "steps", "budget"),
    _check(population_checks.single_generation, "algorithm", "steps"),
    _check(population_checks.nothing_to_go_on_from, "algorithm", "trial"),
    _check(population_checks.many_initial_trials, "algorithm", "initialTrials"),
)
