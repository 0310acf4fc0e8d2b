"""The summary after a run, word for word, with one objective and with two."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from entry.rehearsal import digits_script, digits_study, rehearsed_trials
from seatrial.adapters.local.simulated import Script
from seatrial.api.study import Best, Study
from seatrial.api.trial import Checkpoint, Trial
from seatrial.decide.snapshot import parse_time
from seatrial.entry.cli.exporting import environment_lines, find_trial
from seatrial.entry.cli.homes import DirectoryHome
from seatrial.entry.cli.listing import sort_trials, table_lines
from seatrial.entry.cli.summary import Standing, build_document, checkpoint_path, summary_lines
from seatrial.errors import UsageError


def standing(study: Study, trials: list[Trial], **changes: object) -> Standing:
    home = DirectoryHome(Path("/somewhere/digits"))
    return Standing(study=study, trials=trials, home=home, call="digits", **changes)  # type: ignore[arg-type]


def one_objective() -> Standing:
    return standing(*rehearsed_trials(digits_study(stopping=None)))


def two_objectives() -> Standing:
    objectives = [{"metric": "val_accuracy", "goal": "maximize"}, {"metric": "weights", "goal": "minimize"}]
    study = digits_study(objectives=objectives, stopping=None)
    return standing(*rehearsed_trials(study, _with_weights))


def _with_weights(trial: Trial, number: int) -> Script:
    from dataclasses import replace

    script = digits_script(trial, number)
    weights = {"weights": float(trial.spec.assignment["hidden"])}
    return replace(script, curve=tuple((at, step, {**metrics, **weights}) for at, step, metrics in script.curve))


def text(of: Standing, minutes: float = 5) -> str:
    start = parse_time(of.status.start_time or "")
    return "\n".join(summary_lines(of, now=start + timedelta(minutes=minutes)))


def test_the_summary_names_the_winner_its_parameters_and_the_next_commands() -> None:
    assert (
        text(one_objective())
        == """\
digits: The study is complete: all 8 trials of budget.maxTrials are done.

winner       digits-6   val_accuracy 0.9631
parameters   lr         0.0087
             hidden     64
             optimizer  adamw
last failure digits-3: Error: exit code 1
             its output: /somewhere/digits/attempts/digits-3.0/output.log
trials       8: 7 completed, 1 failed
duration     38 s
directory    /somewhere/digits

next         seatrial report digits --open
             seatrial export digits --best --format command
             seatrial trials digits --sort value"""
    )


def test_a_better_value_that_the_model_did_not_choose_is_explained() -> None:
    of = one_objective()
    chosen = next(trial for trial in of.trials if trial.spec.index == 0)
    best = Best(trial="digits-0", index=0, values=[0.9219], assignment=chosen.spec.assignment)
    study = of.study.model_copy(update={"status": of.status.model_copy(update={"best": best})})
    of = standing(study, list(of.trials))

    assert "winner       digits-0   val_accuracy 0.9219" in text(of)
    assert (
        "best value   digits-6   val_accuracy 0.9631: random takes this for luck and expects more of the winner"
        in text(of)
    )
    document = json.loads(json.dumps(build_document(of)))
    assert (document["best"]["trial"], document["bestMeasured"]["trial"]) == ("digits-0", "digits-6")


def test_with_two_objectives_the_front_takes_the_place_of_a_winner() -> None:
    of = two_objectives()

    shown = text(of)
    assert "winner" not in shown
    assert "front        2 trials that no other one beats in all objectives:" in shown
    assert "             digits-6   val_accuracy 0.9631, weights 64" in shown
    assert "             digits-0   val_accuracy 0.9219, weights 16" in shown


def test_the_document_has_the_values_by_name_and_is_valid_json() -> None:
    document = json.loads(json.dumps(build_document(two_objectives()), allow_nan=False))

    assert [point["trial"] for point in document["paretoFront"]] == ["digits-6", "digits-0"]
    assert document["paretoFront"][1]["values"]["weights"] == 16
    assert document["completionTime"] is not None


@pytest.mark.parametrize(
    ("changes", "suspended", "expected"),
    [
        ({"live": True}, False, "it runs at this moment; Ctrl-C there stops it"),
        ({"again": "seatrial run d.yaml"}, False, "seatrial run d.yaml   goes on"),
        ({}, False, "seatrial run with the same file goes on"),
        ({"again": "seatrial run d.yaml"}, True, "set spec.suspend to false, then seatrial run d.yaml goes on"),
    ],
)
def test_a_study_that_is_not_over_says_how_it_goes_on(
    changes: dict[str, object], suspended: bool, expected: str
) -> None:
    study = digits_study(suspend=suspended)

    shown = "\n".join(summary_lines(standing(study, [], **changes), now=parse_time("2030-01-01T00:00:00Z")))
    assert f"next         {expected}" in shown
    assert "best so far  none: no trial has a result" in shown


def test_a_checkpoint_is_named_by_its_place_on_this_machine() -> None:
    of = one_objective()
    saved = Checkpoint(step=9, digest="sha256:0", path="step-9")
    trial = of.trials[6].model_copy(update={"status": of.trials[6].status.model_copy(update={"checkpoint": saved})})
    trials = [*of.trials[:6], trial, *of.trials[7:]]

    assert checkpoint_path(standing(of.study, trials), "digits-6") == "/somewhere/digits/checkpoints/digits-6/step-9"
    assert checkpoint_path(of, "digits-5") is None


def test_a_result_that_was_taken_over_keeps_its_checkpoint_where_it_was_earned() -> None:
    of = one_objective()
    saved = Checkpoint(step=9, digest="sha256:0", path="step-9")
    trial = of.trials[6]
    trial = trial.model_copy(
        update={
            "spec": trial.spec.model_copy(update={"reuse_of": "digits-2"}),
            "status": trial.status.model_copy(update={"checkpoint": saved}),
        }
    )

    assert checkpoint_path(standing(of.study, [trial]), "digits-6") == "/somewhere/digits/checkpoints/digits-2/step-9"


def test_trials_are_sorted_as_the_user_counts() -> None:
    of = one_objective()

    names = [trial.spec.index for trial in sort_trials(of.study, of.trials)]
    assert names[:2] == [6, 0]
    assert names[-1] == 3  # it failed


def test_the_table_is_cut_to_the_terminal_and_whole_in_a_pipe() -> None:
    of = one_objective()

    assert max(len(line) for line in table_lines(of.study, of.trials, width=50)) == 50
    assert any(line.endswith("(Error: exit code 1)") for line in table_lines(of.study, of.trials, width=None))


@pytest.mark.parametrize(("name", "found"), [("digits-3", 3), ("3", 3), ("03", 3)])
def test_a_trial_is_found_by_name_or_index(name: str, found: int) -> None:
    assert find_trial(one_objective(), name).spec.index == found


@pytest.mark.parametrize("name", ["8", "digits", "-1", "٣", "", "99999999999999999999"])
def test_a_trial_that_is_not_there_is_answered_with_those_that_are(name: str) -> None:
    with pytest.raises(UsageError, match="the trials are digits-0 to digits-7"):
        find_trial(one_objective(), name)


def test_exported_floats_keep_every_digit() -> None:
    of = standing(
        *rehearsed_trials(digits_study(initialTrials=[{"lr": 0.1 + 0.2}], budget={"maxTrials": 1}, stopping=None))
    )

    assert environment_lines(of.trials[0])[0] == "HP_lr=0.30000000000000004"
