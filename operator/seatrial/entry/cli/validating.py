"""``seatrial validate``: what is wrong with a file, or what it asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.api.algorithm import AlgorithmName
from seatrial.api.load import Parsed
from seatrial.api.study import Study
from seatrial.decide.snapshot import build_limits
from seatrial.entry.cli.exits import ExitCode, error, mark_warnings, state_problems
from seatrial.entry.cli.printing import print_json, print_text
from seatrial.entry.cli.reading import read_text, source_name
from seatrial.errors import Problem, SpecError
from seatrial.report.words import plural
from seatrial.search.algorithms.auto import Auto
from seatrial.search.base import History, Pending
from seatrial.search.build import build_algorithm, build_space
from seatrial.search.checks import load_study

__all__ = ["describe_study", "validate_command"]


# Beyond this many trials nothing new joins.
_FAR = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One file after checking: a parsed study or its problems."""

    source: str
    parsed: Parsed | None
    problems: SpecError | None


def validate_command(files: Sequence[str], *, as_json: bool) -> ExitCode:
    """Check every file; the code is 2 when any has a problem."""
    checked = [_check(file) for file in files]
    if as_json:
        print_json({"files": [_document(one) for one in checked]})
    else:
        for one in checked:
            _print(one)
    return ExitCode.USAGE if any(one.problems for one in checked) else ExitCode.DONE


def _check(file: str) -> Checked:
    source = source_name(file)
    try:
        return Checked(source=source, parsed=load_study(read_text(file), source=source), problems=None)
    except SpecError as err:
        return Checked(source=source, parsed=None, problems=err)


def _print(checked: Checked) -> None:
    if checked.problems is not None:
        for line in state_problems(checked.problems, source=checked.source):
            error(line)
        return
    if checked.parsed is not None:
        for line in state_problems(SpecError(mark_warnings(checked.parsed.warnings)), source=checked.source):
            error(line)
        print_text(f"{checked.source}: OK: {describe_study(checked.parsed.study)}")


def describe_study(study: Study) -> str:
    """Return what a valid study asks for: its name, parameters, the size of the space, the algorithm and the budget."""
    spec = study.spec
    space = build_space(spec.parameters)
    size = space.size
    most = build_limits(spec).max_trials
    points = "infinitely many assignments" if size is None else _count(size, "assignment")
    words = [
        f"study {study.metadata.name}",
        f"{plural(len(spec.parameters), 'parameter')} ({points})",
        _algorithm(study),
        f"at most {plural(most, 'trial')}" if most else "no limit on trials",
        f"{spec.budget.parallel_trials} at a time",
    ]
    if spec.stopping is not None:
        words.append(f"early stopping by {spec.stopping.rule.value}")
    return ", ".join(words)


def _count(size: int, noun: str) -> str:
    return plural(size, noun) if size < 10**15 else f"about 10^{len(str(size)) - 1} {noun}s"


def _algorithm(study: Study) -> str:
    name = study.spec.algorithm.name
    if name is not AlgorithmName.AUTO:
        return f"algorithm {name.value}"
    plan = _auto_plan(study)
    return f"algorithm auto{f' ({plan})' if plan else ''}"


def _auto_plan(study: Study) -> str:
    """Return which algorithms auto asks, in the order in which they join: ``gp, tpe from trial 300``."""
    algorithm = build_algorithm(study.spec, build_space(study.spec.parameters))
    if not isinstance(algorithm, Auto):
        return ""
    budget = study.spec.budget
    running = tuple(Pending(index=i, assignment={}) for i in range(budget.parallel_trials - 1))
    joined: dict[str, int] = {}
    for index in range(min(budget.max_trials or _FAR, _FAR)):
        joined.setdefault(algorithm.chosen(History(pending=running[:index], next_index=index)), index)
    return ", ".join(f"{name} from trial {first}" if first else name for name, first in joined.items())


def _document(checked: Checked) -> dict[str, object]:
    problems = checked.problems.problems if checked.problems else ()
    document: dict[str, object] = {
        "file": checked.source,
        "valid": checked.parsed is not None,
        "problems": [_problem(problem) for problem in problems],
        "warnings": [_problem(warning) for warning in checked.parsed.warnings] if checked.parsed else [],
    }
    if checked.parsed is not None:
        study = checked.parsed.study
        size = build_space(study.spec.parameters).size
        document["study"] = study.metadata.name
        document["parameters"] = len(study.spec.parameters)
        document["size"] = size
        document["algorithm"] = study.spec.algorithm.name.value
    return document


def _problem(problem: Problem) -> dict[str, object]:
    return {"path": problem.path, "message": problem.message, "line": problem.line}
