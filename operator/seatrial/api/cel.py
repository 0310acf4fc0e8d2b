"""The rules that the API server itself checks: CEL where all fields are typed, structure where they are not.

CEL does not see a field without a type (``choices``, ``value``, ``default`` and ``in`` hold text, numbers or booleans), so whether
such a field may be there is said by ``anyOf``. The same rules, and those that need more than this, are in words in
:mod:`seatrial.api.checks`: a study that passes there passes here.

Charter: tables of (place, rule); pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from seatrial.api.algorithm import Algorithm
from seatrial.api.base import Wire
from seatrial.api.stopping import Stopping

__all__ = ["BY_TYPE", "STUDY_RULES", "TRIAL_RULES", "Rule", "single_objective_rule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One CEL rule; ``self`` is the value at its place."""

    rule: str
    message: str

    def to_wire(self) -> dict[str, JsonValue]:
        """Return the entry of ``x-kubernetes-validations``."""
        return {"rule": self.rule, "message": self.message}


def _required(*fields: str) -> dict[str, JsonValue]:
    return {"anyOf": [{"required": [field]} for field in fields]}


def _kinds(*names: str) -> dict[str, JsonValue]:
    return {"type": {"enum": list(names)}}


BY_TYPE: Sequence[JsonValue] = (
    {"properties": _kinds("float", "int"), "required": ["min", "max"], "not": _required("choices", "value")},
    {
        "properties": _kinds("ordinal", "categorical"),
        "required": ["choices"],
        "not": _required("value", "min", "max", "scale", "step"),
    },
    {
        "properties": _kinds("constant"),
        "required": ["value"],
        "not": _required("choices", "default", "min", "max", "scale", "step"),
    },
)
"""``anyOf`` of a parameter: what each type needs and what it must not have."""

_PARAMETER = (
    Rule(rule="!has(self.min) || !has(self.max) || self.min <= self.max", message="min must not be above max"),
    Rule(
        rule="!has(self.scale) || self.scale != 'log' || !has(self.min) || self.min > 0.0",
        message="scale: log needs min > 0; raise min or use scale: linear",
    ),
    Rule(
        rule="!has(self.step) || !has(self.scale) || self.scale != 'log'",
        message="scale: log has no even steps; remove step or use scale: linear",
    ),
    Rule(
        rule="!has(self.step) || !has(self.min) || !has(self.max) || self.min >= self.max || self.step <= self.max - self.min",
        message="step must not be above max - min",
    ),
    Rule(
        rule="self.type != 'int' || [has(self.min) ? self.min : 0.0, has(self.max) ? self.max : 0.0, has(self.step) ? self.step : 0.0].all(x, x >= -9007199254740992.0 && x <= 9007199254740992.0 && double(int(x)) == x)",
        message="type: int needs whole numbers of at most 2^53; round them or use type: float",
    ),
    # The items of choices and when.in have no type, so that no schema can say that they are not null. To compare them, CEL has
    # to read them all, and stops at a null. Without this a null is stored, and the rules of spec then refuse every status.
    Rule(rule="self == self", message="choices and when.in must not hold null; write text, a number, true or false"),
)
_CONSTRAINT = (
    Rule(rule="has(self.min) || has(self.max)", message="a constraint needs min or max"),
    Rule(rule="!has(self.min) || !has(self.max) || self.min <= self.max", message="min must not be above max"),
)
_SPEC = (
    Rule(
        rule="self.objectives == oldSelf.objectives",
        message="objectives cannot be changed: the trials so far were chosen for them; make a new study",
    ),
    Rule(
        rule="self.parameters == oldSelf.parameters",
        message="parameters cannot be changed: the trials so far were chosen from them; make a new study",
    ),
    Rule(
        rule="self.parameters.all(p, !has(p.when) || self.parameters.exists(q, q.name == p.when.parameter && q.name != p.name))",
        message="when.parameter must name another parameter of this study",
    ),
    Rule(
        rule="self.parameters.all(p, !has(p.when) || !self.parameters.exists(q, q.name == p.when.parameter && q.type == 'float'))",
        message="when.parameter must not name a float: a condition needs a parent whose values can be listed",
    ),
    Rule(
        rule="size(self.objectives) == 1 || !self.objectives.exists(o, has(o.target))",
        message="a target works with one objective only; remove it or use constraints",
    ),
    Rule(
        rule="self.objectives.all(o, o.metric != 'step' && (!has(self.steps) || !has(self.steps.unit) || o.metric != self.steps.unit))",
        message="objectives.metric must be neither step nor steps.unit: these words tell the step in printed lines",
    ),
    *(
        Rule(
            rule=f"!has(self.steps) || !has(self.stopping) || !has(self.stopping.{rule}) || self.stopping.{rule}.minStep <= self.steps.max",
            message=f"stopping.{rule}.minStep must not be above steps.max: no trial would reach a rung",
        )
        for rule in ("asha", "successiveHalving", "hyperband")
    ),
    Rule(
        rule="has(self.steps) || !has(self.stopping) || !(self.stopping.rule in ['successiveHalving', 'hyperband'] || has(self.stopping.asha) && has(self.stopping.asha.promote) && self.stopping.asha.promote)",
        message="stopping promotes trials to the last step; add steps: {max: …}",
    ),
    Rule(
        rule=(
            "has(self.budget.maxTrials) || has(self.budget.maxDuration) || has(self.budget.maxGPUHours) || self.algorithm.name in ['grid', 'pbt', 'replay'] || "
            "self.objectives.exists(o, has(o.target)) || self.parameters.all(p, p.type != 'float' || has(p.step) || !has(p.min) || !has(p.max) || p.min == p.max)"
        ),
        message="a float without a step has infinitely many values: add budget.maxTrials, budget.maxDuration, budget.maxGPUHours or a target",
    ),
    Rule(
        rule="self.algorithm.name != 'pbt' || has(self.steps)",
        message="algorithm.name: pbt judges its members at steps; add steps: {max: …}",
    ),
    Rule(
        rule="!has(self.steps) || !has(self.algorithm.pbt) || !has(self.algorithm.pbt.readyInterval) || self.algorithm.pbt.readyInterval <= self.steps.max",
        message="algorithm.pbt.readyInterval must not be above steps.max: no member would ever be judged",
    ),
    Rule(
        rule="!has(self.stopping) || !(self.algorithm.name in ['pbt', 'replay'])",
        message="stopping does not go with algorithm.name pbt or replay; remove it",
    ),
    Rule(
        rule="self.algorithm == oldSelf.algorithm || !(self.algorithm.name in ['pbt', 'replay'] || oldSelf.algorithm.name in ['pbt', 'replay'])",
        message="algorithm cannot be changed when it is pbt or replay: its trials build upon each other; make a new study",
    ),
    Rule(
        rule="self.algorithm.name != 'pbt' || !has(self.steps) || !has(oldSelf.steps) || self.steps.max == oldSelf.steps.max || (has(self.algorithm.pbt) && has(self.algorithm.pbt.readyInterval))",
        message="steps.max can be changed only when algorithm.pbt.readyInterval is given: without it, it is a tenth of steps.max",
    ),
)


def _members(model: type[Wire], chooser: str) -> tuple[Rule, ...]:
    """Return one rule for each member that holds settings: it may be set only when it is the chosen one."""
    names = [field.alias or name for name, field in model.model_fields.items() if name not in {chooser, "seed"}]
    return tuple(
        Rule(
            rule=f"!has(self.{name}) || self.{chooser} == '{name}'",
            message=f"{name} is set, but {chooser} is another; remove it or use {chooser}: {name}",
        )
        for name in names
    )


def _some_time(field: str) -> Rule:
    return Rule(
        rule=f"!has(self.{field}) || self.{field}.matches('[1-9]')",
        message=f"{field} must be longer than nothing; raise it or leave it out",
    )


STUDY_RULES: Mapping[str, Sequence[Rule]] = {
    "spec": _SPEC,
    "spec.parameters[]": _PARAMETER,
    "spec.constraints[]": _CONSTRAINT,
    "spec.algorithm": (
        *_members(Algorithm, "name"),
        Rule(
            rule="!has(self.name) || self.name != 'replay' || has(self.replay)",
            message="algorithm.name: replay needs replay.schedule",
        ),
    ),
    "spec.algorithm.evolution": (
        Rule(
            rule="self.tournamentSize <= self.populationSize", message="tournamentSize must not be above populationSize"
        ),
    ),
    "spec.algorithm.pbt": (
        Rule(
            rule="self.selection != 'truncation' || double(self.populationSize) * self.quantile + 0.000000001 >= 1.0",
            message="quantile selects nobody of populationSize members; raise one of them or use selection: tournament",
        ),
    ),
    "spec.budget": (_some_time("maxDuration"),),
    "spec.trial": (_some_time("timeout"), _some_time("startTimeout")),
    "spec.trial.retryPolicy.rules[]": (
        Rule(
            rule="has(self.onExitCodes) || (has(self.onMessage) && size(self.onMessage) > 0)",
            message="a rule needs onExitCodes or onMessage",
        ),
        Rule(
            rule="!has(self.after) || self.after == 1 || self.action == 'excludeNode'",
            message="after counts ends on one node; remove it or use action: excludeNode",
        ),
    ),
    "spec.stopping": _members(Stopping, "rule"),
    "spec.metrics.prometheus": (
        Rule(
            rule="!has(self.queries) || self.queries.all(q, self.queries.exists_one(p, p.metric == q.metric))",
            message="queries must not name a metric twice; remove one of them",
        ),
        Rule(
            rule="!has(self.stepQuery) || (has(self.queries) && size(self.queries) > 0)",
            message="stepQuery needs queries; add one or remove it",
        ),
    ),
    "spec.metrics": (
        Rule(
            rule="!has(self.prometheus) || self.source == 'prometheus'",
            message="prometheus is set, but source is another; remove it or use source: prometheus",
        ),
    ),
}
"""Rules of a Study by the place whose value is ``self``."""

TRIAL_RULES: Mapping[str, Sequence[Rule]] = {
    "spec": (Rule(rule="self == oldSelf", message="the specification of a trial cannot be changed; make a new study"),),
}
"""Rules of a Trial by the place whose value is ``self``."""


def single_objective_rule(algorithms: Sequence[str]) -> Rule:
    """Return the rule of ``spec`` that algorithms of one objective are given one."""
    names = ", ".join(f"'{name}'" for name in algorithms)
    return Rule(
        rule=f"size(self.objectives) == 1 || !(self.algorithm.name in [{names}])",
        message=f"with several objectives algorithm.name must not be one of: {', '.join(algorithms)}",
    )
