"""The study as the report shows it: everything computed, nothing drawn.

``build_view`` is pure: the same study, trials, curves and time give the same view. The plots, the page and the PNG files read
views only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from seatrial.api.base import to_seconds
from seatrial.api.conditions import StudyReason, TrialReason, find_condition
from seatrial.api.study import Goal, Objective, Study, StudySpec
from seatrial.api.trial import Trial
from seatrial.decide.curves import Curves
from seatrial.decide.rules import rungs
from seatrial.decide.snapshot import build_limits, parse_time
from seatrial.report.axes import Axis, build_axes
from seatrial.report.descent import Descent, build_descent
from seatrial.report.front import Front, build_front
from seatrial.report.importance import Importances, build_importances
from seatrial.report.progress import Step, best_so_far
from seatrial.report.trials import TrialView, build_trial_view
from seatrial.report.words import describe_study_reason
from seatrial.search.build import build_space
from seatrial.search.space import SearchSpace

__all__ = ["BudgetUse", "StudyView", "build_view"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """How much of one limit is used.

    Attributes:
        unit: ``trials``, ``failed trials``, ``seconds`` or ``GPU hours``.
        limit: None when the study has no such limit.
    """

    unit: str
    used: float
    limit: float | None

    @property
    def share(self) -> float | None:
        """Used share of the limit in [0, 1], None without a limit."""
        if self.limit is None:
            return None
        return min(1.0, self.used / self.limit) if self.limit > 0 else float(self.used > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyView:
    """One study, ready to be drawn.

    Attributes:
        state: Reason of the study's summary condition.
        sentence: The same as a whole sentence.
        trials: By index.
        winner: The study's own choice, or the best eligible trial; None while there is none. With several objectives: None.
        front: With several objectives: the Pareto front.
        improvements: Of the first objective, in the order in which trials ended.
        importances: For each objective.
        descent: Who went on from whom; None where everybody started anew.
        rungs: Steps at which the stopping rule judges.
        specification: The study's spec as JSON, as it came over the wire.
        export_command: What prints the winner's parameters.
        curves_from: Where the curves come from, one sentence; empty where that goes without saying.
        versions: Names and versions of what wrote the report.
        started: When the study began.
        ended: When it became complete; None while it is open.
    """

    name: str
    namespace: str | None
    state: StudyReason
    sentence: str
    objectives: tuple[Objective, ...]
    axes: tuple[Axis, ...]
    trials: tuple[TrialView, ...]
    winner: TrialView | None
    front: Front | None
    improvements: tuple[Step, ...]
    importances: tuple[Importances, ...]
    descent: Descent | None
    budget: tuple[BudgetUse, ...]
    step_unit: str
    max_step: int | None
    rungs: tuple[int, ...]
    algorithm: str
    seed: int
    stopping: str | None
    specification: str
    export_command: str
    curves_from: str
    versions: tuple[tuple[str, str], ...]
    started: datetime | None
    ended: datetime | None
    generated: datetime

    @property
    def running(self) -> bool:
        """Whether the study goes on, so that the report is a picture of the moment."""
        return not self.state.terminal

    @property
    def maximised(self) -> bool:
        """Whether the first objective is maximised."""
        return self.objectives[0].goal is Goal.MAXIMIZE

    @property
    def varying(self) -> tuple[Axis, ...]:
        """Parameters that have more than one value, most important first where that is known."""
        order = {entry.name: place for place, entry in enumerate(self.importances[0].entries)}
        return tuple(sorted((axis for axis in self.axes if axis.varies), key=lambda axis: order.get(axis.name, 10_000)))

    @property
    def trials_by_index(self) -> Mapping[int, TrialView]:
        """Trials by their number."""
        return {trial.index: trial for trial in self.trials}

    def count(self, state: TrialReason) -> int:
        """Return the number of trials in *state*."""
        return sum(trial.state is state for trial in self.trials)


def build_view(
    study: Study,
    trials: Sequence[Trial],
    curves: Mapping[str, Curves],
    now: datetime,
    *,
    export_command: str = "",
    curves_from: str = "",
) -> StudyView:
    """Compute everything that the report shows.

    Args:
        study: With its status as stored.
        trials: All of them, in any order.
        curves: Trial name -> metric -> curve, as the user states the metrics. Trials without an entry show the thinned curve of their
            status.
        now: Time of the report, aware, UTC.
        export_command: What prints the winner's parameters, where it is not the laptop's command.
        curves_from: Where the curves come from, one sentence.

    Returns:
        The view. Values are as the user states them: what is maximised stays so.
    """
    spec = study.spec
    ordered = sorted(trials, key=lambda trial: trial.spec.index)
    views = tuple(build_trial_view(spec, trial, curves.get(trial.metadata.name, {}), now) for trial in ordered)
    space = build_space(spec.parameters)
    state, sentence = _state(study)
    status = study.status
    ended = parse_time(status.completion_time) if status and status.completion_time and state.terminal else None
    started = _started(study, views)
    several = len(spec.objectives) > 1
    winner = None if several else _winner(study, views)
    return StudyView(
        name=study.metadata.name,
        namespace=study.metadata.namespace,
        state=state,
        sentence=sentence,
        objectives=tuple(spec.objectives),
        axes=build_axes(space),
        trials=views,
        winner=winner,
        front=build_front(views) if several else None,
        improvements=best_so_far(views),
        importances=_importances(spec, space, views),
        descent=build_descent(ordered, winner.index if winner else None),
        budget=_budget(spec, views, started, ended or now),
        step_unit=spec.steps.unit if spec.steps else "step",
        max_step=spec.steps.max if spec.steps else None,
        rungs=_rungs(spec),
        algorithm=spec.algorithm.name.value,
        seed=spec.algorithm.seed,
        stopping=spec.stopping.rule.value if spec.stopping else None,
        specification=json.dumps(_wire(study), indent=2, ensure_ascii=False),
        export_command=export_command or f"seatrial export {study.metadata.name} --best",
        curves_from=curves_from,
        versions=_versions(),
        started=started,
        ended=ended,
        generated=now,
    )


def _state(study: Study) -> tuple[StudyReason, str]:
    condition = find_condition(study.status.conditions, "Succeeded") if study.status else None
    if condition is None:
        return StudyReason.RUNNING, "The study has not started yet."
    reason = StudyReason(condition.reason)
    return reason, describe_study_reason(reason, condition.message)


def _winner(study: Study, trials: Sequence[TrialView]) -> TrialView | None:
    """Return the study's own choice where it is still eligible: a model may prefer a trial whose low value is not luck."""
    best = study.status.best if study.status else None
    chosen = next((trial for trial in trials if best and trial.index == best.index and trial.eligible), None)
    if chosen is not None:
        return chosen
    eligible = [trial for trial in trials if trial.eligible]
    full = [trial for trial in eligible if trial.state is TrialReason.COMPLETED]
    return min(full or eligible, key=lambda trial: (trial.losses[0], trial.index), default=None)


def _started(study: Study, trials: Sequence[TrialView]) -> datetime | None:
    if study.status and study.status.start_time:
        return parse_time(study.status.start_time)
    return min((trial.started for trial in trials if trial.started), default=None)


def _importances(spec: StudySpec, space: SearchSpace, trials: Sequence[TrialView]) -> tuple[Importances, ...]:
    """Return what matters for each objective. Diverged trials count as the worst; failed ones say nothing of the parameters."""
    used = [trial for trial in trials if trial.has_result or trial.state is TrialReason.DIVERGED]
    return tuple(
        build_importances(
            space,
            [trial.assignment for trial in used],
            [trial.losses[i] if trial.has_result else float("inf") for trial in used],
            np.random.default_rng([spec.algorithm.seed, i]),
        )
        for i in range(len(spec.objectives))
    )


def _budget(
    spec: StudySpec, trials: Sequence[TrialView], started: datetime | None, end: datetime
) -> tuple[BudgetUse, ...]:
    given = spec.budget
    failed = sum(trial.state is TrialReason.FAILED for trial in trials)
    over = sum(trial.state.terminal for trial in trials)
    limits = build_limits(spec)
    seconds = (end - started).total_seconds() if started else 0.0
    hours = sum(trial.gpu_seconds for trial in trials) / 3600
    uses = [
        BudgetUse(unit="trials", used=over, limit=limits.max_trials),
        BudgetUse(unit="failed trials", used=failed, limit=limits.max_failed),
        BudgetUse(unit="seconds", used=seconds, limit=to_seconds(given.max_duration) if given.max_duration else None),
    ]
    if hours > 0 or given.max_gpu_hours:
        uses.append(BudgetUse(unit="GPU hours", used=hours, limit=given.max_gpu_hours))
    return tuple(uses)


def _rungs(spec: StudySpec) -> tuple[int, ...]:
    # A study without a last step has rungs without end: those beyond every curve are of no use to a plot.
    return rungs(spec)[:32]


def _wire(study: Study) -> dict[str, object]:
    """Return the study as its author could apply it again: without status and what the server added."""
    metadata = {"name": study.metadata.name}
    if study.metadata.namespace:
        metadata["namespace"] = study.metadata.namespace
    return {
        "apiVersion": study.api_version,
        "kind": study.kind,
        "metadata": metadata,
        "spec": study.spec.to_wire(),
    }


def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in ("seatrial", "numpy", "scipy", "optuna", "cmaes", "plotly"):
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
