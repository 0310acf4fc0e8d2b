"""What is left of a study that is not valid."""

from __future__ import annotations

import pytest

from adapters.kubernetes.contract import a_study_object
from seatrial.entry.cluster.salvaging import salvage_study


def stored(**spec: object) -> dict:
    body = a_study_object("s", **spec)
    body["metadata"] |= {"namespace": "default", "uid": "u", "generation": 2}
    return body


@pytest.mark.parametrize(
    ("broken", "kept"),
    [
        pytest.param({"stopping": {"rule": "nonsense"}}, {"stopping": None}, id="a rule that does not exist"),
        pytest.param({"algorithm": {"name": "nonsense"}}, {"stopping": None}, id="an algorithm that does not exist"),
        pytest.param({"budget": {"maxTrials": "many"}}, {"stopping": None}, id="a number that is none"),
        pytest.param({"trial": {"template": {}}}, {"stopping": None}, id="a template without containers"),
    ],
)
def test_what_is_wrong_is_left_out_and_the_rest_counts(broken: dict, kept: dict):
    found = salvage_study(stored(steps={"unit": "epoch", "max": 9}, **broken))

    assert found is not None
    assert [objective.metric for objective in found.spec.objectives] == ["loss"]
    assert found.spec.steps is not None
    assert found.spec.steps.max == 9
    assert found.spec.stopping is kept["stopping"]
    assert (found.metadata.uid, found.metadata.generation) == ("u", 2)


def test_a_sound_study_is_kept_whole_but_for_its_first_trials():
    found = salvage_study(stored(steps={"max": 9}, stopping={"rule": "median"}, initialTrials=[{"nope": 1}]))

    assert found is not None
    assert found.spec.stopping is not None
    assert found.spec.budget.max_trials == 10
    assert found.spec.initial_trials == []


@pytest.mark.parametrize("lost", ["objectives", "parameters"])
def test_without_what_a_result_is_read_by_there_is_nothing(lost: str):
    study = stored()
    del study["spec"][lost]

    assert salvage_study(study) is None
