"""The rules of searches that train: what a population and a schedule need of the rest of a study.

Charter: pure, over models that are sound field by field; part of the tables of :mod:`seatrial.search.checks`.
"""

from collections.abc import Iterator

from seatrial.api.algorithm import AlgorithmName, PbtSelection, PbtSettings
from seatrial.api.rules import problem
from seatrial.api.study import Study
from seatrial.api.template_checks import shares_checkpoints
from seatrial.api.wording import list_words, show, suggest
from seatrial.errors import Problem
from seatrial.search.algorithms import TRAITS
from seatrial.search.build import build_space, planned_trials
from seatrial.search.population.exploit import quantile_size
from seatrial.search.population.intervals import default_interval, generations

__all__ = [
    "few_trials",
    "many_initial_trials",
    "mutable_parameters",
    "no_other_stopping",
    "nothing_to_go_on_from",
    "population_has_steps",
    "schedule_fits",
    "single_generation",
    "somebody_is_selected",
    "something_may_change",
]


def _pbt(study: Study) -> PbtSettings | None:
    algorithm = study.spec.algorithm
    return (algorithm.pbt or PbtSettings()) if algorithm.name is AlgorithmName.PBT else None


def population_has_steps(study: Study) -> Iterator[Problem]:
    """A population is judged at steps, the first time before the training ends."""
    settings, steps = _pbt(study), study.spec.steps
    if settings is None:
        return
    if steps is None:
        yield problem(
            "steps", "is missing, but algorithm.name is pbt, which judges its members at steps; add steps: {max: …}"
        )
    elif settings.ready_interval is not None and settings.ready_interval > steps.max:
        message = f"is {settings.ready_interval}, but steps.max is {steps.max}, so that no member would ever be judged; lower it"
        yield problem("algorithm.pbt.readyInterval", message)


def somebody_is_selected(study: Study) -> Iterator[Problem]:
    """The bottom and the top of a population are somebody."""
    settings = _pbt(study)
    if settings is None or settings.selection is not PbtSelection.TRUNCATION:
        return
    if quantile_size(settings.population_size, settings.quantile) < 1:
        message = (
            f"is {show(settings.quantile)}, which selects nobody of {settings.population_size} members; "
            f"raise it to {show(-(-1000 // settings.population_size) / 1000)} or more, raise populationSize, or use selection: tournament"
        )
        yield problem("algorithm.pbt.quantile", message)


def mutable_parameters(study: Study) -> Iterator[Problem]:
    """What may change is a parameter, and has something to change to."""
    settings = _pbt(study)
    space = build_space(study.spec.parameters)
    seen: set[str] = set()
    for position, name in enumerate(settings.mutable if settings else []):
        path = f"algorithm.pbt.mutable[{position}]"
        if name not in space.by_name:
            yield problem(
                path, f"is {show(name)}, but there is no such parameter; {suggest(name, list(space.by_name))}"
            )
        elif space.by_name[name].levels == 1:
            yield problem(path, f"is {show(name)}, which has only one value and cannot change; remove it")
        elif name in seen:
            yield problem(path, f"is {show(name)}, which is named already; remove it")
        seen.add(name)


def something_may_change(study: Study) -> Iterator[Problem]:
    """A population without anything to change is one training many times."""
    if _pbt(study) and all(parameter.levels == 1 for parameter in build_space(study.spec.parameters)):
        yield problem(
            "parameters", "have one value each, but pbt changes parameters during training; give one of them a range"
        )


def no_other_stopping(study: Study) -> Iterator[Problem]:
    """A population replaces its hopeless members, and a schedule has one trial at a time."""
    name = study.spec.algorithm.name
    if study.spec.stopping is not None and TRAITS[name.value].continues:
        why = "replaces bad members itself" if name is AlgorithmName.PBT else "trains one model to its end"
        yield problem("stopping", f"is set, but algorithm.name is {name}, which {why}; remove it")


def schedule_fits(study: Study) -> Iterator[Problem]:
    """A schedule is there, its steps grow and end within the training, and its parameters are in the space."""
    algorithm, steps = study.spec.algorithm, study.spec.steps
    if algorithm.name is not AlgorithmName.REPLAY:
        return
    if algorithm.replay is None:
        message = (
            "is missing, but algorithm.name is replay; seatrial lineage STUDY --replay FILE writes a study with one"
        )
        yield problem("algorithm.replay", message)
        return
    space = build_space(study.spec.parameters)
    before = 0
    for position, segment in enumerate(algorithm.replay.schedule):
        path = f"algorithm.replay.schedule[{position}]"
        if segment.until_step <= before:
            yield problem(
                f"{path}.untilStep", f"is {segment.until_step}, but must be above {before}; a schedule goes forward"
            )
        elif steps is not None and segment.until_step > steps.max:
            yield problem(f"{path}.untilStep", f"is {segment.until_step}, but steps.max is {steps.max}; raise that")
        before = max(before, segment.until_step)
        for name, complaint in space.problems(segment.parameters):
            yield problem(f"{path}.parameters.{name}", f"{complaint}; correct it or the parameter of that name")


def few_trials(study: Study) -> Iterator[Problem]:
    """Warn of a budget that ends a training before its last step."""
    planned, most = planned_trials(study.spec), study.spec.budget.max_trials
    if planned is not None and most is not None and most < planned:
        message = f"is {most}, but {study.spec.algorithm.name} needs {planned} trials to reach the last step: the study ends earlier"
        yield problem("budget.maxTrials", message)


def single_generation(study: Study) -> Iterator[Problem]:
    """Warn of a population that is trained before anybody has taken over anybody."""
    settings, steps = _pbt(study), study.spec.steps
    if settings is None or steps is None:
        return
    interval = settings.ready_interval or default_interval(steps.max)
    if generations(steps.max, interval) == 1 and interval <= steps.max:
        message = (
            f"is {steps.max}, and so is the ready interval: every member trains alone, and nobody takes over another"
        )
        yield problem("steps.max", message)


def nothing_to_go_on_from(study: Study) -> Iterator[Problem]:
    """Warn of a search that trains whose trials would not find one another's checkpoints on a cluster."""
    name = study.spec.algorithm.name.value
    if TRAITS[name].continues and not shares_checkpoints(study):
        message = (
            "names no url, and no volume named checkpoints outlives a Pod: the study runs on a laptop, but on a cluster "
            f"{name} needs a place that all trials share"
        )
        yield problem("trial.checkpoints", message)


def many_initial_trials(study: Study) -> Iterator[Problem]:
    """Warn of known-good points for which a population has no member."""
    settings, given = _pbt(study), len(study.spec.initial_trials)
    if settings is not None and given > settings.population_size:
        left = list_words(
            [f"initialTrials[{i}]" for i in range(settings.population_size, min(given, settings.population_size + 3))]
        )
        yield problem(
            "initialTrials",
            f"has {given} points, but the population has {settings.population_size} members: {left} is not tried",
        )
