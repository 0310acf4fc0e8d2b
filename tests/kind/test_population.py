"""A population on a cluster: its weights move from Pod to Pod by the volume, and operators that are killed cost it nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kind.installation import Installation, condition
from kind.laptop import laptop_suggestions
from kind.plugin import run_plugin
from kind.stories import GENERATIONS, MEMBERS, Told, generation

NAME = "digits-pbt"
INTERVAL = 6


def metric(trial: dict[str, Any], name: str) -> float:
    return next(each["last"] for each in trial["status"]["observation"]["metrics"] if each["name"] == name)


def loss(trial: dict[str, Any]) -> float:
    return float(trial["status"]["observation"]["values"][0])


def test_it_trains_to_its_end_though_the_operator_is_killed_in_the_middle_of_generations(population: Told) -> None:
    trials = population.trials

    assert condition(population.study, "Succeeded")["status"] == "True"
    places = [(generation(trial), trial["spec"]["membership"]["member"]) for trial in trials]
    assert sorted(places) == [(g, m) for g in range(GENERATIONS) for m in range(MEMBERS)]
    assert {condition(trial, "Succeeded")["reason"] for trial in trials} == {"Completed"}
    # No step was trained twice, none was left out.
    assert [trial["status"]["stepsTrained"] for trial in trials] == [INTERVAL] * len(trials)
    assert {trial["status"]["attempt"] for trial in trials} == {0}


def test_every_member_starts_from_the_checkpoint_that_its_record_names(population: Told) -> None:
    by_name = {trial["metadata"]["name"]: trial for trial in population.trials}

    heirs = [trial for trial in population.trials if generation(trial) > 0]
    assert len(heirs) == MEMBERS * (GENERATIONS - 1)
    for heir in heirs:
        parent = by_name[heir["spec"]["parent"]["trial"]]
        assert generation(parent) == generation(heir) - 1
        assert heir["spec"]["parent"]["digest"] == parent["status"]["checkpoint"]["digest"]
        # The tensors themselves, not what was written about them.
        assert metric(heir, "loaded") == metric(parent, "saved")


def test_a_member_that_exploits_trains_on_weights_that_are_not_its_own(population: Told) -> None:
    by_name = {trial["metadata"]["name"]: trial for trial in population.trials}
    by_place = {(generation(trial), trial["spec"]["membership"]["member"]): trial for trial in population.trials}

    takers = [trial for trial in population.trials if trial["spec"]["membership"]["move"] == "exploit"]
    assert len(takers) >= GENERATIONS - 1
    for taker in takers:
        parent = by_name[taker["spec"]["parent"]["trial"]]
        own = by_place[generation(taker) - 1, taker["spec"]["membership"]["member"]]
        assert taker["spec"]["parent"]["digest"] != own["status"]["checkpoint"]["digest"]
        assert metric(taker, "loaded") != metric(own, "saved")
        step, _ = taker["status"]["observation"]["curve"][0]
        assert step == generation(taker) * INTERVAL + 1
        # Before its first step it is as good as the parent was, and it counts on from there. What explore changed shows after it.
        assert metric(taker, "inherited_loss") == pytest.approx(loss(parent), rel=1e-3)
        assert metric(taker, "inherited_loss") < loss(own)


def test_the_first_members_are_those_of_a_laptop(population: Told) -> None:
    assert [trial["spec"]["assignment"] for trial in population.trials[:MEMBERS]] == laptop_suggestions(NAME, MEMBERS)


def test_the_lineage_is_whole(seatrial: Installation, population: Told, tmp_path: Path) -> None:
    ask = ("lineage", NAME, "-n", population.namespace)

    told = run_plugin(seatrial.kind, tmp_path, *ask)
    document = json.loads(run_plugin(seatrial.kind, tmp_path, *ask, "--output", "json").stdout)

    assert told.returncode == 0, told.stderr
    assert f"Line of the winner: {GENERATIONS} trials in a row" in told.stdout
    assert document["line"][-1] == population.study["status"]["best"]["trial"]
    assert [entry["name"] for entry in document["trials"]] == [trial["metadata"]["name"] for trial in population.trials]
    assert document["schedule"][-1]["untilStep"] == GENERATIONS * INTERVAL
