"""The rules that span fields of a study, in tables; see :mod:`seatrial.api.rules` for how one is written.

Rules that need the search space or the algorithms are in :mod:`seatrial.search.checks`, which also has the function that runs all
of them.

Decisions taken here:
    - Early stopping with several objectives is allowed: rules judge by the first objective, and a warning says so.
    - Stopping needs no ``steps``: ASHA's rungs grow without bound in its stopping variant. Where ``steps.max`` is given, rules that
      could never act before it are warned of, and a first rung beyond it is refused.
    - ``parallelTrials`` above ``maxTrials`` and ``maxFailedTrials`` above it are harmless: warnings.

Charter: pure, over models that are sound field by field.
"""

from collections.abc import Callable, Iterator

from pydantic import BaseModel

from seatrial.api.base import to_seconds
from seatrial.api.parameter_checks import PARAMETER_CHECKS, PARAMETER_WARNINGS, SPACE_CHECKS, SPACE_WARNINGS
from seatrial.api.parameters import ParameterType
from seatrial.api.retry_checks import RETRY_CHECKS, RETRY_WARNINGS
from seatrial.api.rules import Check, problem
from seatrial.api.stopping import (
    AshaSettings,
    HyperbandSettings,
    PatienceSettings,
    StoppingRule,
    SuccessiveHalvingSettings,
)
from seatrial.api.study import MetricsSource, Objective, Study, Summary
from seatrial.api.template_checks import TEMPLATE_CHECKS, TEMPLATE_WARNINGS
from seatrial.api.wording import show, suggest
from seatrial.errors import Problem

__all__ = ["PARAMETER_CHECKS", "PARAMETER_WARNINGS", "STUDY_CHECKS", "STUDY_WARNINGS"]

_LONGEST_SECONDS = 3650 * 86_400
_WITH_RUNGS = (AshaSettings, SuccessiveHalvingSettings, HyperbandSettings)


# ---- objectives and constraints --------------------------------------------------------------------------------------------


def distinct_objectives(study: Study) -> Iterator[Problem]:
    """Two objectives of one metric are no trade-off."""
    metrics = [objective.metric for objective in study.spec.objectives]
    for position, metric in enumerate(metrics):
        if metric in metrics[:position]:
            message = f"is {show(metric)}, which objectives[{metrics.index(metric)}] already has; remove one"
            yield problem(f"objectives[{position}].metric", message)


def single_target(study: Study) -> Iterator[Problem]:
    """A target ends a study of one objective; no point of a Pareto front ends one of several."""
    if len(study.spec.objectives) > 1:
        for position, objective in enumerate(study.spec.objectives):
            if objective.target is not None:
                message = f"is {show(objective.target)}, but a target works with one objective only and there are {len(study.spec.objectives)}; remove it or use constraints"
                yield problem(f"objectives[{position}].target", message)


def reserved_metrics(study: Study) -> Iterator[Problem]:
    """The words that tell the step are no metrics: a printed ``epoch=3`` could not be both."""
    words = {"step", study.spec.steps.unit} if study.spec.steps else {"step"}
    for position, objective in enumerate(study.spec.objectives):
        if objective.metric in words:
            message = f"is {show(objective.metric)}, but that word tells the step in printed lines; choose another metric or steps.unit"
            yield problem(f"objectives[{position}].metric", message)


def bounded_constraints(study: Study) -> Iterator[Problem]:
    """A constraint has a bound, and its bounds leave room."""
    metrics = [constraint.metric for constraint in study.spec.constraints]
    for position, constraint in enumerate(study.spec.constraints):
        path = f"constraints[{position}]"
        if constraint.min is None and constraint.max is None:
            yield problem(path, "has neither min nor max, but needs at least one of them; add max: or min:")
        elif constraint.min is not None and constraint.max is not None and constraint.min > constraint.max:
            message = (
                f"is {show(constraint.min)}, but max is {show(constraint.max)} and nothing lies between; swap them"
            )
            yield problem(f"{path}.min", message)
        if constraint.metric in metrics[:position]:
            message = f"is {show(constraint.metric)}, which constraints[{metrics.index(constraint.metric)}] already has; use min and max in one"
            yield problem(f"{path}.metric", message)


def idle_window(study: Study) -> Iterator[Problem]:
    """Warn of a window that nothing averages."""
    for position, objective in enumerate(study.spec.objectives):
        # The API server fills the default in: only another number was written by somebody.
        if objective.window != Objective.model_fields["window"].default and objective.summary is not Summary.MEAN:
            message = f"is {objective.window}, but only summary: mean uses it and summary is {objective.summary}"
            yield problem(f"objectives[{position}].window", message)


# ---- algorithm, stopping, metrics ------------------------------------------------------------------------------------------


def _foreign_settings(section: str, chooser: str, chosen: str, settings: BaseModel) -> Iterator[Problem]:
    """Yield the members that hold settings of something that was not chosen."""
    for field, described in type(settings).model_fields.items():
        value, name = getattr(settings, field), described.alias or field
        if isinstance(value, BaseModel) and name != chosen:
            message = f"is set, but {chooser} is {chosen}; remove it or use {chooser}: {name}"
            yield problem(f"{section}.{name}", message)


def algorithm_settings(study: Study) -> Iterator[Problem]:
    """Only the settings of the named algorithm are given."""
    yield from _foreign_settings("algorithm", "name", study.spec.algorithm.name, study.spec.algorithm)


def stopping_settings(study: Study) -> Iterator[Problem]:
    """Only the settings of the named rule are given."""
    if study.spec.stopping:
        yield from _foreign_settings("stopping", "rule", study.spec.stopping.rule, study.spec.stopping)


def metrics_settings(study: Study) -> Iterator[Problem]:
    """Only the settings of the named source are given."""
    metrics = study.spec.metrics
    if metrics.source is not MetricsSource.PROMETHEUS:
        yield from _foreign_settings("metrics", "source", metrics.source, metrics)


def distinct_queries(study: Study) -> Iterator[Problem]:
    """Each metric has one expression, and the step's is no use without them."""
    settings = study.spec.metrics.prometheus
    if settings is None:
        return
    metrics = [query.metric for query in settings.queries]
    for position, metric in enumerate(metrics):
        if metric in metrics[:position]:
            message = f"is {show(metric)}, which queries[{metrics.index(metric)}] already has; remove one"
            yield problem(f"metrics.prometheus.queries[{position}].metric", message)
    if settings.step_query is not None and not metrics:
        yield problem("metrics.prometheus.stepQuery", "is set, but there are no queries; add queries: or remove it")


def tournament_fits(study: Study) -> Iterator[Problem]:
    """A tournament draws from the population without replacement."""
    settings = study.spec.algorithm.evolution
    if settings and settings.tournament_size > settings.population_size:
        message = f"is {settings.tournament_size}, but populationSize is {settings.population_size} and a tournament is drawn from it; lower it"
        yield problem("algorithm.evolution.tournamentSize", message)


def grid_resolutions(study: Study) -> Iterator[Problem]:
    """A resolution speaks of a number of this study, once."""
    grid = study.spec.algorithm.grid
    numbers = {p.name for p in study.spec.parameters if p.type in {ParameterType.FLOAT, ParameterType.INT}}
    known = [parameter.name for parameter in study.spec.parameters]
    seen: set[str] = set()
    for position, resolution in enumerate(grid.resolutions if grid else []):
        path, name = f"algorithm.grid.resolutions[{position}].parameter", resolution.parameter
        if name not in known:
            yield problem(path, f"is {show(name)}, but there is no such parameter; {suggest(name, known)}")
        elif name not in numbers:
            yield problem(path, f"is {show(name)}, but its values are listed and all are tried; remove this resolution")
        elif name in seen:
            yield problem(path, f"is {show(name)}, which has a resolution already; remove one")
        seen.add(name)


def first_rung_in_training(study: Study) -> Iterator[Problem]:
    """The first rung lies inside a training."""
    stopping, steps = study.spec.stopping, study.spec.steps
    settings = stopping.settings if stopping else None
    if stopping and steps and isinstance(settings, _WITH_RUNGS) and settings.min_step > steps.max:
        message = f"is {settings.min_step}, but steps.max is {steps.max}, so that no trial would reach a rung; lower it"
        yield problem(f"stopping.{stopping.rule}.minStep", message)


def pauses_need_steps(study: Study) -> Iterator[Problem]:
    """Where trials pause, the length of a training is known: it is what the best of them are promoted to."""
    stopping = study.spec.stopping
    if stopping and stopping.pauses and study.spec.steps is None:
        what = "stopping.asha.promote" if stopping.rule is StoppingRule.ASHA else "stopping.rule"
        word = "true" if stopping.rule is StoppingRule.ASHA else show(stopping.rule.value)
        yield problem(what, f"is {word}, which promotes trials to the last step; add steps: {{max: …}}")


def idle_promotion(study: Study) -> Iterator[Problem]:
    """Warn of a budget in which nobody is compared."""
    stopping, most = study.spec.stopping, study.spec.budget.max_trials
    if not stopping or not stopping.pauses or most is None:
        return
    settings = stopping.settings
    eta = settings.eta if isinstance(settings, _WITH_RUNGS) else AshaSettings().eta
    if most < eta:
        yield problem("budget.maxTrials", f"is {most}, but only one of {eta} trials is promoted: nothing is compared")


def idle_stopping(study: Study) -> Iterator[Problem]:
    """Warn of a rule that can never act before a training ends."""
    stopping, steps = study.spec.stopping, study.spec.steps
    settings = stopping.settings if stopping else None
    if not stopping or not steps or settings is None:
        return
    path = f"stopping.{stopping.rule}"
    refused = isinstance(settings, _WITH_RUNGS) and settings.min_step > steps.max  # by first_rung_in_training
    if settings.min_step >= steps.max and not refused:
        yield problem(
            f"{path}.minStep", f"is {settings.min_step}, but steps.max is {steps.max}: no trial can be stopped early"
        )
    if isinstance(settings, PatienceSettings) and settings.steps >= steps.max:
        yield problem(
            f"{path}.steps", f"is {settings.steps}, but steps.max is {steps.max}: no trial can be stopped early"
        )


def stopping_by_first_objective(study: Study) -> Iterator[Problem]:
    """Warn that rules judge by one objective."""
    if study.spec.stopping and len(study.spec.objectives) > 1:
        first = study.spec.objectives[0].metric
        yield problem("stopping", f"judges trials by the first objective, {show(first)}, alone")


# ---- budget ------------------------------------------------------------------------------------------------------------------


def duration_of_use(study: Study) -> Iterator[Problem]:
    """A limit of time is neither nothing nor beyond a calendar."""
    durations = {
        "budget.maxDuration": study.spec.budget.max_duration,
        "trial.timeout": study.spec.trial.timeout,
        "trial.startTimeout": study.spec.trial.start_timeout,
    }
    for path, duration in durations.items():
        if duration is None:
            continue
        seconds = to_seconds(duration)
        if seconds == 0 and path != "trial.timeout":
            yield problem(path, f"is {show(duration)}, but must be longer than nothing; raise it or leave it out")
        elif seconds > _LONGEST_SECONDS:
            yield problem(path, f"is {show(duration)}, but must be at most 3650d; lower it or leave it out")


def idle_limits(study: Study) -> Iterator[Problem]:
    """Warn of limits that another one makes idle."""
    budget = study.spec.budget
    if budget.max_trials is None:
        return
    if budget.parallel_trials > budget.max_trials:
        yield problem(
            "budget.parallelTrials", f"is {budget.parallel_trials}, but maxTrials is only {budget.max_trials}"
        )
    if budget.max_failed_trials is not None and budget.max_failed_trials >= budget.max_trials:
        message = f"is {budget.max_failed_trials}, but maxTrials is {budget.max_trials}: failures never end the study"
        yield problem("budget.maxFailedTrials", message)


def timeout_within_duration(study: Study) -> Iterator[Problem]:
    """Warn of a trial that may run longer than the study."""
    timeout, duration = study.spec.trial.timeout, study.spec.budget.max_duration
    if timeout and duration and to_seconds(timeout) > to_seconds(duration) > 0:
        yield problem("trial.timeout", f"is {timeout}, longer than budget.maxDuration {duration}")


# ---- tables ------------------------------------------------------------------------------------------------------------------


def _check(find: Callable[[Study], Iterator[Problem]], *reads: str) -> Check:
    return Check(reads=frozenset(reads), find=find)


STUDY_CHECKS: tuple[Check, ...] = (
    *SPACE_CHECKS,
    _check(distinct_objectives, "objectives"),
    _check(single_target, "objectives"),
    _check(reserved_metrics, "objectives", "steps"),
    _check(bounded_constraints, "constraints"),
    _check(algorithm_settings, "algorithm"),
    _check(tournament_fits, "algorithm"),
    _check(grid_resolutions, "algorithm", "parameters"),
    _check(stopping_settings, "stopping"),
    _check(first_rung_in_training, "stopping", "steps"),
    _check(pauses_need_steps, "stopping", "steps"),
    _check(metrics_settings, "metrics"),
    _check(distinct_queries, "metrics"),
    _check(duration_of_use, "budget", "trial"),
    *TEMPLATE_CHECKS,
    *RETRY_CHECKS,
)
STUDY_WARNINGS: tuple[Check, ...] = (
    *SPACE_WARNINGS,
    _check(idle_window, "objectives"),
    _check(idle_stopping, "stopping", "steps"),
    _check(idle_promotion, "stopping", "budget"),
    _check(stopping_by_first_objective, "stopping", "objectives"),
    _check(idle_limits, "budget"),
    _check(timeout_within_duration, "trial", "budget"),
    *TEMPLATE_WARNINGS,
    *RETRY_WARNINGS,
)
