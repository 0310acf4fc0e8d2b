"""Stopping rules: one file a rule, one line a rule in the table; the line also enrols it in the contract tests."""

from collections.abc import Callable, Mapping

from seatrial.api.study import StudySpec
from seatrial.decide.rules.asha import build_asha
from seatrial.decide.rules.base import Cohort, Judgement, Pass, Rule, Standings, Stop
from seatrial.decide.rules.median import build_median
from seatrial.decide.rules.patience import build_patience
from seatrial.decide.rules.percentile import build_percentile

__all__ = ["RULES", "Cohort", "Judgement", "Pass", "Rule", "Standings", "Stop", "build_rule", "rungs"]

RULES: Mapping[str, Callable[[StudySpec], Rule]] = {
    "median": build_median,
    "percentile": build_percentile,
    "asha": build_asha,
    "patience": build_patience,
}


def build_rule(spec: StudySpec) -> Rule | None:
    """Return the study's stopping rule, None when it has none."""
    return RULES[spec.stopping.rule.value](spec) if spec.stopping else None


def rungs(spec: StudySpec) -> tuple[int, ...]:
    """Return the steps whose values decisions need exactly, increasing."""
    rule = build_rule(spec)
    return rule.rungs(spec.steps.max if spec.steps else None) if rule else ()
