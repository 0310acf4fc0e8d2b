"""An attempt that is to end at a step: it saves there, says so, and the next one goes on from there."""

import pytest

from harness.scripts import ATrial

TRAINING = """
    trial = seatrial.start(lr=0.1)
    state = trial.load()
    total = state["total"] if state else 0
    for step in trial.steps(9):
        total += step
        trial.report(step, val=total / 100, loss=1 / step)
        trial.save(total=total)
    print("ended at", total)
"""

WITHOUT_STEPS = """
    trial = seatrial.start(lr=0.1)
    for step in range(1, 10):
        trial.report(step, val=step / 10)
        if trial.should_stop():
            break
"""


@pytest.fixture
def trial(tmp_path):
    return ATrial(folder=tmp_path, env={"SEATRIAL_MAX_STEP": "9", "SEATRIAL_RUNGS": "[1, 3]"})


def until(trial: ATrial, step: int, attempt: int = 0) -> ATrial:
    return trial.with_env(SEATRIAL_UNTIL_STEP=str(step), SEATRIAL_ATTEMPT=str(attempt))


def test_an_attempt_ends_at_its_step_with_a_checkpoint_of_exactly_that_step(trial):
    ended = until(trial, 3).run(TRAINING)

    assert ended.code == 0
    assert ended.status == "paused"
    assert ended.message["checkpoint"]["path"] == "0/step-3"
    assert ended.message["step"] == ended.message["stepsTrained"] == 3
    assert ended.message["curve"]["points"] == [[1, 0.01], [2, 0.03], [3, 0.06]]
    assert [line["step"] for line in ended.observations] == [1, 2, 3]
    assert "ended at 6" in ended.out


def test_the_checkpoint_of_the_last_step_is_never_put_off_although_saving_is_dear(trial):
    # A save costs 50 ms, a step next to nothing: in the middle of a training nearly all of them would be put off.
    dear = TRAINING.replace(
        "    for step in", '    import seatrial_harness.saver as s, time\n    w = s.write_state\n'
        "    s.write_state = lambda *a: (time.sleep(0.05), w(*a))[1]\n    for step in",
    )  # fmt: skip

    ended = until(trial.with_env(SEATRIAL_RUNGS="[]"), 7).run(dear)

    assert ended.message["checkpoint"]["step"] == 7


def test_the_next_attempt_trains_only_what_is_left_and_its_message_knows_all_of_the_curve(trial):
    until(trial, 3).run(TRAINING)

    ended = until(trial, 6, attempt=1).run(TRAINING)

    assert (ended.status, ended.message["stepsTrained"]) == ("paused", 3)
    assert [point[0] for point in ended.message["curve"]["points"]] == [1, 2, 3, 4, 5, 6]
    assert ended.message["metrics"]["loss"]["max"] == 1.0
    assert ended.message["checkpoint"]["path"] == "1/step-6"


def test_paused_trainings_end_as_one_that_was_never_paused(trial, tmp_path):
    for attempt, step in enumerate((1, 3)):
        until(trial, step, attempt).run(TRAINING)
    paused = trial.with_env(SEATRIAL_ATTEMPT="2").run(TRAINING)
    (tmp_path / "alone").mkdir()
    whole = ATrial(folder=tmp_path / "alone", env=trial.env).run(TRAINING)

    same = ("status", "step", "metrics", "curve")
    assert {key: paused.message[key] for key in same} == {key: whole.message[key] for key in same}
    assert (paused.message["stepsTrained"], whole.message["stepsTrained"]) == (6, 9)


def test_an_attempt_whose_step_is_trained_already_trains_nothing_and_says_the_same_again(trial):
    first = until(trial, 3).run(TRAINING)

    again = until(trial, 3, attempt=1).run(TRAINING)

    assert (again.status, again.message["stepsTrained"]) == ("paused", 0)
    assert again.observations == first.observations
    for key in ("step", "metrics", "curve", "checkpoint"):
        assert again.message[key] == first.message[key]


def test_a_trial_whose_last_checkpoint_is_of_the_last_step_has_a_result_when_it_is_started_again(trial):
    trial.run(TRAINING)

    again = trial.with_env(SEATRIAL_ATTEMPT="1").run(TRAINING)

    assert again.status == "succeeded"
    assert again.message["metrics"]["val"]["last"] == 0.45


def test_the_last_step_of_the_study_is_an_end_and_no_pause(trial):
    assert until(trial, 9).run(TRAINING).status == "succeeded"
    assert until(trial, 20).run(TRAINING).status == "succeeded"


def test_a_loop_of_its_own_ends_when_it_asks(trial):
    ended = until(trial, 4).run(WITHOUT_STEPS)

    assert (ended.status, ended.message["step"]) == ("paused", 4)
    assert "checkpoint" not in ended.message


def test_a_script_that_reports_coarsely_ends_at_its_first_report_beyond(trial):
    coarse = TRAINING.replace("trial.report(step", "step % 2 or trial.report(step")

    ended = until(trial, 3).run(coarse)

    assert (ended.status, ended.message["step"]) == ("paused", 4)


def test_a_script_that_does_not_ask_trains_to_its_end(trial):
    ended = until(trial, 4).run(WITHOUT_STEPS.replace("if trial.should_stop():", "if False:"))

    assert (ended.status, ended.message["step"]) == ("succeeded", 9)


def test_an_objective_that_is_not_finite_at_the_last_step_has_diverged(trial):
    ended = until(trial, 3).run(TRAINING.replace("val=total / 100", 'val=float("nan")'))

    assert ended.status == "diverged"


def test_another_trials_checkpoint_brings_weights_and_no_reports(trial, tmp_path):
    until(trial, 3).run(TRAINING)
    (tmp_path / "child").mkdir()
    child = ATrial(folder=tmp_path / "child", env=trial.env).with_env(
        SEATRIAL_UNTIL_STEP="6", SEATRIAL_PARENT_CHECKPOINT=str(tmp_path / "checkpoints"), SEATRIAL_PARENT_STEP="3"
    )

    ended = child.run(TRAINING)

    assert (ended.status, ended.message["stepsTrained"]) == ("paused", 3)
    assert [point[0] for point in ended.message["curve"]["points"]] == [4, 5, 6]


@pytest.mark.parametrize("reports", ['"x"', "{}", '{"step": "a", "metrics": {}, "curve": []}', '{"step": 1, "metrics": {"val": [1]}, "curve": []}'])  # fmt: skip
def test_reports_in_a_manifest_that_are_none_cost_nothing_but_themselves(trial, tmp_path, reports):
    until(trial, 3).run(TRAINING)
    manifest = tmp_path / "checkpoints" / "0" / "step-3" / "manifest.json"
    text = manifest.read_text()
    begin, end = text.index('"reports": ') + len('"reports": '), text.rindex(', "time"')
    manifest.write_text(text[:begin] + reports + text[end:])

    ended = until(trial, 6, attempt=1).run(TRAINING)

    assert [point[0] for point in ended.message["curve"]["points"]] == [4, 5, 6]
