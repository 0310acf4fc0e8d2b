"""A script without Seatrial, and the values that reports take."""

import pytest

from harness.scripts import ATrial


def test_alone_the_defaults_are_used_and_reports_are_printed(lonely: ATrial) -> None:
    ended = lonely.run("""
        trial = seatrial.start(lr=0.1, hidden=64, optimizer="adamw", nesterov=True)
        print(trial.lr, trial.parameters["hidden"], trial.optimizer, trial.nesterov, trial.get("momentum"), trial.alone)
        for epoch in trial.steps(2):
            trial.report(epoch, val_accuracy=epoch / 3, loss=float("nan"))
            trial.save(epoch=epoch)
        print(trial.load())
    """)

    lines = [
        "0.1 64 adamw True None True",
        "step=1 val_accuracy=0.333333 loss=nan",
        "step=2 val_accuracy=0.666667 loss=nan",
        "None",
        "",
    ]
    assert (ended.code, ended.out.split("\n"), ended.err) == (0, lines, "")
    assert [path.name for path in lonely.folder.iterdir()] == ["script.py"]


def test_alone_a_variable_overrides_a_default_and_takes_its_type(lonely: ATrial) -> None:
    mine = lonely.with_env(HP_lr="1", HP_hidden="32", HP_optimizer="sgd", HP_nesterov="false", HP_other="7")

    ended = mine.run("""
        trial = seatrial.start(lr=0.1, hidden=64, optimizer="adamw", nesterov=True)
        print(dict(trial.parameters))
    """)

    assert ended.out.strip() == "{'lr': 1.0, 'hidden': 32, 'optimizer': 'sgd', 'nesterov': False}"


def test_alone_a_variable_of_the_wrong_type_is_told(lonely: ATrial) -> None:
    ended = lonely.with_env(HP_hidden="many").run("seatrial.start(hidden=64)\n")

    assert ended.code == 1
    assert "HP_hidden is 'many', but must be a int like its default 64" in ended.err


def test_alone_checkpoints_are_kept_where_a_folder_is_named(lonely: ATrial) -> None:
    mine = lonely.with_env(SEATRIAL_CHECKPOINT_DIR=str(lonely.folder / "kept"))
    script = """
        trial = seatrial.start()
        print((trial.load() or {}).get("epoch"))
        for epoch in trial.steps(2):
            trial.save(epoch=epoch)
    """

    assert (mine.run(script).out, mine.run(script).out) == ("None\n", "2\n")


def test_a_misspelt_parameter_is_told_with_those_that_exist(lonely: ATrial) -> None:
    ended = lonely.run("seatrial.start(lr=0.1, hidden=64).hiden\n")

    assert "no parameter 'hiden'; there are lr, hidden. Give it a default in start(hiden=…)" in ended.err


def test_a_parameter_that_hides_behind_the_trial_s_own_name_is_told(lonely: ATrial) -> None:
    ended = lonely.run("trial = seatrial.start(seed=5)\nprint(trial.seed, trial.parameters['seed'])\n")

    assert ended.out == "0 5\n"
    assert 'read the parameter seed by trial.parameters["seed"]' in ended.err


def test_the_assignment_is_typed_as_declared(trial: ATrial) -> None:
    mine = trial.with_env(
        SEATRIAL_PARAMETERS='{"lr": 1, "hidden": 64.0, "flag": true, "optimizer": "sgd", "layers": 3}'
    )

    ended = mine.run("""
        trial = seatrial.start(lr=0.1, hidden=32, flag=False, momentum=0.9)
        print(dict(trial.parameters), trial.assignment.get("momentum"), trial.seed, trial.name, trial.attempt)
    """)

    expected = (
        "{'lr': 1.0, 'hidden': 64, 'flag': True, 'momentum': 0.9, 'optimizer': 'sgd', 'layers': 3} None 77 digits-3 0"
    )
    assert ended.out.strip() == expected


def test_the_harness_imports_neither_prometheus_nor_torch_nor_numpy_before_they_are_needed(trial: ATrial) -> None:
    ended = trial.run("""
        import sys
        trial = seatrial.start()
        trial.report(1, val=1)
        trial.save(epoch=1)
        print([name for name in ("prometheus_client", "torch", "numpy", "pydantic", "seatrial") if name in sys.modules])
    """)

    assert ended.out == "[]\n"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("None", "the metric val is 'None' of type NoneType, but must be one number"),
        ("'0.5'", "the metric val is '0.5' of type str, but must be one number"),
        ("[1, 2]", "the metric val is '[1, 2]' of type list, but must be one number"),
    ],
)
def test_a_value_that_is_no_number_is_refused_by_name(lonely: ATrial, value: str, told: str) -> None:
    ended = lonely.run(f"seatrial.start().report(1, val={value})\n")

    assert ended.code == 1
    assert told in ended.err


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("report(val=1)", "which step is it?"),
        ("report(-1, val=1)", "step is -1, but must be at least 0"),
        ("report(1.5, val=1)", "step is 1.5, but must be an integer"),
        ("report('3', val=1)", "step is '3', but must be an integer"),
        ("report(1, **{'a b': 1})", "the metric name 'a b' must begin with a letter"),
        ("steps()", "steps() needs a number"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(lonely: ATrial, call: str, told: str) -> None:
    ended = lonely.run(f"seatrial.start().{call}\n")

    assert ended.code == 1
    assert told in ended.err


def test_everything_that_float_takes_is_a_value(trial: ATrial) -> None:
    ended = trial.run("""
        import fractions
        class Scalar:
            def __float__(self): return 0.25
        trial = seatrial.start()
        trial.report(step=1, val=Scalar(), flag=True, part=fractions.Fraction(1, 2), huge=10**400, count=3)
    """)

    [seen] = ended.observations
    assert seen["metrics"] == {"val": 0.25, "flag": 1.0, "part": 0.5, "huge": float("inf"), "count": 3.0}


def test_a_report_inside_the_loop_knows_its_step(trial: ATrial) -> None:
    ended = trial.run("trial = seatrial.start()\nfor _ in trial.steps(2):\n    trial.report(val=1)\n")

    assert [seen["step"] for seen in ended.observations] == [1, 2]


def test_a_step_backwards_is_told_once_and_the_later_value_wins(trial: ATrial) -> None:
    ended = trial.run("""
        trial = seatrial.start()
        for step, value in ((1, 0.1), (2, 0.2), (1, 0.5), (2, 0.6), (1, 0.7)):
            trial.report(step, val=value)
    """)

    assert ended.err.count("the step went backwards, to 1") == 1
    assert ended.message is not None
    assert ended.message["curve"]["points"] == [[1, 0.7], [2, 0.6]]
    assert (ended.message["step"], ended.message["metrics"]["val"]["last"]) == (1, 0.7)


def test_a_report_too_wide_for_one_line_takes_several(trial: ATrial) -> None:
    ended = trial.run("""
        trial = seatrial.start()
        trial.report(1, **{f"{'m' * 100}{number}": float("nan") for number in range(500)}, val=0.5)
    """)

    lines = (trial.folder / "observations.jsonl").read_text().splitlines()
    assert max(map(len, lines)) <= 16384
    assert sum(len(seen["metrics"]) for seen in ended.observations) == 501


@pytest.mark.slow
def test_a_million_points_cost_neither_memory_nor_the_message(trial: ATrial) -> None:
    ended = trial.with_env(SEATRIAL_OBSERVATIONS_PATH="").run("""
        import sys, tracemalloc
        trial = seatrial.start()
        for step in range(1000):
            trial.report(step, val=step)
        tracemalloc.start()
        for step in range(1000, 100_000):
            trial.report(step, val=step)
        print(tracemalloc.get_traced_memory()[1] < 200_000)
        # Tracing takes four times as long as reporting: whoever kept something of each of the others would keep objects.
        tracemalloc.stop()
        before = sys.getallocatedblocks()
        for step in range(100_000, 1_000_000):
            trial.report(step, val=step)
        print(sys.getallocatedblocks() - before < 1000)
    """)

    assert ended.out == "True\nTrue\n"
    assert len((trial.folder / "message.json").read_bytes()) <= 2048
    assert ended.message is not None
    points = dict(ended.message["curve"]["points"])
    assert (points[0], points[1], points[3], points[9], points[999_999]) == (0, 1, 3, 9, 999_999)
