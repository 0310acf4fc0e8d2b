"""Stopping rules: one file a rule, one line a rule in the table; the line also enrols it in the contract tests."""

from collections.abc import Callable, Mapping

from seatrial.api.study import StudySpec
from seatrial.decide.rules.asha import build_asha
from seatrial.decide.rules.base import Cohort, Judgement, Pass, Rule, Standings, Stop
from seatrial.decide.rules.halving import build_halving, build_hyperband
from seatrial.decide.rules.ladder import Dismissal, Field, Pauser, Promotion, Verdicts
from seatrial.decide.rules.median import build_median
from seatrial.decide.rules.patience import build_patience
from seatrial.decide.rules.percentile import build_percentile
from seatrial.decide.rules.promotion import build_promotions

__all__ = [
    "PAUSERS",
    "RULES",
    "Cohort",
    "Dismissal",
    "Field",
    "Judgement",
    "Pass",
    "Pauser",
    "Promotion",
    "Rule",
    "Standings",
    "Stop",
    "Verdicts",
    "build_pauser",
    "build_rule",
    "rungs",
]

PAUSERS: Mapping[str, Callable[[StudySpec], Pauser]] = {
    "asha": build_promotions,
    "successiveHalving": build_halving,
    "hyperband": build_hyperband,
}
"""Rules under which trials pause, by name."""

RULES: Mapping[str, Callable[[StudySpec], Rule]] = {
    "median": build_median,
    "percentile": build_percentile,
    "asha": build_asha,
    "patience": build_patience,
}
"""Rules that end trials for good, by name; asha is both."""


def build_rule(spec: StudySpec) -> Rule | None:
    """Return the study's stopping rule, None when it has none."""
    if spec.stopping is None:
        return None
    return build_pauser(spec) if spec.stopping.pauses else RULES[spec.stopping.rule.value](spec)


def build_pauser(spec: StudySpec) -> Pauser | None:
    """Return the study's rule when trials pause under it, else None."""
    if spec.stopping is None or not spec.stopping.pauses or spec.steps is None:
        return None
    return PAUSERS[spec.stopping.rule.value](spec)


def rungs(spec: StudySpec) -> tuple[int, ...]:
    """Return the steps whose values decisions need exactly, increasing."""
    rule = build_rule(spec)
    return rule.rungs(spec.steps.max if spec.steps else None) if rule else ()
