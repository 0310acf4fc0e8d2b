"""Rules of a study's retry policy, matched against an attempt that failed. Pure.

Patterns know one sign, ``*``, for any text within a line: a regular expression from a stranger could keep the operator busy for ever.
"""

from seatrial.api.retry import ExitCodes, RetryPolicy, RetryRule
from seatrial.decide.attempts import Attempt

__all__ = ["find_rule", "matches_pattern"]


def find_rule(policy: RetryPolicy | None, attempt: Attempt) -> tuple[int, RetryRule] | None:
    """Return place and rule of the first one that matches, None where none does."""
    for place, rule in enumerate(policy.rules if policy else ()):
        if _matches(rule, attempt):
            return place, rule
    return None


def matches_pattern(pattern: str, text: str) -> bool:
    """Tell whether a line of *text* contains *pattern*, in which ``*`` stands for any characters, also for none.

    Takes time in proportion to the length of the text: the leftmost place of each part is always as good as any other.
    """
    parts = [part for part in pattern.split("*") if part]
    return any(_holds_in_order(parts, line) for line in text.splitlines()) if parts else bool(text.strip())


def _matches(rule: RetryRule, attempt: Attempt) -> bool:
    if rule.on_exit_codes is None and not rule.on_message:
        return False
    if rule.on_exit_codes is not None and not _matches_code(rule.on_exit_codes, attempt.exit_code):
        return False
    return not rule.on_message or any(matches_pattern(pattern, _said(attempt)) for pattern in rule.on_message)


def _matches_code(codes: ExitCodes, code: int | None) -> bool:
    # As Kubernetes has it: success matches neither In nor NotIn.
    if code in {None, 0}:
        return False
    return (code in codes.values) == (codes.operator == "In")


def _said(attempt: Attempt) -> str:
    told = attempt.report.message if attempt.report else ""
    return "\n".join((told, attempt.output or attempt.message))


def _holds_in_order(parts: list[str], line: str) -> bool:
    place = 0
    for part in parts:
        found = line.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True
