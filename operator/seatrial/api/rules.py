"""How a rule that spans fields is written: a named pure function in a table, run only where what it reads is sound.

A check yields :class:`~seatrial.errors.Problem`. It names the sections of the specification that it reads; when one of them is
already known to be wrong, the check is left out, so that one mistake is told once and not by its consequences.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from itertools import islice

from seatrial.api.parameters import Parameter
from seatrial.api.study import Study
from seatrial.errors import Problem

__all__ = ["MOST_TOLD", "Check", "ParameterCheck", "find_problems", "problem"]

MOST_TOLD = 200
"""Problems of one rule that are told; the next one only says that there are more."""

ParameterCheck = Callable[[Parameter], Iterator[tuple[str, str]]]
"""Looks at one parameter; yields (field, message)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule.

    Attributes:
        reads: Sections it looks at: names of fields of the specification. ``parameters`` means all of them, each sound by itself.
        find: Yields what is wrong.
    """

    reads: frozenset[str]
    find: Callable[[Study], Iterator[Problem]]


def problem(path: str, message: str) -> Problem:
    """Make a problem of *path* below ``spec`` and its message."""
    return Problem(path=f"spec.{path}", message=message)


def find_problems(
    study: Study,
    *,
    checks: Iterable[Check],
    parameter_checks: Iterable[ParameterCheck] = (),
    unsound: Set[str] = frozenset(),
) -> list[Problem]:
    """Run the rules.

    Args:
        study: What is checked; sections named in *unsound* hold placeholders.
        checks: Rules over sections, in the order in which they are told.
        parameter_checks: Rules over one parameter.
        unsound: Sections that are known to be wrong, ``budget``, ``parameters`` or single ones, ``parameters[2]``.
    """
    found: list[Problem] = []
    closed = {name.split("[")[0] for name in unsound}
    if "parameters" not in unsound:
        for position, parameter in enumerate(study.spec.parameters):
            if f"parameters[{position}]" not in unsound:
                here = [*_of_parameter(parameter, position, parameter_checks)]
                found += here
                closed |= {"parameters"} if here else set()
    for check in checks:
        if not check.reads & closed:
            here = _first(check.find(study))
            found += here
            # A rule about the parameters among each other closes them too: what follows would only repeat it.
            closed |= {"parameters"} if any(p.path.startswith("spec.parameters") for p in here) else set()
    return found


def _first(problems: Iterator[Problem]) -> list[Problem]:
    """Return what one rule has to say, cut where nobody reads on: a generated file may be wrong in 60,000 places."""
    found = list(islice(problems, MOST_TOLD + 1))
    if len(found) > MOST_TOLD:
        found[MOST_TOLD:] = [Problem(path=found[-1].path, message="and more places are wrong alike; mend these first")]
    return found


def _of_parameter(parameter: Parameter, position: int, checks: Iterable[ParameterCheck]) -> Iterator[Problem]:
    for check in checks:
        for field, message in check(parameter):
            yield problem(f"parameters[{position}].{field}", message)
