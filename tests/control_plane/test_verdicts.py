"""A wrong study is refused by the API server as by the command line, but for what a schema cannot say.

The server judges by the CRD's schema and its CEL rules; both are generated from the models with which the command line judges.
Whatever the server refuses, the command line refuses. What only the command line refuses stands in :data:`BEYOND_THE_SCHEMA` with
the reason; the operator judges by the same code and says it in a condition.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from api.strategies import Tree, changed_studies, studies
from api.test_load import edited
from api.wrong_studies import SOUND, WRONG
from control_plane.client import STUDIES, Answer, Client
from control_plane.cluster import ControlPlane
from seatrial.errors import Problem, SpecError
from seatrial.search.checks import load_study

_TYPELESS = "CEL sees typed fields only, and the values of choices, default, when.in and initialTrials have any type"
_TEMPLATE = "the Pod template is kept as it is, whatever Pods learn to say; a dry run of the first Pod judges it"
_ARITHMETIC = "the rule needs arithmetic or a walk that CEL has not"

# A pattern of "<path> <message>", and why the server cannot refuse it.
BEYOND_THE_SCHEMA: list[tuple[str, str]] = [
    (r"^spec\.trial\.template", _TEMPLATE),
    (r"^spec\.trial\.container is .* there is no such container", _TEMPLATE),
    (r"^spec\.trial\.reuse is true, but the trial runs", _TEMPLATE),
    (r"^spec\.parameters\[\d+\]\.(choices|default|value|when\.in)", _TYPELESS),
    (r"^spec\.initialTrials\[\d+\]", _TYPELESS),
    (r"^spec\.parameters\[\d+\]\.when forms a cycle", _ARITHMETIC),
    (r"^spec\.parameters\[\d+\]\.step is .*, which is too fine for the range", _ARITHMETIC),
    (r"^spec\.parameters\[\d+\]\.max is .*, but max - min overflows", _ARITHMETIC),
    (r"^spec\.algorithm\.name is grid, which needs a number of points", _ARITHMETIC),
    (r"^spec\.algorithm\.grid\.resolutions", _ARITHMETIC),
    (r"^spec\.budget\.maxTrials is missing, but the (grid|search space) has .* (points|assignments)", _ARITHMETIC),
    (r"^spec\.algorithm\.pbt\.mutable", _ARITHMETIC),
    (r"^spec\.parameters have one value each, but pbt", _ARITHMETIC),
    (r"^spec\.algorithm\.replay\.schedule", _ARITHMETIC),
    (r"^spec\.(budget\.maxDuration|trial\.timeout) is .*, but must be at most 3650d", _ARITHMETIC),
]


def judge(tree: Tree) -> tuple[Problem, ...]:
    """Return the problems that the command line finds."""
    try:
        load_study(json.dumps(tree).encode(), source="study.json")
    except SpecError as error:
        return error.problems
    return ()


def submit(api: Client, tree: Tree) -> Answer:
    """Ask the API server as kubectl does, without leaving anything behind."""
    return api.create(STUDIES.format(namespace="default"), tree, dryRun="All")


def is_beyond_the_schema(problem: Problem) -> bool:
    return any(re.search(pattern, f"{problem.path} {problem.message}") for pattern, _ in BEYOND_THE_SCHEMA)


def names_a_field(answer: Answer, problems: Sequence[Problem]) -> bool:
    """Whether the server's words lead to a place: by its path or that of a list or mapping around it, or by a field's name."""
    for problem in problems:
        parts = problem.path.split(".")
        around = [".".join(parts[:length]) for length in range(2, len(parts) + 1)]
        names = [re.sub(r"\[.*", "", part) for part in parts[1:] or parts]
        if any(path in answer.message for path in around):
            return True
        if any(re.search(rf"\b{name}\b", answer.message) for name in names):
            return True
    return False


def assert_the_verdicts_agree(api: Client, tree: Tree) -> None:
    problems = judge(tree)
    answer = submit(api, tree)

    if answer.is_accepted:
        assert [str(problem) for problem in problems if not is_beyond_the_schema(problem)] == []
    else:
        assert answer.code in {400, 422}, answer
        assert problems, f"refused by the server alone: {answer.message}"


# A wrong version never reaches the CRD: kubectl finds no such kind, and says so itself.
_ON_THE_SERVER = [case for case in WRONG if "apiVersion" not in case[1]]


@pytest.mark.parametrize("edits", [case[1] for case in _ON_THE_SERVER], ids=[case[0] for case in _ON_THE_SERVER])
def test_a_wrong_study_is_refused_by_the_server_in_words_that_name_the_field(
    api: Client, edits: dict[str, Any]
) -> None:
    tree = edited(edits)
    problems = judge(tree)

    answer = submit(api, tree)

    assert problems
    if answer.is_accepted:
        assert [str(problem) for problem in problems if not is_beyond_the_schema(problem)] == []
    else:
        assert answer.code in {400, 422}
        assert names_a_field(answer, problems), answer.message


def test_a_wrong_version_is_refused_by_kubectl(control_plane: ControlPlane) -> None:
    text = SOUND.replace("seatrial.dev/v1alpha1", "seatrial.dev/v1")

    done = control_plane.kubectl("apply", "-f", "-", text=text, check=False)

    assert 'no matches for kind "Study" in version "seatrial.dev/v1"' in done.stderr


def test_kubectl_apply_shows_the_words_of_the_crd(control_plane: ControlPlane) -> None:
    text = SOUND.replace("min: 1.0e-5", "min: 0")

    done = control_plane.kubectl("apply", "-f", "-", text=text, check=False)

    assert "spec.parameters[0]: Invalid value: " in done.stderr
    assert "scale: log needs min > 0; raise min or use scale: linear" in done.stderr


def test_no_exception_outlives_its_reason(api: Client) -> None:
    """Each row of the table is needed by a wrong study that the server accepts."""
    needed = set()
    for _, edits, _ in WRONG:
        tree = edited(edits)
        if submit(api, tree).is_accepted:
            needed |= {
                pattern
                for pattern, _ in BEYOND_THE_SCHEMA
                for problem in judge(tree)
                if re.search(pattern, f"{problem.path} {problem.message}")
            }

    assert needed == {pattern for pattern, _ in BEYOND_THE_SCHEMA}


_MANY = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@_MANY
@given(tree=studies())
def test_every_valid_study_is_accepted(api: Client, tree: Tree) -> None:
    answer = submit(api, tree)

    assert answer.is_accepted, answer.message


@_MANY
@given(tree=changed_studies())
def test_a_changed_study_meets_the_same_verdict_on_both_sides(api: Client, tree: Tree) -> None:
    assert_the_verdicts_agree(api, tree)
