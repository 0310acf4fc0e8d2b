"""Studies as large as the CRD lets them be, and larger: taken, or refused in words, and never for what it costs to check them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from adapters.kubernetes.contract import a_study_object
from control_plane.client import STUDIES, Answer, Client
from seatrial.search.checks import load_object

Spec = dict[str, Any]


def name(number: int) -> str:
    """Return a name of a parameter as long as it may be."""
    return f"p{number:_<62}"


def metric(number: int) -> str:
    """Return a name of a metric as long as it may be."""
    return f"m{number:03d}".ljust(120, "/")


def floats(count: int = 64) -> list[Spec]:
    return [
        {"name": name(each), "type": "float", "min": 0.0, "max": 1.0, "scale": "linear", "default": 0.5}
        for each in range(count)
    ]


def chained(length: int, count: int = 64, choices: int = 256, named: int = 64) -> list[Spec]:
    """Return parameters of which each depends on the one before, with texts of some length as choices."""
    values = [f"{each:03d}".ljust(length, "x") for each in range(choices)]
    first: Spec = {"name": name(0), "type": "categorical", "choices": values, "default": values[0]}
    return [first] + [
        first | {"name": name(each), "when": {"parameter": name(each - 1), "in": values[:named]}}
        for each in range(1, count)
    ]


def bush(count: int = 64) -> list[Spec]:
    """Return parameters that all depend on the first one, each on 64 other values of it."""
    root, *others = chained(4, count)
    values = root["choices"]
    return [root] + [
        other | {"when": {"parameter": name(0), "in": values[each : each + 64]}} for each, other in enumerate(others)
    ]


def crowd(queries: int = 16, length: int = 4096, objectives: int = 4, constraints: int = 8) -> Spec:
    """Return metrics of every kind."""
    asked = [{"metric": metric(100 + each), "query": "q" * length} for each in range(queries)]
    prometheus = {"url": "http://".ljust(2048, "u"), "queries": asked, "stepQuery": "s" * 4096}
    return {
        "objectives": [
            {"metric": metric(each), "goal": "minimize", "summary": "mean", "window": 1000}
            for each in range(objectives)
        ],
        "constraints": [{"metric": metric(50 + each), "min": 0.0, "max": 1.0} for each in range(constraints)],
        "metrics": {"source": "prometheus", "prometheus": prometheus},
    }


def policy(rules: int = 16, codes: int = 64, messages: int = 16, length: int = 256) -> Spec:
    rule = {
        "action": "excludeNode",
        "after": 10,
        "onExitCodes": {"values": list(range(1, codes + 1))},
        "onMessage": [f"{each:02d}".ljust(length, "y") for each in range(messages)],
    }
    return {"trial": a_study_object()["spec"]["trial"] | {"retryPolicy": {"rules": [rule] * rules}}}


def schedule(segments: int = 1000) -> Spec:
    steps = [{"untilStep": each + 1, "parameters": {"x": 0.5}} for each in range(segments)]
    return {"algorithm": {"name": "replay", "replay": {"schedule": steps}}, "steps": {"max": 5000}}


def grid(resolutions: int = 64) -> Spec:
    points = [{"parameter": name(each), "points": 10_000} for each in range(resolutions)]
    return {"parameters": floats(), "algorithm": {"name": "grid", "grid": {"resolutions": points}}}


def population(mutable: int = 64) -> Spec:
    settings = {"populationSize": 1000, "mutable": [name(each % 64) for each in range(mutable)]}
    return {"parameters": floats(), "algorithm": {"name": "pbt", "pbt": settings}, "steps": {"max": 1_000_000_000}}


def known(trials: int = 1000) -> Spec:
    given = [{name(each): 0.25 + trial / 4000 for each in range(15)} for trial in range(trials)]
    return {"parameters": floats(), "initialTrials": given}


LARGE: dict[str, Spec] = {
    "a chain of 64 conditions": {"parameters": chained(4)},
    "a chain of as much text as is stored": {"parameters": chained(70)},
    "63 parameters that depend on one": {"parameters": bush()},
    "4 objectives, 8 constraints, 16 queries, 64 floats": {"parameters": floats(), "algorithm": {"name": "nsga2"}}
    | crowd(),
    "1000 initial trials": known(),
    "1000 segments of a schedule": schedule(),
    "16 rules of 64 codes and 16 messages": policy(),
    "64 resolutions": grid(),
    "64 mutable parameters": population(),
    "1000 initial trials, 16 rules, and metrics of every kind": known()
    | {"algorithm": {"name": "nsga2"}}
    | crowd()
    | policy(),
}
"""Each as long as its bounds and the 1.5 MB that are stored allow."""

TOO_LARGE: dict[str, tuple[Spec, str]] = {
    "65 parameters": ({"parameters": floats(65)}, "spec.parameters: Too many: 65"),
    "5000 parameters, each with a condition": (
        {"parameters": chained(4, 5000, 2, 1)},
        "spec.parameters: Too many: 5000",
    ),
    "257 choices": ({"parameters": chained(4, 1, 257)}, "spec.parameters[0].choices: Too many: 257"),
    "65 values of a condition": ({"parameters": chained(4, 2, 256, 65)}, "spec.parameters[1].when.in: Too many: 65"),
    "1001 initial trials": (known(1001), "spec.initialTrials: Too many: 1001"),
    "1001 segments": (schedule(1001), "spec.algorithm.replay.schedule: Too many: 1001"),
    "17 rules": (policy(17), "spec.trial.retryPolicy.rules: Too many: 17"),
    "65 exit codes": (policy(1, 65), "onExitCodes.values: Too many: 65"),
    "17 messages": (policy(1, 1, 17), "onMessage: Too many: 17"),
    "a long message": (policy(1, 1, 1, 257), "onMessage[0]: Too long"),
    "17 queries": (crowd(17), "spec.metrics.prometheus.queries: Too many: 17"),
    "a long query": (crowd(1, 100_000), "spec.metrics.prometheus.queries[0].query: Too long"),
    "5 objectives": (crowd(objectives=5), "spec.objectives: Too many: 5"),
    "9 constraints": (crowd(constraints=9), "spec.constraints: Too many: 9"),
    "65 resolutions": (grid(65), "spec.algorithm.grid.resolutions: Too many: 65"),
    "65 mutable parameters": (population(65), "spec.algorithm.pbt.mutable: Too many: 65"),
    "a name of 64 letters": ({"parameters": [floats(1)[0] | {"name": "x" * 64}]}, "spec.parameters[0].name: Too long"),
    "more than a request may hold": ({"parameters": chained(300)}, "limit is 3145728"),
}
"""What is one too many, or a great many, and the words for it."""


def assert_not_for_its_cost(answers: Sequence[Answer]) -> None:
    for answer in answers:
        assert "cost" not in answer.message.lower(), answer.message


@pytest.mark.parametrize("shape", sorted(LARGE))
def test_a_study_as_large_as_the_bounds_allow_is_taken_changed_and_told_of(
    api: Client, namespace: str, shape: str
) -> None:
    path = STUDIES.format(namespace=namespace)
    body = a_study_object(**LARGE[shape])

    created = api.create(path, body)
    assert created.code == 201, created.message
    answers = [
        api.merge(f"{path}/s/status", {"status": {"progress": "1/2"}}),
        api.merge(f"{path}/s", {"spec": {"suspend": True}}),
        api.merge(f"{path}/s", {"metadata": {"labels": {"a": "b"}}}),
        api.request("PUT", f"{path}/s", api.get(f"{path}/s").body),
    ]

    assert [(answer.code, answer.message) for answer in answers] == [(200, "")] * 4
    assert load_object(created.body).study.metadata.name == "s"


@pytest.mark.parametrize("shape", sorted(TOO_LARGE))
def test_a_study_beyond_the_bounds_is_refused_in_words(api: Client, namespace: str, shape: str) -> None:
    spec, words = TOO_LARGE[shape]

    answer = api.create(STUDIES.format(namespace=namespace), a_study_object(**spec))

    assert answer.code in {413, 422}
    assert words in answer.message
    assert_not_for_its_cost([answer])


def test_two_large_search_spaces_are_compared_to_the_end(api: Client, namespace: str) -> None:
    path = STUDIES.format(namespace=namespace)
    space = chained(70)
    assert api.create(path, a_study_object(parameters=space)).is_accepted
    last = space[-1] | {"choices": [*space[-1]["choices"][:-1], "another"]}

    answer = api.merge(f"{path}/s", {"spec": {"parameters": [*space[:-1], last]}})

    assert answer.code == 422
    assert "parameters cannot be changed" in answer.message
    assert_not_for_its_cost([answer])
