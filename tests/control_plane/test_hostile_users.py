"""A representative part of ``make hostile``: studies that mean harm or make no sense, and edits of live ones, on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.kubernetes.contract import a_study_object
from control_plane.client import STUDIES, TRIALS, Client
from control_plane.cluster import ControlPlane, wait_until
from control_plane.hostile.edits import Walks
from control_plane.hostile.gauntlet import Gauntlet
from control_plane.hostile.judging import Ending, judge
from control_plane.hostile.nodes import Nodes
from control_plane.hostile.run import draw_long_studies
from control_plane.hostile.specs import HARM, SHELL, draw_specs
from control_plane.hostile.watching import Operated, operate
from control_plane.in_force import restrict

SPECS, EDITS = 90, 60


@pytest.fixture
def restricted(api: Client, namespace: str) -> str:
    restrict(api, namespace)
    return namespace


@pytest.fixture
def operated(control_plane: ControlPlane, restricted: str, tmp_path: Path) -> Iterator[Operated]:
    """An operator and nodes whose Pods run for a second."""
    with (
        operate(control_plane.admin, tmp_path, restricted) as found,
        Nodes(control_plane.admin, restricted, seconds=lambda _: 1.0, seed=1),
    ):
        yield found


def judged(api: Client, namespace: str, name: str) -> tuple[Ending | None, str]:
    return judge(api.get(f"{STUDIES.format(namespace=namespace)}/{name}").body)


def test_every_hostile_study_is_refused_in_words_or_works(api: Client, restricted: str, operated: Operated) -> None:
    outcome = Gauntlet(api, restricted, operated).run(enumerate(draw_specs(SPECS, seed=7)))

    assert outcome.faults == []
    assert outcome.total == SPECS
    kinds = {kind for kind, _ in outcome.tried}
    assert len(kinds & HARM.keys()) > 15
    endings = {ending for _, ending in outcome.tried}
    assert {Ending.REFUSED_BY_SERVER, Ending.REFUSED_BY_OPERATOR, Ending.REFUSED_BY_DRY_RUN, Ending.ENDED} <= endings


def test_every_edit_of_a_live_study_is_refused_in_words_or_works_and_the_way_back_heals(
    api: Client, restricted: str, operated: Operated
) -> None:
    outcome = Walks(api, restricted, operated, seed=7, wide=8).run(draw_long_studies(7), EDITS)

    assert outcome.faults == []
    assert outcome.total >= EDITS
    # Which fields are drawn depends on what the server has made of the study, so one kind of edit may be missing of so few.
    kinds = {what for what, _ in outcome.tried}
    assert "back" in kinds
    assert len(kinds & {"raise", "lower", "remove", "add", "replace"}) >= 4


@pytest.mark.parametrize("depth", [300, 900, 9_900])
def test_a_study_that_nests_without_end_is_refused_and_holds_up_no_other(
    api: Client, restricted: str, operated: Operated, depth: int
) -> None:
    path = STUDIES.format(namespace=restricted)
    text = json.dumps(a_study_object("deep")).replace('"containers"', '"nodeSelector": 0, "containers"')
    nest = '{"a": ' * depth + "1" + "}" * depth
    answer = api.request("POST", path, text.replace('"nodeSelector": 0', f'"nodeSelector": {nest}').encode())
    assert answer.is_accepted, answer.message

    assert api.create(path, a_study_object("plain", budget={"maxTrials": 1})).is_accepted
    wait_until(lambda: judged(api, restricted, "plain")[0] is Ending.ENDED, what="the other study to end")
    wait_until(lambda: judged(api, restricted, "deep")[0] is not None, what="words about the deep study")
    ending, words = judged(api, restricted, "deep")
    assert ending is Ending.REFUSED_BY_OPERATOR
    assert "nests deeper than 64 levels" in words
    assert operated.operator.popen.poll() is None


def test_a_value_of_any_text_is_told_as_it_is_to_the_trial_and_in_the_status(
    api: Client, restricted: str, operated: Operated
) -> None:
    path = STUDIES.format(namespace=restricted)
    wanted = {f"s{place}": text for place, text in enumerate(SHELL)}
    number = {"name": "y", "type": "float", "min": 0, "max": 1}
    for name, text in wanted.items():
        parameters = [{"name": "x", "type": "constant", "value": text}, number]
        body = a_study_object(name, parameters=parameters, budget={"maxTrials": 2, "parallelTrials": 2})
        assert api.create(path, body).is_accepted

    wait_until(
        lambda: all(judged(api, restricted, name)[0] is Ending.ENDED for name in wanted), what="all studies to end"
    )

    trials = api.get(TRIALS.format(namespace=restricted)).body["items"]
    assert {trial["spec"]["study"]: trial["spec"]["assignment"]["x"] for trial in trials} == wanted
    statuses = {each["metadata"]["name"]: each["status"] for each in api.get(path).body["items"]}
    best = {name: status["best"]["assignment"]["x"] for name, status in statuses.items() if "best" in status}
    assert len(best) > len(wanted) / 2
    assert best == {name: wanted[name] for name in best}


@pytest.mark.parametrize("kind", ["trial", "pod"])
def test_a_name_that_somebody_else_has_taken_is_named_and_waited_for(
    api: Client, restricted: str, operated: Operated, kind: str
) -> None:
    trials, pods = TRIALS.format(namespace=restricted), f"/api/v1/namespaces/{restricted}/pods"
    safe = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    safe |= {"seccompProfile": {"type": "RuntimeDefault"}}
    container = {"name": "main", "image": "x", "securityContext": safe}
    spec = {"study": "s", "index": 0, "assignment": {"x": 0.5}, "seed": 7, "origin": {"algorithm": "random"}}
    taken, body = {
        "trial": (f"{trials}/s-0", {"apiVersion": "seatrial.dev/v1alpha1", "kind": "Trial", "spec": spec}),
        "pod": (f"{pods}/s-0-0", {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}),
    }[kind]
    folder, _, name = taken.rpartition("/")
    answer = api.create(folder, body | {"metadata": {"name": name}})
    assert answer.is_accepted, answer.message
    uid = answer.body["metadata"]["uid"]

    assert api.create(STUDIES.format(namespace=restricted), a_study_object(budget={"maxTrials": 1})).is_accepted
    words = {"trial": "trial s-0 exists, but belongs to no study", "pod": "the name of Pod s-0-0 is taken"}[kind]
    wait_until(lambda: words in operated.operator.text(), what="words about the taken name")
    assert api.get(taken).body["metadata"]["uid"] == uid
    assert api.delete(taken, gracePeriodSeconds="0").is_accepted

    wait_until(lambda: judged(api, restricted, "s")[0] is Ending.ENDED, what="the study to end")
