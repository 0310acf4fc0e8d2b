"""Every study is either refused with clear words or works: nothing in between, whatever is thrown at the loader."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.strategies import changed_studies, studies, texts, to_yaml
from seatrial.api.load import Parsed
from seatrial.errors import SpecError
from seatrial.search.base import History
from seatrial.search.build import build_algorithm, build_space
from seatrial.search.checks import check_study, load_object, load_study


def examples(number: int) -> settings:
    """Settings of a property that draws whole studies."""
    return settings(
        max_examples=number, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
    )


def assert_it_works(parsed: Parsed) -> None:
    """A space and an algorithm can be built and give three suggestions inside the space, or say that there are no more."""
    spec = parsed.study.spec
    space = build_space(spec.parameters)
    ask = build_algorithm(spec, space).ask(History(), 3)
    assert ask.suggestions or ask.exhausted
    for suggestion in ask.suggestions:
        assert space.problems(suggestion.assignment) == []
        assert json.loads(json.dumps(suggestion.assignment)) == suggestion.assignment
    for known in spec.initial_trials:
        assert space.problems(space.complete(known)) == []


def assert_all_have_words(error: SpecError) -> None:
    """At least one problem, and none without a message."""
    assert error.problems
    assert all(problem.message for problem in error.problems)


def assert_it_is_clear(error: SpecError) -> None:
    """Each problem has a place, and a sentence with a next step on one line."""
    assert error.problems
    for problem in error.problems:
        assert (
            problem.path.split(".")[0].split("[")[0] in {"apiVersion", "kind", "metadata", "spec", "status"}
            or " is unknown" in f" {problem.message}"
        )
        assert len(problem.message) < 700
        assert "\n" not in problem.message
        assert ";" in problem.message or "?" in problem.message
    assert len(set(error.problems)) == len(error.problems)


@pytest.mark.slow
@examples(50)
@given(studies())
def test_a_valid_study_is_accepted_and_its_search_starts(tree: dict) -> None:
    parsed = load_study(to_yaml(tree), source="study.yaml")

    assert_it_works(parsed)
    assert check_study(parsed.study) == []


@examples(30)
@given(studies())
def test_the_same_study_is_read_from_yaml_from_json_and_from_the_server(tree: dict) -> None:
    from_yaml = load_study(to_yaml(tree), source="study.yaml").study
    from_json = load_study(json.dumps(tree, indent="\t").encode(), source="study.json").study
    from_server = load_object(json.loads(json.dumps(tree))).study

    assert from_yaml == from_json == from_server
    assert load_object(from_yaml.to_wire()).study == from_yaml


@examples(200)
@given(changed_studies())
def test_a_changed_study_is_refused_in_clear_words_or_works(tree: dict) -> None:
    try:
        parsed = load_study(json.dumps(tree).encode(), source="study.json")
    except SpecError as error:
        assert_it_is_clear(error)
    else:
        assert_it_works(parsed)


@examples(200)
@given(texts())
def test_any_bytes_are_refused_without_another_exception(text: bytes) -> None:
    try:
        load_study(text, source="noise.yaml")
    except SpecError as error:
        assert_all_have_words(error)


@pytest.mark.slow
@examples(80)
@given(studies(), st.data())
def test_bytes_put_anywhere_into_a_study_raise_nothing_else(tree: dict, data: st.DataObject) -> None:
    text = to_yaml(tree)
    place = data.draw(st.integers(0, len(text)))
    spoilt = text[:place] + data.draw(texts()) + text[place + data.draw(st.integers(0, 20)) :]

    try:
        parsed = load_study(spoilt, source="spoilt.yaml")
    except SpecError as error:
        assert_all_have_words(error)
    else:
        assert_it_works(parsed)
