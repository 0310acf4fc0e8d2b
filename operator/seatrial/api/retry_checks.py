"""Rules over ``spec.trial.retryPolicy``. Charter: pure; the same in CEL are in :mod:`seatrial.api.cel`."""

from collections.abc import Iterator

from seatrial.api.retry import RetryAction, RetryRule
from seatrial.api.rules import Check, problem
from seatrial.api.study import Study
from seatrial.errors import Problem

__all__ = ["RETRY_CHECKS", "RETRY_WARNINGS"]

_PATH = "trial.retryPolicy.rules"


def _rules(study: Study) -> Iterator[tuple[str, RetryRule]]:
    policy = study.spec.trial.retry_policy
    for position, rule in enumerate(policy.rules if policy else ()):
        yield f"{_PATH}[{position}]", rule


def rules_match_something(study: Study) -> Iterator[Problem]:
    """A rule says what it matches."""
    for path, rule in _rules(study):
        if rule.on_exit_codes is None and not rule.on_message:
            message = "has neither onExitCodes nor onMessage, but needs at least one of them; add onExitCodes: {values: [74]} or onMessage: [text]"
            yield problem(path, message)


def after_counts_nodes(study: Study) -> Iterator[Problem]:
    """Only an exclusion waits for repetitions."""
    for path, rule in _rules(study):
        if rule.after != 1 and rule.action is not RetryAction.EXCLUDE_NODE:
            message = f"is {rule.after}, but counts ends on one node and action is {rule.action}; remove it or use action: excludeNode"
            yield problem(f"{path}.after", message)


def nodes_can_be_excluded(study: Study) -> Iterator[Problem]:
    """Warn of an exclusion beside a template that names its node."""
    spec = study.spec.trial.template.get("spec")
    pinned = spec.get("nodeName") if isinstance(spec, dict) else None
    for path, rule in _rules(study):
        if pinned and rule.action is RetryAction.EXCLUDE_NODE:
            yield problem(f"{path}.action", "is excludeNode, but the template has nodeName: there is no other node")


_TRIAL = frozenset({"trial"})
RETRY_CHECKS = (Check(reads=_TRIAL, find=rules_match_something), Check(reads=_TRIAL, find=after_counts_nodes))
RETRY_WARNINGS = (Check(reads=_TRIAL, find=nodes_can_be_excluded),)
